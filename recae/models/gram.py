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
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from recae.errors import MemoryBudgetError
from recae.machine import memory_budget
from recae.models.devices import CPU, device_with_room
from recae.models.inversion import invert, operations
from recae.progress import bar

Matrix = NDArray[np.float32]

COLUMNS = 512
"""Rows of a result that a thread makes dense at a time."""

PEAK = 1.4
"""Peak memory of building and inverting, in matrices of n_items x n_items float32: on Gowalla, by users, 1.35 with all
that the process holds."""

USERS_SIDE = 0.85
"""Share of n_items below which the users are the cheaper side: the way back to the items costs the rest."""


def inverse_gram(
    histories: csr_array,
    *,
    l2: float,
    dropout: float = 0.0,
    device: str = "cpu",
    show_progress: bool = False,
) -> tuple[Matrix, Matrix]:
    """``P = (G + L)^-1`` with ``G = X'X`` and ``L = diag(l2 + dropout / (1 - dropout) G_jj)``, in float32.

    Holds one n_items x n_items matrix, and a workspace of a third of it.

    Args:
        histories: X, shape (n_users, n_items).
        l2: added to every diagonal entry, above 0.
        dropout: p, from 0 to below 1.
        device: where the work is done, as :func:`~recae.models.devices.device_with_room` takes it. The matrix to invert
            and its workspace have to fit there; P comes back in blocks.
        show_progress: show a bar over the floating-point operations.

    Returns:
        ``(P, diagonal of L)``: symmetric, C-ordered, shape (n_items, n_items); and shape (n_items,).

    Raises:
        MemoryBudgetError: if that would not fit into what this process can take (see `recae doctor`), or into the memory of a
            GPU that was asked for by name.
        FitError: if the matrix is not positive definite in float32.
    """
    check_memory(histories.shape[1])
    squares = np.bincount(histories.indices, weights=np.square(histories.data), minlength=histories.shape[1])
    ridge = (l2 + dropout / (1.0 - dropout) * squares).astype(np.float32)
    active = csr_array(histories[np.diff(histories.indptr) > 0])
    by_users = active.shape[0] < USERS_SIDE * active.shape[1]
    where = device_with_room(device, needed_bytes(active, n_rows=active.shape[0 if by_users else 1]))
    if by_users:
        return _by_users(active, ridge, where, show_progress=show_progress), ridge
    matrix = gram_matrix(active, where)
    invert_with_ridge(matrix, torch.from_numpy(ridge), show_progress=show_progress)
    return matrix.cpu().numpy(), ridge


def invert_with_ridge(matrix: Tensor, ridge: Tensor, *, show_progress: bool = False) -> None:
    """Replace a symmetric ``matrix`` by ``(matrix + diag(ridge))^-1``.

    Args:
        matrix: shape (n, n), C-ordered, on any device.
        ridge: above 0, shape (n,).
        show_progress: show a bar over the floating-point operations.

    Raises:
        FitError: if that is not positive definite in float32.
    """
    matrix.diagonal().add_(ridge.to(matrix.device))
    with bar("solving", operations(len(matrix)), show=show_progress) as running:
        invert(matrix, running)


def _by_users(histories: csr_array, ridge: Matrix, device: torch.device, *, show_progress: bool) -> Matrix:
    """The same inverse through that of ``I + Y Y'``; the users' matrix is gone before the items' is whole."""
    n_items = histories.shape[1]
    scale = 1.0 / np.sqrt(ridge)
    data = histories.data * scale[histories.indices]
    by_item = csr_array(csr_array((data, histories.indices, histories.indptr), shape=histories.shape).T)  # Y'
    users = gram_matrix(by_item, device)
    invert_with_ridge(users, torch.ones(len(users)), show_progress=show_progress)

    # The upper triangle by blocks of columns: half of the result stands beside the users' matrix, which is gone
    # before the other half is made.
    upper = []
    rows, scales = SparseRows.of(by_item, device), torch.from_numpy(scale).to(device)
    for block in _blocks(n_items):
        explained = rows.part(block).times(users)  # rows of Y' (I + Y Y')^-1, (block, n_users)
        above = slice(0, block.stop)
        part = rows.part(above).times(explained.T.contiguous())  # (above, block)
        part *= -scales[above, None]
        part *= scales[block]
        upper.append(part.cpu().numpy())
    del users
    result = np.empty((n_items, n_items), dtype=np.float32)
    for block in _blocks(n_items):
        half = upper.pop(0)
        result[: block.stop, block] = half
        result[block, : block.start] = half[: block.start].T
    result[np.diag_indices(n_items)] += np.square(scale)
    return result


