"""Protocol in, results out: every model is fitted to the same split, chosen on validation, tested once with each seed."""

import os
import time
from collections.abc import Mapping, Sequence
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
from recae.errors import FitError
from recae.evaluation.contenders import Contender, contenders_of, refuse_dishonest
from recae.evaluation.datasets import load_catalogue, load_split, refitting_split, sha256_of
from recae.evaluation.examples import examples_of, mentioned
from recae.evaluation.protocol import Protocol, load_protocol
from recae.evaluation.records import DataFacts, Learning, ModelResult, Segment, Trial
from recae.evaluation.results import Results, measured, significance_of
from recae.evaluation.scoring import users_with_targets
from recae.evaluation.sections import ModelSection, Settings
from recae.evaluation.segments import columns_of, segments_of, user_groups
from recae.evaluation.task import Task, Tested, judged_users
from recae.machine import code_sha256, peak_memory
from recae.models import registry
from recae.models.base import Model, ModelConfig
from recae.models.fitting import with_best_epochs
from recae.progress import Bar, bar

LIBRARIES = ("numpy", "scipy", "torch", "implicit")


def evaluate(
    protocol: Protocol | str | os.PathLike[str], *, show_progress: bool = True, command: str | None = None
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

    Raises:
        ConfigError: if the protocol, a model's name or a setting cannot be used.
        DataError: if the data cannot be read or split that way.
        EvaluationError: if the protocol cannot give an honest number for one of its models; before any fitting.
        FitError: if a model could not be fitted with any of its settings.
    """
    if not isinstance(protocol, Protocol):
        command = command or f"recae evaluate {_shown(Path(protocol))}"
        protocol = load_protocol(protocol)
    started, clock = datetime.now(UTC), time.perf_counter()
    contenders = [contenders_of(section, protocol.seed) for section in protocol.models]
    catalogue = load_catalogue(protocol)
    task = Task(protocol, load_split(protocol), catalogue)
    for section, models in zip(protocol.models, contenders, strict=True):
        refuse_dishonest(protocol, task.split, section, models)

    facts, further_hashes, first = _facts(task.split), [], task
    users = judged_users(task)
    columns = columns_of(protocol.segments, protocol.folder, users)  # a file that is missing shows now
    further_seeds = protocol.every_seed[1:]
    steps = sum(map(len, contenders)) + len(contenders) * (1 + len(further_seeds))  # every trial and test
    with bar(f"evaluating {protocol.name}", steps, show=show_progress) as running:
        rows = [
            _evaluated(task, section, models, running)
            for section, models in zip(protocol.models, contenders, strict=True)
        ]
        for seed in further_seeds:
            if protocol.splits_at_random:
                task = Task(protocol, load_split(protocol, seed), catalogue)
                further_hashes.append(sha256_of(task.split))
            for row in rows:
                if row.is_seeded or protocol.splits_at_random:
                    _test_again(task, row, seed, running)
                running.advance()
    judged_models = tuple(row.result() for row in rows)
    examples = examples_of(
        first.examples,
        {row.section.title: row.tests[0].lists for row in rows},
        {row.section.title: row.tests[0].predicted for row in rows},
    )
    return Results(
        protocol=protocol,
        command=command or "recae.evaluation.evaluate(protocol)",
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - clock,
        threads=torch.get_num_threads(),
        versions={"recae": recae.__version__} | {library: version(library) for library in LIBRARIES},
        code_sha256=code_sha256(),
        peak_memory=peak_memory(),
        data=facts.model_copy(update={"more_sha256": tuple(further_hashes)}),
        models=judged_models,
        significance=significance_of(judged_models, protocol.metrics.reported, protocol.metrics.select),
        segments=_segments(first, rows, columns),
        examples=examples,
        titles=_titles(catalogue, mentioned(examples)),
        users=users,
    )


@dataclass
class _Row:
    """One model of the table on its way: what validation chose, and the tests so far."""

    section: ModelSection
    config: ModelConfig
    """Of the model that met the test part first, its number of epochs included if it was refitted."""
    searched: Settings
    trials: list[Trial]
    seeds: list[int]
    tests: list[Tested]
    seconds: float
    learning: Learning | None = None

    @property
    def is_seeded(self) -> bool:
        """Whether the protocol's seed makes a difference to the model."""
        fixed = {*self.section.settings, *self.section.search}
        return "seed" in type(self.config).model_fields and "seed" not in fixed

    def unfitted(self, seed: int) -> Model:
        """A new model with the settings that were chosen, and another seed."""
        update = {"seed": seed} if self.is_seeded else {}
        return registry.model_class(self.section.name)(self.config.model_copy(update=update))

    def result(self) -> ModelResult:
        first = self.tests[0]
        return ModelResult(
            title=self.section.title,
            name=self.section.name,
            settings=self.config.model_dump(mode="json"),
            chosen=self.searched,
            trials=tuple(self.trials),
            test=measured([test.scores for test in self.tests]),
            seeds=tuple(self.seeds) if len(self.seeds) > 1 else (),
            seconds=self.seconds,
            curves={name: dict(values) for name, values in first.curves.items()},
            learning=self.learning,
            per_user=first.per_user,
        )


def _evaluated(task: Task, section: ModelSection, contenders: Sequence[Contender], running: Bar) -> _Row:
    """Try every contender on validation, test the best one."""
    started = time.perf_counter()
    trials: list[Trial] = []
    best: tuple[Contender, Model, float | None] | None = None  # its model is unfitted if it will be refitted
    learning: Learning | None = None
    model: Model | None = None  # of the trial before: some settings can be changed without fitting again
    for number, contender in enumerate(contenders, start=1):
        label = f"{section.title} {number}/{len(contenders)}" if len(contenders) > 1 else section.title
        model, trial = _tried(task, contender, model, label, running)
        trials.append(trial)
        running.advance()
        if model is not None and (best is None or task.prefers(trial.value, best[2])):
            best = contender, with_best_epochs(model) if section.refit else model, trial.value
            learning = _learning(model)
    if best is None:
        raise FitError(f"{section.title} could not be fitted with any of its settings: {trials[0].error}")

    chosen, model, _ = best
    running.note(f"{section.title}: test")
    test = _refitted_and_tested(task, model) if section.refit else task.tested(model)
    running.advance()
    seconds = time.perf_counter() - started
    return _Row(section, model.config, chosen.searched, trials, [task.seed], [test], seconds, learning)


def _test_again(task: Task, row: _Row, seed: int, running: Bar) -> None:
    """Fit what was chosen with another seed, and test it: no model of an earlier seed is in memory any more."""
    started = time.perf_counter()
    running.note(f"{row.section.title}: seed {seed}")
    model = row.unfitted(seed)
    try:
        if row.section.refit:
            test = _refitted_and_tested(task, model)
        else:
            split = task.split_for(model)
            model.fit(split.train.matrix, show_progress=False, validation=split.validation)
            test = task.tested(model)
    except FitError as error:
        raise FitError(f"{row.section.title} could not be fitted with seed {seed}: {error}") from error
    row.seeds.append(seed)
    row.tests.append(test)
    row.seconds += time.perf_counter() - started


def _refitted_and_tested(task: Task, unfitted: Model) -> Tested:
    """The chosen settings, learned from train and validation for the epochs that validation found best."""
    together, test = refitting_split(task.split_for(unfitted), unfitted.feedback)
    return task.tested(unfitted.fit(together, show_progress=False), test)


def _learning(fitted: Model) -> Learning | None:
    log = getattr(fitted, "training_log_", None)
    if not log or "losses" not in log:
        return None
    return Learning(losses=tuple(log["losses"]), values=tuple(log["values"]), best_epoch=log["best_epoch"])


def _tried(
    task: Task, contender: Contender, before: Model | None, label: str, running: Bar
) -> tuple[Model | None, Trial]:
    """Fit the contender to train, or retune the fitted model of the trial before, and judge it on validation."""
    started = time.perf_counter()
    running.note(label)

    def moved(epoch: int, _seconds: float, loss: float | None) -> None:
        running.note(label if loss is None else f"{label}: epoch {epoch + 1}, loss {loss:.4g}")

    value, failure = None, None
    model = before and before.retuned(contender.unfitted.config)
    del before  # its weights are not held while others are computed
    try:
        if model is None:
            model, split = contender.model(), task.split_for(contender.unfitted)
            model.fit(split.train.matrix, show_progress=False, callback=moved, validation=split.validation)
        value = task.validation_value(model)
    except FitError as error:  # one diverged combination is no reason to lose the others
        model, failure = None, str(error)
    seconds = time.perf_counter() - started
    return model, Trial(settings=contender.searched, value=value, seconds=seconds, error=failure)


def _facts(split: Split) -> DataFacts:
    candidates = split.test.candidates
    validation, judged = split.validation, len(users_with_targets(split.test))
    return DataFacts(
        split=split.name,
        n_users=split.train.n_users,
        n_items=split.train.n_items,
        n_train=len(split.train),
        n_validation_users=0 if validation is None else len(users_with_targets(validation)),
        n_validation_targets=0 if validation is None else int(validation.targets.nnz),
        n_test_users=judged,
        n_test_targets=int(split.test.targets.nnz),
        n_left_out=split.test.targets.shape[0] - judged,
        n_candidates=None if candidates is None else int(np.diff(candidates.indptr).max()),
        notes=dict(split.notes),
        sha256=sha256_of(split),
    )


def _segments(task: Task, rows: Sequence[_Row], columns: Mapping[str, Sequence[Any]]) -> tuple[Segment, ...]:
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
    """The path as a reader of the results would type it: relative to the working folder, or the bare name."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name
