"""What metrics beyond accuracy need to know of the items: how many know them, who, and what they are."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, diags_array

from recae.data.catalogue import Catalogue
from recae.data.holdout import pattern
from recae.data.idmap import IdMap
from recae.errors import EvaluationError

Values = NDArray[np.float64]

HEAD, TORSO = 0.5, 0.9
"""Shares of all training interactions: the head is the most popular items that hold the first half of them, the tail
what holds the last tenth."""


class ItemFacts:
    """Facts of one training matrix, each computed when a metric first asks for it.

    Args:
        train: shape (n_users, n_items); stored entries count, not their values.
        items: names of the columns; needed with a catalogue.
        catalogue: categories of the items.
    """

    def __init__(
        self, train: csr_array, items: IdMap | None = None, catalogue: Catalogue | None = None
    ) -> None:
        self._train = pattern(train)
        self._items = items
        self._catalogue = catalogue
        self.n_users, self.n_items = train.shape

    @cached_property
    def takers(self) -> NDArray[np.int64]:
        """Train users who have the item, shape (n_items,)."""
        return np.bincount(self._train.indices, minlength=self.n_items)

    @cached_property
    def share(self) -> Values:
        """Share of train users who have the item, shape (n_items,)."""
        return np.asarray(self.takers / max(self.n_users, 1))

    @cached_property
    def information(self) -> Values:
        """``-log2(share)`` in bits, shape (n_items,).

        An item that no train user has counts as if one had it: its information is bounded, not infinite.
        """
        return np.asarray(np.log2(max(self.n_users, 1)) - np.log2(np.maximum(self.takers, 1)))

    @cached_property
    def popularity_rank(self) -> NDArray[np.int64]:
        """Place of the item among all by takers, 0 for the most popular; of equal ones the lower column first."""
        rank = np.empty(self.n_items, dtype=np.int64)
        rank[np.argsort(-self.takers, kind="stable")] = np.arange(self.n_items)
        return rank

    @cached_property
    def directions(self) -> csr_array:
        """Each item as the unit vector of its takers, shape (n_items, n_users); nothing for an item without any."""
        lengths = np.sqrt(np.maximum(self.takers, 1))
        return csr_array(diags_array(1.0 / lengths) @ csc_array(self._train).T.tocsr())

    @cached_property
    def categories(self) -> csr_array:
        """Share of each category in an item, shape (n_items, n_categories): equal, and 1 in sum where there are any.

        Raises:
            EvaluationError: without a catalogue that names categories of these items.
        """
        if self._catalogue is None or self._items is None:
            raise EvaluationError(
                "calibration compares categories, and no catalogue names those of the items; "
                "set data.catalogue, or take it out of the metrics"
            )
        of_item = [self._catalogue.categories(item) for item in self._items]
        column = {
            name: place for place, name in enumerate(sorted({name for names in of_item for name in names}))
        }
        if not column:
            raise EvaluationError(
                "calibration compares categories, and the catalogue has none for these items"
            )
        counts = np.array([len(names) for names in of_item])
        columns = np.array([column[name] for names in of_item for name in names], dtype=np.int32)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        shares = np.repeat(1.0 / np.maximum(counts, 1), counts)
        return csr_array((shares, columns, indptr), shape=(self.n_items, len(column)))

    @cached_property
    def popularity_groups(self) -> dict[str, NDArray[np.bool_]]:
        """Head, torso and tail of the catalogue; see `HEAD`. Each maps to bool (n_items,)."""
        order = np.argsort(self.popularity_rank)
        before = np.concatenate([[0], np.cumsum(self.takers[order])[:-1]]) / max(self.takers.sum(), 1)
        share_before = np.empty(self.n_items)
        share_before[order] = before
        masks = {
            "head": share_before < HEAD,
            "torso": (share_before >= HEAD) & (share_before < TORSO),
            "tail": share_before >= TORSO,
        }
        return {f"{name}: {int(mask.sum()):,} items": mask for name, mask in masks.items() if mask.any()}
