"""Which items a request leaves to choose from."""

from collections.abc import Iterable
from copy import copy
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recae.data.catalogue import Catalogue, Item, shown_title
from recae.data.idmap import IdMap, Positions

Mask = NDArray[np.bool_]


class Candidates:
    """The whole catalogue, and what filters leave of it. Ids that are not in ``items`` have no effect."""

    def __init__(self, items: IdMap, catalogue: Catalogue | None = None) -> None:
        self.items = items
        self._facts = [Item(item_id) if catalogue is None else catalogue.item(item_id) for item_id in items]
        self.titles = [shown_title(item) for item in self._facts]
        """Of each column; None where there is none."""
        self._hidden = np.array([item.hidden for item in self._facts], dtype=np.bool_)
        self._unavailable = np.array([not item.available for item in self._facts], dtype=np.bool_)

    def changed(self, items: Iterable[Item]) -> "Candidates":
        """The same candidates with other lines for some of them; these here stay as they are."""
        facts, titles = self._facts.copy(), self.titles.copy()
        hidden, unavailable = self._hidden.copy(), self._unavailable.copy()
        categories_changed = False
        for item in items:
            if item.item_id not in self.items:
                continue
            column = self.items.position(item.item_id)
            categories_changed |= item.categories != facts[column].categories
            facts[column] = item
            titles[column] = shown_title(item)
            hidden[column], unavailable[column] = item.hidden, not item.available
        other = copy(self)
        for derived in ("_visible", "_offered", *(["_columns"] if categories_changed else [])):
            vars(other).pop(derived, None)
        vars(other).update(_facts=facts, titles=titles, _hidden=hidden, _unavailable=unavailable)
        return other

    def item(self, item_id: str) -> Item:
        """What is known about one item; an id that is not in ``items`` gets an empty line."""
        return self._facts[self.items.position(item_id)] if item_id in self.items else Item(item_id)

    def allowed(
        self,
        include_items: Iterable[str] | None = None,
        exclude_items: Iterable[str] = (),
        categories: Iterable[str] = (),
        *,
        available_only: bool = True,
    ) -> Mask:
        """Items that pass every filter, shape (n_items,), read-only; a hidden one never does.

        Args:
            include_items: the only candidates; None for all.
            exclude_items: no candidates.
            categories: candidates have at least one of these, whatever its case; none given for no such filter.
            available_only: no candidate is unavailable.
        """
        mask = self._offered if available_only else self._visible
        if include_items is not None:
            included = np.zeros(len(self.items), dtype=np.bool_)
            included[self.items.known(include_items)[0]] = True
            mask = mask & included
        excluded = tuple(exclude_items)
        if excluded:
            mask = mask.copy()
            mask[self.items.known(excluded)[0]] = False
        wanted = {category.casefold() for category in categories}
        if wanted:
            mask = mask & self._in_any(wanted)
        return mask

    def _in_any(self, wanted: Iterable[str]) -> Mask:
        mask = np.zeros(len(self.items), dtype=np.bool_)
        for category in wanted:
            mask[self._columns.get(category, [])] = True
        return mask

    @cached_property
    def _visible(self) -> Mask:
        return _read_only(~self._hidden)

    @cached_property
    def _offered(self) -> Mask:
        return _read_only(~(self._hidden | self._unavailable))

    @cached_property
    def _columns(self) -> dict[str, Positions]:
        """Columns of each category, by its casefolded name; built at the first request that asks for one."""
        columns: dict[str, list[int]] = {}
        for column, item in enumerate(self._facts):
            for category in item.categories:
                columns.setdefault(category.casefold(), []).append(column)
        return {category: np.array(listed, dtype=np.int32) for category, listed in columns.items()}


def _read_only(mask: Mask) -> Mask:
    mask.flags.writeable = False  # every request without filters gets this one
    return mask
