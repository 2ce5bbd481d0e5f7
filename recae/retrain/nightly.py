"""A nightly run from its beginning: who may run, what is gone on with, and what happens where not even that can be written.

Whatever happens, the live model stays in service until the last moment, when one small file is replaced. A run that was
killed is gone on with by the next one: it reads the log up to the same watermark, so its models are the same, and what
it had fitted, or the checkpoint inside a fit, is taken up again.
"""

import errno
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any

from recae.artifacts import ModelStore
from recae.config import Settings
from recae.errors import ArtifactError, ConfigError
from recae.evaluation.specs import MetricSpec
from recae.models import create
from recae.retrain import novelty, resume
from recae.retrain.night import Night
from recae.retrain.notify import notify
from recae.retrain.recorder import Recorder, in_a_line, with_remarks
from recae.retrain.upkeep import how_to_make_room
from recae.retrain_settings import GateSettings
from recae.runs import Run, RunTable

ELSEWHERE = "name another home with RECAE_HOME or --home"


def retrain(
    settings: Settings,
    *,
    forced: bool = False,
    show_progress: bool = True,
    say: Callable[[str], None] = lambda _: None,
    between: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Run:
    """Learn from the log, judge, and put what was learned into service if it is no worse. Never raises for a bad night.

    Args:
        settings: where everything is, and the table ``retrain``.
        forced: put the candidate into service whatever the gate says, if it answers at all, and learn though no event is
            new; the record says so. A run that was killed is gone on with as this says, however it began.
        show_progress: show bars.
        say: told about each step.
        between: called with a step's name before it begins; for tests that kill a run there.
        clock: seconds since 1970; for simulations.

    Returns:
        The record, which says how it ended and why. Where it could not be written, it is on no disk.

    Raises:
        RetrainError: if another run is going on.
    """
    metric, unusable = _understood(settings)
    table = RunTable(settings.runs)
    with ExitStack() as held:
        try:
            held.enter_context(table.claimed())
            run, problem = _begun(table, settings, forced, clock, say)
        except OSError as error:
            return _not_begun(table, settings, forced, clock, say, error)
        recorder = Recorder(run, table, metric, say, between, clock)
        recorder.say(f"run {run.run_id}" + (", gone on with" if run.interruptions else ""))
        night = Night(settings, table, recorder, metric, show_progress, clock)
        try:
            night.go(unusable or problem)
        finally:
            night.close()
        return run


def _begun(
    table: RunTable,
    settings: Settings,
    forced: bool,
    clock: Callable[[], float],
    say: Callable[[str], None],
) -> tuple[Run, Exception | None]:
    """The run to go on with or a new one, and what makes it fail at once, if so."""
    now = datetime.fromtimestamp(clock(), UTC)
    problem: Exception | None = None
    live = None
    try:
        live = ModelStore(settings.models).current()
    except (ArtifactError, OSError) as error:
        problem = error
    why_none = "" if problem is None else f"{settings.models / 'current'} cannot be read"
    found = resume.take_up(table, settings, live, now, forced=forced, problem=why_none)
    for killed in found.told:
        _tell(killed, settings, say)
    if found.run is not None:
        return found.run, None
    fields: dict[str, Any] = {
        "plan": resume.plan_of(settings),
        "learning": novelty.learning_of(settings.retrain),
    }
    return table.begin(now, forced=forced, live_version=live, **fields), problem


def _not_begun(
    table: RunTable,
    settings: Settings,
    forced: bool,
    clock: Callable[[], float],
    say: Callable[[str], None],
    error: OSError,
) -> Run:
    """The record of a run that could not write one."""
    now = datetime.fromtimestamp(clock(), UTC)
    run = Run.new(now, status="failed", finished=now, forced=forced)
    run.message = (
        f"the run could not begin, since its record cannot be written into {table.root}: {in_a_line(error)}; "
        + _remedy(error, settings)
    )
    with suppress(OSError):  # nobody may be listening
        say(f"{run.status}: {run.message}")
    _tell(run, settings, say)
    return run


def _remedy(error: OSError, settings: Settings) -> str:
    """What a person has to do so that a record can be written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return how_to_make_room(ModelStore(settings.models), settings.named_versions)
    if error.errno == errno.EROFS:
        return f"it is mounted read-only: mount it for writing, or {ELSEWHERE}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"it is not writable for this user (id {os.geteuid()}): give it the right to write there, or {ELSEWHERE}"
    return f"let recae write there, or {ELSEWHERE}"


def _tell(run: Run, settings: Settings, say: Callable[[str], None]) -> None:
    problem = notify(run, settings.retrain.notify)
    if problem:
        with suppress(OSError):  # nobody may be listening
            say(f"warning: {problem}")
        run.message = with_remarks(run.message, [problem])


def _understood(settings: Settings) -> tuple[MetricSpec, ConfigError | None]:
    """What the gate compares by, and what is wrong with the settings: unknown names, devices that are not here.

    It fails the run, and is no error of the command: who is told of failures is told of this one too.
    """
    try:
        metric = _metric(settings)
    except ConfigError as error:
        return MetricSpec.parse(GateSettings().metric), error
    try:
        create(settings.retrain.model, **settings.retrain.settings).check_device()
    except ConfigError as error:
        return metric, error
    return metric, None


def _metric(settings: Settings) -> MetricSpec:
    metric = MetricSpec.parse(settings.retrain.gate.metric)
    if metric.k is None or metric.definition.per_row is None:
        raise ConfigError(
            f"the gate cannot compare by {metric}: expected a metric of lists with a cut-off, such as ndcg@20"
        )
    return metric
