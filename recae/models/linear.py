"""Linear autoencoders in closed form: one symmetric inverse, one pass over the log."""

from typing import ClassVar

import numpy as np
from pydantic import PositiveFloat
from scipy.sparse import csr_array

from recae.models.base import Fit, Model, ModelConfig
from recae.models.gram import inverse_gram
from recae.models.matrices import sparse_times_dense
from recae.models.ranking import Positions, Scores


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
