"""Checks and shapes that every model asks of what it is given: matrices, ids, selections of ids."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
import torch
from implicit.utils import ParameterWarning
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array, csr_matrix

from recae.data.holdout import Feedback, Holdout
from recae.errors import DataError, FitError
from recae.models.ranking import Positions, Scores, Sought

LARGEST: Final = 1e15
"""Largest value of a liking or a rating, by amount: of 10^8 such squares the sum is still finite in float32."""
FIRST_ROW: Final = torch.zeros(1, dtype=torch.int32)


def training_matrix(user_items: Any, feedback: Feedback) -> csr_array:
    if not (sp.issparse(user_items) and hasattr(user_items, "tocsr")):
        raise TypeError(
            f"user_items needs to be a sparse users x items matrix, got {type(user_items).__name__}; "
            "scipy.sparse.csr_matrix(...) makes one"
        )
    if not isinstance(user_items, csr_matrix | csr_array):
        started = time.perf_counter()
        name, user_items = type(user_items).__name__, user_items.tocsr()
        warnings.warn(
            f"Method expects CSR input, and was passed {name} instead. "
            f"Converting to CSR took {time.perf_counter() - started} seconds",
            ParameterWarning,
            stacklevel=4,
        )
    matrix = canonical(user_items, feedback)
    if matrix.nnz == 0:
        raise DataError(
            f"there is nothing to learn from: {matrix.shape[0]} users, {matrix.shape[1]} items, 0 interactions"
        )
    return matrix


def as_rows(matrix: Any) -> Any:
    """A single row of a ``csr_array``, which has one dimension, as a matrix; anything else as it is."""
    is_row = isinstance(matrix, csr_array | coo_array) and matrix.ndim == 1
    return csr_array(matrix.reshape((1, -1))) if is_row else matrix


def canonical(matrix: Any, feedback: Feedback) -> csr_array:
    """float32 CSR with int32 indices, sorted, without duplicates; a view where the input is that already.

    Args:
        matrix: ``csr_matrix`` or ``csr_array``.
        feedback: what the values mean. Of likings, zeros are left out; of all but places in time, of which only the order
            counts, none may be larger than ``LARGEST``. Of an item that stands twice in a row, places in time give the
            later one; other values are added up.

    Raises:
        DataError: if it is another kind of matrix, or a value is not finite or too large; names its place.
    """
    matrix = as_rows(matrix)
    if not isinstance(matrix, csr_matrix | csr_array):
        raise DataError(f"histories need to be a CSR sparse matrix, got {type(matrix).__name__}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        values = np.asarray(matrix.data, dtype=np.float32)
    result = csr_array(
        (
            values,
            np.asarray(matrix.indices, dtype=np.int32),
            np.asarray(matrix.indptr, dtype=np.int32 if matrix.nnz < 2**31 else np.int64),
        ),
        shape=matrix.shape,
    )
    sound = np.isfinite(values) if feedback == "sequences" else np.abs(values) <= LARGEST  # NaN is not
    if not sound.all():
        place = int(np.flatnonzero(~sound)[0])
        row = int(np.searchsorted(result.indptr, place, side="right")) - 1
        found = f"value {matrix.data[place]} at row {row}, column {result.indices[place]} is"
        if not np.isfinite(values[place]):
            raise DataError(f"{found} not finite in float32; drop it or mend it before fitting")
        raise DataError(
            f"{found} too large: squares of values are summed in float32, which holds them up to {LARGEST:g}; "
            "drop it or mend it, or give all values in a larger unit"
        )
    has_zeros = feedback == "implicit" and bool((result.data == 0).any())
    if has_zeros or not result.has_canonical_format:
        result = _latest(result) if feedback == "sequences" else result.copy()
        result.sum_duplicates()
        if has_zeros:
            result.eliminate_zeros()
    return result


def _latest(places: csr_array) -> csr_array:
    """A copy with one entry for each item of a row, its latest place; in canonical order."""
    rows = np.repeat(np.arange(places.shape[0]), np.diff(places.indptr))
    order = np.lexsort((places.data, places.indices, rows))
    rows, columns, values = rows[order], places.indices[order], places.data[order]
    is_last = np.append((rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1]), True)[: len(rows)]
    starts = np.searchsorted(rows[is_last], np.arange(places.shape[0] + 1))
    return csr_array(
        (values[is_last], columns[is_last], starts.astype(places.indptr.dtype)), shape=places.shape
    )


def refuse_negative(
    histories: csr_array, reader: str, otherwise: str = "turn them into positive weights"
) -> None:
    """Refuse negative values, on behalf of a model that can do nothing with them.

    Args:
        histories: what it is to learn from, with one entry at least.
        reader: the model and what it takes the values for.
        otherwise: what can be done but drop them.

    Raises:
        DataError: naming the lowest.
    """
    lowest = histories.data.min()
    if lowest < 0:
        raise DataError(
            f"{reader}, and found the value {lowest:g}; drop negative values, or {otherwise}, before fitting"
        )


def as_asked(validation: Holdout, feedback: Feedback, n_items: int) -> Holdout:
    """The validation of a fit with its inputs in canonical form, as the training matrix has it; itself, if it has that.

    Raises:
        DataError: if its columns are not those of the training matrix, or as :func:`canonical`.
        FitError: if none of its rows has anything to find.
    """
    if validation.inputs.shape[1] != n_items:
        raise DataError(
            f"the validation has {validation.inputs.shape[1]:,} columns, the training matrix {n_items:,}; "
            "build both with the same item ids"
        )
    if not validation.targets.nnz:
        raise FitError(
            f"none of the {len(validation):,} rows of the validation has anything to find, so nothing could be "
            "chosen on it; validate on rows that have, or leave it out"
        )
    given, inputs = validation.inputs, canonical(validation.inputs, feedback)
    if np.may_share_memory(inputs.data, given.data) and np.may_share_memory(inputs.indices, given.indices):
        return validation
    # no model asks when the inputs were, and the times would no longer stand beside them
    return replace(validation, inputs=inputs, input_times=None)


def stacked(sought: Sequence[Sought], n_items: int) -> csr_array:
    """The histories as rows of one matrix, shape (n_sought, n_items); at least one."""
    bounds = np.zeros(len(sought) + 1, dtype=np.int32)
    np.cumsum([len(one.columns) for one in sought], out=bounds[1:])
    columns = np.concatenate([one.columns for one in sought])
    values = np.concatenate([one.values for one in sought])
    return csr_array((values, columns, bounds), shape=(len(sought), n_items))


def sparse_times_dense(matrix: csr_array, weights: NDArray[np.float32]) -> Scores:
    """``matrix @ weights`` for C-ordered weights, over rows in parallel; 1.7 times as fast as scipy on 2 cores.

    Args:
        matrix: float32, shape (n_rows, n).
        weights: shape (n, n_columns).

    Returns:
        Fresh array, shape (n_rows, n_columns).
    """
    offsets = matrix.indptr[:-1].astype(matrix.indices.dtype)
    summed = torch.nn.functional.embedding_bag(
        _tensor(matrix.indices),
        _tensor(weights),
        _tensor(offsets),
        mode="sum",
        per_sample_weights=_tensor(matrix.data),
    )
    return summed.numpy()


def weighted_sum(
    rows: Positions, factors: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``factors @ weights[rows]`` without copying those rows; as ``sparse_times_dense`` for one row, to the bit.

    Args:
        rows: shape (n,).
        factors: shape (n,).
        weights: C-ordered, shape (n_all_rows, n_columns).

    Returns:
        Fresh array, shape (n_columns,).
    """
    summed = torch.embedding_bag(
        _tensor(weights),
        _tensor(rows),
        FIRST_ROW,
        mode=0,  # sum
        per_sample_weights=_tensor(factors),
    )[0]
    found: NDArray[np.float32] = summed.numpy()[0]
    return found


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor; a copy of one that is read-only, of which torch would warn."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def cosine(
    vectors: NDArray[np.float32], wanted: Positions, scale: NDArray[np.float32] | None = None
) -> Scores:
    """Cosine of the wanted rows with all rows, shape (n_wanted, n_rows); a zero row is like nothing (0).

    Args:
        vectors: shape (n_rows, n_dimensions).
        wanted: rows.
        scale: what makes rows of length 1 of them, shape (n_rows,), where it is known; 0 for a row that is like nothing.
    """
    if scale is None:
        scale = inverse(np.linalg.norm(vectors, axis=1))
    similar = (vectors[wanted] * scale[wanted, None]) @ vectors.T
    similar *= scale
    return np.ascontiguousarray(similar, dtype=np.float32)


