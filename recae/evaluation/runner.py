"""Protocol in, results out: every model is fitted to the same split, chosen on validation, tested once with each seed."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import recae
from recae.data.splits import Holdout, Split
from recae.errors import FitError
from recae.evaluation.contenders import Contender, contenders_of, refuse_dishonest
from recae.evaluation.datasets import load_split, refitting_split, sha256_of, split_for
from recae.evaluation.metrics import self_information
from recae.evaluation.protocol import Protocol, load_protocol
from recae.evaluation.results import DataFacts, ModelResult, Results, Trial, measured, significance_of
from recae.evaluation.scoring import Score, score_rankings, score_ratings, users_with_targets
from recae.evaluation.sections import ModelSection, Settings
from recae.evaluation.specs import MetricSpec
from recae.machine import code_sha256, peak_memory
from recae.models import registry
from recae.models.base import Model, ModelConfig
from recae.models.fitting import with_best_epochs
from recae.progress import Bar, bar
from recae.recommender import Recommender

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
    task = _Task(protocol, load_split(protocol))
    for section, models in zip(protocol.models, contenders, strict=True):
        refuse_dishonest(protocol, task.split, section, models)

    facts, further_hashes = _facts(task.split), []
    judged = task.split.test.users.ids[users_with_targets(task.split.test)]
    further_seeds = protocol.every_seed[1:]
    steps = sum(map(len, contenders)) + len(contenders) * (1 + len(further_seeds))  # every trial and test
    with bar(f"evaluating {protocol.name}", steps, show=show_progress) as running:
        rows = [
            _evaluated(task, section, models, running)
            for section, models in zip(protocol.models, contenders, strict=True)
        ]
        for seed in further_seeds:
            if protocol.splits_at_random:
                task = _Task(protocol, load_split(protocol, seed))
                further_hashes.append(sha256_of(task.split))
            for row in rows:
                if row.is_seeded or protocol.splits_at_random:
                    _test_again(task, row, seed, running)
                running.advance()
    judged_models = tuple(row.result() for row in rows)
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
        users=tuple(map(str, judged)),
    )


class _Task:
    """What the models of a protocol share: the split, and how a fitted model is judged on it."""

    def __init__(self, protocol: Protocol, split: Split) -> None:
        self.split = split
        self.seed = protocol.seed
        self.metrics = protocol.metrics
        self._information = self_information(split.train.matrix)
        is_ordered = protocol.data.feedback == "sequences"
        self._unordered = split_for("implicit", split) if is_ordered else None

    def split_for(self, model: Model) -> Split:
        """The split as the model is to see it: what does not go by order sees ones in place of places."""
        if self._unordered is not None and model.feedback != "sequences":
            return self._unordered
        return self.split

    def scores(self, model: Model, holdout: Holdout, specs: Sequence[MetricSpec]) -> dict[str, Score]:
        """Score of each metric on the holdout, through the code that serves."""
        if self.metrics.of_ratings:
            return score_ratings(model, holdout, specs)
        recommender = Recommender(model, self.split.train.items)
        return score_rankings(recommender, holdout, specs, self._information)

    def validation_value(self, model: Model) -> float | None:
        """The number that chooses; None without a validation part."""
        validation = self.split_for(model).validation
        if validation is None:
            return None
        spec = self.metrics.selecting
        return self.scores(model, validation, [spec])[str(spec)].value

    def prefers(self, value: float | None, than: float | None) -> bool:
        """Whether validation prefers the first value; of equal ones neither."""
        return value is not None and than is not None and self.metrics.selecting.is_better(value, than)


@dataclass
class _Row:
    """One model of the table on its way: what validation chose, and the tests so far."""

    section: ModelSection
    config: ModelConfig
    """Of the model that met the test part first, its number of epochs included if it was refitted."""
    searched: Settings
    trials: list[Trial]
    seeds: list[int]
    tests: list[dict[str, Score]]
    seconds: float

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
            test=measured(self.tests),
            seeds=tuple(self.seeds) if len(self.seeds) > 1 else (),
            seconds=self.seconds,
            per_user={text: score.per_user for text, score in first.items() if score.per_user is not None},
        )


def _evaluated(task: _Task, section: ModelSection, contenders: Sequence[Contender], running: Bar) -> _Row:
    """Try every contender on validation, test the best one."""
    started = time.perf_counter()
    trials: list[Trial] = []
    best: tuple[Contender, Model, float | None] | None = None  # its model is unfitted if it will be refitted
    model: Model | None = None  # of the trial before: some settings can be changed without fitting again
    for number, contender in enumerate(contenders, start=1):
        label = f"{section.title} {number}/{len(contenders)}" if len(contenders) > 1 else section.title
        model, trial = _tried(task, contender, model, label, running)
        trials.append(trial)
        running.advance()
        if model is not None and (best is None or task.prefers(trial.value, best[2])):
            best = contender, with_best_epochs(model) if section.refit else model, trial.value
    if best is None:
        raise FitError(f"{section.title} could not be fitted with any of its settings: {trials[0].error}")

    chosen, model, _ = best
    running.note(f"{section.title}: test")
    scores = _refitted_scores(task, model) if section.refit else _test_scores(task, model)
    running.advance()
    seconds = time.perf_counter() - started
    return _Row(section, model.config, chosen.searched, trials, [task.seed], [scores], seconds)


def _test_again(task: _Task, row: _Row, seed: int, running: Bar) -> None:
    """Fit what was chosen with another seed, and test it: no model of an earlier seed is in memory any more."""
    started = time.perf_counter()
    running.note(f"{row.section.title}: seed {seed}")
    model = row.unfitted(seed)
    try:
        if row.section.refit:
            scores = _refitted_scores(task, model)
        else:
            split = task.split_for(model)
            model.fit(split.train.matrix, show_progress=False, validation=split.validation)
            scores = _test_scores(task, model)
    except FitError as error:
        raise FitError(f"{row.section.title} could not be fitted with seed {seed}: {error}") from error
    row.seeds.append(seed)
    row.tests.append(scores)
    row.seconds += time.perf_counter() - started


def _test_scores(task: _Task, fitted: Model) -> dict[str, Score]:
    return task.scores(fitted, task.split_for(fitted).test, task.metrics.reported)


def _refitted_scores(task: _Task, unfitted: Model) -> dict[str, Score]:
    """Scores of the chosen settings, learned from train and validation for the epochs that validation found best."""
    together, test = refitting_split(task.split_for(unfitted), unfitted.feedback)
    return task.scores(unfitted.fit(together, show_progress=False), test, task.metrics.reported)


def _tried(
    task: _Task, contender: Contender, before: Model | None, label: str, running: Bar
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


def _shown(path: Path) -> str:
    """The path as a reader of the results would type it: relative to the working folder, or the bare name."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name
