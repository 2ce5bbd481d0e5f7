"""Sort events by cell of the matrix: by counting, in a bounded workspace, where a general sort would compare."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from recae.data.idmap import Positions


def by_cell(rows: Positions, columns: Positions, shape: tuple[int, int]) -> Positions:
    """Positions of the events by row, then by column, then in the order they came; shape (n_events,).

    Args:
        rows: shape (n_events,), each below ``shape[0]``.
        columns: the same below ``shape[1]``.
        shape: of the matrix.
    """
    by_column = _stable_order(columns, shape[1])
    order: Positions = by_column[_stable_order(rows[by_column], shape[0])]
    return order


def by_time_within(order: Positions, is_first: npt.NDArray[np.bool_], times: npt.NDArray[np.int64]) -> None:
    """Bring the events of each cell into the order of their times, equal times as they came, in place.

    Args:
        order: as ``by_cell`` gives it.
        is_first: where in ``order`` a cell begins.
        times: of the events, shape (n_events,).
    """
    is_last = np.append(is_first[1:], True)
    shared = np.flatnonzero(~(is_first & is_last))  # few have company, and only those move
    of_shared = order[shared]
    cell = np.cumsum(is_first[shared])
    order[shared] = of_shared[np.lexsort((times[of_shared], cell))]


def _stable_order(keys: Positions, n_keys: int) -> Positions:
    """Positions that sort ``keys``, equal ones as they came: a matrix with one entry a row, read by columns."""
    starts = np.arange(keys.size + 1, dtype=np.int32)
    entries = csr_array((np.ones(keys.size, dtype=np.int8), keys, starts), shape=(keys.size, n_keys))
    return entries.tocsc().indices.astype(np.int32, copy=False)
