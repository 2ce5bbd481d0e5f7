"""The regularised Gram matrix of a log and its inverse, in place: the work behind every linear autoencoder.

``(X'X + L)^-1`` is found from the smaller of two sides. By items it is one symmetric inverse of n_items rows. By
users, with ``Y = X L^-1/2``, it is ``L^-1/2 (I - Y' (I + Y Y')^-1 Y) L^-1/2``: one symmetric inverse of n_users
rows, and sparse products to come back to the items. The cost is cubic in the side that is inverted: on Gowalla,
29,858 users and 40,981 items, the users' side takes 0.39 times the operations, and half the memory while it lasts.

Products go through torch, whose threads share a core with others; OpenBLAS's own spin (measured beside one
busy process on 2 cores, 5,240 items: 3 s with torch, 17 s with OpenBLAS).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from recae.errors import FitError, MemoryBudgetError
from recae.machine import memory_budget
from recae.models.matrices import sparse_times_dense
from recae.progress import Bar, bar

Matrix = NDArray[np.float32]

COLUMNS = 512
"""Rows of a result that a thread makes dense at a time."""

LEAF = 1024
"""Rows of the blocks that are inverted as a whole; above that, everything is matrix products."""

PEAK = 1.4
"""Peak memory of building and inverting, in matrices of n_items x n_items float32: on Gowalla, by users, 1.35 with all
that the process holds."""

USERS_SIDE = 0.85
"""Share of n_items below which the users are the cheaper side: the way back to the items costs the rest."""


def inverse_gram(
    histories: csr_array, *, l2: float, dropout: float = 0.0, show_progress: bool = False
) -> tuple[Matrix, Matrix]:
    """``P = (G + L)^-1`` with ``G = X'X`` and ``L = diag(l2 + dropout / (1 - dropout) G_jj)``, in float32.

    Holds one n_items x n_items matrix, and a workspace of a third of it.

    Args:
        histories: X, shape (n_users, n_items).
        l2: added to every diagonal entry, above 0.
        dropout: p, from 0 to below 1.
        show_progress: show a bar over the floating-point operations.

    Returns:
        ``(P, diagonal of L)``: symmetric, C-ordered, shape (n_items, n_items); and shape (n_items,).

    Raises:
        MemoryBudgetError: if that would not fit into what this process can take, see `recae doctor`.
        FitError: if the matrix is not positive definite in float32.
    """
    check_memory(histories.shape[1])
    squares = np.bincount(histories.indices, weights=np.square(histories.data), minlength=histories.shape[1])
    ridge = (l2 + dropout / (1.0 - dropout) * squares).astype(np.float32)
    active = csr_array(histories[np.diff(histories.indptr) > 0])
    if active.shape[0] < USERS_SIDE * active.shape[1]:
        return _by_users(active, ridge, show_progress=show_progress), ridge
    matrix = gram_matrix(active)
    invert_with_ridge(matrix, ridge, show_progress=show_progress)
    return matrix, ridge


def invert_with_ridge(matrix: Matrix, ridge: Matrix, *, show_progress: bool = False) -> None:
    """Replace a symmetric ``matrix`` by ``(matrix + diag(ridge))^-1``.

    Args:
        matrix: shape (n, n), C-ordered.
        ridge: above 0, shape (n,).
        show_progress: show a bar over the floating-point operations.

    Raises:
        FitError: if that is not positive definite in float32.
    """
    matrix[np.diag_indices(len(matrix))] += ridge
    with bar("solving", _operations(len(matrix)), show=show_progress) as running:
        invert(torch.from_numpy(matrix), running)


def _by_users(histories: csr_array, ridge: Matrix, *, show_progress: bool) -> Matrix:
    """The same inverse through that of ``I + Y Y'``; the users' matrix is gone before the items' is whole."""
    n_items = histories.shape[1]
    scale = 1.0 / np.sqrt(ridge)
    data = histories.data * scale[histories.indices]
    by_item = csr_array(csr_array((data, histories.indices, histories.indptr), shape=histories.shape).T)  # Y'
    users = gram_matrix(by_item)
    invert_with_ridge(users, np.ones(len(users), dtype=np.float32), show_progress=show_progress)

    # The upper triangle by blocks of columns: half of the result stands beside the users' matrix, which is gone
    # before the other half is made.
    upper = []
    for block in _blocks(n_items):
        explained = sparse_times_dense(by_item[block], users)  # rows of Y' (I + Y Y')^-1, (block, n_users)
        above = slice(0, block.stop)
        part = sparse_times_dense(by_item[above], np.ascontiguousarray(explained.T))  # (above, block)
        part *= -scale[above, None]
        part *= scale[block]
        upper.append(part)
    del users
    result = np.empty((n_items, n_items), dtype=np.float32)
    for block in _blocks(n_items):
        part = upper.pop(0)
        result[: block.stop, block] = part
        result[block, : block.start] = part[: block.start].T
    result[np.diag_indices(n_items)] += np.square(scale)
    return result


