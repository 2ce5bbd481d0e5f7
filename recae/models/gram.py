"""The Gram matrix of a log and its inverse, in place: the work behind every linear autoencoder.

Products go through torch, whose threads share a core with others; OpenBLAS's own spin (measured beside one
busy process on 2 cores, 5,240 items: 3 s with torch, 17 s with OpenBLAS).
"""

import os

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from recae.errors import FitError, MemoryBudgetError
from recae.progress import Bar, bar

COLUMNS = 2048
"""Columns of the Gram matrix that are made dense at a time."""

LEAF = 1024
"""Rows of the blocks that are inverted as a whole; above that, everything is matrix products."""

PEAK = 1.4
"""Peak memory of building and inverting, in matrices of n_items x n_items float32."""


def inverse_gram(
    histories: csr_array, *, l2: float, dropout: float = 0.0, show_progress: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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
        MemoryBudgetError: if that would not fit into this machine's memory.
        FitError: if the matrix is not positive definite in float32.
    """
    check_memory(histories.shape[1])
    gram = gram_matrix(histories)
    ridge = l2 + dropout / (1.0 - dropout) * np.diag(gram)
    gram[np.diag_indices(len(gram))] += ridge
    with bar("solving", _operations(len(gram)), show=show_progress) as running:
        invert(torch.from_numpy(gram), running)
    return gram, ridge.astype(np.float32)


def gram_matrix(histories: csr_array) -> NDArray[np.float32]:
    """``X'X`` in float32, C-ordered, made dense in blocks of columns."""
    n_items = histories.shape[1]
    by_item = csr_array(histories.T)  # (n_items, n_users)
    gram = np.empty((n_items, n_items), dtype=np.float32)
    for start in range(0, n_items, COLUMNS):  # the matrix is symmetric: rows are written, which is faster
        block = slice(start, start + COLUMNS)
        gram[block] = (by_item[block] @ histories).toarray()
    return gram


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


def check_memory(n_items: int) -> None:
    """Refuse what would not fit, before any work.

    Raises:
        MemoryBudgetError: with the need, the budget and what to do.
    """
    needed = PEAK * 4 * n_items**2
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise MemoryBudgetError(
            f"a linear autoencoder on {n_items:,} items needs {needed / 2**30:,.0f} GiB, this machine has "
            f"{available / 2**30:,.0f}; keep the most popular items (a k-core filter), or use elsa or als"
        )
