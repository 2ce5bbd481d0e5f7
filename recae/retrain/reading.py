"""The log up to a watermark, weighed: the events that count, and what was met on the way to them.

The log gives its events in the order of their arrival, so those that the live model's run has read come first.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from recae.data.eventlog import EventLog
from recae.data.events import Gathered, Times, gather
from recae.data.filters import weighted
from recae.errors import DataError, name_some
from recae.forgetting import LogPosition
from recae.retrain_settings import RetrainSettings

DAY_S = 86_400
COLUMNS = ["sequence", "user_id", "item_id", "value", "timestamp"]
FEW_UNNAMED = 5
"""So many events of types without a weight never stop a night whose log is large, however few came with them."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What one night reads."""

    events: Gathered
    """Those that count, after weights, in the order of their arrival; of so many days before the newest as two windows are,
    so that a window that ends at the cut is whole, wherever in the last one the cut lies."""
    newest: int
    """Second of the newest event read that is not in the future, whether it counts or not."""
    n_read: int
    """Before weights and window."""
    n_known: int
    """Of these, read by the live model's run too."""
    newest_known: int | None
    """Second of the newest of those that is not in the future."""
    n_known_events: int
    """So many of the first ``events`` were read by the live model's run too."""
    unnamed: dict[str, int]
    """Type that ``event_weights`` does not name -> events left out for it."""
    now: float
    """Second after which an event lies in the future."""
    window_s: float | None
    """Seconds that are learned from; None for all."""
    position: LogPosition
    """Up to where of which log it read."""

    @property
    def times(self) -> Times:
        """Second of each of ``events``."""
        return times_of(self.events)

    def in_window(self, until: int) -> npt.NDArray[np.bool_]:
        """Which ``events`` lie within the window that ends at a second, or after it, shape (n_events,)."""
        if self.window_s is None:
            return np.ones(len(self.times), dtype=np.bool_)
        return self.times > until - self.window_s

    def from_second(self, second: int) -> npt.NDArray[np.bool_]:
        """Which ``events`` of the newest's window happened from a second on, shape (n_events,).

        An event that a clock which was ahead has put into the future is none of them once a model has learned from it.
        """
        is_known = np.arange(len(self.times)) < self.n_known_events
        return (self.times >= second) & self.in_window(self.newest) & ~(is_known & (self.times > self.now))


def read_log(
    log: EventLog,
    until: int,
    settings: RetrainSettings,
    *,
    known_until: int = 0,
    now: float = np.inf,
) -> Reading:
    """Read and weigh.

    Args:
        log: archived events are read too.
        until: watermark, the number of the last event to read.
        settings: weights, window, and how many events may be of types without a weight.
        known_until: number of the last event that the live model's run has read; 0 if that is not known.
        now: second after which an event lies in the future.

    Raises:
        DataError: if no events count, or too many have types without a weight.
        EventLogError: if the log cannot be read.
    """
    position, tally = log.position(until), _Tally(known_until, now)
    columns = [*COLUMNS, "event_type"] if settings.event_weights else COLUMNS
    frames = tally.read(table.select(columns).to_pandas() for table in log.stream(until=until))
    if settings.event_weights:
        other = 0.0 if settings.other_weight is None else settings.other_weight
        named = frames if settings.other_weight is not None else tally.named(frames, settings.event_weights)
        frames = weighted(named, settings.event_weights, other=other)
    found = gather(tally.weighed(frames))
    _check_unnamed(tally, settings)
    if found.times is None or not len(found.times):
        raise DataError("the event log holds no events that count; ingest some, or see event_weights")
    newest = int(found.times.max()) if tally.newest is None else tally.newest
    n_known_events = tally.n_known_events
    window_s = None if settings.window_days is None else settings.window_days * DAY_S
    if window_s is not None:
        is_kept = found.times > newest - 2 * window_s
        n_known_events = int(is_kept[:n_known_events].sum())
        found = only(found, is_kept)
    return Reading(
        events=found,
        newest=newest,
        n_read=tally.n_read,
        n_known=tally.n_known,
        newest_known=tally.newest_known,
        n_known_events=n_known_events,
        unnamed=dict(tally.unnamed),
        now=now,
        window_s=window_s,
        position=position,
    )


def only(found: Gathered, mask: npt.NDArray[np.bool_]) -> Gathered:
    """Some of the events; users and items stay."""
    return replace(
        found,
        rows=found.rows[mask],
        columns=found.columns[mask],
        values=None if found.values is None else found.values[mask],
        times=None if found.times is None else found.times[mask],
    )


def times_of(found: Gathered) -> Times:
    """Second of each event."""
    if found.times is None:
        raise DataError("events of the log have times; these have none")
    return found.times


@dataclass
class _Tally:
    """Counts what passes by."""

    known_until: int
    now: float
    n_read: int = 0
    n_known: int = 0
    n_known_events: int = 0
    newest: int | None = None
    newest_known: int | None = None
    unnamed: Counter[str] = field(default_factory=Counter)
    n_unnamed_arrived: int = 0
    """After the events that the live model's run has read."""

    def read(self, frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            is_known = self._is_known(frame)
            times = frame["timestamp"].to_numpy()
            is_past = times <= self.now
            self.n_read += len(frame)
            self.n_known += int(is_known.sum())
            self.newest = _later(self.newest, times[is_past])
            self.newest_known = _later(self.newest_known, times[is_past & is_known])
            yield frame

    def named(self, frames: Iterator[pd.DataFrame], weights: dict[str, float]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            is_unnamed = ~frame["event_type"].isin(list(weights)).to_numpy()
            self.unnamed.update(frame["event_type"][is_unnamed])
            self.n_unnamed_arrived += int((is_unnamed & ~self._is_known(frame)).sum())
            yield frame

    def weighed(self, frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            self.n_known_events += int(self._is_known(frame).sum())
            yield frame

    def _is_known(self, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
        known: npt.NDArray[np.bool_] = (frame["sequence"] <= self.known_until).to_numpy()
        return known


def _later(newest: int | None, times: npt.NDArray[np.int64]) -> int | None:
    if not times.size:
        return newest
    found = int(times.max())
    return found if newest is None else max(newest, found)


def _check_unnamed(tally: _Tally, settings: RetrainSettings) -> None:
    """A mistyped event is left out; a type that somebody forgot to weigh stops the night.

    Both of all events and of those that have arrived since the live model was made, few may be of such types: else a type
    that is new, and all of tonight's events have, would be left out of a long log without a word.
    """
    n_unnamed, n_arrived = tally.unnamed.total(), tally.n_read - tally.n_known
    limit = settings.gate.max_quarantined_share
    is_many = n_unnamed > limit * tally.n_read
    is_many |= tally.n_unnamed_arrived > max(FEW_UNNAMED, limit * n_arrived)
    if is_many:
        raise DataError(
            f"no weight for events of type {name_some(tally.unnamed)}, {n_unnamed:,} of {tally.n_read:,}, "
            f"{tally.n_unnamed_arrived:,} of them among {n_arrived:,} new ones; there are "
            f"{name_some(settings.event_weights)}; add them to event_weights, with 0 to leave them out, or set "
            f"other_weight; up to {limit:.0%} are left out without that (max_quarantined_share)"
        )
