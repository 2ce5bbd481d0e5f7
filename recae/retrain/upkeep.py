"""The room that a night needs, and what it ends with, whether it promoted a model or not: old versions, records and events go."""

from collections.abc import Callable, Collection
from typing import Any

from recae.artifacts import ModelStore
from recae.config import Settings
from recae.data.eventlog import EventLog
from recae.errors import ArtifactError, RetrainError
from recae.retrain.patient_log import PatientLog
from recae.retrain.recorder import in_a_line
from recae.runs import RunTable

SPARE_BYTES = 200 * 2**20
"""Free space a run wants beside three times the live model's."""

DAY_S = 86_400
STILL_DAYS = 7.0
"""Nights without a new event after which the clock, or what sends events, is doubted."""
DOUBTED_SHARE = 0.2
"""More of a log's events than this do not go in a night that is doubted."""


def room_wanted(store: ModelStore, live: str | None) -> int:
    """Bytes that have to be free before a run begins.

    Args:
        store: where the versions are.
        live: the one in service; None if there is none.
    """
    files = [] if live is None else (store.root / live).glob("*")
    return SPARE_BYTES + 3 * sum(file.stat().st_size for file in files)


def how_to_make_room(store: ModelStore, spare: Collection[str]) -> str:
    """What to do about a full disk; models are named only where there is one to remove.

    Args:
        store: where the versions are.
        spare: versions that stay, see ``Settings.named_versions``.
    """
    try:
        is_any = bool(store.prunable(1, spare))
    except (ArtifactError, OSError):  # nothing tells which one is in service: none is removed
        is_any = False
    return "make room" + ("; `recae models prune --keep N` makes some" if is_any else " on its disk")


def tidy_up(
    settings: Settings,
    store: ModelStore,
    table: RunTable,
    log: PatientLog,
    figures: dict[str, Any],
    now: float,
) -> list[str]:
    """Remove what is beyond ``keep_versions`` and ``keep_runs``; expire and archive events by their age at ``now``.

    Each is tried, whatever becomes of the others.

    Returns:
        What could not be done.
    """

    def versions() -> None:
        figures["removed"] = store.prune(settings.retrain.keep_versions, settings.named_versions)

    def records() -> None:
        table.prune(settings.retrain.keep_runs)

    def events() -> None:
        def tidied(log: EventLog) -> str:
            doubt = "" if settings.retention_days is None else _doubt(log, settings.retention_days, now)
            done = log.tidy(
                compact_after_days=None if doubt else settings.compact_after_days,
                retention_days=None if doubt else settings.retention_days,
                now=now,
            )
            figures.update(events_archived=done.archived, events_expired=done.expired)
            return doubt

        if doubt := log.ask(tidied, figures):
            raise RetrainError(doubt)

    return [problem for work in (versions, records, events) if (problem := _problem_of(work))]


def summary_of(figures: dict[str, Any]) -> str:
    """What a night has removed, in a line."""
    told = [
        f"{figures[name]:,} {what}"
        for name, what in (("events_expired", "event(s) expired"), ("events_archived", "archived"))
        if figures.get(name)
    ]
    if figures.get("removed"):
        told.append(f"{len(figures['removed'])} version(s) removed")
    return ", ".join(told)


def _doubt(log: EventLog, days: float, now: float) -> str:
    """Why events had better not expire; nothing if they may: a clock that is ahead for one night would empty the log."""
    aged = log.aged(days, now)
    still_days = 0.0 if aged.newest is None else (now - aged.newest) / DAY_S
    if still_days <= STILL_DAYS or aged.n_old <= DOUBTED_SHARE * aged.n_events:
        return ""
    return (
        f"{aged.n_old:,} of {aged.n_events:,} are older than retention_days = {days:g}, and the newest is {still_days:,.0f} "
        "days old: is the clock right, and do events still come? None was removed; "
        f"`recae events compact --expire {days:g}d` removes them"
    )


def _problem_of(work: Callable[[], None]) -> str:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - how the night ended stands already
        return f"old {work.__name__} could not be removed: {in_a_line(error)}"
    return ""
