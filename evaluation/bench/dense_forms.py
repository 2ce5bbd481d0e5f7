"""DAE, Mult-VAE and RecVAE the plain way: dense rows, `nn.Linear`, torch's losses of all outputs, `torch.optim.Adam`, float32.

What the authors' programs do, in today's PyTorch, and what recae's fast forms are measured against. Settings are
those of recae's models, so that both come to the same quality.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.models.denoising import DAEConfig
from recae.models.multinomial import MultVAEConfig
from recae.models.recvae import ENCODER_PASSES, PRIOR_WEIGHTS, WIDE_LOG_VARIANCE, RecVAEConfig


class DenseDAE(nn.Module):
    """items -> 200 -> items, with tanh and a weighted cross-entropy of each item."""

    def __init__(self, n_items: int, config: DAEConfig) -> None:
        super().__init__()
        self.config = config
        self.input = nn.Linear(n_items, config.n_hidden)
        self.output = nn.Linear(config.n_hidden, n_items)
        initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Logits, shape (n_rows, n_items)."""
        x = nn.functional.dropout(nn.functional.normalize(x), self.config.strength, self.training)
        return (self.output(torch.tanh(self.input(x))),)

    def loss(self, x: Tensor) -> Tensor:
        """Negative log-likelihood of chosen or not, absence with less weight."""
        chosen = (x > 0).float()
        weights = chosen + self.config.unobserved_weight * (1.0 - chosen)
        logits = self(x)[0]
        return nn.functional.binary_cross_entropy_with_logits(
            logits, chosen, weight=weights, reduction="sum"
        ) / len(x)


