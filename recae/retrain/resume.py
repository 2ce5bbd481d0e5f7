"""What becomes of runs that were killed: the last one is gone on with, or closed with a reason.

One whose model has come into service is promoted and over, also where somebody has rolled that model back since: what a
person has taken out of service, no run that goes on puts there again.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import recae
from recae.artifacts import ModelStore
from recae.config import Settings
from recae.runs import Run, RunTable

KILLED = "its process was killed"


@dataclass(frozen=True)
class Found:
    """What was found of runs that were killed."""

    run: Run | None = None
    """The one to go on with."""
    told: list[Run] = field(default_factory=list)
    """Each of them, as somebody who wants to hear of it is told."""


def take_up(
    table: RunTable, settings: Settings, live: str | None, now: datetime, *, forced: bool, problem: str = ""
) -> Found:
    """Look at all records, for whoever holds the claim: what says "running" was killed.

    Args:
        table: of runs.
        settings: a run is gone on with under the same ones only.
        live: version in service.
        now: runs that began later did so by a clock that was ahead.
        forced: whether the call that goes on with a run is forced; so is the run then.
        problem: why no run can be gone on with at all, if so.

    Raises:
        OSError: if a record cannot be written.
    """
    served = set() if problem else _ever_in_service(settings, live)
    found, told = None, []
    is_newest = True
    for run in table.as_written():
        is_ahead = run.started > now
        if run.is_over:
            if is_newest and not is_ahead:
                table.clean(run)  # killed after its end was written, before its weights were removed
        elif run.version in served:
            _close_promoted(table, run, live, now)
            told.append(run)
        else:
            why = problem
            if is_ahead:
                why = "it began in the future, by a clock that was ahead"
            elif not is_newest:
                why = why or "another run has begun since"
            why = why or _why_not(run, settings, live, now)
            if why:
                _close(table, run, now, why)
                told.append(run)
            else:
                told.append(_go_on(table, run, now, forced=forced))
                found = run
        is_newest = is_newest and is_ahead
    return Found(found, told)


def plan_of(settings: Settings) -> str:
    """Hash of all that the models of a night follow from, beside the events."""
    text = f"{recae.__version__} {settings.retrain.model_dump_json()} {settings.events_url}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _why_not(run: Run, settings: Settings, live: str | None, now: datetime) -> str:
    """Why it cannot be gone on with; nothing if it can."""
    if run.plan != plan_of(settings) or live != run.live_version:
        return "settings or the live model have changed since"
    if now - run.started > timedelta(hours=settings.retrain.resume_hours):
        return "it was too long ago"
    return ""


def _ever_in_service(settings: Settings, live: str | None) -> set[str]:
    """Every version that is in service or was, as far back as the store tells."""
    found = {change.version for change in ModelStore(settings.models).changes()}
    return found if live is None else found | {live}


def _close_promoted(table: RunTable, run: Run, live: str | None, now: datetime) -> None:
    run.status = "promoted"
    if run.version == live:
        run.message = f"{run.version} is in service; {KILLED} after that"
    else:
        since = "no model" if live is None else live
        run.message = f"{run.version} came into service; {KILLED} after that, and {since} is in service now"
    _end(table, run, now)


def _close(table: RunTable, run: Run, now: datetime, why: str) -> None:
    run.status = "interrupted"
    run.message = f"{KILLED}; not gone on with: {why}"
    _end(table, run, now)


def _end(table: RunTable, run: Run, now: datetime) -> None:
    run.finished = now
    table.clean(run)
    table.write(run)


def _go_on(table: RunTable, run: Run, now: datetime, *, forced: bool) -> Run:
    """Note that it is gone on with; returns what there is to tell of it."""
    with_force = ""
    if run.forced != forced:
        run.forced = forced
        with_force = ", now with --force" if forced else ", now without --force"
    if run.steps:
        last = run.steps[-1]
        last.message = (
            f"{KILLED}{'' if last.status == 'running' else ' after that'}; gone on with{with_force}"
        )
        last.status = "failed" if last.status == "running" else last.status
    told = run.model_copy(
        update={"status": "interrupted", "message": f"{KILLED}; it is gone on with{with_force}"}
    )
    run.interruptions += 1
    run.gone_on = now
    table.write(run)
    return told
