"""Protocol in, results out: every model is fitted to the same split, chosen on validation, tested once with each seed."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recae
from recae.data.catalogue import Catalogue
from recae.data.splits import Split
from recae.errors import ConfigError, EvaluationError
from recae.evaluation.contenders import contenders_of, refuse_dishonest, refuse_other_order, refuse_strangers
from recae.evaluation.datasets import load_catalogue, load_split, sha256_of
from recae.evaluation.examples import examples_of, mentioned
from recae.evaluation.facts import facts_of
from recae.evaluation.journal import Header, Journal, names_of
from recae.evaluation.leakage import refuse_leaks
from recae.evaluation.outsiders import Outsider, ScoreTable, kind_of, outsider
from recae.evaluation.protocol import Protocol, load_protocol, protocol_of
from recae.evaluation.records import DataFacts, Segment
from recae.evaluation.results import Results, significance_of
from recae.evaluation.rows import Row, evaluated, given, tested_again
from recae.evaluation.segments import columns_of, segments_of, user_groups
from recae.evaluation.shelf import Shelf
from recae.evaluation.specs import MetricSpec
from recae.evaluation.task import Task, judged_users
from recae.machine import code_sha256, gpus, processor
from recae.models.base import Model
from recae.progress import bar

LIBRARIES = ("numpy", "scipy", "torch", "implicit")


def evaluate(
    protocol: Protocol | str | os.PathLike[str],
    *,
    show_progress: bool = True,
    command: str | None = None,
    unfinished: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Results:
    """Fit, choose and test every model of a protocol.

    Each combination of searched settings is fitted to train and judged on validation by the selecting metric;
    of equally good ones the first listed is taken. Only what was chosen meets the test part, once.

    With several seeds the first one chooses. With each further one the chosen settings are fitted and tested once
    more, on a split drawn anew if the split is random; what does not depend on chance is tested once only.

    Args:
        protocol: a protocol, or the path of its file.
        show_progress: show a bar where stderr is a terminal.
        command: recorded as what repeats the run; made from the path if not given.
        unfinished: a file that keeps each test from the moment it is done, in a folder that is there. If an evaluation
            that was stopped left it, and nothing has changed since, what is there is not done again. Remove it when the
            results are written.
        say: told in a line what was tested, and what was taken over.

    Raises:
        ConfigError: if the protocol, a model's name or a setting cannot be used.
        DataError: if the data cannot be read or split that way.
        EvaluationError: if the protocol cannot give an honest number for one of its models, or another process evaluates
            into the same file; before any fitting.
        FitError: if a model could not be fitted with any of its settings.
    """
    if not isinstance(protocol, Protocol):
        command = command or f"recae evaluate {_shown(Path(protocol))}"
        protocol = load_protocol(protocol)
    run = Run.begun(protocol, command or "recae.evaluation.evaluate(protocol)")
    contenders = [contenders_of(protocol, section) for section in protocol.models]
    catalogue = load_catalogue(protocol)
    task = Task(protocol, load_split(protocol), catalogue)
    for section, models in zip(protocol.models, contenders, strict=True):
        if models:
            refuse_dishonest(protocol, task.split, section, models)
    outsiders = _outsiders(protocol, task.split)

    facts, further_hashes, first = facts_of(protocol, task.split, outsiders), [], task
    users = judged_users(task)
    columns = columns_of(protocol.segments, protocol.folder, users)  # a file that is missing shows now
    further_seeds = protocol.every_seed[1:]
    steps = sum(map(len, contenders)) + len(contenders) * (1 + len(further_seeds))  # every trial and test
    with (
        Journal(
            None if unfinished is None else Path(unfinished),
            _header(run, facts, task.split, catalogue),
            run.clock,
            say,
        ) as journal,
        Shelf(contenders, is_open=not protocol.splits_at_random) as shelf,
        bar(f"evaluating {protocol.name}", steps, show=show_progress) as running,
    ):
        rows = []
        for section, models in zip(protocol.models, contenders, strict=True):
            if section.title in outsiders:
                rows.append(given(task, section, outsiders[section.title]))
                continue
            row = journal.row(section, protocol.seed)
            if row is None:
                row = evaluated(task, section, models, shelf, running)
                journal.keep(row, row.seconds)
                say(f"{section.title}: tested after {row.seconds:,.0f} s")
            else:
                running.advance(len(models) + 1)
            rows.append(row)
        for seed in further_seeds:
            shelf.forget_seeds()
            if protocol.splits_at_random:
                task = Task(protocol, load_split(protocol, seed), catalogue)
                further_hashes.append(sha256_of(task.split))
            for row in rows:
                depends = row.is_seeded or protocol.splits_at_random
                if depends and not journal.take_again(row, seed):
                    before = row.seconds
                    tested_again(task, row, seed, shelf, running)
                    journal.keep(row, row.seconds - before)
                    say(f"{row.section.title}: tested with seed {seed} after {row.seconds - before:,.0f} s")
                running.advance()
        return _results(
            run,
            facts.model_copy(update={"more_sha256": tuple(further_hashes)}),
            first,
            rows,
            columns,
            catalogue,
            journal,
        )


def judge(
    models: Mapping[str, Any],
    split: Split,
    metrics: Sequence[str],
    *,
    name: str = "judged",
    select: str | None = None,
    catalogue: Catalogue | None = None,
) -> Results:
    """Test models that are fitted already, ours or somebody else's, on the same users; nothing is fitted or chosen.

    Args:
        models: title -> a fitted model, an object with implicit's ``recommend`` fitted to ``split.train.matrix``, a
            function from histories (n_rows, n_items) to scores, or the path of a Parquet file of user_id, item_id, score.
            On a split of sequences, what does not go by order sees ones, and is to be fitted to
            ``split_for("implicit", split).train.matrix``; a function or object with ``feedback = "sequences"`` sees the
            places.
        split: what to judge on, for example of `recae.data.splits` or `recae.evaluation.load_split`.
        metrics: such as ``"ndcg@20"``; of rankings.
        name: of the results.
        select: the metric that differences are tested on; None for the first.
        catalogue: titles and categories of the items.

    Raises:
        ConfigError: without a model or a metric, or for a metric that does not exist or a name that cannot be used.
        LeakageError: if the split gives away an answer.
        EvaluationError: if a model cannot be judged on this split, or goes by an order that the split does not have.
    """
    if not models or not metrics:
        raise ConfigError(
            "judge needs a model and a metric at least, such as {'mine': model} and ['ndcg@20']"
        )
    if any(MetricSpec.parse(metric).of_ratings for metric in [*metrics, select or metrics[0]]):
        raise EvaluationError("judge ranks; for RMSE and MAE of a model of ours evaluate a protocol")
    protocol = protocol_of(
        {
            "name": name,
            "data": {"source": split.name, "feedback": split.feedback},
            "metrics": {"report": list(metrics), "select": select or metrics[0]},
            "models": [{"name": kind_of(model), "label": title} for title, model in models.items()],
        },
        "judge",
    )
    run = Run.begun(protocol, "recae.evaluation.judge(models, split, metrics)")
    refuse_leaks(split)
    task = Task(protocol, split, catalogue)
    rows, outsiders = [], {}
    for section, model in zip(protocol.models, models.values(), strict=True):
        if isinstance(model, Model):
            refuse_other_order(model, split, section.title)
            refuse_strangers(model, split, section.title)
        else:
            outsiders[section.title] = outsider(model, split)
        rows.append(given(task, section, outsiders.get(section.title, model)))
    facts = facts_of(protocol, split, outsiders)
    with Journal(None, _header(run, facts, split, catalogue), run.clock, lambda _line: None) as journal:
        return _results(run, facts, task, rows, {}, catalogue, journal)


@dataclass(frozen=True)
class Run:
    """What was asked for, when, and of which code."""

    protocol: Protocol
    command: str
    started: datetime
    clock: float
    code: str

    @classmethod
    def begun(cls, protocol: Protocol, command: str) -> "Run":
        """Of now: by the time it ends, the files of the code may be others."""
        return cls(protocol, command, datetime.now(UTC), time.perf_counter(), code_sha256())


def _header(run: Run, facts: DataFacts, split: Split, catalogue: Catalogue | None) -> Header:
    """On what the numbers depend."""
    return Header(
        protocol=run.protocol.model_dump(mode="json"),
        data=facts.sha256,
        names=names_of(split, catalogue),
        code=run.code,
        versions={"recae": recae.__version__} | {library: version(library) for library in LIBRARIES},
        threads=torch.get_num_threads(),
        processor=processor()["name"] or None,
        gpus=tuple(gpu["name"] for gpu in gpus()),
    )


def _results(
    run: Run,
    facts: DataFacts,
    task: Task,
    rows: Sequence[Row],
    columns: Mapping[str, Sequence[Any]],
    catalogue: Catalogue | None,
    journal: Journal,
) -> Results:
    """All that was found, from the rows of the first seed's task."""
    models, metrics = tuple(row.result() for row in rows), run.protocol.metrics
    examples = examples_of(
        task.examples,
        {row.section.title: row.tests[0].lists for row in rows},
        {row.section.title: row.tests[0].predicted for row in rows},
    )
    return Results(
        protocol=run.protocol,
        command=run.command,
        started=run.started.isoformat(timespec="seconds"),
        seconds=journal.seconds,
        threads=journal.header.threads,
        processor=journal.header.processor,
        versions=journal.header.versions,
        code_sha256=run.code,
        peak_memory=journal.peak,
        data=facts,
        models=models,
        significance=significance_of(models, metrics.reported, metrics.select),
        segments=_segments(task, rows, columns),
        examples=examples,
        titles=_titles(catalogue, mentioned(examples)),
        users=judged_users(task),
    )


