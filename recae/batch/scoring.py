"""From a block of users to their recommendations: the same items and scores as one request each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from recae.answers import shortage
from recae.batch.users import Asked
from recae.data.eventlog.events import Recent, StoredEvent
from recae.data.eventlog.snapshot import Snapshot
from recae.forgetting import Deletion
from recae.histories import Strategy
from recae.recommender import Prepared, Query, Recommender

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
    short: str | None = None
    """Why there are fewer items than asked for, in the words of the HTTP API."""


class Scorer:
    """Answers blocks of users, as one request for each would be answered: read and ranked by the functions that serve.

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

    def answers(self, block: Sequence[Asked]) -> list[Answer]:
        """One answer for each user, in their order."""
        valid = [asked.user_id for asked in block if asked.problem is None]
        logged = self._snapshot.histories(valid, self._max_history) if self._snapshot else {}
        deleted = self._snapshot.deleted(valid) if self._snapshot else {}
        answers: dict[str, Answer] = {}
        step = self.recommender.n_at_once  # what is prepared has a place for every item
        for start in range(0, len(valid), step):
            some = valid[start : start + step]
            prepared = [
                self._prepared(user_id, logged.get(user_id, ()), deleted.get(user_id)) for user_id in some
            ]
            answers |= zip(some, self._answers(some, prepared), strict=True)
        return [
            Answer(asked.user_id, error=asked.problem) if asked.problem else answers[asked.user_id]
            for asked in block
        ]

    def _prepared(self, user_id: str, events: Sequence[StoredEvent], deletion: Deletion | None) -> Prepared:
        """What a request for one user would come to."""
        met = [
            (event.item_id, event.value, event.event_type, event.timestamp, event.sequence)
            for event in events
        ]
        row, beside = self.recommender.read_logged(user_id, Recent(met, deletion), self._now)
        filters = self.filters
        query = Query(
            row,
            filters.n,
            exclude_seen=filters.exclude_seen,
            categories=filters.categories,
            available_only=filters.available_only,
            seen=beside,
        )
        return self.recommender.prepare(query)

    def _answers(self, user_ids: Sequence[str], prepared: Sequence[Prepared]) -> list[Answer]:
        names = self.recommender.items.ids
        return [
            Answer(
                user_id,
                one.row.strategy,
                names[ids].tolist(),
                scores.tolist(),
                short=shortage(len(ids), self.filters.n, 0, one.n_candidates),
            )
            for user_id, one, (ids, scores) in zip(
                user_ids, prepared, self.recommender.best(prepared), strict=True
            )
        ]
