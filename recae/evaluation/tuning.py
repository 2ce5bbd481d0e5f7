"""Search a model's settings with Optuna, on validation alone: the test part is taken out before anything starts.

The study lies in a SQLite file, so that a killed search goes on where it stopped, and several processes can share it.
Optuna is the extra ``tune``; nothing else of recae imports it.
"""

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recae import durable
from recae.errors import ConfigError, EvaluationError, FitError
from recae.evaluation.contenders import contenders_of, refuse_dishonest
from recae.evaluation.datasets import load_catalogue, load_split, sha256_of
from recae.evaluation.search import Attempt, Search, Tuned
from recae.evaluation.task import Task
from recae.models import registry
from recae.models.search_spaces import Range
from recae.progress import bar
from recae.threads import available_cores, limit_threads

if TYPE_CHECKING:
    import optuna

    from recae.evaluation.sections import Settings

STUDY = "study.db"
"""Its file in the output folder."""
LOCK, TURN = ".lock", ".turn"
"""Files there, held by the search that goes on in the folder, and by the one of its workers that takes a trial."""
STARTUP_TRIALS, WARMUP_EPOCHS = 5, 3
"""Before so many trials, and so many epochs of one, none is pruned."""


def tune(search: Search, *, show_progress: bool = True) -> Tuned:
    """Search until the number of trials or the time is reached, whichever comes first, and say what was best.

    Every trial is fitted to train and judged on validation by the metric that selects, through the code that serves. The
    first is the model as it stands in the protocol; of its settings, those that lie outside their space are drawn. Models
    that train by epochs are given up when, after an epoch, they are below the median of the trials so far; a combination
    that cannot be fitted is recorded with its reason. With one worker, the same seed gives the same trials, in one run
    or in several, killed ones among them.

    Args:
        search: what, where, and how long.
        show_progress: show a bar with the best value so far, where stderr is a terminal.

    Raises:
        ConfigError: if the model or its space cannot be searched, or Optuna is not installed.
        EvaluationError: without a validation part; if the folder holds another study, or another process searches
            there; or if no trial ran to its end.
    """
    optuna = _optuna()
    search.space()
    if search.trials is None and search.seconds is None:
        raise ConfigError("a search needs an end: give a number of trials, or a time")
    search.folder.mkdir(parents=True, exist_ok=True)
    with _alone(search.folder):
        task = _task(search)
        study = _study(search, optuna)
        _check_same(study, _fingerprint(search, task), search.folder)
        _revive(search, study, optuna)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(_as_it_stands(search))
        deadline = None if search.seconds is None else time.time() + search.seconds
        if search.workers == 1:
            limit_threads(search.threads)
            with bar(f"tuning {search.title}", search.trials, show=show_progress) as running:
                _work(search, task, study, optuna, deadline, running.advance, running.note)
        else:
            _share(search, study, deadline, show_progress=show_progress)
        return _outcome(search, study, optuna)


