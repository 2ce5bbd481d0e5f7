"""Several results side by side: models of different runs on the same test part, and a leaderboard of all that is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recae.errors import ConfigError, EvaluationError
from recae.evaluation.records import ModelResult, Significance
from recae.evaluation.report import DIGITS, cell, significance_lines, value_of
from recae.evaluation.results import Results, significance_of
from recae.evaluation.specs import MetricSpec

HEADING = "# Leaderboard"
"""First line of the page of all results; a file without it is not ours to replace."""


@dataclass(frozen=True)
class Block:
    """Results that may stand in one table: equal data, split alike, ranked among the same candidates."""

    results: tuple[Results, ...]

    @property
    def split(self) -> str:
        """Name of the split they share."""
        return self.results[0].data.split

    @property
    def models(self) -> tuple[ModelResult, ...]:
        """All rows; a title that comes twice is followed by the name of its protocol, and of its place if needed."""
        taken: set[str] = set()
        rows = []
        titles = [model.title for result in self.results for model in result.models]
        for result in self.results:
            for model in result.models:
                title = model.title
                if titles.count(title) > 1:
                    title = f"{model.title} ({result.protocol.name})"
                number = 2
                while title in taken:
                    title = f"{model.title} ({result.protocol.name}, {number})"
                    number += 1
                taken.add(title)
                rows.append(model.model_copy(update={"title": title}))
        return tuple(rows)

    @property
    def metrics(self) -> list[MetricSpec]:
        """Metrics that every row has, in the order of the first results."""
        return [
            spec
            for spec in self.results[0].metrics
            if all(str(spec) in model.test for result in self.results for model in result.models)
        ]

    def significance(self) -> Significance | None:
        """The best row against every other, if all have the values of the same users."""
        if len({result.users for result in self.results}) > 1 or not self.results[0].users:
            return None
        return significance_of(self.models, self.metrics, self.results[0].protocol.metrics.select)


def blocks(results: Sequence[Results]) -> list[Block]:
    """Results sorted into what compares: the sha256 of the matrices tells, every draw of a random split, and what the lists
    may hold.

    One run is taken once, however often it is named: its rows would count twice in the tests.

    Raises:
        EvaluationError: if there is nothing to compare.
    """
    if not results:
        raise EvaluationError("there are no results to compare; name folders that `recae evaluate` wrote")
    runs: dict[str, Results] = {}
    for result in results:
        runs.setdefault(result.run, result)
    by_data: dict[tuple[Any, ...], list[Results]] = {}
    for result in runs.values():
        judged_on = (result.masks, result.data.sha256, *result.data.more_sha256)
        by_data.setdefault(judged_on, []).append(result)
    return [Block(tuple(same)) for same in by_data.values()]


def markdown(found: Sequence[Block]) -> str:
    """A table for each block; numbers of different data never share one."""
    lines = []
    for block in found:
        names = ", ".join(result.protocol.name for result in block.results)
        lines += [f"# {block.split} ({names})", "", *_table(block), ""]
        if not block.metrics:
            lines += ["These results have no metric in common.", ""]
        significance = block.significance()
        if significance is not None:
            several = any(result.has_several_seeds for result in block.results)
            lines += [*significance_lines(significance, several_seeds=several)]
        elif len(block.models) > 1:
            missing = "not all results have a per_user.parquet of the same users"
            of_ratings = block.results[0].protocol.metrics.of_ratings
            lines += [
                f"No tests: {'errors of ratings are no means over users' if of_ratings else missing}.",
                "",
            ]
    lines += _why_apart(found)
    return "\n".join(lines)


def _why_apart(found: Sequence[Block]) -> Iterator[str]:
    """What tells the tables apart: other data or another split, or only what lists hold, or how many splits were drawn."""
    by_first: dict[str, list[Block]] = {}
    for block in found:
        by_first.setdefault(block.results[0].data.sha256, []).append(block)
    for same in by_first.values():
        if len({block.results[0].masks for block in same}) > 1:
            masking = [block for block in same if block.results[0].masks]
            yield (
                f"{_names(same)}: the same data and first split, but the models of {_names(masking)} learned from validation "
                "items, too (refit), and their lists leave them out; such numbers do not compare with the others'."
            )
            yield ""
        elif len(same) > 1:
            yield from (f"{_names(same)}: the same data and first split, but {_means(same)}.", "")
    if len(by_first) > 1:
        yield from (f"{len(found)} tables, since numbers of different data or splits do not compare.", "")


def _names(found: Sequence[Block]) -> str:
    """The protocols of each table."""
    return " and ".join(", ".join(result.protocol.name for result in block.results) for block in found)


def _means(same: Sequence[Block]) -> str:
    """``means over 3 seeds and one``; with the seeds themselves where their number does not tell."""
    seeds = [block.results[0].protocol.every_seed for block in same]
    counts = [len(each) for each in seeds]
    if len(set(counts)) < len(counts):
        return "means over the seeds " + " and over ".join(", ".join(map(str, each)) for each in seeds)
    words = ["one" if n == 1 else f"{n} seeds" for n in counts]
    return "means over " + " and ".join(words)


def read_all(folder: Path) -> list[tuple[Path, Results]]:
    """Every ``results.json`` below a folder, by path.

    Raises:
        EvaluationError: if there is none, or one cannot be read.
    """
    paths = sorted(folder.rglob("results.json"))
    if not paths:
        raise EvaluationError(
            f"no results.json below {folder}; `recae evaluate FILE --output FOLDER` writes one"
        )
    return [(path, Results.read(path)) for path in paths]


def refuse_other_page(page: Path) -> None:
    """Refuse to replace a file that is no leaderboard: somebody wrote it.

    Raises:
        ConfigError: that says what was found.
    """
    if not page.exists():
        return
    first, *_ = page.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if first.strip() != HEADING:
        raise ConfigError(
            f"{page} begins with {first[:60]!r}, not with {HEADING!r}, so it is no leaderboard and is not replaced; "
            "move it, or keep the results in a folder of their own"
        )


def leaderboard(folder: Path) -> str:
    """All results below a folder as one Markdown page: what lies beside them (values of users) changes nothing.

    Raises:
        EvaluationError: as `read_all`.
    """
    lines = [
        HEADING,
        "",
        "Every result that is kept here, a table for each split; within a table, numbers compare. Settings were chosen on",
        "validation; each link leads to the command, the seeds, the settings and all that was tried. Written by",
        "`recae compare --leaderboard evaluation/results`.",
        "",
    ]
    kept = read_all(folder)
    place_of = {id(results): path.parent.relative_to(folder).as_posix() for path, results in kept}
    for block in sorted(blocks([results for _, results in kept]), key=lambda block: block.split):
        links = ", ".join(
            f"[{result.protocol.name}]({place_of[id(result)]}/results.md)" for result in block.results
        )
        lines += [f"## {block.split}", "", f"From {links}.", "", *_table(block), ""]
    return "\n".join(lines)


def _table(block: Block) -> Iterator[str]:
    metrics = block.metrics
    yield "| model | " + "".join(f"{spec} | " for spec in metrics) + "seeds |"
    yield "|---|" + "---:|" * (len(metrics) + 1)
    rows = block.models
    if metrics:
        first = metrics[0]
        rows = tuple(sorted(rows, key=lambda row: _order(row, first)))
    for row in rows:
        cells = "".join(f"{_marked(row, spec, block.models)} | " for spec in metrics)
        yield f"| {cell(row.title)} | {cells}{len(row.seeds) or 1} |"


def _order(row: ModelResult, spec: MetricSpec) -> float:
    value = row.test[str(spec)].value
    return value if spec.definition.better == "lower" else -value


def _marked(row: ModelResult, spec: MetricSpec, rows: Sequence[ModelResult]) -> str:
    shown = value_of(row, spec)
    values = [each.test[str(spec)].value for each in rows]
    better = spec.definition.better
    best = (
        better and len(rows) > 1 and row.test[str(spec)].value == (max if better == "higher" else min)(values)
    )
    deviation = row.test[str(spec)].deviation
    return (f"**{shown}**" if best else shown) + ("" if deviation is None else f" ± {deviation:.{DIGITS}f}")
