"""What earlier runs say: what is usual, since when rows count, and how the live model was made.

A run that began in the future did so by a clock that was ahead. It says nothing about the nights before this one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from recae.errors import RetrainError
from recae.retrain.gate import Past
from recae.runs import Run, RunTable

PAST_RUNS = 7
"""Earlier promoted runs whose medians say what is usual."""
LOOKED_AT_ALL = frozenset({"promoted", "unchanged", "refused"})
"""Ends of runs that have looked at all there was."""


@dataclass(frozen=True)
class History:
    """The runs before this one."""

    earlier: tuple[Run, ...]
    """Newest first."""
    ahead: tuple[Run, ...] = ()
    """Those that began in the future, newest first."""

    @classmethod
    def of(cls, table: RunTable, run: Run, now: datetime) -> Self:
        """All but ``run``, as they stand at a moment."""
        others = [other for other in table.newest_first() if other.run_id != run.run_id]
        return cls(
            tuple(other for other in others if other.started <= now),
            tuple(other for other in others if other.started > now),
        )

    @property
    def ignored(self) -> str:
        """What is to be said of runs that do not count; nothing if all do."""
        if not self.ahead:
            return ""
        n, newest = len(self.ahead), self.ahead[0]
        return (
            f"the clock was ahead: {n} run{'s' if n > 1 else ''} that began in the future, {newest.run_id} the last, "
            "say nothing of what is usual"
        )

    def past(self, metric: str) -> Past:
        """What the last runs that promoted a model found, newest first.

        A refused run does not count: what it was refused for, such as a broken log, would be usual after a few nights, and
        then pass. An unchanged one had nothing new to measure.

        Args:
            metric: text of what the gate compares.
        """
        promoted = [run for run in self.earlier if run.status == "promoted"][:PAST_RUNS]
        judged = [
            run
            for run in _since_overruled(promoted, "usual")
            # of a run that was forced to hold out what the live model had learned, its value is too good
            if not run.figures_of("data").get("known_asked")
        ]
        shares = [
            verdict.figures.get("share")
            for run in _since_overruled(promoted, "quarantined")
            for verdict in run.gate
            if verdict.rule == "quarantined"
        ]
        by_volume, by_unknown = (_since_overruled(promoted, rule) for rule in ("volume", "unknown_ids"))
        return Past(
            events_per_day=_known(run.drift.get("events_per_day") for run in by_volume),
            unknown_shares=_known(run.drift.get("unknown_share") for run in by_unknown),
            quarantined_shares=_known(shares),
            live_values=_known(run.values.get("live", {}).get(metric) for run in judged),
        )

    @property
    def counted_until(self) -> float:
        """Second up to which an earlier run has judged the rows that were ingested."""
        last = next((run for run in self.earlier if run.status in LOOKED_AT_ALL), None)
        return 0.0 if last is None else last.started.timestamp()


def _since_overruled(promoted: Sequence[Run], rule: str) -> Sequence[Run]:
    """The runs from the last one on that was promoted although the rule refused it.

    Somebody has looked, and said that what is usual has changed: else the median of the nights before it would refuse the
    next ones too, until more than half of the last runs were forced.

    Args:
        promoted: newest first.
        rule: that compares with what is usual.
    """
    for n, run in enumerate(promoted, start=1):
        if any(verdict.rule == rule and verdict.forced for verdict in run.gate):
            return promoted[:n]
    return promoted


def run_of(table: RunTable, run_id: object) -> Run | None:
    """The record of the run that made a version, by what its manifest says; None if there is none."""
    try:
        return table.read(run_id) if isinstance(run_id, str) else None
    except RetrainError:
        return None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
