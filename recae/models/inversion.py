"""A symmetric inverse in place, by blocks, in torch: the same code on a CPU and on a GPU."""

import torch
from torch import Tensor

from recae.errors import FitError
from recae.progress import Bar

LEAF = 1024
"""Rows of the blocks that are inverted as a whole; above that, everything is matrix products."""


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
        raise FitError(
            f"X'X + l2 I is not positive definite in float32 (minor {int(failed)}); raise l2, or give values that lie "
            "closer together"
        )
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


def operations(n: int) -> float:
    """Floating-point operations of :func:`invert`, its halves included."""
    return _own_operations(n) + (0 if n <= LEAF else 2 * operations(n // 2))


def _own_operations(n: int) -> float:
    return float(n) ** 3 * (1.0 if n <= LEAF else 0.75)