class DenseMultVAE(nn.Module):
    """items -> 600 -> (mean, log-variance) of 200 -> 600 -> items, with tanh."""

    def __init__(self, n_items: int, config: MultVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.input = nn.Linear(n_items, config.n_hidden)
        self.code = nn.Linear(config.n_hidden, 2 * config.n_latent)
        self.hidden = nn.Linear(config.n_latent, config.n_hidden)
        self.output = nn.Linear(config.n_hidden, n_items)
        initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (n_rows, n_items), mean and log-variance (n_rows, n_latent)."""
        x = nn.functional.dropout(nn.functional.normalize(x), self.config.dropout, self.training)
        mean, log_variance = self.code(torch.tanh(self.input(x))).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance) if self.training else mean
        return self.output(torch.tanh(self.hidden(code))), mean, log_variance

    def loss(self, x: Tensor, epoch: float) -> Tensor:
        """Negative evidence lower bound with the annealed weight of ``epoch``."""
        logits, mean, log_variance = self(x)
        likelihood = -(nn.functional.log_softmax(logits, dim=1) * x).sum(dim=1).mean()
        divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(dim=1).mean()
        return likelihood + self.config.kl_weight * min(1.0, epoch / self.config.kl_epochs) * divergence


class DenseEncoder(nn.Module):
    """RecVAE's encoder: five layers of swish and layer normalisation, each fed with the sum of all before it."""

    def __init__(self, n_items: int, n_hidden: int, n_latent: int) -> None:
        super().__init__()
        self.input = nn.Linear(n_items, n_hidden)
        self.layers = nn.ModuleList(nn.Linear(n_hidden, n_hidden) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(n_hidden, eps=0.1) for _ in range(5))
        self.mean = nn.Linear(n_hidden, n_latent)
        self.log_variance = nn.Linear(n_hidden, n_latent)

    def forward(self, x: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (n_rows, n_latent)."""
        x = nn.functional.dropout(nn.functional.normalize(x), dropout, self.training)
        hidden = self.norms[0](nn.functional.silu(self.input(x)))
        total = hidden
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            hidden = norm(nn.functional.silu(layer(hidden) + total))
            total = total + hidden
        return self.mean(hidden), self.log_variance(hidden)


class DenseRecVAE(nn.Module):
    """The encoder, that of an epoch ago, and a linear decoder."""

    def __init__(self, n_items: int, config: RecVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = DenseEncoder(n_items, config.n_hidden, config.n_latent)
        self.old_encoder = DenseEncoder(n_items, config.n_hidden, config.n_latent).requires_grad_(
            requires_grad=False
        )
        self.output = nn.Linear(config.n_latent, n_items)
        initialise(self)
        self.remember()

    def remember(self) -> None:
        """Make the prior's posterior that of the encoder as it is now."""
        self.old_encoder.load_state_dict(self.encoder.state_dict())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (n_rows, n_items) of the mean code, mean and log-variance (n_rows, n_latent)."""
        mean, log_variance = self.encoder(x)
        return self.output(mean), mean, log_variance

    def loss(self, x: Tensor, dropout: float) -> Tensor:
        """Negative evidence lower bound."""
        mean, log_variance = self.encoder(x, dropout)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        likelihood = (nn.functional.log_softmax(self.output(code), dim=1) * x).sum(dim=1).mean()
        with torch.no_grad():
            old_mean, old_log_variance = self.old_encoder(x)
        zero = torch.zeros_like(code)
        parts = (
            log_normal(code, zero, zero),
            log_normal(code, old_mean, old_log_variance),
            log_normal(code, zero, zero + WIDE_LOG_VARIANCE),
        )
        weighted = [part + float(np.log(weight)) for part, weight in zip(parts, PRIOR_WEIGHTS, strict=True)]
        prior = torch.logsumexp(torch.stack(weighted), dim=0)
        divergence = (log_normal(code, mean, log_variance) - prior).sum(dim=1)
        return (self.config.gamma * x.sum(dim=1) * divergence).mean() - likelihood


def log_normal(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of a diagonal normal per dimension, without its constant."""
    return -0.5 * (log_variance + (value - mean).pow(2) / log_variance.exp())


def initialise(network: nn.Module) -> None:
    """Xavier's normal weights and zero biases."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)


class DenseTraining:
    """A dense network under training, epoch by epoch, with the schedule of recae's model of that name."""

    def __init__(self, model_name: str, training: csr_array, seed: int = 0, **settings: object) -> None:
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.training = training
        self.epoch = 0
        self.network: DenseDAE | DenseMultVAE | DenseRecVAE
        if model_name == "recvae":
            self.network = DenseRecVAE(training.shape[1], RecVAEConfig(**settings))
            trained = [self.network.encoder, self.network.output]
        elif model_name == "dae":
            self.network = DenseDAE(training.shape[1], DAEConfig(**settings))
            trained = [self.network]
        else:
            self.network = DenseMultVAE(training.shape[1], MultVAEConfig(**settings))
            trained = [self.network]
        rate = self.network.config.learning_rate
        self.optimisers = [torch.optim.Adam(part.parameters(), lr=rate) for part in trained]

    def run_epoch(self) -> float:
        """One epoch; its mean loss."""
        network = self.network
        if isinstance(network, DenseDAE):
            losses = [self._step(network.loss(x), self.optimisers[0]) for x in self._batches()]
        elif isinstance(network, DenseMultVAE):
            step = 1 / self.n_batches
            losses = [
                self._step(network.loss(x, self.epoch + step * number), self.optimisers[0])
                for number, x in enumerate(self._batches())
            ]
        else:
            losses = []
            for _ in range(ENCODER_PASSES):
                for x in self._batches():
                    losses.append(self._step(network.loss(x, network.config.dropout), self.optimisers[0]))
            network.remember()
            for x in self._batches():
                losses.append(self._step(network.loss(x, dropout=0.0), self.optimisers[1]))
        self.epoch += 1
        return float(np.mean(losses))

    @property
    def n_batches(self) -> int:
        """Steps of a pass."""
        return -(-self.training.shape[0] // self.network.config.batch_size)

    def _batches(self) -> Iterator[Tensor]:
        order = self.rng.permutation(self.training.shape[0])
        for rows in np.array_split(
            order, range(self.network.config.batch_size, len(order), self.network.config.batch_size)
        ):
            yield torch.from_numpy(self.training[rows].toarray())

    def _step(self, loss: Tensor, chosen: torch.optim.Optimizer) -> float:
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        chosen.step()
        return loss.item()

    @torch.no_grad()
    def score(self, histories: csr_array) -> np.ndarray:
        """Scores (n_rows, n_items), of the mean codes where there is noise in them."""
        self.network.eval()
        scores = self.network(torch.from_numpy(histories.toarray()))[0].numpy()
        self.network.train()
        return scores
