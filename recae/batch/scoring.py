"""From a block of users to their recommendations: the same items and scores as one request each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from recae.answers import shortage
from recae.batch.users import Asked
from recae.data.eventlog.events import Recent, StoredEvent
from recae.data.eventlog.snapshot import Snapshot
from recae.forgetting import Deletion
from recae.histories import Row, Strategy
from recae.models.ranking import NEVER, Positions, Scores
from recae.recommender import Recommender

MAX_HISTORY = 10_000
"""Newest events of a user that count, as the HTTP API has it by default."""

Named: TypeAlias = tuple[Sequence[str], Sequence[float]]
"""Item ids and scores, best first."""


@dataclass(frozen=True)
class Filters:
    """What is recommended to everybody of a batch."""

    n: int = 10
    categories: tuple[str, ...] = ()
    """Only items of any of these."""
    exclude_seen: bool = True
    available_only: bool = True


@dataclass(frozen=True)
class Answer:
    """One line of a batch."""

    user_id: str
    strategy: Strategy | None = None
    """None if there is an error."""
    item_ids: Sequence[str] = field(default_factory=list)
    scores: Sequence[float] = field(default_factory=list)
    error: str | None = None
    short: str | None = None
    """Why there are fewer items than asked for, in the words of the HTTP API."""


class _Known(NamedTuple):
    """What is known of one user."""

    row: Row
    seen: Positions
    """Columns of the history, and of what the user met and did not like, shape (n,)."""


class Scorer:
    """Answers blocks of users, as one request for each would be answered.

    Their histories are read as requests read them; a block of them is ranked at once.

    Args:
        recommender: what recommends.
        filters: the same for everybody.
        snapshot: of the event log; None to go by the training rows alone.
        max_history: newest events of a user that count.
        now: seconds since 1970, by which events have faded; None for now.
    """

    def __init__(
        self,
        recommender: Recommender,
        filters: Filters,
        snapshot: Snapshot | None = None,
        max_history: int = MAX_HISTORY,
        now: float | None = None,
    ) -> None:
        self.recommender = recommender
        self.filters = filters
        self._snapshot = snapshot
        self._max_history = max_history
        self._now = time.time() if now is None else now
        allowed = recommender.allowed(filters.categories, available_only=filters.available_only)
        self._columns = np.flatnonzero(allowed).astype(np.int32)

    def answers(self, block: Sequence[Asked]) -> list[Answer]:
        """One answer for each user, in their order."""
        valid = [asked.user_id for asked in block if asked.problem is None]
        logged = self._snapshot.histories(valid, self._max_history) if self._snapshot else {}
        deleted = self._snapshot.deleted(valid) if self._snapshot else {}
        known = [self._known(user_id, logged.get(user_id, ()), deleted.get(user_id)) for user_id in valid]
        ranked = iter(self._ranked([one for one in known if one.row.strategy != "fallback"]))
        lists = iter(
            (
                one.row.strategy,
                *(self._fallback(one.seen) if one.row.strategy == "fallback" else next(ranked)),
            )
            for one in known
        )
        return [
            Answer(asked.user_id, error=asked.problem)
            if asked.problem
            else self._answer(asked.user_id, *next(lists))
            for asked in block
        ]

    def _answer(
        self, user_id: str, strategy: Strategy, item_ids: Sequence[str], scores: Sequence[float]
    ) -> Answer:
        found, asked = len(item_ids), self.filters.n
        short = shortage(found, asked, 0, found)  # where items are lacking, all that are left were found
        return Answer(user_id, strategy, item_ids, scores, short=short)

    def _known(self, user_id: str, events: Sequence[StoredEvent], deletion: Deletion | None) -> _Known:
        """What a request for one user would go by."""
        met = [
            (event.item_id, event.value, event.event_type, event.timestamp, event.sequence)
            for event in events
        ]
        row, beside = self.recommender.read_logged(user_id, Recent(met, deletion), self._now)
        if not beside:
            return _Known(row, row.columns)
        return _Known(row, np.union1d(row.columns, self.recommender.items.known(beside)[0]))

    def _ranked(self, known: Sequence[_Known]) -> list[Named]:
        """The best items of each history, without what may not be recommended."""
        if not len(self._columns) or not known:
            return [([], [])] * len(known)
        ids, scores = self.recommender.rank(
            self._matrix([one.row.columns for one in known], [one.row.values for one in known]),
            self.filters.n,
            seen=self._matrix([one.seen for one in known]) if self.filters.exclude_seen else None,
            items=self._columns,
        )
        names = self.recommender.items.ids
        ends = (scores > NEVER).sum(axis=1).tolist()  # what is excluded stands at the end
        return [(names[ids[row, :end]].tolist(), scores[row, :end].tolist()) for row, end in enumerate(ends)]

    def _matrix(self, columns: list[Positions], values: list[Scores] | None = None) -> csr_array:
        """Rows as one matrix, shape (n_rows, n_items)."""
        ends = np.cumsum([0, *map(len, columns)])
        indices = np.concatenate(columns)
        data = np.concatenate(values) if values is not None else np.ones(len(indices), dtype=np.float32)
        return csr_array((data, indices, ends), shape=(len(columns), len(self.recommender.items)))

    def _fallback(self, seen: Positions) -> Named:
        if not len(seen) or not self.filters.exclude_seen:
            return self._popular
        known = set(self.recommender.items.ids[seen])
        wanted = zip(*self._popular_and(len(known)), strict=True)
        kept = [(item_id, score) for item_id, score in wanted if item_id not in known][: self.filters.n]
        return [item_id for item_id, _ in kept], [score for _, score in kept]

    @cached_property
    def _popular(self) -> Named:
        return self._popular_and(0)

    def _popular_and(self, more: int) -> Named:
        ranking = self.recommender.popular(
            self.filters.n + more, self.filters.categories, available_only=self.filters.available_only
        )
        return [item.item_id for item in ranking.items], [item.score for item in ranking.items]
