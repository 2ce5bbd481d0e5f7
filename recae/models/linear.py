"""Linear autoencoders in closed form: one symmetric inverse, one pass over the log."""

import os
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat
from scipy.linalg import lapack
from scipy.sparse import csr_array

from recae.errors import FitError, MemoryBudgetError
from recae.models.base import Fit, Model, ModelConfig
from recae.models.matrices import sparse_times_dense
from recae.models.ranking import Positions, Scores
from recae.progress import bar

GRAM_COLUMNS = 2048
"""Columns of the Gram matrix that are made dense at a time."""


class EASEConfig(ModelConfig):
    """Settings of EASE."""

    l2: PositiveFloat = 500.0
    """Added to the Gram matrix's diagonal. Raise it for sparser data."""


class EASE(Model):
    """Embarrassingly shallow autoencoder: predict each item from all the others.

    Solves  min_B ||X - XB||^2 + l2 ||B||^2  subject to  diag(B) = 0.
    ``fit`` holds one float32 matrix of n_items x n_items (1.6 GB at 20,000 items) and a bounded workspace.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.
    """

    name = "ease"
    config: EASEConfig
    config_class: ClassVar = EASEConfig

    weights_: Scores
    """Item-to-item weights B, shape (n_items, n_items), zero diagonal."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        precision = inverse_gram(histories, ridge=self.config.l2, show_progress=how.show_progress)
        diagonal = np.diag(precision).copy()
        precision /= -diagonal  # column j divided by -P[j, j]
        np.fill_diagonal(precision, 0.0)  # an item may not explain itself
        self.weights_ = precision

    def _score(self, histories: csr_array) -> Scores:
        return sparse_times_dense(histories, self.weights_)  # (n_rows, n_items)

    def _item_similarity(self, wanted: Positions) -> Scores:
        """Partial correlation: what two items share that no other item explains.

        It is ``-P_ij / sqrt(P_ii P_jj)`` of the precision matrix P, and since ``B_ij = -P_ij / P_jj`` it is
        the geometric mean of B_ij and B_ji with their common sign.
        """
        there, back = self.weights_[wanted], self.weights_[:, wanted].T  # (n_wanted, n_items)
        similar: Scores = np.sign(there) * np.sqrt(np.maximum(there * back, 0.0))
        return similar


def inverse_gram(histories: csr_array, *, ridge: float, show_progress: bool = False) -> NDArray[np.float32]:
    """``(X'X + ridge I)^-1`` in float32, in place: one n_items x n_items matrix and a bounded workspace.

    Args:
        histories: X, shape (n_users, n_items).
        ridge: added to the diagonal, above 0.
        show_progress: show a bar.

    Returns:
        Symmetric, C-ordered, shape (n_items, n_items).

    Raises:
        MemoryBudgetError: if the matrix would not fit into this machine's memory.
        FitError: if the matrix is not positive definite in float32.
    """
    n_items = histories.shape[1]
    _check_memory(n_items)
    with bar("solving", 4, show=show_progress) as running:
        running.note("Gram matrix")
        gram = gram_matrix(histories)
        gram[np.diag_indices(n_items)] += np.float32(ridge)
        running.advance()
        running.note("factorisation")
        factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1, clean=0)
        if failed:
            raise FitError(f"X'X + {ridge:g} I is not positive definite at column {failed}; raise l2")
        running.advance()
        running.note("inverse")
        inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
        if failed:
            raise FitError(f"X'X + {ridge:g} I is singular at column {failed}; raise l2")
        running.advance()
        running.note("symmetry")
        for start in range(0, n_items, GRAM_COLUMNS):  # the upper triangle still holds X'X
            block = slice(start, min(start + GRAM_COLUMNS, n_items))
            corner = inverse[block, block]
            inverse[block, block] = np.tril(corner) + np.tril(corner, -1).T
            inverse[block, block.stop :] = inverse[block.stop :, block].T
        running.advance()
    ordered: NDArray[np.float32] = inverse.T  # LAPACK's columns are our rows; the values are the same
    return ordered


def gram_matrix(histories: csr_array) -> NDArray[np.float32]:
    """``X'X`` in float32, Fortran-ordered, made dense in blocks of columns."""
    n_items = histories.shape[1]
    by_item = csr_array(histories.T)  # (n_items, n_users)
    gram = np.empty((n_items, n_items), dtype=np.float32, order="F")
    for start in range(0, n_items, GRAM_COLUMNS):
        block = slice(start, start + GRAM_COLUMNS)
        gram[:, block] = (by_item @ csr_array(by_item[block].T)).toarray()
    return gram


def _check_memory(n_items: int) -> None:
    needed = 4 * n_items**2
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed * 1.4 > available:
        raise MemoryBudgetError(
            f"a linear autoencoder on {n_items:,} items needs {needed * 1.4 / 2**30:,.0f} GiB, this machine has "
            f"{available / 2**30:,.0f}; keep the most popular items (a k-core filter), or use mult_vae or als"
        )
