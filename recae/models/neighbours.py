"""Which items and which training users are alike: the part of the contract that needs no new history."""

from abc import ABC
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix

from recae.errors import NotFittedError
from recae.models.matrices import (
    as_batch,
    check_range,
    inverse_lengths,
    itself_first,
    selection,
    unit_rows,
)
from recae.models.ranking import Positions, Scores, top_n

N_NEIGHBOURS = 100
"""Neighbours of each item in :attr:`Neighbours.similarity`."""


T = TypeVar("T")


class Derived(cached_property[T]):
    """What follows from the learned fields, worked out when it is first asked for and kept until the next fit.

    It is neither stored nor copied: a copy may be given other weights, and what goes to another process stays small.
    """


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
        vectors = unit_rows(self._by_item[wanted])  # (n_wanted, n_users)
        similar = (vectors @ self.histories_).toarray()
        similar *= self._item_scale
        return np.asarray(similar, dtype=np.float32)

    def _user_similarity(self, wanted: Positions) -> Scores:
        """Similarity of the wanted users to all, shape (n_wanted, n_users_): cosine of their histories."""
        vectors = unit_rows(self.histories_[wanted])  # (n_wanted, n_items)
        similar = (vectors @ self._by_item).toarray()
        similar *= self._user_scale
        return np.asarray(similar, dtype=np.float32)

    @Derived
    def _by_item(self) -> csr_array:
        """The training matrix by item, shape (n_items_, n_users_): 8 bytes an entry, as much as the matrix itself.

        Both similarities need it, and turning the matrix round takes most of the time that a question takes.
        """
        return csr_array(self.histories_.T.tocsr())

    @Derived
    def _item_scale(self) -> NDArray[np.float32]:
        """What makes columns of length 1 of the training matrix's columns, shape (n_items_,)."""
        return inverse_lengths(self._by_item)

    @Derived
    def _user_scale(self) -> NDArray[np.float32]:
        """The same for its rows, shape (n_users_,)."""
        return inverse_lengths(self.histories_)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: all but what is derived."""
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(type(self), name, None), Derived)
        }

    def _fitted(self) -> csr_array:
        if "histories_" not in vars(self):
            raise NotFittedError(f"this {type(self).__name__} has learned nothing yet; call fit first")
        return self.histories_
