"""Products of sparse and dense matrices with gradients, whose cost grows with the stored entries alone.

A network that reads and predicts ratings needs two of them: sparse rows times weights at its entrance, and inner
products of two sets of vectors at the entries that exist at its exit. torch's own ways to write the second (gather
rows, multiply, add up) move each vector through memory once an entry, forward and backward; here no array of
entries x dimensions exists, and the gradients are products of the same kind with the transposed matrix.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from recae.models.neural import SparseBatch


@dataclass(frozen=True)
class Entries:
    """Places and values of a sparse matrix by rows, and by columns, so that both directions are read in order."""

    offsets: Tensor  # (n_rows + 1,) int64: where each row starts
    columns: Tensor  # (nnz,) int64
    values: Tensor  # (nnz,) float32
    column_offsets: Tensor  # (n_columns + 1,) int64: where each column starts in what follows
    rows: Tensor  # (nnz,) int64, by columns
    order: Tensor  # (nnz,) int64: place by rows of each entry by columns

    @classmethod
    def of(cls, matrix: csr_array, device: torch.device) -> Self:
        """All of ``matrix``, stored zeros included; canonical CSR."""
        places = csr_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape).tocsc()

        def tensor(array: Any) -> Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(device)

        return cls(
            offsets=tensor(matrix.indptr),
            columns=tensor(matrix.indices),
            values=torch.from_numpy(matrix.data.astype(np.float32)).to(device),
            column_offsets=tensor(places.indptr),
            rows=tensor(places.indices),
            order=tensor(places.data),
        )

    @classmethod
    def of_batch(cls, batch: SparseBatch, n_columns: int) -> Self:
        """The entries of a batch."""
        order = torch.argsort(batch.columns, stable=True)
        n_each = torch.bincount(batch.columns, minlength=n_columns)
        end = torch.full_like(batch.offsets[:1], len(batch.columns))
        return cls(
            offsets=torch.cat([batch.offsets, end]),
            columns=batch.columns,
            values=batch.values,
            column_offsets=torch.cat([torch.zeros_like(end), n_each.cumsum(0)]),
            rows=batch.rows[order],
            order=order,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return len(self.offsets) - 1, len(self.column_offsets) - 1

    def by_rows(self, values: Tensor, weights: Tensor) -> Tensor:
        """The matrix with these values (nnz,) times ``weights`` (n_columns, d): shape (n_rows, d); no gradient."""
        return _bag(self.columns, weights, self.offsets, values)

    def by_columns(self, values: Tensor, weights: Tensor) -> Tensor:
        """The transposed matrix with these values times ``weights`` (n_rows, d): shape (n_columns, d); no gradient."""
        return _bag(self.rows, weights, self.column_offsets, values[self.order])


def sparse_times(entries: Entries, weights: Tensor) -> Tensor:
    """``X W`` for the sparse matrix X and weights (n_columns, d), shape (n_rows, d); X gets no gradient."""
    product: Tensor = _SparseTimes.apply(weights, entries)  # type: ignore[no-untyped-call] # torch gives it no types
    return product


def products_at(entries: Entries, left: Tensor, right: Tensor) -> Tensor:
    """``left[row] . right[column]`` at each entry, shape (nnz,) in the order of the rows.

    Args:
        entries: where; their values do not matter.
        left: shape (n_rows, d).
        right: shape (n_columns, d).
    """
    products: Tensor = _ProductsAt.apply(left, right, entries)  # type: ignore[no-untyped-call] # as above
    return products


class _SparseTimes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, entries: Entries) -> Tensor:
        ctx.entries = entries
        return entries.by_rows(entries.values, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        entries = ctx.entries
        return entries.by_columns(entries.values, gradients[0].contiguous()), None


class _ProductsAt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, entries: Entries) -> Tensor:
        ctx.entries = entries
        ctx.save_for_backward(left, right)
        zeros = torch.zeros_like(entries.values)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            places = torch.sparse_csr_tensor(
                entries.offsets, entries.columns, zeros, size=entries.shape, check_invariants=False
            )
        products: Tensor = torch.sparse.sampled_addmm(places, left, right.T, beta=0.0).values()
        return products

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        entries = ctx.entries
        return entries.by_rows(gradient, right), entries.by_columns(gradient, left), None


def _bag(places: Tensor, weights: Tensor, offsets: Tensor, values: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(
        places, weights, offsets, mode="sum", per_sample_weights=values, include_last_offset=True
    )
