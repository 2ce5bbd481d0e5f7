"""From a history to the N best items: the one way that the HTTP API, the CLI and the evaluation share.

`Recommender.rank` works on matrices, a batch of histories at a time; `Recommender.recommend` answers one
request in ids and titles, through the same function.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from recae.answers import RankedItem, Ranking, Recommendations, left_out, shortage
from recae.candidates import Mask
from recae.data.eventlog.events import Recent
from recae.diversity import POOL, Diversity
from recae.explanations import Explanation, explanations_of
from recae.grouping import Grouped
from recae.histories import MAX_WEIGHT, Histories, Row, Strategy, as_sent, logged
from recae.models.ranking import NEVER, SCORE_BYTES, Positions, Scores, Sought, best_of
from recae.ranker import Ranker
from recae.threads import spread

Told: TypeAlias = Mapping[str, float | None] | Iterable[str]
"""Item ids, or item id -> weight."""

MOST_TOGETHER = 32
"""Histories that share one pass through the weights."""
WORTH_A_CORE = 16
"""Histories of a batch that a further pass, on another core, is worth."""

__all__ = [
    "MAX_WEIGHT",
    "Explanation",
    "Query",
    "RankedItem",
    "Ranking",
    "Recommendations",
    "Recommender",
    "Strategy",
]


class Query(NamedTuple):
    """One request, as the arguments of :meth:`Recommender.recommend`, which tell what they mean."""

    history: Told | Row = ()
    """A row of :meth:`Recommender.read` knows of its user already."""
    n: int = 10
    user_id: str | None = None
    offset: int = 0
    exclude_seen: bool = True
    include_items: Sequence[str] | None = None
    exclude_items: Iterable[str] = ()
    categories: Iterable[str] = ()
    available_only: bool = True
    diversity: float = 0.0
    explain: int = 0
    seen: Iterable[str] = ()

    @property
    def n_ranked(self) -> int:
        """How many places have to be known to answer it."""
        return max(self.offset + self.n, POOL if self.reorders else 0)

    @property
    def reorders(self) -> bool:
        """Whether the order of the ranking is not that of the answer."""
        return self.diversity > 0 and self.offset < POOL


class Prepared(NamedTuple):
    """A request whose history was read and whose filters were applied: :meth:`Recommender.answer` takes it."""

    query: Query
    row: Row
    allowed: Mask
    n_candidates: int

    @property
    def is_scored(self) -> bool:
        """Whether the model has anything to say."""
        return self.row.strategy != "fallback" and self.n_candidates > 0

    @property
    def n_ranked(self) -> int:
        """How many places are to be known, as far as there are candidates."""
        return min(self.query.n_ranked, self.n_candidates)

    @property
    def sought(self) -> Sought:
        """What the model is asked for."""
        return Sought(self.row.columns, self.row.values, self.n_ranked, self.allowed)


class Recommender(Ranker):
    """A fitted model with the names of its rows and columns, that answers requests.

    Args and errors as those of :class:`~recae.ranker.Ranker`.
    """

    def recommend(
        self,
        history: Told | Row = (),
        n: int = 10,
        *,
        user_id: str | None = None,
        offset: int = 0,
        exclude_seen: bool = True,
        include_items: Sequence[str] | None = None,
        exclude_items: Iterable[str] = (),
        categories: Iterable[str] = (),
        available_only: bool = True,
        diversity: float = 0.0,
        explain: int = 0,
        seen: Iterable[str] = (),
    ) -> Recommendations:
        """Answer one request. Items the catalogue hides are in no answer.

        Args:
            history: item ids, or item id -> weight; None is the usual weight (1, or the highest rating of a model
                of ratings). Added to what the model knows about ``user_id``, and stronger where both name an item.
                A model of sequences goes by the order: earliest first, after what is known, and without weights;
                an item that comes twice stands at its later place.
            n: how many items.
            user_id: a user of the training log; an unknown one is no error.
            offset: places to skip.
            exclude_seen: leave the history's own items out.
            include_items: the only candidates; None for the whole catalogue.
            exclude_items: never recommend these.
            categories: recommend only items that have at least one of these, whatever its case.
            available_only: leave out what the catalogue calls unavailable.
            diversity: from 0, relevance alone, to 1, items as unlike each other as can be found among the best; see
                :mod:`recae.diversity`. Scores stay the model's own, so they need not fall from place to place.
            explain: name so many items of the history for each recommended one; see :mod:`recae.explanations`. The
                fallback goes by no history, and has no explanation.
            seen: further items that the user knows, which count for ``exclude_seen`` alone.

        Raises:
            ValueError: if n is below 1, offset or explain below 0, or diversity not within 0 and 1.
            DataError: if a weight is nothing the model can take.
        """
        query = Query(
            history,
            n,
            user_id,
            offset,
            exclude_seen,
            include_items,
            exclude_items,
            categories,
            available_only,
            diversity,
            explain,
            seen,
        )
        return self.answer([self.prepare(query)])[0]

    def answer(self, prepared: Sequence[Prepared]) -> list[Recommendations]:
        """Answer many requests, as :meth:`recommend` answers one, with one pass through the model for many of them."""
        if len(prepared) == 1:
            return [self._finished(prepared[0], self._ranked(prepared[0]))]
        return [self._finished(one, found) for one, found in zip(prepared, self.best(prepared), strict=True)]

    def best(self, prepared: Sequence[Prepared]) -> Iterator[tuple[Positions, Scores]]:
        """Columns and scores of the best candidates of each request, as many as it ranks; :attr:`n_at_once` at a time."""
        for start in range(0, len(prepared), self.n_at_once):
            block = prepared[start : start + self.n_at_once]
            scored = [one.sought for one in block if one.is_scored]
            ranked = iter(spread(self.model.best_rows, scored, WORTH_A_CORE))
            for one in block:
                yield next(ranked) if one.is_scored else self._unscored(one)

    @property
    def n_at_once(self) -> int:
        """Requests whose scores of all items fit the memory for them."""
        return max(1, SCORE_BYTES // (4 * len(self.items)))

    def read(self, history: Told, user_id: str | None = None) -> Row:
        """A history as the model reads it, for any number of requests about the same user.

        Args:
            history: as in :meth:`recommend`.
            user_id: as in :meth:`recommend`.

        Raises:
            DataError: if a weight is nothing the model can take.
        """
        return self._histories.row(as_sent(history), user_id)

    def read_logged(
        self, user_id: str, known: Recent, now: float, sent: Mapping[str, float | None] | None = None
    ) -> tuple[Row, tuple[str, ...]]:
        """The history of a user as an event log knows them now.

        Their newest events are made into a history as the rows were that the model learned from. The row that it was
        trained on counts beside them, so that nobody who has seen something gets it again, unless events were deleted that
        may be in it.

        Args:
            user_id: who it is.
            known: what the log has of them.
            now: seconds since 1970, by the log's clock.
            sent: item id -> weight of what counts beside, earliest first; it is later than all that is known.

        Returns:
            The history, and ids of what the user knows beside it.

        Raises:
            DataError: if a weight is nothing the model can take.
        """
        row_of = user_id if self.remembers(user_id, known.deletion) else None
        history, seen = logged(known.events, self.history_rule, self.model.feedback, now)
        if row_of is not None and not self.model.supports_fold_in:
            return self.read(sent or {}, row_of), (*history, *seen)
        for item_id, weight in (sent or {}).items():
            history.pop(item_id, None)  # it moves to its later place: some models go by the order
            history[item_id] = weight
        return self.read(history, row_of), seen

    def prepare(self, query: Query) -> Prepared:
        """Read a request's history and apply its filters.

        Raises:
            ValueError, DataError: as :meth:`recommend`.
        """
        if query.n < 1 or query.offset < 0:
            raise ValueError(f"n is {query.n} and offset {query.offset}; expected n >= 1 and offset >= 0")
        if query.explain < 0 or not 0.0 <= query.diversity <= 1.0:
            raise ValueError(
                f"explain is {query.explain} and diversity {query.diversity}; "
                "expected explain >= 0 and diversity from 0 to 1"
            )
        row = query.history if isinstance(query.history, Row) else self.read(query.history, query.user_id)
        allowed = self._candidates.allowed(
            query.include_items, query.exclude_items, query.categories, available_only=query.available_only
        )
        if query.exclude_seen:
            allowed = allowed.copy()
            allowed[row.columns] = False
            if query.seen:
                allowed[self.items.known(query.seen)[0]] = False
        return Prepared(query, row, allowed, int(np.count_nonzero(allowed)))

    def _ranked(self, one: Prepared) -> tuple[Positions, Scores]:
        """Columns and scores of the best candidates. Requests that wait at the same time share a pass through the model."""
        if not one.is_scored:
            return self._unscored(one)
        if self.model.reads_all_weights:
            return self._passing(one.sought)
        scores = self.model.score_row(one.row.columns, one.row.values)
        return self._best(scores, one.n_ranked, one.allowed, one.n_candidates)

    def _unscored(self, one: Prepared) -> tuple[Positions, Scores]:
        """The most popular candidates."""
        return self._best(None, one.n_ranked, one.allowed, one.n_candidates)

    @cached_property
    def _passing(self) -> Grouped[Sought, tuple[Positions, Scores]]:
        return Grouped(self.model.best_rows, MOST_TOGETHER)

    def _finished(self, one: Prepared, ranked: tuple[Positions, Scores]) -> Recommendations:
        """The answer from the ranking of the candidates."""
        query, row, (ids, best) = one.query, one.row, ranked
        end = query.offset + query.n
        if query.reorders:
            order = self._diversity.order(ids, best, end, query.diversity)
            ids, best = ids[order], best[order]
        ids, best = ids[query.offset : end], best[query.offset : end]
        page = self._named(ids, best, query.offset, self._reasons(row, ids, query.explain))
        return Recommendations(
            items=page,
            short=shortage(len(page), query.n, query.offset, one.n_candidates),
            strategy=row.strategy,
            unknown_items=self._unknown(row, query.include_items or ()),
            next_offset=end if one.n_candidates > end else None,
        )

    def rank_candidates(
        self,
        history: Told | Row,
        candidates: Iterable[str],
        user_id: str | None = None,
        *,
        explain: int = 0,
    ) -> Recommendations:
        """Every candidate, best first: the order for a list that the caller has made.

        What is in the history or unavailable is ranked too; the caller has chosen it. What is hidden or was removed is left
        out, and what the model never saw, which ``unknown_items`` names; ``short`` counts both.

        Args:
            history: as in :meth:`recommend`, or a row of :meth:`read`.
            candidates: item ids; one that comes twice has one place.
            user_id: a user of the training log; an unknown one is no error.
            explain: as in :meth:`recommend`.

        Raises:
            ValueError: if explain is below 0.
            DataError: if a weight is nothing the model can take.
        """
        if explain < 0:
            raise ValueError(f"explain is {explain}; expected explain >= 0")
        row = history if isinstance(history, Row) else self.read(history, user_id)
        named = list(dict.fromkeys(candidates))
        allowed = self._candidates.allowed(named, available_only=False)
        n_candidates = int(np.count_nonzero(allowed))
        scores = self._scores_of_candidates(row)
        ids, best = self._best(scores, n_candidates, allowed, n_candidates)
        n_unknown = sum(item_id not in self.items for item_id in named)
        n_hidden = len(named) - n_unknown - n_candidates
        return Recommendations(
            items=self._named(ids, best, 0, self._reasons(row, ids, explain)),
            short=left_out(len(named), n_unknown, n_hidden),
            strategy=row.strategy,
            unknown_items=self._unknown(row, named),
        )

    def _scores_of_candidates(self, row: Row) -> Scores | None:
        """Scores of all items; None where the model has nothing to say of such a history.

        Of a history without known items a model of ratings still says what others gave.
        """
        if row.strategy != "fallback":
            return self.model.score_row(row.columns, row.values)
        if self.model.feedback == "ratings":
            return self.model.score_row(row.columns[:0], row.values[:0])
        return None

    @cached_property
    def _histories(self) -> Histories:
        return Histories(self.model, self.items, self.users)

    @cached_property
    def _diversity(self) -> Diversity:
        return Diversity(self.model.histories_)

    def _unknown(self, row: Row, named: Iterable[str]) -> tuple[str, ...]:
        """Each id of a request that the model does not know, once."""
        return tuple(dict.fromkeys([*row.unknown, *(id_ for id_ in named if id_ not in self.items)]))

    def _best(
        self, scores: Scores | None, n: int, allowed: Mask, n_candidates: int
    ) -> tuple[Positions, Scores]:
        """Columns and scores of the n best candidates, each (k,); the most popular without scores."""
        n = min(n, n_candidates)
        if scores is None or not n:
            return self._most_popular(n, allowed)
        np.copyto(scores, NEVER, where=~allowed)
        return best_of(scores, n)

    def _reasons(self, row: Row, ids: Positions, k: int) -> Sequence[tuple[Explanation, ...]] | None:
        """The explanation of each recommended item; None if there is none."""
        if not k or row.strategy == "fallback":
            return None
        bounds = np.array([0, len(row.columns)], dtype=np.int32)
        history = csr_array((row.values, row.columns, bounds), shape=(1, len(self.items)))
        return explanations_of(self.model, history, ids, k, self.items, self.title)
