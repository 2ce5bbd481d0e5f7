"""How the new events differ from those before: figures for a trend, not for a verdict."""

import numpy as np
from numpy.typing import NDArray

from recae.retrain.nightdata import NightData


def drift_of(data: NightData) -> dict[str, float | int | None]:
    """Figures of one night.

    Returns:
        ``popularity_shift`` from 0 (the same items in the same shares) to 1 (other items), ``new_users``,
        ``new_items``, ``events_per_day``, and ``unknown_share``, the part of the new events that is of new items.
    """
    return {
        "popularity_shift": total_variation(data.shares_before, data.shares_new) if data.n_new else None,
        "new_users": data.n_new_users,
        "new_items": data.n_new_items,
        "events_per_day": data.events_per_day,
        "unknown_share": data.n_new_of_unknown_items / max(data.n_new, 1),
    }


def total_variation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Half the sum of absolute differences of two distributions: the share of events that would have to move.

    >>> total_variation(np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5]))
    0.5
    """
    return float(np.abs(first - second).sum() / 2)