def itself_first(similar: Scores, wanted: Positions) -> Scores:
    """Similarities cut to [-1, 1], with 1 for each wanted row itself and for no other: it ranks first.

    Rounding gives twins a similarity of 1 or just above; they come second.
    """
    np.clip(similar, -1.0, np.nextafter(np.float32(1.0), np.float32(0.0)), out=similar)
    similar[np.arange(len(wanted)), wanted] = 1.0
    return similar


def inverse(lengths: NDArray[np.float32]) -> NDArray[np.float32]:
    """``1 / length``, and 0 for a length of 0."""
    return np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def inverse_lengths(matrix: csr_array) -> NDArray[np.float32]:
    """What makes rows of length 1 of a matrix's rows, shape (n_rows,); 0 for an empty row."""
    return inverse(np.sqrt(matrix.power(2).sum(axis=1)))


def unit_rows(matrix: csr_array) -> csr_array:
    """Rows scaled to length 1; empty rows stay empty."""
    data = matrix.data * np.repeat(inverse_lengths(matrix), np.diff(matrix.indptr))
    return csr_array((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def as_batch(ids: int | ArrayLike) -> tuple[Positions, bool]:
    """``(ids as int32 array, whether it was a single id)``."""
    array = np.asarray(ids)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise IndexError(f"ids must be integers, got {array.dtype}")
    return np.atleast_1d(array).astype(np.int32), array.ndim == 0


def check_range(ids: NDArray[np.integer[Any]], size: int, argument: str) -> None:
    outside = ids[(ids < 0) | (ids >= size)]
    if outside.size:
        raise IndexError(f"{argument} {int(outside[0])} is not in the model, which has 0 to {size - 1}")


def selection(size: int, kind: str, chosen: ArrayLike | None, filtered: ArrayLike | None) -> Positions | None:
    """Columns that may be returned, or None for all."""
    filtered = np.asarray([] if filtered is None else filtered, dtype=np.int64)
    if chosen is not None:
        if filtered.size:
            raise ValueError(f"Can't set both {kind}s and filter_{kind}s")
        array = np.sort(np.asarray(chosen))
        if array.size == 0:
            raise IndexError(f"{kind}s is empty; leave it out to rank all")
        check_range(array, size, f"{kind}s:")
        return array.astype(np.int32)
    if not filtered.size:
        return None
    check_range(filtered, size, f"filter_{kind}s:")
    kept = np.ones(size, dtype=bool)
    kept[filtered] = False
    return np.flatnonzero(kept).astype(np.int32)
