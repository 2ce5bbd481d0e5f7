"""Sparse autoencoders: many hidden units, few of them active for any one user."""

from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.models.base import Fit
from recae.models.losses import activity_kl, l1_penalty
from recae.models.multinomial import MultinomialModel, MultinomialNetwork
from recae.models.neural import NeuralConfig, SparseBatch, SparseLinear, dense_linear
from recae.models.search_spaces import SearchSpace, span, whole

Sparsity = Literal["k_sparse", "l1", "kl"]


class SparseAEConfig(NeuralConfig):
    """Settings of the sparse autoencoder."""

    n_hidden: PositiveInt = 600
    """Units of the hidden layer, of which few are active at a time."""
    sparsity: Sparsity = "k_sparse"
    """``k_sparse`` keeps the ``n_active`` largest of linear units; ``l1`` puts a price on the activity of rectified
    units; ``kl`` holds the mean activity of sigmoid units at ``target_activity``."""
    n_active: PositiveInt = 50
    """k: units that ``k_sparse`` keeps for each history."""
    penalty: NonNegativeFloat = 0.1
    """Weight of the ``l1`` or ``kl`` term. Raise it until ``activity_`` is as low as wanted."""
    target_activity: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Mean activation over the histories that ``kl`` pulls each unit to."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of a history's items that are hidden from the encoder at each step."""

    @model_validator(mode="after")
    def _there_are_units_to_keep(self) -> Self:
        if self.sparsity == "k_sparse" and self.n_active > self.n_hidden:
            raise ValueError(
                f"n_active={self.n_active} units cannot be kept of n_hidden={self.n_hidden}; "
                "lower n_active, or raise n_hidden"
            )
        return self


class SparseAE(MultinomialModel):
    """One hidden layer with a sparse code, and a multinomial likelihood over the items.

    Each active unit stands for a taste, so that a code can be read, indexed, and stored in little room. The
    likelihood is Mult-VAE's, since it rewards the ranking of what was chosen above the rest, where squared error
    spends itself on the many zeros. ``activity_`` says how sparse the codes came out; so do `recae train`, the manifest
    and the results of an evaluation.

    Source: k-sparse: Makhzani & Frey, "k-sparse autoencoders", ICLR 2014; L1 and KL: Ng, "Sparse autoencoder",
    CS294A lecture notes, 2011. Ours differs in the likelihood and the input dropout, and in an L1 term that counts
    each activation with the length of its unit's output weights.
    """

    name = "sparse_ae"
    config: SparseAEConfig
    config_class: ClassVar = SparseAEConfig
    search_space: ClassVar[SearchSpace] = {
        "n_active": whole(10, 200, log=True),
        "dropout": span(0.2, 0.8),
        "learning_rate": span(1e-4, 1e-2, log=True),
    }
    network_: "SparseAENetwork"

    activity_: float
    """Share of the units that are active (not 0), mean over the training rows; with ``sparsity="kl"``, where
    every unit is a little active, the mean activation."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        super()._fit(histories, how)
        self.activity_ = self._activity(histories)

    @property
    def measured(self) -> dict[str, float]:
        """The activity, as ``activity_`` has it."""
        return {"activity": self.activity_}

    def _activity(self, histories: csr_array) -> float:
        total, step = 0.0, self.config.batch_size
        for start in range(0, histories.shape[0], step):
            codes = self.encode(histories[start : start + step])
            active = codes if self.config.sparsity == "kl" else codes != 0
            total += float(active.sum(dtype=np.float64))
        return total / (histories.shape[0] * self.config.n_hidden)

    def _build(self, histories: csr_array) -> nn.Module:
        kept = self.config.n_active
        return SparseAENetwork(histories.shape[1], self.config.n_hidden, self.config.sparsity, kept)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        values = nn.functional.dropout(batch.unit_length(), self.config.dropout)
        codes = self.network_.encode(batch, values)  # (n_rows, n_hidden)
        likelihood = self._nll(codes, batch)
        if self.config.sparsity == "l1":
            lengths = self.network_.output.weight.norm(dim=0)  # (n_hidden,)
            return likelihood + self.config.penalty * l1_penalty(codes, lengths)
        if self.config.sparsity == "kl":
            return likelihood + self.config.penalty * activity_kl(codes, self.config.target_activity)
        return likelihood

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Sparse codes, as a dense array of shape (n_rows, n_hidden)."""
        batch = self._batch(histories)
        return self.network_.encode(batch, batch.unit_length()).cpu().numpy()


class SparseAENetwork(MultinomialNetwork):
    """``V s(W x + b) + c`` for sparse rows x, s what makes the code sparse."""

    def __init__(self, n_items: int, n_hidden: int, sparsity: Sparsity, n_active: int) -> None:
        super().__init__()
        self.input = SparseLinear(n_items, n_hidden)
        self.output = dense_linear(n_hidden, n_items)
        self.sparsity = sparsity
        self.n_active = n_active

    def encode(self, batch: SparseBatch, values: Tensor) -> Tensor:
        """Codes (n_rows, n_hidden)."""
        units = self.input(batch, values)
        if self.sparsity == "l1":
            return torch.relu(units)
        if self.sparsity == "kl":
            return torch.sigmoid(units)
        return keep_largest(units, self.n_active)


def keep_largest(units: Tensor, k: int) -> Tensor:
    """The k largest of each row, the others 0; the gradient passes through those that are kept.

    Args:
        units: shape (n_rows, n_hidden).
        k: from 1 to n_hidden.
    """
    largest = units.topk(k, dim=1)
    return torch.zeros_like(units).scatter(1, largest.indices, largest.values)
