"""From the log up to a watermark to what a night learns from, and what it is then asked.

The cut is a second in time. Everything before it may be learned from; what happened from it on is asked for. It lies
after the newest event that the live model has learned from, so neither model has seen an answer, and never further
back than the share of events that may be held out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from recae.data.eventlog import EventLog
from recae.data.events import Gathered, gather
from recae.data.filters import keep, weighted
from recae.data.holdout import Holdout, after_training
from recae.data.interactions import Interactions
from recae.errors import DataError
from recae.history_rule import Duplicates, HistoryRule
from recae.retrain_settings import RetrainSettings

DAY_S = 86_400


@dataclass(frozen=True, eq=False)
class NightData:
    """All that one night's models are fitted to and judged on."""

    everything: Interactions
    """Up to the watermark."""
    train: Interactions
    """Before the cut."""
    holdout: Holdout | None
    """Histories before the cut, and what the users took from it on; None if there is nothing to ask."""
    cut: int
    """Second since 1970."""
    newest: int
    """Second of the newest event."""
    n_events: int
    """Read, after weights and window."""
    n_new: int
    """From the cut on."""
    n_new_of_unknown_items: int
    """Of those, events of items that nobody had before the cut."""
    n_new_users: int
    n_new_items: int
    shares_before: npt.NDArray[np.float64]
    """Share of each item in the events before the cut, shape (n_items,) over all items read."""
    shares_new: npt.NDArray[np.float64]
    """Share of each item in the events from the cut on."""

    @property
    def days_new(self) -> float:
        """Length of the time from the cut to the newest event, in days; at least an hour."""
        return max((self.newest - self.cut) / DAY_S, 1 / 24)


def read_night(
    log: EventLog, until: int, settings: RetrainSettings, *, live_until: int | None = None
) -> NightData:
    """Read the log, weigh and filter its events, and cut.

    Args:
        log: archived events are read too.
        until: watermark, the number of the last event to read.
        settings: weights, decay, filters, and what may be held out.
        live_until: second of the newest event that the live model has learned from; None if there is no such model,
            or it does not say.

    Raises:
        DataError: if no events are left to learn from.
        EventLogError: if the log cannot be read.
    """
    found = gather(_frames(log, until, settings))
    if found.times is None or not len(found.times):
        raise DataError("the event log holds no events that count; ingest some, or see event_weights")
    newest = int(found.times.max())
    if settings.window_days is not None:
        found = _only(found, found.times > newest - settings.window_days * DAY_S)
    times = _times(found)
    cut = _cut(times, settings.holdout_share, live_until)
    before = times < cut
    everything = _interactions(found, np.ones(len(times), dtype=np.bool_), newest, settings)
    train = _interactions(found, before, cut, settings)
    n_items = len(found.items)
    counts = [np.bincount(found.columns[mask], minlength=n_items) for mask in (before, ~before)]
    known_users = np.zeros(len(found.users), dtype=np.bool_)
    known_users[found.rows[before]] = True
    return NightData(
        everything=everything,
        train=train,
        holdout=_holdout(found, ~before, train, settings),
        cut=cut,
        newest=newest,
        n_events=len(times),
        n_new=int((~before).sum()),
        n_new_of_unknown_items=int(counts[1][counts[0] == 0].sum()),
        n_new_users=len(np.unique(found.rows[~before][~known_users[found.rows[~before]]])),
        n_new_items=int(((counts[0] == 0) & (counts[1] > 0)).sum()),
        shares_before=counts[0] / max(counts[0].sum(), 1),
        shares_new=counts[1] / max(counts[1].sum(), 1),
    )


def rule_of(settings: RetrainSettings) -> HistoryRule:
    """How serving has to make histories of events, so that they are what was learned from."""
    return HistoryRule(**{name: getattr(settings, name) for name in HistoryRule.model_fields})


def _frames(log: EventLog, until: int, settings: RetrainSettings) -> Iterator[pd.DataFrame]:
    columns = ["user_id", "item_id", "value", "timestamp"]
    if settings.event_weights:
        columns.append("event_type")
    frames = (table.select(columns).to_pandas() for table in log.stream(until=until))
    if settings.event_weights:
        return weighted(frames, settings.event_weights, other=settings.other_weight)
    return iter(frames)


def _cut(times: npt.NDArray[np.int64], share: float, live_until: int | None) -> int:
    """First second that is asked for."""
    by_time = np.sort(times)
    cut = int(by_time[round((1 - share) * (by_time.size - 1))])
    return cut if live_until is None else max(cut, live_until + 1)


def _interactions(
    found: Gathered, mask: npt.NDArray[np.bool_], now: int, settings: RetrainSettings
) -> Interactions:
    """The matrix of some of the events as it was at a moment, by which older ones have faded."""
    part = _only(found, mask)
    if not part.rows.size:
        raise DataError("no events lie before those that are held out; wait for more, or hold out less")
    if settings.half_life_days is not None and part.values is not None:
        age_days = np.maximum(now - _times(part), 0) / DAY_S
        part = replace(part, values=part.values * 0.5 ** (age_days / settings.half_life_days))
    return keep(
        _matrix(part, settings.duplicates),
        min_value=settings.min_value,
        min_user_items=settings.min_user_items,
        min_item_users=settings.min_item_users,
    )


def _holdout(
    found: Gathered, is_new: npt.NDArray[np.bool_], train: Interactions, settings: RetrainSettings
) -> Holdout | None:
    """What known users took from the cut on, of what they did not have and somebody had."""
    new = _only(found, is_new)
    rows, columns = train.users.find(new.users)[new.rows], train.items.find(new.items)[new.columns]
    known = (rows >= 0) & (columns >= 0)
    if not known.any():
        return None
    part = replace(
        _only(new, known), rows=rows[known], columns=columns[known], users=train.users, items=train.items
    )
    targets = _matrix(part, settings.duplicates)
    is_asked = ~np.isin(_cells(targets), _cells(train))
    if settings.min_value is not None:
        is_asked &= targets.matrix.data >= settings.min_value
    targets = targets.where(is_asked)
    judged = np.flatnonzero(np.diff(targets.matrix.indptr))
    if not judged.size:
        return None
    if judged.size > settings.max_holdout_users:
        drawn = np.random.default_rng(settings.seed).choice(judged, settings.max_holdout_users, replace=False)
        targets = targets.where(np.isin(_rows(targets), drawn))
    return after_training(train, targets, train.matrix)


def _matrix(part: Gathered, duplicates: Duplicates) -> Interactions:
    return Interactions.from_positions(
        part.rows,
        part.columns,
        users=part.users,
        items=part.items,
        values=None if duplicates == "count" else part.values,
        times=part.times,
        duplicates=duplicates,
    )


def _rows(interactions: Interactions) -> npt.NDArray[np.int64]:
    """Row of every entry."""
    return np.repeat(np.arange(interactions.n_users), np.diff(interactions.matrix.indptr))


def _cells(interactions: Interactions) -> npt.NDArray[np.int64]:
    """One number for each entry: the same for the same user and item of the same vocabularies."""
    return _rows(interactions) * interactions.n_items + interactions.matrix.indices


def _only(found: Gathered, mask: npt.NDArray[np.bool_]) -> Gathered:
    return replace(
        found,
        rows=found.rows[mask],
        columns=found.columns[mask],
        values=None if found.values is None else found.values[mask],
        times=None if found.times is None else found.times[mask],
    )


def _times(found: Gathered) -> npt.NDArray[np.int64]:
    if found.times is None:
        raise DataError("events of the log have times; these have none")
    return found.times
