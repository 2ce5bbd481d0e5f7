"""Which items a request leaves to choose from."""

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recae.data.catalogue import Catalogue, Item
from recae.data.idmap import IdMap, Positions

Mask = NDArray[np.bool_]


class Candidates:
    """The whole catalogue, and what filters leave of it. Ids that are not in ``items`` have no effect."""

    def __init__(self, items: IdMap, catalogue: Catalogue | None = None) -> None:
        self.items = items
        self.catalogue = catalogue

    def allowed(
        self,
        include_items: Iterable[str] | None = None,
        exclude_items: Iterable[str] = (),
        categories: Iterable[str] = (),
        *,
        available_only: bool = True,
    ) -> Mask:
        """Items that pass every filter, shape (n_items,); a hidden one never does.

        Args:
            include_items: the only candidates; None for all.
            exclude_items: no candidates.
            categories: candidates have at least one of these, whatever its case; none given for no such filter.
            available_only: no candidate is unavailable.
        """
        mask = np.full(len(self.items), include_items is None)
        if include_items is not None:
            mask[self.items.known(include_items)[0]] = True
        mask[self.items.known(exclude_items)[0]] = False
        wanted = {category.casefold() for category in categories}
        if wanted:
            mask &= self._in_any(wanted)
        mask[self._hidden] = False
        if available_only:
            mask[self._unavailable] = False
        return mask

    def _in_any(self, wanted: Iterable[str]) -> Mask:
        mask = np.zeros(len(self.items), dtype=np.bool_)
        for category in wanted:
            mask[self._columns.get(category, [])] = True
        return mask

    @cached_property
    def _hidden(self) -> Positions:
        return self._where(lambda item: item.hidden)

    @cached_property
    def _unavailable(self) -> Positions:
        return self._where(lambda item: not item.available)

    def _where(self, applies: Callable[[Item], bool]) -> Positions:
        """Columns of the items to which something applies."""
        if self.catalogue is None:
            return np.empty(0, dtype=np.int32)
        found = [column for column, item_id in enumerate(self.items) if applies(self.catalogue.item(item_id))]
        return np.array(found, dtype=np.int32)

    @cached_property
    def _columns(self) -> dict[str, Positions]:
        """Columns of each category, by its casefolded name; built at the first request that asks for one."""
        columns: dict[str, list[int]] = {}
        if self.catalogue is not None:
            for column, item_id in enumerate(self.items):
                for category in self.catalogue.categories(item_id):
                    columns.setdefault(category.casefold(), []).append(column)
        return {category: np.array(listed, dtype=np.int32) for category, listed in columns.items()}
