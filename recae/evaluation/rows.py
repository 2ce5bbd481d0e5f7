"""One model of an evaluation: every combination tried on validation, the chosen one tested with each seed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from recae.errors import FitError
from recae.evaluation.contenders import Contender
from recae.evaluation.datasets import refitting_split
from recae.evaluation.outsiders import Outsider
from recae.evaluation.records import Learning, ModelResult, Trial
from recae.evaluation.results import measured
from recae.evaluation.sections import ModelSection, Settings
from recae.evaluation.shelf import Shelf
from recae.evaluation.task import Task, Tested
from recae.models import registry
from recae.models.base import Model
from recae.models.config import ModelConfig
from recae.models.fitting import with_best_epochs
from recae.progress import Bar


@dataclass
class Row:
    """One model of the table on its way: what validation chose, and the tests so far."""

    section: ModelSection
    config: ModelConfig | None
    """Of the model that met the test part first, its number of epochs included if it was refitted; None for somebody
    else's, whose settings are not known."""
    searched: Settings
    trials: list[Trial]
    seeds: list[int]
    tests: list[Tested]
    seconds: float
    learning: Learning | None = None

    @property
    def is_seeded(self) -> bool:
        """Whether the protocol's seed makes a difference to the model."""
        if self.config is None:
            return False
        fixed = {*self.section.settings, *self.section.search}
        return "seed" in type(self.config).model_fields and "seed" not in fixed

    def unfitted(self, seed: int) -> Model:
        """A new model with the settings that were chosen, and another seed."""
        if self.config is None:
            raise TypeError(f"{self.section.title} is no model of ours, and cannot be fitted")
        update = {"seed": seed} if self.is_seeded else {}
        return registry.model_class(self.section.name)(self.config.model_copy(update=update))

    def result(self) -> ModelResult:
        first = self.tests[0]
        return ModelResult(
            title=self.section.title,
            name=self.section.name,
            settings={} if self.config is None else self.config.model_dump(mode="json"),
            chosen=self.searched,
            trials=tuple(self.trials),
            test=measured([test.scores for test in self.tests]),
            seeds=tuple(self.seeds) if len(self.seeds) > 1 else (),
            seconds=self.seconds,
            curves={name: dict(values) for name, values in first.curves.items()},
            learning=self.learning,
            measured=dict(first.measured),
            per_user=first.per_user,
        )


def given(task: Task, section: ModelSection, model: Outsider | Model) -> Row:
    """Test what was fitted elsewhere: nothing is chosen here."""
    started = time.perf_counter()
    test = task.tested(model)
    config = model.config if isinstance(model, Model) else None
    seconds = time.perf_counter() - started
    trial = Trial(settings={}, value=task.validation_value(model), seconds=seconds)
    return Row(section, config, {}, [trial], [task.seed], [test], seconds)


def evaluated(
    task: Task, section: ModelSection, contenders: Sequence[Contender], shelf: Shelf, running: Bar
) -> Row:
    """Try every contender on validation, test the best one."""
    started = time.perf_counter() + shelf.spared_s
    if section.refit == "only":
        running.advance()
        return _only_refitted(task, section, contenders[0].model(), running)
    trials: list[Trial] = []
    best: tuple[Contender, Model, float | None] | None = None  # its model is unfitted if it will be refitted
    learning: Learning | None = None
    model: Model | None = None  # of the trial before: some settings can be changed without fitting again
    for number, contender in enumerate(contenders, start=1):
        label = f"{section.title} {number}/{len(contenders)}" if len(contenders) > 1 else section.title
        model, trial = _tried(task, contender, model, shelf, label, running)
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
    seconds = time.perf_counter() + shelf.spared_s - started
    return Row(section, model.config, chosen.searched, trials, [task.seed], [test], seconds, learning)


def tested_again(task: Task, row: Row, seed: int, shelf: Shelf, running: Bar) -> None:
    """Fit what was chosen with another seed, and test it: no model of an earlier seed is in memory any more."""
    started = time.perf_counter() + shelf.spared_s
    running.note(f"{row.section.title}: seed {seed}")
    model = row.unfitted(seed)
    try:
        if row.section.refit:
            test = _refitted_and_tested(task, model)
        else:
            test = task.tested(shelf.fitted(model, task.split_for(model)))
    except FitError as error:
        raise FitError(f"{row.section.title} could not be fitted with seed {seed}: {error}") from error
    row.seeds.append(seed)
    row.tests.append(test)
    row.seconds += time.perf_counter() + shelf.spared_s - started


def _only_refitted(task: Task, section: ModelSection, unfitted: Model, running: Bar) -> Row:
    """Test settings that were chosen before."""
    started = time.perf_counter()
    running.note(section.title)
    test = _refitted_and_tested(task, unfitted)
    running.advance()
    trial = Trial(settings={}, value=None, seconds=time.perf_counter() - started)
    return Row(section, unfitted.config, {}, [trial], [task.seed], [test], trial.seconds)


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
    task: Task, contender: Contender, before: Model | None, shelf: Shelf, label: str, running: Bar
) -> tuple[Model | None, Trial]:
    """Fit the contender to train, or retune the fitted model of the trial before, and judge it on validation."""
    started = time.perf_counter() + shelf.spared_s
    running.note(label)

    def moved(epoch: int, _seconds: float, loss: float | None) -> None:
        running.note(label if loss is None else f"{label}: epoch {epoch + 1}, loss {loss:.4g}")

    value, failure = None, None
    model = before and before.retuned(contender.unfitted.config)
    del before  # its weights are not held while others are computed
    try:
        if model is None:
            model = shelf.fitted(contender.model(), task.split_for(contender.unfitted), moved)
        else:
            shelf.keep(model)
        value = task.validation_value(model)
    except FitError as error:  # one diverged combination is no reason to lose the others
        model, failure = None, str(error)
    seconds = time.perf_counter() + shelf.spared_s - started
    return model, Trial(settings=contender.searched, value=value, seconds=seconds, error=failure)
