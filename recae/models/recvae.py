"""RecVAE: Mult-VAE with a composite prior, a weight of the KL term per user, and alternating updates."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.models.multinomial import MultinomialModel, MultinomialNetwork
from recae.models.neural import NeuralConfig, SparseBatch, SparseLinear, dense_linear
from recae.models.search_spaces import SearchSpace, span

PRIOR_WEIGHTS = (3 / 20, 3 / 4, 1 / 10)
"""Of the standard normal, the posterior of an epoch ago, and a wide normal."""
WIDE_LOG_VARIANCE = 10.0
ENCODER_PASSES = 3
"""Passes that train the encoder, before one that trains the decoder."""


class RecVAEConfig(NeuralConfig):
    """Settings of RecVAE; the defaults are the paper's."""

    n_hidden: PositiveInt = 600
    """Units of each of the encoder's five layers."""
    n_latent: PositiveInt = 200
    """Dimensions of a user's code."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of a history's items hidden from the encoder while the encoder is trained."""
    gamma: PositiveFloat = 0.005
    """The KL term of a user weighs gamma times the number of their items; choose it on validation."""
    epochs: PositiveInt = 50
    """Epochs, at most; each is three passes for the encoder and one for the decoder."""
    learning_rate: PositiveFloat = 5e-4
    """Step size of Adam."""


class RecVAE(MultinomialModel):
    """Variational autoencoder with a deep encoder, a linear decoder and a prior that remembers.

    An epoch trains the encoder for three passes on dropped-out histories, copies it into the prior, and trains
    the decoder for one pass on whole histories. Scores come from the mean code. Needs non-negative values.

    Source: Shenbin, Alekseev, Tutubalina, Malykh & Nikolenko, "RecVAE: a new variational autoencoder for top-N
    recommendations with implicit feedback", WSDM 2020.
    """

    name = "recvae"
    passes = ENCODER_PASSES + 1
    config: RecVAEConfig
    config_class: ClassVar = RecVAEConfig
    search_space: ClassVar[SearchSpace] = {
        "dropout": span(0.2, 0.8),
        "gamma": span(0.001, 0.02, log=True),
        "learning_rate": span(1e-4, 5e-3, log=True),
    }
    network_: "RecVAENetwork"
    _trains_encoder: bool

    def _build(self, histories: csr_array) -> nn.Module:
        return RecVAENetwork(histories.shape[1], self.config.n_hidden, self.config.n_latent)

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        return [self._adam(self.network_.encoder.parameters()), self._adam(self.network_.output.parameters())]

    def _optimiser_of(self, number: int) -> int:
        return 0 if number < ENCODER_PASSES else 1

    def _begin_pass(self, number: int) -> None:
        self._trains_encoder = number < ENCODER_PASSES
        # No gradient is computed for what does not move: of the products with all items, 2 are left for each half.
        self.network_.encoder.requires_grad_(self._trains_encoder)
        self.network_.output.requires_grad_(not self._trains_encoder)
        if number == ENCODER_PASSES:
            self.network_.remember()

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        dropout = self.config.dropout if self._trains_encoder else 0.0
        return self._elbo(batch, nn.functional.dropout(batch.unit_length(), dropout))

    def _elbo(self, batch: SparseBatch, values: Tensor) -> Tensor:
        """Negative evidence lower bound, mean over the rows."""
        network = self.network_
        mean, log_variance = network.encoder(batch, values)  # (n_rows, n_latent), twice
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        likelihood = self._nll(code, batch)
        divergence = (log_normal(code, mean, log_variance) - network.log_prior(batch, code)).sum(dim=1)
        n_choices = torch.zeros_like(divergence).index_add(0, batch.rows, batch.values)
        return likelihood + (self.config.gamma * n_choices * divergence).mean()

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Mean codes, shape (n_rows, n_latent)."""
        batch = self._batch(histories)
        mean, _ = self.network_.encoder(batch, batch.unit_length())
        return np.asarray(mean.cpu().numpy(), dtype=np.float32)


def log_normal(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of a diagonal normal, without its constant, per dimension; same shape as ``value``."""
    return -0.5 * (log_variance + (value - mean).square() / log_variance.exp())


class RecVAENetwork(MultinomialNetwork):
    """The encoder, the encoder of an epoch ago for the prior, and a linear decoder."""

    def __init__(self, n_items: int, n_hidden: int, n_latent: int) -> None:
        super().__init__()
        self.encoder = DenselyConnectedEncoder(n_items, n_hidden, n_latent)
        self.old_encoder = DenselyConnectedEncoder(n_items, n_hidden, n_latent).requires_grad_(
            requires_grad=False
        )
        self.output = dense_linear(n_latent, n_items)
        self.remember()

    def remember(self) -> None:
        """Make the prior's posterior that of the encoder as it is now."""
        self.old_encoder.load_state_dict(self.encoder.state_dict())

    def log_prior(self, batch: SparseBatch, code: Tensor) -> Tensor:
        """Log density of the codes under the mixture, per dimension, shape (n_rows, n_latent)."""
        with torch.no_grad():
            old_mean, old_log_variance = self.old_encoder(batch, batch.unit_length())
        zero = torch.zeros_like(code)
        parts = (
            log_normal(code, zero, zero),
            log_normal(code, old_mean, old_log_variance),
            log_normal(code, zero, torch.full_like(code, WIDE_LOG_VARIANCE)),
        )
        weighted = [part + float(np.log(weight)) for part, weight in zip(parts, PRIOR_WEIGHTS, strict=True)]
        return torch.logsumexp(torch.stack(weighted), dim=0)


class DenselyConnectedEncoder(nn.Module):
    """Five layers of swish and layer normalisation, each fed with the sum of all before it."""

    N_LAYERS = 5
    EPSILON = 0.1  # of the layer normalisation, as in the authors' code

    def __init__(self, n_items: int, n_hidden: int, n_latent: int) -> None:
        super().__init__()
        self.input = SparseLinear(n_items, n_hidden)
        self.layers = nn.ModuleList(dense_linear(n_hidden, n_hidden) for _ in range(self.N_LAYERS - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(n_hidden, eps=self.EPSILON) for _ in range(self.N_LAYERS))
        self.code = dense_linear(n_hidden, 2 * n_latent)

    def forward(self, batch: SparseBatch, values: Tensor) -> tuple[Tensor, Tensor]:
        """``(mean, log-variance)``, each (n_rows, n_latent)."""
        hidden = self.norms[0](nn.functional.silu(self.input(batch, values)))
        total = hidden
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            hidden = norm(nn.functional.silu(layer(hidden) + total))
            total = total + hidden
        mean, log_variance = self.code(hidden).chunk(2, dim=1)
        return mean, log_variance
