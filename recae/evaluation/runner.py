"""Protocol in, results out: every model is fitted to the same split, chosen on validation, and tested once."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

import recae
from recae.data.splits import Holdout, Split
from recae.errors import EvaluationError, FitError, name_some
from recae.evaluation.datasets import load_split, refitting_split, sha256_of, split_for
from recae.evaluation.metrics import self_information
from recae.evaluation.protocol import Protocol, load_protocol
from recae.evaluation.results import DataFacts, ModelResult, Results, Trial, measured
from recae.evaluation.scoring import Score, score_rankings, score_ratings, users_with_targets
from recae.evaluation.sections import ModelSection, Settings
from recae.evaluation.specs import MetricSpec
from recae.models import registry
from recae.models.base import Model
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
    contenders = [_contenders(section, protocol.seed) for section in protocol.models]
    split = load_split(protocol)
    for section, models in zip(protocol.models, contenders, strict=True):
        _refuse_dishonest(protocol, split, section, models[0].unfitted, len(models))

    task = _Task(protocol, split)
    steps = sum(map(len, contenders)) + len(contenders)  # every trial, and one test a model
    with bar(f"evaluating {protocol.name}", steps, show=show_progress) as running:
        rows = [
            _evaluated(task, section, models, running)
            for section, models in zip(protocol.models, contenders, strict=True)
        ]
    return Results(
        protocol=protocol,
        command=command or "recae.evaluation.evaluate(protocol)",
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - clock,
        threads=torch.get_num_threads(),
        versions={"recae": recae.__version__} | {library: version(library) for library in LIBRARIES},
        data=_facts(split),
        models=tuple(rows),
    )


@dataclass(frozen=True)
class _Contender:
    """One combination of settings, and the unfitted model with them."""

    searched: Settings
    unfitted: Model

    def model(self) -> Model:
        """A new model with these settings: a fitted one is kept only while it is the best."""
        return type(self.unfitted)(self.unfitted.config)


class _Task:
    """What the models of a protocol share: the split, and how a fitted model is judged on it."""

    def __init__(self, protocol: Protocol, split: Split) -> None:
        self.split = split
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


def _evaluated(
    task: _Task, section: ModelSection, contenders: Sequence[_Contender], running: Bar
) -> ModelResult:
    """Try every contender on validation, test the best one."""
    started = time.perf_counter()
    trials: list[Trial] = []
    best: tuple[_Contender, Model, float | None] | None = None
    model: Model | None = None  # of the trial before: some settings can be changed without fitting again
    for number, contender in enumerate(contenders, start=1):
        label = f"{section.title} {number}/{len(contenders)}" if len(contenders) > 1 else section.title
        model, trial = _tried(task, contender, model, label, running)
        trials.append(trial)
        running.advance()
        if model is not None and (best is None or task.prefers(trial.value, best[2])):
            best = contender, model, trial.value
    if best is None:
        raise FitError(f"{section.title} could not be fitted with any of its settings: {trials[0].error}")

    chosen, model, _ = best
    test = task.split_for(model).test
    if section.refit:
        model, test = _refitted(task, model)
    running.note(f"{section.title}: test")
    scores = task.scores(model, test, task.metrics.reported)
    running.advance()
    return ModelResult(
        title=section.title,
        name=section.name,
        settings=model.config.model_dump(mode="json"),
        chosen=chosen.searched,
        trials=tuple(trials),
        test=measured(scores),
        seconds=time.perf_counter() - started,
        per_user={text: score.per_user for text, score in scores.items() if score.per_user is not None},
    )


def _tried(
    task: _Task, contender: _Contender, before: Model | None, label: str, running: Bar
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


def _refitted(task: _Task, chosen: Model) -> tuple[Model, Holdout]:
    """The chosen settings, learned from train and validation for the epochs that validation found best."""
    together, test = refitting_split(task.split)
    return with_best_epochs(chosen).fit(together, show_progress=False), test


def _contenders(section: ModelSection, seed: int) -> list[_Contender]:
    """An unfitted model for every combination: a wrong name or setting shows here, before any work."""
    seeded = "seed" in registry.config_class(section.name).model_fields
    defaults: Settings = {"seed": seed} if seeded else {}
    return [
        _Contender(searched, registry.create(section.name, **defaults | section.settings | searched))
        for searched in section.combinations()
    ]


def _refuse_dishonest(
    protocol: Protocol, split: Split, section: ModelSection, model: Model, n_contenders: int
) -> None:
    if protocol.metrics.of_ratings and model.feedback != "ratings":
        raise EvaluationError(
            f"{section.title} gives scores, not ratings, so it has no {protocol.metrics.report[0]}; "
            "take it out of this protocol, or use ranking metrics"
        )
    if model.feedback not in {"implicit", protocol.data.feedback}:
        has = {
            "implicit": "counts every interaction as 1",
            "ratings": "is of ratings",
            "sequences": "is of sequences",
        }
        raise EvaluationError(
            f"{section.title} learns from {model.feedback}, but this protocol {has[protocol.data.feedback]}; "
            f"set data.feedback = '{model.feedback}', or take it out"
        )
    if split.validation is None and n_contenders > 1:
        raise EvaluationError(
            f"{section.title} has {n_contenders} combinations of settings to choose from and there is no validation "
            "part; hold one out, or fix the settings: they are never chosen on test"
        )
    if split.validation is None and section.refit:
        raise EvaluationError(
            f"{section.title} is to be refitted with what validation found best, and there is no validation part; "
            "hold one out, or leave refit out"
        )
    if not model.supports_fold_in:
        strangers = [user for user in split.test.users.ids if user not in split.train.users]
        if strangers:
            raise EvaluationError(
                f"{section.title} cannot score users it was not trained on, and {len(strangers):,} test users are "
                f"held out ({name_some(strangers, 3)}); take it out, or use a split by time or by event"
            )


def _facts(split: Split) -> DataFacts:
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
        notes=dict(split.notes),
        sha256=sha256_of(split),
    )


def _shown(path: Path) -> str:
    """The path as a reader of the results would type it: relative to the working folder, or the bare name."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name