def _outsiders(protocol: Protocol, split: Split) -> dict[str, Outsider]:
    """Somebody else's scores that the protocol names, read before anything is fitted."""
    named = [section for section in protocol.models if section.scores is not None]
    if named and protocol.metrics.of_ratings:
        raise EvaluationError(
            f"{named[0].title} has scores, not ratings; take it out, or use ranking metrics"
        )
    if named and protocol.splits_at_random and len(protocol.every_seed) > 1:
        raise EvaluationError(
            f"{named[0].title} has scores for one split, and {len(protocol.every_seed)} seeds draw as many; name one seed"
        )
    return {section.title: ScoreTable.read(protocol.folder / str(section.scores), split) for section in named}


def _segments(task: Task, rows: Sequence[Row], columns: Mapping[str, Sequence[Any]]) -> tuple[Segment, ...]:
    per_user = {row.section.title: row.tests[0].per_user for row in rows if row.tests[0].per_user}
    if not per_user:
        return ()
    everybody = np.ones(len(task.judged), dtype=np.bool_)
    by_item = [
        segment
        for group in task.facts.popularity_groups
        for segment in segments_of(
            {"item popularity": {group: everybody}},
            {row.section.title: row.tests[0].by_item_group(group) for row in rows},
        )
    ]
    return segments_of(user_groups(task.split.test, task.judged, columns), per_user) + tuple(by_item)


def _titles(catalogue: Catalogue | None, items: Sequence[str]) -> dict[str, str]:
    if catalogue is None:
        return {}
    titles = {item: catalogue.title(item) for item in items}
    return {item: title for item, title in titles.items() if title is not None}


def _shown(path: Path) -> str:
    """The path as a reader of the results would type it in the same working folder, never an absolute one.

    A way up to the root and down again is as good as absolute and names the folders of this machine, so it is the bare
    name then.
    """
    for place in (path, path.resolve()):  # as it was written, links included, if that can be followed
        try:
            way, shared = (
                Path(os.path.relpath(place)),
                Path(os.path.commonpath([Path.cwd(), place.absolute()])),
            )
        except ValueError:  # on another drive
            continue
        is_disguised = ".." in way.parts and shared == Path(shared.anchor)
        if way.exists() and not is_disguised:
            return way.as_posix()
    return path.name
