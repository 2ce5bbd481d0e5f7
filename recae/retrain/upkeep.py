"""The room that a night needs, and what it ends with, whether it promoted a model or not: old versions, records and events go."""

from collections.abc import Callable, Collection
from typing import Any

from recae.artifacts import ModelStore
from recae.config import Settings
from recae.errors import ArtifactError
from recae.retrain.patient_log import PatientLog
from recae.retrain.recorder import in_a_line
from recae.runs import RunTable

SPARE_BYTES = 200 * 2**20
"""Free space a run wants beside three times the live model's."""


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
    settings: Settings, store: ModelStore, table: RunTable, log: PatientLog, figures: dict[str, Any]
) -> list[str]:
    """Remove what is beyond ``keep_versions`` and ``keep_runs``; expire and archive events by their age.

    Each is tried, whatever becomes of the others.

    Returns:
        What could not be done.
    """

    def versions() -> None:
        figures["removed"] = store.prune(settings.retrain.keep_versions, settings.named_versions)

    def records() -> None:
        table.prune(settings.retrain.keep_runs)

    def events() -> None:
        tidied = log.ask(
            lambda log: log.tidy(
                compact_after_days=settings.compact_after_days, retention_days=settings.retention_days
            ),
            figures,
        )
        figures.update(events_archived=tidied.archived, events_expired=tidied.expired)

    return [problem for work in (versions, records, events) if (problem := _problem_of(work))]


def _problem_of(work: Callable[[], None]) -> str:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - how the night ended stands already
        return f"old {work.__name__} could not be removed: {in_a_line(error)}"
    return ""
