"""Rankings of one fitted model: of batches of histories as matrices, and by name where no history is needed."""

from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from recae.answers import RankedItem, Ranking, shortage
from recae.candidates import Candidates, Mask
from recae.data.catalogue import Catalogue, Item, shown_title
from recae.data.idmap import IdMap
from recae.errors import ModelError
from recae.explanations import Explanation
from recae.forgetting import Deletion, LogPosition
from recae.history_rule import NEWEST_COUNTS, HistoryRule
from recae.models.base import Model
from recae.models.ranking import NEVER, Positions, Scores, best_of, rank


class Ranker:
    """A fitted model with the names of its rows and columns.

    Args:
        model: a fitted model.
        items: the model's columns.
        users: the rows it was fitted on; without them every user is unknown.
        catalogue: titles and categories.
        version: the name of the stored version, for the answers' headers.
        history_rule: how events become a history, as they became the rows that the model learned from.
        lately: users of each item lately, shape (n_items,), by whose number items are popular, and among equals by that of
            all training users; None for the latter alone.
        learned_from: up to where of which event log the model has learned; None if it was from something else.

    Raises:
        NotFittedError: if the model has learned nothing yet.
        ModelError: if ``items``, ``users`` or ``lately`` do not have the model's size.
    """

    def __init__(
        self,
        model: Model,
        items: IdMap,
        *,
        users: IdMap | None = None,
        catalogue: Catalogue | None = None,
        version: str = "unsaved",
        history_rule: HistoryRule = NEWEST_COUNTS,
        lately: Scores | None = None,
        learned_from: LogPosition | None = None,
    ) -> None:
        if len(items) != model.n_items_:
            raise ModelError(
                f"the model has {model.n_items_:,} items, its id map {len(items):,}; they must agree"
            )
        if users is not None and len(users) != model.n_users_:
            raise ModelError(
                f"the model has {model.n_users_:,} users, its id map {len(users):,}; they must agree"
            )
        if lately is not None and lately.shape != (len(items),):
            raise ModelError(
                f"the model has {len(items):,} items, their users lately {lately.size:,}; they must agree"
            )
        self.model = model
        self.items = items
        self.users = users
        self.catalogue = catalogue
        self.version = version
        self.history_rule = history_rule
        self.learned_from = learned_from
        self._lately = lately
        self._candidates = Candidates(items, catalogue)

    def rank(
        self,
        histories: csr_array,
        n: int,
        *,
        seen: csr_array | None = None,
        items: Positions | None = None,
        candidates: csr_array | None = None,
        show_progress: bool = False,
    ) -> tuple[Positions, Scores]:
        """The n best items of every history, in bounded memory however many rows there are.

        Args:
            histories: shape (n_rows, n_items); rows need not be training users.
            n: places per row; fewer come back when there are fewer candidates.
            seen: shape (n_rows, n_items); its stored entries are not recommended. None excludes nothing.
            items: candidate columns; None for all.
            candidates: shape (n_rows, n_items); its stored entries are the only ones ranked in each row.
            show_progress: show a bar over the rows.

        Returns:
            ids and scores, each (n_rows, k), best first, k = min(n, columns). Where a row has fewer than k
            items left, excluded ones stand at the end with the score `recae.models.ranking.NEVER`.

        Raises:
            ValueError: if a shape does not fit, or n is below 1.
        """
        if histories.shape[1] != len(self.items):
            raise ValueError(
                f"histories have {histories.shape[1]:,} columns, the model has {len(self.items):,} items"
            )
        for called, given in (("seen has", seen), ("candidates have", candidates)):
            if given is not None and given.shape != histories.shape:
                raise ValueError(
                    f"{called} the shape {given.shape}, histories have {histories.shape}; they must agree"
                )
        return rank(
            self.model.score,
            histories,
            n,
            exclude=seen,
            items=items,
            candidates=candidates,
            show_progress=show_progress,
        )

    def popular(self, n: int = 10, categories: Iterable[str] = (), *, available_only: bool = True) -> Ranking:
        """What most users have lately, or if that is not known, most training users; the score is their number.

        Args:
            n: how many items.
            categories: only items that have at least one of these, whatever its case.
            available_only: leave out what the catalogue calls unavailable.
        """
        allowed = self._candidates.allowed(categories=categories, available_only=available_only)
        n_candidates = int(np.count_nonzero(allowed))
        ids, scores = self._most_popular(min(n, n_candidates), allowed)
        return Ranking(self._named(ids, scores), shortage(len(ids), n, 0, n_candidates))

    def similar(self, item_id: str, n: int = 10, *, available_only: bool = True) -> Ranking:
        """The items nearest to one item by the model's own measure, without the item itself.

        Args:
            item_id: an item the model knows; it may be hidden itself.
            n: how many items.
            available_only: leave out what the catalogue calls unavailable.

        Raises:
            UnknownIdError: if the model does not know the item.
        """
        position = int(self.items.positions([item_id])[0])
        allowed = self._candidates.allowed(available_only=available_only).copy()
        allowed[position] = False
        columns = np.flatnonzero(allowed).astype(np.int32)
        if not len(columns):
            return Ranking((), shortage(0, n, 0, 0))
        ids, scores = self.model.similar_items(position, N=min(n, len(columns)), items=columns)
        ranked = self._named(ids, scores)
        return Ranking(ranked, shortage(len(ranked), n, 0, len(columns)))

    def title(self, item_id: str) -> str | None:
        """An item's title, if the catalogue has one."""
        return shown_title(self.item(item_id))

    def item(self, item_id: str) -> Item:
        """What the catalogue knows of an item; an empty line for one it does not hold."""
        if item_id in self.items or self.catalogue is None:
            return self._candidates.item(item_id)
        return self.catalogue.item(item_id)

    def allowed(self, categories: Iterable[str] = (), *, available_only: bool = True) -> Mask:
        """Items that may be recommended as the catalogue is now, shape (n_items,).

        Args:
            categories: only items that have at least one of these, whatever its case.
            available_only: leave out what the catalogue calls unavailable.
        """
        return self._candidates.allowed(categories=categories, available_only=available_only)

    def with_items(self, changed: Iterable[Item]) -> Self:
        """The same model over a catalogue in which these lines are new; this recommender stays as it is."""
        other = copy(self)
        vars(other).update(_candidates=self._candidates.changed(changed))
        return other

    def knows_user(self, user_id: str) -> bool:
        """Whether the user was in the training log."""
        return self.users is not None and user_id in self.users

    def remembers(self, user_id: str, deletion: Deletion | None) -> bool:
        """Whether the row that the model was trained on may be used for a user: it has one, without any deleted event.

        Args:
            user_id: who it is.
            deletion: when their events were deleted; None if they never were.
        """
        return self.knows_user(user_id) and (deletion is None or deletion.precedes(self.learned_from))

    @cached_property
    def _popularity(self) -> Scores:
        """Training users per item, shape (n_items,)."""
        return np.bincount(self.model.histories_.indices, minlength=len(self.items)).astype(np.float32)

    @cached_property
    def _places(self) -> Scores:
        """Of each item by popularity lately, then among all: n_items for the most popular, shape (n_items,)."""
        order = np.lexsort((-self._popularity, -self._counted))
        places = np.empty(len(order), dtype=np.float32)
        places[order] = np.arange(len(order), 0, -1)
        return places

    @property
    def _counted(self) -> Scores:
        """Users per item, by which items are popular, shape (n_items,)."""
        return self._popularity if self._lately is None else self._lately

    def _most_popular(self, n: int, allowed: Mask) -> tuple[Positions, Scores]:
        """Columns and scores of the n most popular of the allowed items; there are so many at least."""
        ids, _ = best_of(np.where(allowed, self._places, np.float32(NEVER)), n)
        return ids, self._counted[ids]

    def _named(
        self,
        ids: Positions,
        scores: Scores,
        offset: int = 0,
        reasons: Sequence[tuple[Explanation, ...]] | None = None,
    ) -> tuple[RankedItem, ...]:
        """Columns as items, ranked from ``offset`` + 1."""
        titles = self._candidates.titles
        return tuple(
            RankedItem(item_id, score, rank, titles[column], explanation)
            for rank, (column, item_id, score, explanation) in enumerate(
                zip(
                    ids.tolist(),
                    self.items.ids[ids],
                    scores.tolist(),
                    reasons or [()] * len(ids),
                    strict=True,
                ),
                start=offset + 1,
            )
        )
