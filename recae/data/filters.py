"""Which events count, and how much.

Filters of events take a table or a stream of tables and give a stream, so a log of any size passes through.
Filters of interactions need all of them at once.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from recae.data.events import Events, chunks_of
from recae.data.holdout import Feedback
from recae.data.interactions import Interactions
from recae.errors import DataError, name_some
from recae.history_rule import lowest_liking


def weighted(
    events: Events, weights: Mapping[str, float], *, other: float | None = None
) -> Iterator[pd.DataFrame]:
    """Weigh events by type: the value (1.0 if the events have none) times the weight of the event's type.

    Args:
        events: with event_type.
        weights: finite weight of each type; events of weight 0 are left out.
        other: weight of types that ``weights`` does not name, and of events without type; None refuses them.

    Raises:
        DataError: if the events have no event_type, or one has no weight.
    """
    if not np.isfinite([*weights.values(), 0.0 if other is None else other]).all():
        raise ValueError(f"weights must be finite numbers, found {dict(weights)} and {other}")
    for chunk in chunks_of(events):
        types = _column(chunk, "event_type", "weights by type")
        weight = types.map(weights).astype("float64")
        if weight.isna().any() and other is None:
            unnamed = types[weight.isna()].drop_duplicates()
            raise DataError(
                f"no weight for events of type {name_some(unnamed)}; there are {name_some(weights)}; "
                "add them, with 0 to leave them out, or set a weight for all others"
            )
        weight = weight.fillna(other)
        value = weight * chunk["value"] if "value" in chunk.columns else weight
        yield chunk.assign(value=value)[(weight != 0).to_numpy()]


def keep(
    interactions: Interactions,
    *,
    feedback: Feedback = "ratings",
    min_value: float | None = None,
    min_user_items: int = 0,
    min_item_users: int = 0,
) -> Interactions:
    """A lower limit for values first, then the k-core; users and items that lose everything go.

    Args:
        interactions: all of them.
        feedback: what a model will take the values for. Of ratings all are kept where there is no ``min_value``; for any
            other model a value is a liking, or nothing, and what is not above 0 is none.
        min_value: lowest value that is kept.
        min_user_items: as in :func:`k_core`, but for users without any.
        min_item_users: likewise.

    Raises:
        DataError: if nothing is left.
    """
    if min_value is not None or feedback != "ratings":
        highest = interactions.matrix.data.max(initial=-np.inf)
        interactions = interactions.where(interactions.matrix.data >= lowest_liking(min_value))
        if not len(interactions):
            raise DataError(_no_likings(min_value, highest))
    return k_core(interactions, min_user_items=max(1, min_user_items), min_item_users=max(1, min_item_users))


def _no_likings(min_value: float | None, highest: float) -> str:
    if min_value is None:
        return f"no value is above 0, the highest is {highest:g}, so nothing counts as a liking; set min_value lower"
    return f"no value reaches the minimum {min_value:g}; the highest is {highest:g}: lower it"


def k_core(interactions: Interactions, *, min_user_items: int, min_item_users: int) -> Interactions:
    """The largest part in which every user has enough items and every item enough users.

    Dropping an item can leave a user with too few, and so on: both are counted again until nothing more goes.

    Args:
        interactions: all of them.
        min_user_items: fewest items of a user that stays; 0 keeps users without any.
        min_item_users: fewest users of an item that stays; 0 keeps items without any.

    Raises:
        DataError: if nothing is left.
    """
    before = len(interactions)
    while True:
        matrix = interactions.matrix
        per_user = np.diff(matrix.indptr)
        per_item = np.bincount(matrix.indices, minlength=interactions.n_items)
        users, items = np.flatnonzero(per_user >= min_user_items), np.flatnonzero(per_item >= min_item_users)
        if not users.size or not items.size or not len(interactions):
            raise DataError(
                f"none of {before:,} interactions is left with at least {min_user_items} items a user and "
                f"{min_item_users} users an item; lower the limits"
            )
        if users.size == interactions.n_users and items.size == interactions.n_items:
            return interactions
        if users.size < interactions.n_users:
            interactions = interactions.select_users(users)
        if items.size < interactions.n_items:
            interactions = interactions.restrict_items(items)


def _column(chunk: pd.DataFrame, name: str, purpose: str) -> "pd.Series[float]":
    if name not in chunk.columns:
        raise DataError(
            f"{purpose} needs the column {name}; found {list(chunk.columns)}; map it when reading"
        )
    return chunk[name]