def gram_matrix(histories: csr_array, device: torch.device = CPU) -> Tensor:
    """``X'X`` in float32, made dense in blocks.

    Args:
        histories: X, shape (n_users, n_items).
        device: where the result is made.

    Returns:
        Shape (n_items, n_items), C-ordered.
    """
    gram = torch.zeros((histories.shape[1], histories.shape[1]), device=device)
    add_product(histories, histories, into=gram)
    return gram


def add_product(left: csr_array, right: csr_array, *, into: Tensor, weight: float = 1.0) -> None:
    """``into += weight * left' right``, in blocks.

    On a CPU both factors stay sparse, and a thread for each core of the budget makes blocks of rows dense. On a GPU blocks of
    the right one's columns are dense, of which the left one sums rows.

    Args:
        left: shape (n_users, n_rows).
        right: shape (n_users, n_columns).
        into: shape (n_rows, n_columns), C-ordered, on any device.
        weight: of the product.
    """
    by_item = csr_array(left.T)  # (n_rows, n_users)
    if _multiplies_sparse(into.device):
        result = into.numpy()

        def add(block: slice) -> None:
            result[block] += np.float32(weight) * (by_item[block] @ right).toarray()

        _in_threads(add, len(result))
        return
    rows, by_column = SparseRows.of(by_item, into.device), csr_array(right.T)
    for block in _blocks(into.shape[1]):
        into[:, block] += weight * rows.times(_dense(by_column[block], into.device))


def _multiplies_sparse(device: torch.device) -> bool:
    """Whether scipy does it, which knows no other device."""
    return device.type == "cpu"


def _dense(by_column: csr_array, device: torch.device) -> Tensor:
    """Columns of a sparse matrix, given as rows, as a dense matrix of its own shape: (n_rows, n_columns)."""
    columns = np.repeat(np.arange(by_column.shape[0]), np.diff(by_column.indptr))
    dense = torch.zeros((by_column.shape[1], by_column.shape[0]), device=device)
    places = [torch.from_numpy(each).to(device) for each in (by_column.indices.astype(np.int64), columns)]
    dense[tuple(places)] = torch.from_numpy(by_column.data).to(device)
    return dense


@dataclass(frozen=True)
class SparseRows:
    """Rows of a sparse matrix on a device, to be multiplied with dense ones there."""

    columns: Tensor  # (nnz,)
    values: Tensor  # (nnz,) float32
    offsets: Tensor  # (n_rows,): where each row starts
    bounds: NDArray[Any]  # (n_rows + 1,): the same with the end, on the host

    @classmethod
    def of(cls, matrix: csr_array, device: torch.device) -> Self:
        """The whole of ``matrix``, whose arrays are this process's own."""
        # torch wants the types of both alike
        columns = matrix.indices.astype(matrix.indptr.dtype, copy=False)
        return cls(
            columns=torch.from_numpy(columns).to(device),
            values=torch.from_numpy(matrix.data).to(device),
            offsets=torch.from_numpy(matrix.indptr[:-1]).to(device),
            bounds=matrix.indptr,
        )

    def part(self, rows: slice) -> Self:
        """Some consecutive rows, sharing the memory of all."""
        first, last = int(self.bounds[rows.start]), int(self.bounds[rows.stop])
        bounds, offsets = self.bounds[rows.start : rows.stop + 1] - first, self.offsets[rows] - first
        return type(self)(self.columns[first:last], self.values[first:last], offsets, bounds)

    def times(self, dense: Tensor) -> Tensor:
        """The product with a C-ordered ``dense``, shape (n_rows, n_columns of dense)."""
        summed: Tensor = torch.nn.functional.embedding_bag(
            self.columns, dense, self.offsets, mode="sum", per_sample_weights=self.values
        )
        return summed


def _in_threads(work: Callable[[slice], None], n: int) -> None:
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(work, _blocks(n)))


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, COLUMNS):
        yield slice(start, min(start + COLUMNS, n))


def needed_bytes(histories: csr_array, *, n_rows: int, n_matrices: float = PEAK) -> float:
    """What the work takes on a device: matrices of n_rows x n_rows, the log twice, and three blocks of ``COLUMNS``."""
    return 4.0 * (n_matrices * n_rows**2 + 6 * histories.nnz + 3 * COLUMNS * sum(histories.shape))


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
