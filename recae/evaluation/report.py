"""Results for people: what stands below the console's table, and `results.md` and `results.json` in a folder."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recae import durable
from recae.errors import ConfigError
from recae.evaluation.page import html
from recae.evaluation.pages import correction_of, shown_p
from recae.evaluation.per_user import FILE, write_per_user
from recae.evaluation.records import ModelResult, Significance
from recae.evaluation.results import Results
from recae.evaluation.sections import Settings
from recae.evaluation.specs import MetricSpec

DIGITS = 4
"""After the point: a difference of 0.0001 is far within one standard error on any public data set."""


def make_writable(folder: str | os.PathLike[str]) -> None:
    """Make a folder if needed, and try to write there.

    Raises:
        ConfigError: if results could not be written there.
    """
    target = Path(folder)
    if not str(folder).strip():
        raise ConfigError("the folder of the results has no name; name one, such as results/mine")
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target):
            pass
    except FileExistsError:
        raise ConfigError(f"{target} is a file, and the results need a folder; name another one") from None
    except OSError as error:
        raise ConfigError(
            f"the results cannot be written to {target} ({error.strerror or error}); name another folder, or make this "
            "one writable"
        ) from error


def write(results: Results, folder: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
    """Write ``results.json``, ``.md`` and ``.html``, and ``per_user.parquet``, into a folder, which is made if needed.

    The Parquet file holds the value of every judged user; without such values there is none. Each file is replaced in
    one step: a crash leaves the old one or the new one, never half of one.

    Returns:
        The paths of the first three, JSON first.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    as_json, as_markdown, page = (target / f"results.{kind}" for kind in ("json", "md", "html"))
    durable.write_file(as_json, results.model_dump_json(indent=2) + "\n")
    durable.write_file(as_markdown, markdown(results))
    durable.write_file(page, html(results))
    per_user = {model.title: model.per_user for model in results.models}
    if results.users and all(per_user.values()):
        write_per_user(results.users, per_user, target / FILE, run=results.run)
    else:
        (target / FILE).unlink(missing_ok=True)  # of an earlier run: not of these results
    return as_json, as_markdown, page


def legend(results: Results) -> Iterator[str]:
    """What stands below the table, a line each: the data, what was chosen, what the metrics are."""
    yield _data_line(results)
    yield from results.notices
    for model in results.models:
        if len(model.trials) > 1:
            tried = f"best of {len(model.trials)} on validation, {model.seconds:.0f} s"
            yield f"{model.title}: {_settings(model.chosen)} ({tried})"
        if model.measured:
            yield f"{model.title}: {_measured(model)}"
    if results.has_several_seeds:
        yield "±: standard deviation over the seeds"
    for name, text in results.definitions().items():
        yield f"{name}: {text}"


def markdown(results: Results) -> str:
    """The results as one Markdown document: numbers, what they mean, and how to get them again."""
    lines = [f"# {results.protocol.name}", ""]
    if results.protocol.about:
        lines += [results.protocol.about.strip(), ""]
    lines += [*_markdown_table(results), ""]
    meaning = _meaning_of_plus_minus(results)
    lines += [meaning, ""] if meaning else []
    if results.significance is not None:
        lines += significance_lines(results.significance, several_seeds=results.has_several_seeds)
    else:
        lines += _why_untested(results)
    lines += ["## Repeat it", "", f"    {results.command}", ""]
    lines += [
        f"{_seeds(results.protocol.every_seed)}, {results.threads} thread(s){_processor(results)}, {results.seconds:.0f} s on {results.started[:10]}; "
        + ", ".join(f"{library} {version}" for library, version in results.versions.items())
        + "."
        + _code_and_memory(results),
        "",
    ]
    lines += ["## Data", "", _data_line(results), ""]
    lines += [f"- {notice}" for notice in results.notices]
    lines += [f"- sha256 of the matrices: `{results.data.sha256}`"]
    lines += [f"- and with a further seed: `{sha256}`" for sha256 in results.data.more_sha256]
    lines += [""]
    lines += ["## Metrics", ""]
    lines += [f"- **{name}**: {text}" for name, text in results.definitions().items()]
    lines += ["", "## Settings", ""]
    for model in results.models:
        found = f"; measured: {_measured(model)}" if model.measured else ""
        lines += [f"- **{model.title}** ({model.name}): {_settings(model.settings) or 'none'}{found}"]
    lines += [*_tried(results), ""]
    return "\n".join(lines)


def _markdown_table(results: Results) -> Iterator[str]:
    yield "| model | " + " | ".join(map(str, results.metrics)) + " | chosen on validation | seconds |"
    yield "|---|" + "---:|" * len(results.metrics) + "---|---:|"
    for model in results.models:
        cells = []
        for spec in results.metrics:
            value, error = value_of(model, spec), model.test[str(spec)].standard_error
            marked = f"**{value}**" if model.title in results.best(spec) else value
            if model.seeds:
                cells.append(f"{marked}{deviation_of(model, spec)} ({len(model.seeds)} seeds)")
            else:
                cells.append(marked if error is None else f"{marked} ± {error:.{DIGITS}f}")
        chosen = cell(_settings(model.chosen)) or "-"
        yield f"| {cell(model.title)} | " + " | ".join(cells) + f" | {chosen} | {model.seconds:.1f} |"


