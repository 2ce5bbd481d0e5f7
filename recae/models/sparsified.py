"""A linear autoencoder made small for serving: of its item-to-item weights only the largest stay."""

from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, JsonValue, PositiveInt, model_validator
from scipy.sparse import csc_array, csr_array

from recae.errors import ConfigError
from recae.models import registry
from recae.models.attribution import weighted_rows
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.linear import LinearAutoencoder
from recae.models.ranking import SCORE_BYTES, Positions, Scores

Vector = NDArray[np.float32]


class SparsifiedConfig(ModelConfig):
    """Settings of a sparsified linear autoencoder."""

    base: str = "ease"
    """The model whose weights are taken: one of the linear family."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Its settings; the others keep their defaults."""
    n_per_item: PositiveInt = 200
    """Weights kept for the score of each item. Memory is n_items x n_per_item x 8 bytes."""

    @model_validator(mode="after")
    def _linear(self) -> Self:
        if not issubclass(registry.model_class(self.base), LinearAutoencoder):
            raise ConfigError(
                f"{self.base} has no item-to-item weights; take ease, edlae, rlae, rdlae or dan"
            )
        self.unfitted()
        return self

    def unfitted(self) -> LinearAutoencoder:
        """A new model to take the weights of."""
        model = registry.create(self.base, **self.settings)
        assert isinstance(model, LinearAutoencoder)  # noqa: S101 - for the type checker; checked above
        return model


class Sparsified(Model):
    """Scores ``x W`` with a sparse W: per column the ``n_per_item`` largest weights of a linear autoencoder.

    W is B as it counts in a score, ``D^-alpha B D^alpha`` where the base rescales items, else B itself; largest by
    absolute value. The fit takes what the base takes, n_items x n_items x 4 bytes and its workspace; what is kept,
    stored and served takes n_items x n_per_item x 8 bytes (41,000 items, 200 weights: 66 MB in place of 6.7 GB), and
    a score costs the product of two sparse matrices.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, finds the weights well
    approximated by their large entries; ours cuts after the fit, and does not learn the kept weights anew.
    """

    name = "sparsified"
    has_additive_contributions = True
    config: SparsifiedConfig
    config_class: ClassVar = SparsifiedConfig

    weights_: csr_array
    """W, float32, shape (n_items, n_items): what an item of the history (row) adds to the score of another."""
    row_factors_: Vector
    """With ``column_factors_``: what turns a weight into a partial correlation, shape (n_items,)."""
    column_factors_: Vector

    def check_device(self) -> None:
        """As the base class does it, for the model whose weights are taken."""
        self.config.unfitted().check_device()

    def _fit(self, histories: csr_array, how: Fit) -> None:
        base = self.config.unfitted().fit(histories, how.show_progress)
        self.weights_ = largest_weights(base, self.config.n_per_item)
        scale, multipliers = base._scale, base._multipliers  # noqa: SLF001 - the same family
        root = np.sqrt(np.diag(base.precision_))
        self.row_factors_ = np.asarray(scale / root, dtype=np.float32)
        chosen = (base.n_choices_ > 0).astype(np.float32)  # what nobody chose is like nothing
        self.column_factors_ = np.asarray(chosen / (multipliers * scale * root), dtype=np.float32)

    def _score(self, histories: csr_array) -> Scores:
        return np.asarray((histories @ self.weights_).toarray(), dtype=np.float32)

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        return weighted_rows(history, self.weights_, items)

    def _item_similarity(self, wanted: Positions) -> Scores:
        """Partial correlations as the base has them, where a weight in one of the two directions was kept; else 0."""
        of_others = self.weights_[wanted].toarray() * self.row_factors_[wanted, None] * self.column_factors_
        own = self.weights_[:, wanted].toarray().T * self.row_factors_ * self.column_factors_[wanted, None]
        similar: Scores = np.where(own != 0, own, of_others).astype(np.float32)
        return similar


def largest_weights(base: LinearAutoencoder, n: int) -> csr_array:
    """The ``n`` weights of largest absolute value in each column of W, formed a block of columns at a time.

    Args:
        base: fitted.
        n: weights kept in a column; all, if there are fewer.

    Returns:
        Shape (n_items, n_items), float32, int32 indices.
    """
    precision = base.precision_
    n_items = len(precision)
    n = min(n, n_items)
    scale, multipliers = base._scale, base._multipliers  # noqa: SLF001 - the same family
    rows = np.empty((n_items, n), dtype=np.int32)  # of each column
    values = np.empty((n_items, n), dtype=np.float32)
    step = max(1, SCORE_BYTES // (4 * n_items))
    for start in range(0, n_items, step):
        block = np.arange(start, min(start + step, n_items))
        weights = precision[block] * -multipliers[block, None]  # columns of B: P is symmetric
        weights[np.arange(len(block)), block] += 1.0
        weights *= scale[block, None]
        weights /= scale
        largest = torch.topk(torch.from_numpy(np.abs(weights)), n, dim=1, sorted=False).indices.numpy()
        rows[block] = np.sort(largest, axis=1)
        values[block] = np.take_along_axis(weights, rows[block].astype(np.int64), axis=1)
    starts = np.arange(0, n_items * n + 1, n)
    by_column = csc_array((values.ravel(), rows.ravel(), starts), shape=(n_items, n_items))
    weights_by_row = csr_array(by_column)
    weights_by_row.eliminate_zeros()
    # scipy widens both index arrays to the wider of the two
    starts = weights_by_row.indptr.astype(np.int32 if weights_by_row.nnz < 2**31 else np.int64)
    return csr_array(
        (weights_by_row.data, weights_by_row.indices.astype(np.int32), starts), shape=weights_by_row.shape
    )