def gram_matrix(histories: csr_array) -> Matrix:
    """``X'X`` in float32, C-ordered, made dense in blocks of rows, a thread for each core of the budget."""
    n_items = histories.shape[1]
    by_item = csr_array(histories.T)  # (n_items, n_users)
    gram = np.empty((n_items, n_items), dtype=np.float32)

    def fill(block: slice) -> None:
        gram[block] = (by_item[block] @ histories).toarray()

    _in_threads(fill, n_items)
    return gram


def add_product(left: csr_array, right: csr_array, *, into: Matrix, weight: float) -> None:
    """``into += weight * left' right``, in blocks of rows as :func:`gram_matrix`.

    Args:
        left: shape (n_users, n_rows).
        right: shape (n_users, n_columns).
        into: shape (n_rows, n_columns), C-ordered.
        weight: of the product.
    """
    by_item = csr_array(left.T)

    def add(block: slice) -> None:
        into[block] += np.float32(weight) * (by_item[block] @ right).toarray()

    _in_threads(add, len(into))


def _in_threads(work: Callable[[slice], None], n: int) -> None:
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(work, _blocks(n)))


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, COLUMNS):
        yield slice(start, min(start + COLUMNS, n))


@torch.no_grad()
def invert(matrix: Tensor, running: Bar | None = None) -> None:
    """Invert a symmetric positive definite matrix in place.

    By blocks: with ``A = [[A11, A21'], [A21, A22]]``, ``V = A21 A11^-1`` and the Schur complement
    ``S = A22 - V A21'``, the inverse is ``[[A11^-1 + V' S^-1 V, -V' S^-1], [-S^-1 V, S^-1]]``; A11 and S are
    inverted the same way. n^3 floating-point operations as LAPACK's potrf and potri take, all but the leaves
    of them in matrix products, with no limit on n (LAPACK calls with 32-bit indices crash at 41,000 rows).

    Args:
        matrix: shape (n, n), rows contiguous; only its lower triangle is read, the whole is written.
        running: advanced by operations done.

    Raises:
        FitError: if the matrix is not positive definite in its precision.
    """
    n = len(matrix)
    if n <= LEAF:
        _invert_leaf(matrix)
    else:
        half = n // 2 if n < 128 else n // 128 * 64  # whole cache lines
        first, second = slice(0, half), slice(half, n)
        a11, a21, a22 = matrix[first, first], matrix[second, first], matrix[second, second]
        invert(a11, running)
        v = a21 @ a11  # the workspace: a quarter of the matrix
        _subtract_lower(a22, v, a21.T)
        invert(a22, running)
        torch.mm(a22, v, out=a21)
        a21.neg_()
        _subtract_lower(a11, v.T, a21)
        _mirror(a11)
        matrix[first, second] = a21.T
    if running is not None:
        running.advance(_own_operations(n))


def _invert_leaf(matrix: Tensor) -> None:
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise FitError(f"X'X + l2 I is not positive definite in float32 (minor {int(failed)}); raise l2")
    matrix.copy_(torch.cholesky_inverse(factor))


def _subtract_lower(matrix: Tensor, left: Tensor, right: Tensor) -> None:
    """``matrix -= left @ right`` where the result is symmetric: only the blocks from the diagonal down."""
    for start in range(0, len(matrix), LEAF):
        block = slice(start, start + LEAF)
        matrix[start:, block].addmm_(left[start:], right[:, block], alpha=-1)


def _mirror(matrix: Tensor) -> None:
    """Copy the lower triangle, whose diagonal blocks are whole, to the upper one."""
    for start in range(0, len(matrix), LEAF):
        block, after = slice(start, start + LEAF), slice(start + LEAF, None)
        matrix[block, after] = matrix[after, block].T


def _operations(n: int) -> float:
    """Floating-point operations of :func:`invert`, its halves included."""
    return _own_operations(n) + (0 if n <= LEAF else 2 * _operations(n // 2))


def _own_operations(n: int) -> float:
    return float(n) ** 3 * (1.0 if n <= LEAF else 0.75)


def check_memory(n_items: int, n_matrices: float = PEAK) -> None:
    """Refuse what would not fit, before any work.

    Args:
        n_items: rows and columns of a matrix.
        n_matrices: how many of them are held at the peak, in float32.

    Raises:
        MemoryBudgetError: with the need, the budget and what to do.
    """
    needed = n_matrices * 4 * n_items**2
    budget = memory_budget()
    if budget is not None and needed > budget.size:
        raise MemoryBudgetError(
            f"a linear autoencoder on {n_items:,} items needs {needed / 2**30:,.1f} GiB, and this process can take "
            f"{budget.size / 2**30:,.1f} more, by {budget.bound_by}; keep the most popular items (a k-core filter), or "
            "use elsa or als"
        )
