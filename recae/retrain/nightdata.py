"""From what was read of the log to what a night learns from, and what it is then asked.

The cut is a second in time. Everything before it may be learned from; what happened from it on is asked for. It lies
after the newest event that the live model has learned from, so neither model has seen an answer, and no further back
than the share of events that may be held out; on a small site, where that leaves too few users to judge on, as far back
as gives enough of them. Where all events lie within an hour, as those of a file without times do, time says nothing on
the first night, and what is asked is drawn by lot.

A window, if one is set, ends at the cut for what is learned before the gate, and at the newest event for what serves: counted
from the newest for both, the candidate would lack the window's oldest days, which the live model knows, and lose for that.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recae.data.events import Gathered
from recae.data.filters import keep
from recae.data.holdout import Feedback, Holdout, after_training
from recae.data.interactions import Interactions
from recae.errors import DataError
from recae.history_rule import Duplicates, HistoryRule, lowest_liking
from recae.models.registry import create
from recae.retrain.reading import DAY_S, Reading, only, times_of
from recae.retrain_settings import RetrainSettings

HOUR_S = 3_600
MOST_HELD_OUT = 0.5
"""Of the events, where fewer leave too few users to judge on: the candidate has to learn from something too."""
MORE_HELD_OUT = 1.5
"""How many times as many events are held out at the next try."""


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
    since: int
    """Second of the last event before the cut, or up to which the live model has learned: what is new came after it."""
    newest: int
    """Second of the newest event that was read, whether it counts or not."""
    n_events: int
    """Read, after weights, and within the newest's window."""
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

    is_drawn: bool = False
    """Whether what is asked was drawn by lot."""

    @property
    def days_new(self) -> float:
        """Length of the time in which the new events came, in days; at least an hour.

        It begins with the last event before them, not with the first of them: where all of a day share one stamp, as in a
        log of dates or of daily batches, no time lies between the new ones, and yet they are a day's.
        """
        return max((self.newest - self.since) / DAY_S, 1 / 24)

    @property
    def events_per_day(self) -> float | None:
        """New events a day; None if they were drawn by lot, which says nothing of how many come."""
        return None if self.is_drawn else self.n_new / self.days_new


@dataclass(frozen=True, eq=False)
class _Parted:
    """The events on either side of a cut."""

    cut: int
    before: npt.NDArray[np.bool_]
    is_new: npt.NDArray[np.bool_]
    train: Interactions
    holdout: Holdout | None

    @property
    def n_judged(self) -> int:
        """Users to judge on."""
        return 0 if self.holdout is None else len(self.holdout.users)


def cut_night(reading: Reading, settings: RetrainSettings, *, live_until: int | None = None) -> NightData:
    """Filter the events, and part what is learned from and what is asked.

    Args:
        reading: of the log.
        settings: decay, filters, and what may be held out.
        live_until: second of the newest event that the live model has learned from; None if there is no such model,
            or it does not say.

    Raises:
        DataError: if no events are left to learn from.
    """
    found, times = reading.events, reading.times
    is_serving = reading.in_window(reading.newest)
    if not is_serving.any():
        raise DataError(
            f"no event that counts lies within window_days = {settings.window_days:g} of the newest event; "
            "set a longer window, or see event_weights"
        )
    lately = times[is_serving]
    is_drawn = live_until is None and int(lately.max() - lately.min()) < HOUR_S
    feedback = create(settings.model, **settings.settings).feedback
    everything = _interactions(found, is_serving, reading.newest, settings, feedback)
    parted = _parted(reading, settings, feedback, live_until, is_drawn=is_drawn)
    before, is_new = parted.before, parted.is_new
    n_items = len(found.items)
    counts = [np.bincount(found.columns[mask], minlength=n_items) for mask in (before, is_new)]
    known_users = np.zeros(len(found.users), dtype=np.bool_)
    known_users[found.rows[before]] = True
    return NightData(
        everything=everything,
        train=parted.train,
        holdout=parted.holdout,
        cut=parted.cut,
        since=_since(times, parted.cut, live_until),
        newest=reading.newest,
        n_events=len(lately),
        n_new=int(is_new.sum()),
        n_new_of_unknown_items=int(counts[1][counts[0] == 0].sum()),
        n_new_users=len(np.unique(found.rows[is_new][~known_users[found.rows[is_new]]])),
        n_new_items=int(((counts[0] == 0) & (counts[1] > 0)).sum()),
        shares_before=counts[0] / max(counts[0].sum(), 1),
        shares_new=counts[1] / max(counts[1].sum(), 1),
        is_drawn=is_drawn,
    )


