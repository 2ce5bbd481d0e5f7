"""Singular vectors of a log, as the models of its main directions need them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from scipy.sparse.linalg import svds

DENSE_ENTRIES: Final = 10**6
"""Matrices of at most this many entries are decomposed densely (8 MB), which has no limit on the rank."""


def right_singular_vectors(matrix: csr_array, n_factors: int) -> NDArray[np.float32]:
    """Those of the largest singular values, the largest first; fewer where the rank is lower.

    In double precision, since the solver works on X'X, where singular values are squared. Nothing is random: its start
    vector is fixed.

    Args:
        matrix: shape (n_rows, n_columns).
        n_factors: how many.

    Returns:
        Shape (n_columns, at most n_factors), orthonormal columns; 0 for a column of the matrix that is empty.
    """
    n_rows, n_columns = matrix.shape
    if n_rows * n_columns <= DENSE_ENTRIES or min(n_rows, n_columns) == 1:
        _, values, vectors = np.linalg.svd(matrix.toarray().astype(np.float64), full_matrices=False)
    else:
        start = np.random.default_rng(0).standard_normal(min(n_rows, n_columns))
        rank = min(n_factors, min(n_rows, n_columns) - 1)
        _, values, vectors = svds(csr_matrix(matrix, dtype=np.float64), rank, v0=start)
    order = np.argsort(-values)[:n_factors]
    # what belongs to a singular value of 0 is arbitrary, and would score histories beyond the training rows
    kept = order[values[order] > 1e-6 * values.max()]
    factors = np.ascontiguousarray(vectors[kept].T, dtype=np.float32)
    factors[np.bincount(matrix.indices, minlength=n_columns) == 0] = 0.0  # up to rounding they are
    return factors
