"""H+Vamp gated VAE: two levels of latent variables, a prior made of learned pseudo-histories, gated layers."""

import math
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.models.multinomial import MultinomialModel, MultinomialNetwork
from recae.models.neural import NeuralConfig, SparseBatch, SparseLinear, dense_linear
from recae.models.search_spaces import SearchSpace, span

LOG_VARIANCES = (-12.0, 4.0)
"""Log-variances are cut to this range, as in the authors' code: outside it a density under- or overflows."""

Normal = tuple[Tensor, Tensor]
"""Mean and log-variance of a diagonal normal, each (n_rows, n_latent)."""


class HVampVAEConfig(NeuralConfig):
    """Settings of the H+Vamp gated VAE.

    The defaults of its sizes, ``dropout`` and ``kl_weight`` are those of the authors' command for Netflix; the defaults of
    its training are those of the other networks here (see :class:`HVampVAE` for the authors').
    """

    n_hidden: PositiveInt = 600
    """Units of each gated layer."""
    n_layers: PositiveInt = 2
    """Gated layers between a history and the upper code; to the lower code, and from both to the items, it is one more."""
    n_latent: PositiveInt = 200
    """Dimensions of each of the two codes of a user."""
    n_pseudo: PositiveInt = 1000
    """Pseudo-histories whose codes make the prior. Each is a dense row of n_items, trained like a weight."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of a history's items that are hidden from the encoder at each step."""
    kl_weight: NonNegativeFloat = 0.3
    """Weight of the divergence from the prior once it has risen to its full height; choose it on validation."""
    kl_epochs: PositiveInt = 50
    """Epochs over which that weight rises linearly from 0."""


class HVampVAE(MultinomialModel):
    """Variational autoencoder with gated layers, two levels of codes and a VampPrior.

    A history x gives the upper code z2, both give the lower code z1, and both codes give the items:
    q(z2|x) q(z1|x, z2) against p(z2) p(z1|z2) with  p(z2) = 1/K sum_k q(z2|u_k), u_k the learned pseudo-histories.
    The code that ``encode`` returns is (z1, z2). Needs non-negative values.

    The pseudo-histories are dense, as in the paper: n_pseudo x n_items weights, four times that in training
    (gradient and moments), 160 MB and 660 MB at the default for 41,000 items. They pass the first layer as one
    dense product with the very weights whose rows are summed for the sparse histories, once a step: on a large
    catalogue lower ``n_pseudo``.

    Source: Kim & Suh, "Enhancing VAEs for collaborative filtering: flexible priors & gating mechanisms", RecSys
    2019; the prior: Tomczak & Welling, "VAE with a VampPrior", AISTATS 2018. Ours differs from the authors' code
    (github.com/psywaves/EVCF) in the model and in its training.

    The model: pseudo-histories are scaled to length 1 as histories are, where theirs enter as they are, and have no
    dropout; one mask drops a history's items for both codes, where theirs has one for each; with two layers theirs has two to
    the lower code and two to the items, ours three; weights start by Xavier's rule in place of He's.

    Training: Adam with learning rate 1e-3, batches of 500, 200 epochs and a patience of 20 from the first epoch on, the
    weight of the divergence rising with every step for 50 epochs; theirs divides each gradient by its length before Adam
    (AdamNormGrad), with learning rate 5e-4, batches of 200, 400 epochs and a patience of 50 that counts once the
    weight has risen, epoch by epoch for 100. Their settings can be given here but for AdamNormGrad and that start of
    the patience.
    """

    name = "hvamp_vae"
    config: HVampVAEConfig
    config_class: ClassVar = HVampVAEConfig
    search_space: ClassVar[SearchSpace] = {
        "dropout": span(0.2, 0.8),
        "kl_weight": span(0.05, 1.0, log=True),
        "learning_rate": span(1e-4, 1e-2, log=True),
    }
    network_: "HVampNetwork"

    def _build(self, histories: csr_array) -> nn.Module:
        return HVampNetwork(histories.shape[1], self.config)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        network = self.network_
        values = nn.functional.dropout(batch.unit_length(), self.config.dropout)
        upper = network.upper(batch, values)
        z2 = sample(upper)  # (n_rows, n_latent)
        lower = network.lower(batch, values, z2)
        z1 = sample(lower)
        likelihood = self._nll(torch.cat([z1, z2], dim=1), batch)
        divergence = (
            log_density(z1, lower) - log_density(z1, network.lower_prior(z2))
            + log_density(z2, upper) - log_mixture(z2, network.upper_of_pseudo())
        ).mean()  # fmt: skip
        annealed = self.config.kl_weight * min(1.0, epoch / self.config.kl_epochs)
        return likelihood + annealed * divergence

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Mean codes, the lower beside the upper one, shape (n_rows, 2 n_latent)."""
        batch = self._batch(histories)
        values = batch.unit_length()
        z2, _ = self.network_.upper(batch, values)
        z1, _ = self.network_.lower(batch, values, z2)
        return np.asarray(torch.cat([z1, z2], dim=1).cpu().numpy(), dtype=np.float32)


def sample(normal: Normal) -> Tensor:
    """A draw from each row's normal, by which gradients pass; same shape as the mean."""
    mean, log_variance = normal
    return mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)