def rule_of(settings: RetrainSettings) -> HistoryRule:
    """How serving has to make histories of events, so that they are what was learned from."""
    return HistoryRule(**{name: getattr(settings, name) for name in HistoryRule.model_fields})


def _parted(
    reading: Reading, settings: RetrainSettings, feedback: Feedback, live_until: int | None, *, is_drawn: bool
) -> _Parted:
    """The first of the ways to cut that gives enough users to judge on; else the one that gives the most."""
    best: _Parted | None = None
    ways = _by_lot(reading, settings) if is_drawn else _by_time(reading, settings, live_until)
    for cut, is_new in ways:
        before = ~is_new & reading.in_window(cut)
        try:
            train = _interactions(reading.events, before, cut, settings, feedback)
        except DataError:
            if best is None:
                raise
            break  # further back even less is left to learn from
        holdout = _holdout(reading.events, is_new, train, settings, feedback)
        found = _Parted(cut, before, is_new, train, holdout)
        if best is None or found.n_judged > best.n_judged:
            best = found
        if best.n_judged >= settings.gate.min_users:
            break
    if best is None:
        raise ValueError("there is always a first way to cut")
    return best


def _shares(settings: RetrainSettings) -> Iterator[float]:
    """Of the events, how many may be held out: as is set, then more and more."""
    share = settings.holdout_share
    yield share
    while share < MOST_HELD_OUT:
        share = min(MORE_HELD_OUT * share, MOST_HELD_OUT)
        yield share


def _by_time(
    reading: Reading, settings: RetrainSettings, live_until: int | None
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """First second that is asked for, and which events are; further and further back, to what the live model knows."""
    by_time = np.sort(reading.times[reading.in_window(reading.newest)])
    last: int | None = None
    for share in _shares(settings):
        cut = int(by_time[round((1 - share) * (by_time.size - 1))])
        if live_until is not None:
            cut = max(cut, live_until + 1)
        if last is None or cut < last:
            yield cut, reading.from_second(cut)
            last = cut


def _since(times: npt.NDArray[np.int64], cut: int, live_until: int | None) -> int:
    """Second of the last event before the cut; the live model may have read a later one that does not count."""
    return int(times.max(where=times < cut, initial=times.min() if live_until is None else live_until))


def _by_lot(reading: Reading, settings: RetrainSettings) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Which events are asked for where time says nothing; more and more of them."""
    events = np.flatnonzero(reading.in_window(reading.newest))
    for share in _shares(settings):
        is_new = np.zeros(len(reading.times), dtype=np.bool_)
        n_asked = max(1, round(share * len(events)))
        is_new[np.random.default_rng(settings.seed).choice(events, n_asked, replace=False)] = True
        yield reading.newest, is_new


def _interactions(
    found: Gathered, mask: npt.NDArray[np.bool_], now: int, settings: RetrainSettings, feedback: Feedback
) -> Interactions:
    """The matrix of some of the events as it was at a moment, by which older ones have faded."""
    part = only(found, mask)
    if not part.rows.size:
        raise DataError("no events lie before those that are held out; wait for more, or hold out less")
    if settings.half_life_days is not None and part.values is not None:
        age_days = np.maximum(now - times_of(part), 0) / DAY_S
        part = replace(part, values=part.values * 0.5 ** (age_days / settings.half_life_days))
    return keep(
        _matrix(part, settings.duplicates),
        feedback=feedback,
        min_value=settings.min_value,
        min_user_items=settings.min_user_items,
        min_item_users=settings.min_item_users,
    )


def _holdout(
    found: Gathered,
    is_new: npt.NDArray[np.bool_],
    train: Interactions,
    settings: RetrainSettings,
    feedback: Feedback,
) -> Holdout | None:
    """What known users took from the cut on, of what they did not have and somebody had."""
    new = only(found, is_new)
    rows, columns = train.users.find(new.users)[new.rows], train.items.find(new.items)[new.columns]
    known = (rows >= 0) & (columns >= 0)
    if not known.any():
        return None
    part = replace(
        only(new, known), rows=rows[known], columns=columns[known], users=train.users, items=train.items
    )
    targets = _matrix(part, settings.duplicates)
    is_asked = ~np.isin(_cells(targets), _cells(train))
    if settings.min_value is not None or feedback != "ratings":
        is_asked &= targets.matrix.data >= lowest_liking(settings.min_value)
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