def significance_lines(found: Significance, *, several_seeds: bool) -> Iterator[str]:
    """A section: every model against the best one, user by user."""
    first = ", first seed" if several_seeds else ""
    yield from (f"## Is the difference real? ({found.metric}{first})", "")
    yield f"| against {cell(found.best)} | difference | 95% interval | p | users better / worse / equal |"
    yield "|---|---:|---:|---:|---:|"
    for other in found.others:
        interval = f"{other.low:+.{DIGITS}f} to {other.high:+.{DIGITS}f}"
        users = f"{other.wins:,} / {other.losses:,} / {other.ties:,}"
        yield f"| {cell(other.title)} | {other.mean:+.{DIGITS}f} | {interval} | {shown_p(other.p)} | {users} |"
    yield ""
    yield (
        f"Over the same test users: bootstrap interval of the mean difference, not corrected; two-sided sign-flip test, p "
        f"{correction_of(found)}. p below .05: chance alone would hardly make such a difference."
    )
    yield ""


def _why_untested(results: Results) -> Iterator[str]:
    """Why a table with a best model has no test of it."""
    if len(results.models) < 2:
        return
    if results.protocol.metrics.of_ratings:
        names = " and ".join(results.definitions())
        yield f"Whether the differences are real was not tested: {names} are of all held-out ratings together, not means over users."
        yield ""
    elif not any(
        model.test[str(spec)].standard_error is not None
        for model in results.models
        for spec in results.metrics
    ):
        yield "Whether the differences are real was not tested: no metric of this table is a mean over users."
        yield ""


def _tried(results: Results) -> Iterator[str]:
    """Every combination that was tried: what a reader needs to judge how hard a model was tuned."""
    searched = [model for model in results.models if len(model.trials) > 1]
    if not searched:
        return
    first = ", first seed" if results.has_several_seeds else ""
    yield from ("", f"## Tried on validation ({results.protocol.metrics.select}{first})", "")
    yield "| model | settings | value | seconds |"
    yield "|---|---|---:|---:|"
    for model in searched:
        for trial in model.trials:
            value = f"failed: {trial.error}" if trial.value is None else f"{trial.value:.{DIGITS}f}"
            marked = f"**{value}**" if trial.settings == model.chosen else value
            yield f"| {cell(model.title)} | {cell(_settings(trial.settings))} | {cell(marked)} | {trial.seconds:.1f} |"


def _data_line(results: Results) -> str:
    data = results.data
    what = "ratings" if results.protocol.metrics.of_ratings else "items"
    validation = (
        f"chosen on {data.n_validation_users:,} users with {data.n_validation_targets:,} held-out {what}"
        if data.n_validation_users
        else "nothing to choose on"
    )
    among = "" if data.n_candidates is None else f" among {data.n_candidates:,} given candidates each"
    left_out = f", {data.n_left_out:,} left out as nothing of theirs is held out" if data.n_left_out else ""
    return (
        f"{data.split}: {data.n_train:,} interactions of {data.n_users:,} users with {data.n_items:,} items to learn from; "
        f"{validation}; tested on {data.n_test_users:,} users with {data.n_test_targets:,} held-out {what}{among}{left_out}."
    )


def cell(text: str) -> str:
    """A text as a cell of a Markdown table: a bar would end it, and a new line the row."""
    return " ".join(text.replace("|", "\\|").split())


def value_of(model: ModelResult, spec: MetricSpec) -> str:
    """A metric of a row as every table shows it."""
    return f"{model.test[str(spec)].value:.{DIGITS}f}"


def deviation_of(model: ModelResult, spec: MetricSpec, before: str = " ") -> str:
    """`` ± 0.0012`` for a model with several seeds, nothing for another."""
    deviation = model.test[str(spec)].deviation
    return "" if deviation is None else f"{before}± {deviation:.{DIGITS}f}"


def _processor(results: Results) -> str:
    return "" if results.processor is None else f" of {results.processor}"


def _code_and_memory(results: Results) -> str:
    memory = "" if results.peak_memory is None else f" Peak memory {results.peak_memory / 2**20:,.0f} MiB."
    return memory + ("" if results.code_sha256 is None else f" Code `{results.code_sha256[:12]}`.")


def _meaning_of_plus_minus(results: Results) -> str:
    over_users = (
        "" if results.protocol.metrics.of_ratings else "the standard error of the mean over test users"
    )
    over_seeds = "the standard deviation over seeds" if results.has_several_seeds else ""
    if over_users and over_seeds:
        return f"± is {over_seeds} where seeds are counted beside it, and {over_users} elsewhere."
    return f"± is {over_users or over_seeds}." if over_users or over_seeds else ""


def _seeds(seeds: tuple[int, ...]) -> str:
    return f"Seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"Seed {seeds[0]}"


def _measured(model: ModelResult) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in model.measured.items())


def _settings(settings: Settings) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())
