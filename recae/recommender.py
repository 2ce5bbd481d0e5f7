"""From a history to the N best items: the one way that the HTTP API, the CLI and the evaluation share.

`Recommender.rank` works on matrices, a batch of histories at a time; `Recommender.recommend` answers one
request in ids and titles, through the same function.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from recae.answers import RankedItem, Ranking, Recommendations, shortage
from recae.diversity import POOL, Diversity
from recae.explanations import Explanation, explanations_of
from recae.histories import MAX_WEIGHT, Histories, Strategy, as_sent
from recae.models.ranking import Positions, Scores
from recae.ranker import Ranker

__all__ = [
    "MAX_WEIGHT",
    "Explanation",
    "RankedItem",
    "Ranking",
    "Recommendations",
    "Recommender",
    "Strategy",
]


class Recommender(Ranker):
    """A fitted model with the names of its rows and columns, that answers requests.

    Args and errors as those of :class:`~recae.ranker.Ranker`.
    """

    def recommend(
        self,
        history: Mapping[str, float | None] | Iterable[str] = (),
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
    ) -> Recommendations:
        """Answer one request. Items the catalogue hides are in no answer.

        Args:
            history: item ids, or item id -> weight; None is the usual weight (1, or the mean rating of a model
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

        Raises:
            ValueError: if n is below 1, offset or explain below 0, or diversity not within 0 and 1.
            DataError: if a weight is nothing the model can take.
        """
        if n < 1 or offset < 0:
            raise ValueError(f"n is {n} and offset {offset}; expected n >= 1 and offset >= 0")
        if explain < 0 or not 0.0 <= diversity <= 1.0:
            raise ValueError(
                f"explain is {explain} and diversity {diversity}; expected explain >= 0 and diversity from 0 to 1"
            )
        sent = as_sent(history)
        row, strategy = self._histories.row(sent, user_id)
        allowed = self._candidates.allowed(
            include_items, exclude_items, categories, available_only=available_only
        )
        if exclude_seen:
            allowed[row.indices] = False
        columns = np.flatnonzero(allowed).astype(np.int32)
        reorders = diversity > 0 and offset < POOL
        ids, scores = self._best(row, strategy, max(offset + n, POOL if reorders else 0), columns)
        if reorders:
            order = self._diversity.order(ids, scores, offset + n, diversity)
            ids, scores = ids[order], scores[order]
        page = self._named(
            ids[offset:], scores[offset:], offset, self._reasons(row, strategy, ids[offset:], explain)
        )
        return Recommendations(
            items=page,
            short=shortage(len(page), n, offset, len(columns)),
            strategy=strategy,
            unknown_items=self._unknown([*sent, *(include_items or ())]),
            next_offset=offset + n if len(columns) > offset + n else None,
        )

    def rank_candidates(
        self,
        history: Mapping[str, float | None] | Iterable[str],
        candidates: Iterable[str],
        user_id: str | None = None,
        *,
        explain: int = 0,
    ) -> Recommendations:
        """Every candidate, best first: the order for a list that the caller has made.

        What is in the history or unavailable is ranked too; the caller has chosen it. What is hidden is left out, and
        what the model never saw, which ``unknown_items`` names; ``short`` counts both.

        Args:
            history: as in :meth:`recommend`.
            candidates: item ids; one that comes twice has one place.
            user_id: a user of the training log; an unknown one is no error.
            explain: as in :meth:`recommend`.

        Raises:
            ValueError: if explain is below 0.
            DataError: if a weight is nothing the model can take.
        """
        if explain < 0:
            raise ValueError(f"explain is {explain}; expected explain >= 0")
        sent, named = as_sent(history), list(dict.fromkeys(candidates))
        row, strategy = self._histories.row(sent, user_id)
        columns = np.flatnonzero(self._candidates.allowed(named, available_only=False)).astype(np.int32)
        ids, scores = self._best(row, strategy, len(columns), columns)
        n_unknown = len(self._unknown(named))
        n_hidden = len(named) - n_unknown - len(columns)
        short = f"of {len(named):,} candidate(s) the model does not know {n_unknown:,}, and {n_hidden:,} are hidden"
        return Recommendations(
            items=self._named(ids, scores, 0, self._reasons(row, strategy, ids, explain)),
            short=short if n_unknown or n_hidden else None,
            strategy=strategy,
            unknown_items=self._unknown([*sent, *named]),
        )

    @cached_property
    def _histories(self) -> Histories:
        return Histories(self.model, self.items, self.users)

    @cached_property
    def _diversity(self) -> Diversity:
        return Diversity(self.model.histories_)

    def _unknown(self, item_ids: Iterable[str]) -> tuple[str, ...]:
        """Each id that the model does not know, once."""
        return tuple(self.items.known(dict.fromkeys(item_ids))[1])

    def _best(
        self, row: csr_array, strategy: Strategy, n: int, candidates: Positions
    ) -> tuple[Positions, Scores]:
        """Columns and scores of the n best candidates, each (k,)."""
        if strategy == "fallback" or not len(candidates):
            return self._most_popular(n, candidates)
        ids, scores = self.rank(row, n, items=candidates)
        return ids[0], scores[0]

    def _reasons(
        self, row: csr_array, strategy: Strategy, ids: Positions, k: int
    ) -> Sequence[tuple[Explanation, ...]] | None:
        """The explanation of each recommended item; None if there is none."""
        if not k or strategy == "fallback":
            return None
        return explanations_of(self.model, row, ids, k, self.items, self.title)
