"""Which items and which training users are alike: the part of the contract that needs no new history."""

from abc import ABC
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, csr_matrix

from recae.errors import NotFittedError
from recae.models.matrices import as_batch, check_range, itself_first, selection, unit_rows
from recae.models.ranking import Positions, Scores, top_n

N_NEIGHBOURS = 100
"""Neighbours of each item in :attr:`Neighbours.similarity`."""


class Neighbours(ABC):
    """A fitted model's similar items and users, with implicit's names, arguments and errors.

    By default by the cosine of the training data's columns and rows; a model that has vectors of its own
    writes ``_item_similarity`` and ``_user_similarity``.
    """

    histories_: csr_array
    """What the model was fitted to, float32, shape (n_users_, n_items_)."""

    @property
    def n_users_(self) -> int:
        """Rows the model was fitted to."""
        return int(self._fitted().shape[0])

    @property
    def n_items_(self) -> int:
        """Columns the model scores."""
        return int(self._fitted().shape[1])

    def similar_items(
        self,
        itemid: int | ArrayLike,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,  # noqa: ARG002 - implicit's argument to recalculate_item
        filter_items: ArrayLike | None = None,
        items: ArrayLike | None = None,
    ) -> tuple[Positions, Scores]:
        """Items most like an item (itself first, with score 1), or like each of a batch.

        Args:
            itemid: one id, or an array of them.
            N: neighbours wanted, the item itself among them.
            recalculate_item: not supported.
            item_users: goes with ``recalculate_item``.
            filter_items: items that are not returned.
            items: choose among these only.

        Returns:
            ``(ids, similarities)``, shapes as in :meth:`recommend`; similarities lie within [-1, 1].

        Raises:
            IndexError: if an id is out of range.
            ValueError: if both ``items`` and ``filter_items`` are given.
            NotImplementedError: if ``recalculate_item`` is set.
        """
        if recalculate_item:
            raise NotImplementedError(
                "recalculate_item is not supported: fit again on a log with the new item"
            )
        self._fitted()
        wanted, single = as_batch(itemid)
        check_range(wanted, self.n_items_, "itemid")
        allowed = selection(self.n_items_, "item", items, filter_items)
        ids, scores = top_n(itself_first(self._item_similarity(wanted), wanted), N, items=allowed)
        return (ids[0], scores[0]) if single else (ids, scores)

    def similar_users(
        self,
        userid: int | ArrayLike,
        N: int = 10,
        filter_users: ArrayLike | None = None,
        users: ArrayLike | None = None,
    ) -> tuple[Positions, Scores]:
        """Training users most like a training user (itself first, with score 1), or like each of a batch.

        Args, returns and errors as in :meth:`similar_items`.
        """
        self._fitted()
        wanted, single = as_batch(userid)
        check_range(wanted, self.n_users_, "userid")
        allowed = selection(self.n_users_, "user", users, filter_users)
        ids, scores = top_n(itself_first(self._user_similarity(wanted), wanted), N, items=allowed)
        return (ids[0], scores[0]) if single else (ids, scores)

    @property
    def similarity(self) -> csr_matrix:
        """The ``N_NEIGHBOURS`` items most similar to each item, as implicit's item-item models have it.

        Shape (n_items_, n_items_), computed at each access.
        """
        step = 1024
        blocks = []
        for start in range(0, self.n_items_, step):
            wanted = np.arange(start, min(start + step, self.n_items_), dtype=np.int32)
            ids, scores = self.similar_items(wanted, N=N_NEIGHBOURS)
            indptr = np.arange(0, ids.size + 1, ids.shape[1])
            blocks.append(
                csr_matrix((scores.ravel(), ids.ravel(), indptr), shape=(len(wanted), self.n_items_))
            )
        stacked: csr_matrix = sp.vstack(blocks, format="csr")
        return stacked

    def _item_similarity(self, wanted: Positions) -> Scores:
        """Similarity of the wanted items to all, shape (n_wanted, n_items_): cosine of who interacted with them."""
        users_of = unit_rows(csr_array(self.histories_.T))  # (n_items, n_users)
        return np.asarray((users_of[wanted] @ users_of.T).toarray(), dtype=np.float32)

    def _user_similarity(self, wanted: Positions) -> Scores:
        """Similarity of the wanted users to all, shape (n_wanted, n_users_): cosine of their histories."""
        items_of = unit_rows(self.histories_)  # (n_users, n_items)
        return np.asarray((items_of[wanted] @ items_of.T).toarray(), dtype=np.float32)

    def _fitted(self) -> csr_array:
        if "histories_" not in vars(self):
            raise NotFittedError(f"this {type(self).__name__} has learned nothing yet; call fit first")
        return self.histories_
