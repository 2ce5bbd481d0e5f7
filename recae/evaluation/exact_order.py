"""Scores of any numbers in float32, with the order that they had."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recae.models.ranking import NEVER, Scores


def in_float32(scores: Any) -> Scores:
    """A copy in float32 with the order, the ties and the `NEVER` of each row of scores: nothing else of them counts.

    Numbers that float32 rounds would get ties that they do not have: seconds since 1970, or probabilities near 1. A row with
    such numbers becomes the dense ranks of its scores, from 1 for the lowest.

    Args:
        scores: numbers, shape (..., n_items).
    """
    found = np.asarray(scores)
    if np.can_cast(found.dtype, np.float32):
        return found.astype(np.float32)
    if found.dtype.kind not in "iuf":
        found = found.astype(np.float64)
    exact = np.empty(found.shape, dtype=np.float32)
    for place in np.ndindex(found.shape[:-1]):  # a row at a time: sorting takes several times its memory
        exact[place] = _row_in_float32(found[place])
    return exact


def _row_in_float32(row: NDArray[Any]) -> Scores:
    with np.errstate(over="ignore"):  # what overflows is not exact
        rounded = row.astype(np.float32)
    if row.dtype.kind == "f" and (np.isnan(row) | (rounded == row)).all():
        return rounded
    ranks = (np.unique(row, return_inverse=True)[1] + 1).astype(np.float32)  # exact up to 16,777,216 items
    if row.dtype.kind == "f":
        ranks[row <= NEVER] = NEVER
        ranks[np.isnan(row)] = np.nan
    return ranks
