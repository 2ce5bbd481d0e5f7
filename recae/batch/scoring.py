"""From a block of users to their recommendations: the same items and scores as one request each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, vstack

from recae.batch.users import Asked
from recae.candidates import Candidates
from recae.data.eventlog.events import StoredEvent
from recae.data.eventlog.snapshot import Snapshot
from recae.data.holdout import Feedback
from recae.histories import Histories, Sent, Strategy
from recae.models.ranking import NEVER
from recae.recommender import Recommender

MAX_HISTORY = 10_000
"""Newest events of a user that count, as the HTTP API has it by default."""


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


class Scorer:
    """Answers blocks of users.

    The history of a user who has live events in the log is what these say; of any other it is the row the model was
    trained on; without either the popular items are the answer.

    Args:
        recommender: what recommends.
        filters: the same for everybody.
        snapshot: of the event log; None to go by the training rows alone.
        max_history: newest events of a user that count.
    """

    def __init__(
        self,
        recommender: Recommender,
        filters: Filters,
        snapshot: Snapshot | None = None,
        max_history: int = MAX_HISTORY,
    ) -> None:
        self.recommender = recommender
        self.filters = filters
        self._snapshot = snapshot
        self._max_history = max_history
        self._histories = Histories(recommender.model, recommender.items, recommender.users)
        allowed = Candidates(recommender.items, recommender.catalogue).allowed(
            categories=filters.categories, available_only=filters.available_only
        )
        self._columns = np.flatnonzero(allowed).astype(np.int32)

    def answers(self, block: Sequence[Asked]) -> list[Answer]:
        """One answer for each user, in their order."""
        found = {
            place: Answer(asked.user_id, error=asked.problem)
            for place, asked in enumerate(block)
            if asked.problem is not None
        }
        valid = [place for place in range(len(block)) if place not in found]
        logged = self._logged([block[place].user_id for place in valid])
        rows, owners = self._trained([place for place in valid if block[place].user_id not in logged], block)
        for place in valid:
            user_id = block[place].user_id
            if user_id in logged:
                row, strategy = self._histories.row(logged[user_id], None)
                if strategy == "fallback":
                    found[place] = self._fallback(user_id, row)
                else:
                    rows.append(row)
                    owners.append((place, strategy))
        for (place, strategy), (item_ids, scores) in zip(owners, self._ranked(rows), strict=True):
            found[place] = Answer(block[place].user_id, strategy, item_ids, scores)
        return [
            found[place] if place in found else Answer(asked.user_id, "fallback", *self._popular)
            for place, asked in enumerate(block)
        ]

    def _trained(
        self, places: list[int], block: Sequence[Asked]
    ) -> tuple[list[csr_array], list[tuple[int, Strategy]]]:
        """The training rows of those who have one that is not empty, in one matrix, and whose they are."""
        users = self.recommender.users
        if users is None or not places:
            return [], []
        positions = users.find([block[place].user_id for place in places])
        known = np.flatnonzero(positions >= 0)
        rows = self.recommender.model.histories_[positions[known]]
        filled = np.flatnonzero(np.diff(rows.indptr))
        return [rows[filled]], [(places[known[at]], "model") for at in filled]

    def _logged(self, user_ids: Sequence[str]) -> dict[str, Sent]:
        if self._snapshot is None:
            return {}
        feedback = self.recommender.model.feedback
        histories = self._snapshot.histories(user_ids, self._max_history)
        return {user_id: as_history(events, feedback) for user_id, events in histories.items()}

    def _ranked(self, rows: Sequence[csr_array]) -> list[tuple[list[str], list[float]]]:
        """Item ids and scores of each row of some matrices, best first, without what may not be recommended."""
        n_rows = sum(part.shape[0] for part in rows)
        if not len(self._columns) or not n_rows:
            return [([], [])] * n_rows
        histories = csr_array(vstack(rows, format="csr"))
        ids, scores = self.recommender.rank(
            histories,
            self.filters.n,
            seen=histories if self.filters.exclude_seen else None,
            items=self._columns,
        )
        names = self.recommender.items.ids
        ends = (scores > NEVER).sum(axis=1)  # what is excluded stands at the end
        return [
            (names[ids[row, :end]].tolist(), scores[row, :end].tolist())
            for row, end in enumerate(ends.tolist())
        ]

    def _fallback(self, user_id: str, row: csr_array) -> Answer:
        if not row.nnz or not self.filters.exclude_seen:
            return Answer(user_id, "fallback", *self._popular)
        seen = set(self.recommender.items.ids[row.indices])  # of a model that cannot fold this history in
        wanted = self._popular_and(len(seen))
        kept = [(item_id, score) for item_id, score in zip(*wanted, strict=True) if item_id not in seen]
        best = kept[: self.filters.n]
        return Answer(user_id, "fallback", [item_id for item_id, _ in best], [score for _, score in best])

    @cached_property
    def _popular(self) -> tuple[list[str], list[float]]:
        return self._popular_and(0)

    def _popular_and(self, more: int) -> tuple[list[str], list[float]]:
        ranking = self.recommender.popular(
            self.filters.n + more, self.filters.categories, available_only=self.filters.available_only
        )
        return [item.item_id for item in ranking.items], [item.score for item in ranking.items]


def as_history(events: Sequence[StoredEvent], feedback: Feedback) -> Sent:
    """What events say about their user: item id -> weight, earliest first.

    Of several events of one item the newest counts. A model of ratings takes its value as the rating; any other takes
    the item with its usual weight, and not at all if the value is zero or less, which says that it is liked no more.

    Args:
        events: of one user, newest first.
        feedback: what the model's values mean.
    """
    newest: dict[str, float] = {}
    for event in events:
        newest.setdefault(event.item_id, event.value)
    earliest_first = reversed(newest.items())
    if feedback == "ratings":
        return dict(earliest_first)
    return {item_id: None for item_id, value in earliest_first if value > 0}
