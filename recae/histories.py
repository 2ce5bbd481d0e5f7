"""From what a request says about a user to one row of the matrix."""

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.errors import DataError
from recae.models.base import Model

Strategy: TypeAlias = Literal["model", "fold_in", "fallback"]
Sent: TypeAlias = dict[str, float | None]

MAX_WEIGHT = 1e6
"""Largest weight of one item in a history; float32 sums of squares stay finite far beyond it."""


class Histories:
    """Rows of histories: what a fitted model knows of its users, and what a request adds.

    Args:
        model: a fitted model.
        items: its columns.
        users: its rows; without them every user is unknown.
    """

    def __init__(self, model: Model, items: IdMap, users: IdMap | None) -> None:
        self.model = model
        self.items = items
        self.users = users

    def row(self, sent: Sent, user_id: str | None) -> tuple[csr_array, Strategy]:
        """One history as a row, shape (1, n_items), and what can be done with it.

        Raises:
            DataError: if a weight is nothing the model can take.
        """
        row: dict[int, float] = {}  # column -> weight
        if user_id is not None and self.users is not None and user_id in self.users:
            stored = self.model.histories_[[self.users.position(user_id)]]
            row.update(zip(stored.indices.tolist(), stored.data.tolist(), strict=True))
        added = {item_id: weight for item_id, weight in sent.items() if item_id in self.items}
        known_until = max(row.values(), default=0.0)
        for place, (item_id, weight) in enumerate(added.items(), start=1):
            is_ordered = self.model.feedback == "sequences"
            value = (
                self._place(item_id, weight, known_until + place)
                if is_ordered
                else self._weight(item_id, weight)
            )
            row[self.items.position(item_id)] = value
        strategy: Strategy = "model" if row else "fallback"
        if added:
            strategy = "fold_in" if self.model.supports_fold_in else "fallback"
        columns = np.array(sorted(row), dtype=np.int32)
        values = np.array([row[column] for column in sorted(row)], dtype=np.float32)
        return csr_array((values, columns, [0, len(columns)]), shape=(1, len(self.items))), strategy

    def _place(self, item_id: str, weight: float | None, place: float) -> float:
        if weight is not None:
            raise DataError(
                f"item {item_id!r} has the weight {weight}; {self.model.name} goes by the order of a history: "
                "name its items earliest first, without weights"
            )
        return place

    def _weight(self, item_id: str, weight: float | None) -> float:
        if weight is None:
            return self._usual_weight
        if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
            raise DataError(
                f"item {item_id!r} has the weight {weight}; expected a number up to {MAX_WEIGHT:g}"
            )
        if weight <= 0 and self.model.feedback == "implicit":
            raise DataError(
                f"item {item_id!r} has the weight {weight}; {self.model.name} learned from likings: above 0"
            )
        return weight

    @cached_property
    def _usual_weight(self) -> float:
        """What an item counts that was sent without a weight: 1 says "liked", but as a rating it would say "worst"."""
        values = self.model.histories_.data
        return float(values.mean()) if self.model.feedback == "ratings" and len(values) else 1.0


def as_sent(history: Mapping[str, float | None] | Iterable[str]) -> Sent:
    """Item id -> weight, None for the usual one; of an id that comes twice in a list the later place counts."""
    if isinstance(history, Mapping):
        return dict(history)
    return dict.fromkeys(list(dict.fromkeys(reversed(list(history))))[::-1])