def _share(search: Search, study: "optuna.Study", deadline: float | None, *, show_progress: bool) -> None:
    """Let several processes work on the study, each with its part of the threads."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_worker, args=(search, deadline)) for _ in range(search.workers)]
    for worker in workers:
        worker.start()
    try:
        with bar(f"tuning {search.title}", search.trials, show=show_progress) as running:
            seen = 0
            while any(worker.is_alive() for worker in workers):
                for worker in workers:
                    worker.join(0.2)
                done = len(_finished(study))
                running.advance(done - seen)
                seen = done
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.join()
    broken = [worker.exitcode for worker in workers if worker.exitcode]
    if broken:
        raise EvaluationError(
            f"{len(broken)} of {search.workers} workers ended with {broken}; the same command goes on from the study"
        )


def _worker(search: Search, deadline: float | None) -> None:
    optuna = _optuna()
    limit_threads(_threads_each(search))
    study = _study(search, optuna)
    _work(search, _task(search), study, optuna, deadline, lambda: None, lambda _text: None)


def _threads_each(search: Search) -> int:
    """Threads of one worker."""
    return max(1, (search.threads or available_cores()) // search.workers)


def _work(
    search: Search,
    task: Task,
    study: "optuna.Study",
    optuna: Any,
    deadline: float | None,
    advance: Callable[[], None],
    note: Callable[[str], None],
) -> None:
    """Take trials until the end."""
    while (trial := _next_trial(search, study, optuna, deadline)) is not None:
        started = time.perf_counter()
        error, value, state = None, None, optuna.trial.TrialState.COMPLETE
        try:
            value = _tried(search, task, trial, optuna, study.direction)
        except optuna.TrialPruned:
            state = optuna.trial.TrialState.PRUNED
        except (FitError, ConfigError, MemoryError) as failure:
            state, error = optuna.trial.TrialState.FAIL, str(failure)
        trial.set_user_attr("seconds", time.perf_counter() - started)
        if error is not None:
            trial.set_user_attr("error", error)
        study.tell(trial, value, state=state)
        advance()
        complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        if complete:
            note(f"best {search.protocol.metrics.select} {study.best_value:.4f}")


def _asked(search: Search, study: "optuna.Study", optuna: Any) -> Any:
    """A new trial, whose settings are drawn by the seed and its place among those that count.

    One generator for all trials would begin anew with every process, and draw the first settings again when a search
    goes on.
    """
    trial = study.ask()  # it has a number now; what the sampler says is not asked before _suggested
    before = (each for each in study.get_trials(deepcopy=False) if each.number < trial.number)
    place = sum("interrupted" not in each.user_attrs for each in before)
    (state,) = np.random.SeedSequence([search.protocol.seed, place]).generate_state(1).tolist()
    study.sampler = optuna.samplers.TPESampler(seed=state)
    return trial


def _tried(search: Search, task: Task, trial: Any, optuna: Any, direction: Any) -> float:
    """Value of one combination on validation."""
    section = search.section
    settings = {name: _suggested(trial, name, space) for name, space in search.space().items()}
    seeded = "seed" in registry.config_class(section.name).model_fields
    seed: Settings = {"seed": search.protocol.seed} if seeded else {}
    model = registry.create(section.name, **seed | section.settings | settings)
    sign = 1.0 if direction == optuna.study.StudyDirection.MAXIMIZE else -1.0

    def watch(epoch: int, value: float) -> None:
        trial.report(sign * value, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    split = task.split_for(model)
    model.fit(split.train.matrix, show_progress=False, validation=split.validation, watch=watch)
    value = task.validation_value(model)
    if value is None:
        raise EvaluationError("there is no validation part to choose on; hold one out")
    return value


def _suggested(trial: Any, name: str, space: Range | list[Any]) -> Any:
    if isinstance(space, Range):
        low, high = space.ends()
        suggest = trial.suggest_int if space.whole else trial.suggest_float
        return suggest(name, low, high, log=space.log)
    return trial.suggest_categorical(name, space)


def _as_it_stands(search: Search) -> dict[str, Any]:
    """The model's present settings, as far as its space holds them."""
    section = search.section
    config = registry.create(section.name, **section.settings).config.model_dump()
    return {
        name: config[name]
        for name, space in search.space().items()
        if (space.low <= config[name] <= space.high if isinstance(space, Range) else config[name] in space)
    }


def _next_trial(
    search: Search, study: "optuna.Study", optuna: Any, deadline: float | None
) -> "optuna.Trial | None":
    """A trial to run; None at the end. Looking at what there is and taking one more are one step: none is too many."""
    turn = search.folder / TURN
    turn.touch()
    with durable.locked(turn):
        return None if _is_over(search, study, optuna, deadline) else _asked(search, study, optuna)


def _is_over(search: Search, study: "optuna.Study", optuna: Any, deadline: float | None) -> bool:
    if deadline is not None and time.time() >= deadline and _finished(study):
        return True
    running = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING])
    return search.trials is not None and len(_finished(study)) + len(running) >= search.trials


