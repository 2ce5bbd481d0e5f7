"""From a block of users to their recommendations: the same items and scores as one request each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array

from recae.answers import shortage
from recae.batch.users import Asked
from recae.data.eventlog.events import StoredEvent
from recae.data.eventlog.snapshot import Snapshot
from recae.histories import Strategy, logged
from recae.models.ranking import NEVER, Positions, Scores
from recae.recommender import Recommender

MAX_HISTORY = 10_000
"""Newest events of a user that count, as the HTTP API has it by default."""

Named: TypeAlias = tuple[Sequence[str], Sequence[float]]
"""Item ids and scores, best first."""

_NO_COLUMNS = np.empty(0, dtype=np.int32)
_NO_VALUES = np.empty(0, dtype=np.float32)


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


@dataclass(frozen=True)
class _Row:
    """One history as the model reads it, and what is not to be recommended."""

    columns: Positions
    """Shape (k,), ascending."""
    values: Scores
    """Shape (k,)."""
    seen: Positions
    """Columns of the history, and of what the user met and did not like."""
    strategy: Strategy


class Scorer:
    """Answers blocks of users, as one request for each would be answered.

    What the log says of a user now is added to the row the model was trained on, and wins where both name an item;
    without either the popular items are the answer. Of a user whose events were deleted the row does not count.

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
        forgotten = self._snapshot.deleted(valid) if self._snapshot else set()
        users = self.recommender.users
        positions = users.find(valid).tolist() if users is not None else [-1] * len(valid)
        rows = [
            self._row(-1 if user_id in forgotten else position, logged.get(user_id))
            for user_id, position in zip(valid, positions, strict=True)
        ]
        ranked = iter(self._ranked([row for row in rows if row.strategy != "fallback"]))
        lists = iter(
            (row.strategy, *(self._fallback(row) if row.strategy == "fallback" else next(ranked)))
            for row in rows
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

    def _row(self, position: int, events: Sequence[StoredEvent] | None) -> _Row:
        """The history of one user: the training row at ``position``, none if that is -1, and the log's events."""
        model, columns, values = self.recommender.model, _NO_COLUMNS, _NO_VALUES
        if position >= 0:
            start, end = model.histories_.indptr[position : position + 2]
            columns, values = model.histories_.indices[start:end], model.histories_.data[start:end]
        known: Strategy = "model" if len(columns) else "fallback"
        if not events:
            return _Row(columns, values, columns, known)
        met = [
            (event.item_id, event.value, event.event_type, event.timestamp, event.sequence)
            for event in events
        ]
        liked, others = logged(met, self.recommender.history_rule, model.feedback, self._now)
        added = self.recommender.items.find(liked)
        given = [1.0 if weight is None else weight for weight in liked.values()]
        weights = np.array(given, dtype=np.float32)[added >= 0]
        added = added[added >= 0]
        seen = np.concatenate([columns, added, self.recommender.items.known(others)[0]])
        if not len(added) or not model.supports_fold_in:
            return _Row(columns, values, np.unique(seen), known)
        if (
            model.feedback == "sequences"
        ):  # places in time: after what is known, whatever is missing between them
            weights = np.arange(1, len(added) + 1, dtype=np.float32) + values.max(initial=0.0)
        kept = ~np.isin(columns, added)
        columns, values = np.concatenate([columns[kept], added]), np.concatenate([values[kept], weights])
        order = np.argsort(columns)
        return _Row(columns[order], values[order], np.unique(seen), "fold_in")

    def _ranked(self, rows: Sequence[_Row]) -> list[Named]:
        """The best items of each history, without what may not be recommended."""
        if not len(self._columns) or not rows:
            return [([], [])] * len(rows)
        ids, scores = self.recommender.rank(
            self._matrix([row.columns for row in rows], [row.values for row in rows]),
            self.filters.n,
            seen=self._matrix([row.seen for row in rows]) if self.filters.exclude_seen else None,
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

    def _fallback(self, row: _Row) -> Named:
        if not len(row.seen) or not self.filters.exclude_seen:
            return self._popular
        seen = set(self.recommender.items.ids[row.seen])
        wanted = zip(*self._popular_and(len(seen)), strict=True)
        kept = [(item_id, score) for item_id, score in wanted if item_id not in seen][: self.filters.n]
        return [item_id for item_id, _ in kept], [score for _, score in kept]

    @cached_property
    def _popular(self) -> Named:
        return self._popular_and(0)

    def _popular_and(self, more: int) -> Named:
        ranking = self.recommender.popular(
            self.filters.n + more, self.filters.categories, available_only=self.filters.available_only
        )
        return [item.item_id for item in ranking.items], [item.score for item in ranking.items]