def log_density(value: Tensor, normal: Normal) -> Tensor:
    """Log density of each row under its normal, without the constant of the dimension, shape (n_rows,)."""
    mean, log_variance = normal
    return -0.5 * (log_variance + (value - mean).square() * torch.exp(-log_variance)).sum(dim=1)


def log_mixture(value: Tensor, components: Normal) -> Tensor:
    """Log density of each row under an even mixture of normals, constant left out as above, shape (n_rows,).

    The squared distances are multiplied out, so that nothing of n_rows x n_components x n_latent is formed; in double
    precision, for where a component is narrow they are small differences of large products.

    Args:
        value: shape (n_rows, n_latent).
        components: each (n_components, n_latent).
    """
    wide = value.double()
    mean, log_variance = (part.double() for part in components)
    precision = torch.exp(-log_variance)
    constant = (log_variance + mean.square() * precision).sum(dim=1)  # (n_components,)
    squares = wide.square() @ precision.T - 2.0 * wide @ (mean * precision).T + constant
    return (torch.logsumexp(-0.5 * squares, dim=1) - math.log(len(mean))).to(value.dtype)


class Gated(nn.Module):
    """Gated linear layers: ``(W x + b) * sigmoid(V x + c)``, one after the other."""

    def __init__(self, n_inputs: int, n_outputs: int, n_layers: int = 1) -> None:
        super().__init__()
        sizes = [n_inputs] + [n_outputs] * n_layers
        self.layers = nn.ModuleList(dense_linear(size, 2 * n_outputs) for size in sizes[:-1])

    def forward(self, units: Tensor) -> Tensor:
        """Shape (n_rows, n_inputs) to (n_rows, n_outputs)."""
        for layer in self.layers:
            units = nn.functional.glu(layer(units), dim=1)
        return units


class NormalHead(nn.Module):
    """Linear layer to mean and log-variance."""

    def __init__(self, n_inputs: int, n_latent: int) -> None:
        super().__init__()
        self.both = dense_linear(n_inputs, 2 * n_latent)

    def forward(self, units: Tensor) -> Normal:
        """Units (n_rows, n_inputs) to a normal."""
        mean, log_variance = self.both(units).chunk(2, dim=1)
        return mean, nn.functional.hardtanh(log_variance, *LOG_VARIANCES)


class HVampNetwork(MultinomialNetwork):
    """The four conditional distributions, and the pseudo-histories."""

    def __init__(self, n_items: int, config: HVampVAEConfig) -> None:
        super().__init__()
        n_hidden, n_latent, n_more = config.n_hidden, config.n_latent, config.n_layers - 1
        self.upper_input = SparseLinear(n_items, 2 * n_hidden)
        self.upper_hidden = Gated(n_hidden, n_hidden, n_more)
        self.upper_head = NormalHead(n_hidden, n_latent)
        self.lower_input = SparseLinear(n_items, 2 * n_hidden)
        self.lower_hidden = Gated(n_hidden, n_hidden, n_more)
        self.lower_code = Gated(n_latent, n_hidden)
        self.lower_joint = Gated(2 * n_hidden, n_hidden)
        self.lower_head = NormalHead(n_hidden, n_latent)
        self.prior_hidden = Gated(n_latent, n_hidden, config.n_layers)
        self.prior_head = NormalHead(n_hidden, n_latent)
        self.decoder_lower = Gated(n_latent, n_hidden)
        self.decoder_upper = Gated(n_latent, n_hidden)
        self.decoder_joint = Gated(2 * n_hidden, n_hidden, config.n_layers)
        self.output = dense_linear(n_hidden, n_items)
        self.pseudo = nn.Parameter(torch.empty(config.n_pseudo, n_items))
        nn.init.normal_(self.pseudo, mean=0.05, std=0.01)  # as the authors' code

    def upper(self, batch: SparseBatch, values: Tensor) -> Normal:
        """q(z2|x)."""
        hidden = nn.functional.glu(self.upper_input(batch, values), dim=1)
        found: Normal = self.upper_head(self.upper_hidden(hidden))
        return found

    def upper_of_pseudo(self) -> Normal:
        """q(z2|u) of each pseudo-history, its entries cut to [0, 1] and its length scaled to 1 like that of a history."""
        inputs = nn.functional.normalize(nn.functional.hardtanh(self.pseudo, 0.0, 1.0), dim=1)
        hidden = nn.functional.glu(inputs @ self.upper_input.weight + self.upper_input.bias, dim=1)
        found: Normal = self.upper_head(self.upper_hidden(hidden))
        return found

    def lower(self, batch: SparseBatch, values: Tensor, z2: Tensor) -> Normal:
        """q(z1|x, z2)."""
        hidden = self.lower_hidden(nn.functional.glu(self.lower_input(batch, values), dim=1))
        found: Normal = self.lower_head(self.lower_joint(torch.cat([hidden, self.lower_code(z2)], dim=1)))
        return found

    def lower_prior(self, z2: Tensor) -> Normal:
        """p(z1|z2)."""
        found: Normal = self.prior_head(self.prior_hidden(z2))
        return found

    def before_output(self, code: Tensor) -> Tensor:
        """Units (n_rows, n_hidden) of codes (z1, z2), shape (n_rows, 2 n_latent)."""
        z1, z2 = code.chunk(2, dim=1)
        joint = torch.cat([self.decoder_lower(z1), self.decoder_upper(z2)], dim=1)
        units: Tensor = self.decoder_joint(joint)
        return units