def _finished(study: "optuna.Study") -> list[Any]:
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and "interrupted" not in trial.user_attrs
    ]


def _task(search: Search) -> Task:
    """The split without its test part: validation stands in its place, so that nothing can look at the other."""
    protocol = search.protocol
    split = load_split(protocol)
    if split.validation is None:
        raise EvaluationError("there is no validation part to choose on; hold one out")
    refuse_dishonest(protocol, split, search.section, contenders_of(protocol, search.section))
    return Task(protocol, replace(split, test=split.validation), load_catalogue(protocol))


def _study(search: Search, optuna: Any) -> "optuna.Study":
    higher = search.protocol.metrics.selecting.definition.better == "higher"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study: optuna.Study = optuna.create_study(
        storage=f"sqlite:///{search.folder / STUDY}",
        study_name="recae",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS),
        direction="maximize" if higher else "minimize",
        load_if_exists=True,
    )
    return study  # type: ignore[no-any-return] # the module is Any here, since it may be missing


def _fingerprint(search: Search, task: Task) -> str:
    """Names what the values of a study depend on."""
    protocol = search.protocol
    parts = (
        sha256_of(task.split),
        protocol.metrics.select,
        str(protocol.seed),
        search.section.name,
        repr(sorted(search.section.settings.items())),
        repr(sorted(search.space().items(), key=lambda item: item[0])),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _check_same(study: "optuna.Study", fingerprint: str, folder: Path) -> None:
    earlier = study.user_attrs.get("fingerprint")
    if earlier is None:
        study.set_user_attr("fingerprint", fingerprint)
    elif earlier != fingerprint:
        raise EvaluationError(
            f"{folder / STUDY} is a study of other data, another model or another space; name another folder, or remove it"
        )


def _revive(search: Search, study: "optuna.Study", optuna: Any) -> None:
    """Take up what a killed search left half done: those settings are tried again, first of all.

    If they were drawn in part only, all but those that the trial was given are drawn again.
    """
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        optuna.trial.Trial(study, trial._trial_id).set_user_attr("interrupted", True)  # noqa: SLF001 - no other way
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        drawn = search.space().keys() <= trial.params.keys()
        settings = trial.params if drawn else trial.system_attrs.get("fixed_params")
        if settings:
            study.enqueue_trial(settings)


def _outcome(search: Search, study: "optuna.Study", optuna: Any) -> Tuned:
    names = {state: state.name.lower() for state in optuna.trial.TrialState} | {
        optuna.trial.TrialState.FAIL: "failed"
    }
    attempts = tuple(
        Attempt(
            trial.number,
            dict(trial.params),
            trial.value if trial.state == optuna.trial.TrialState.COMPLETE else None,
            names[trial.state],
            float(trial.user_attrs.get("seconds", 0.0)),
            trial.user_attrs.get("error"),
        )
        for trial in _finished(study)
    )
    complete = [attempt for attempt in attempts if attempt.value is not None]
    if not complete:
        reasons = {attempt.error for attempt in attempts if attempt.error}
        raise EvaluationError(
            f"no trial of {search.title} ran to its end: {'; '.join(sorted(reasons)) or 'none was begun'}"
        )
    importance: Mapping[str, float] = {}
    if len(complete) >= 10:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        importance = optuna.importance.get_param_importances(study, evaluator=evaluator)
    best = next(attempt for attempt in attempts if attempt.number == study.best_trial.number)
    return Tuned(search.title, search.protocol.metrics.select, best, attempts, importance)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One search a folder: what another one runs would look like what a killed one left."""
    lock = folder / LOCK
    lock.touch()
    with ExitStack() as held:
        try:
            held.enter_context(durable.locked(lock, wait=False))
        except BlockingIOError:
            raise EvaluationError(
                f"another search runs in {folder}; let it end, or name another folder (workers share one)"
            ) from None
        yield


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ConfigError("tuning needs Optuna, which is an extra: pip install 'recae[tune]'") from error
    return optuna
