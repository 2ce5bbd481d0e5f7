"""Mult-DAE and Mult-VAE: autoencoders with a multinomial likelihood over the items."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.models.losses import gaussian_kl
from recae.models.matrices import refuse_negative, stacked
from recae.models.multinomial_output import multinomial_output_nll
from recae.models.neural import NeuralConfig, NeuralModel, SparseBatch, SparseLinear, dense_linear
from recae.models.ranking import Positions, Scores, Sought
from recae.models.screening import Screen, can_screen
from recae.models.search_spaces import SearchSpace, span


class MultinomialModel(NeuralModel):
    """What models with a multinomial likelihood share: counts for input, a network that decodes to logits.

    Negative values are refused.
    """

    network_: "MultinomialNetwork"

    def check_values(self, histories: csr_array) -> None:
        """Negative ones."""
        refuse_negative(histories, f"{self.name} models counts")

    def _nll(self, code: Tensor, batch: SparseBatch) -> Tensor:
        """Negative log-likelihood of the batch under what the network makes of its codes, mean over the rows.

        It is that of the counts under the softmax of ``network_.decode(code)``, in the type and the steps that are fastest.
        """
        return self.network_.nll(code, batch.rows, batch.columns, batch.values, self._product_type)

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> Scores:
        """Logits of the items, shape (n_rows, n_items_)."""
        code = torch.as_tensor(codes, device=self.network_.output.weight.device)
        return self.network_.decode(code).cpu().numpy()

    @torch.no_grad()
    def _score_items(self, histories: csr_array, items: Positions) -> Scores:
        output = self.network_.output
        device = output.weight.device
        hidden = self.network_.before_output(torch.as_tensor(self.encode(histories), device=device))
        rows = torch.from_numpy(items.astype(np.int64)).to(device)
        return nn.functional.linear(hidden, output.weight[rows], output.bias[rows]).cpu().numpy()

    @torch.no_grad()
    def best_rows(self, sought: Sequence[Sought]) -> list[tuple[Positions, Scores]]:
        """As the base class does it, through a :class:`~recae.models.screening.Screen` where that is faster."""
        screen = self._screen
        if screen is None or not sought:
            return super().best_rows(sought)
        codes = self.encode(stacked(sought, self.n_items_))
        hidden = self.network_.before_output(torch.as_tensor(codes))
        return screen.best(hidden, [one.n for one in sought], [one.allowed for one in sought])

    @property
    def _screen(self) -> Screen | None:
        """Of the output layer as it is now; made at first use, and None where it would gain nothing."""
        weight = self.network_.output.weight
        kept: tuple[Tensor, Screen | None] | None = vars(self).get("_kept_screen")
        if kept is None or kept[0] is not weight:
            usable = can_screen(len(weight), weight.device)
            kept = weight, Screen(weight.detach(), self.network_.output.bias.detach()) if usable else None
            vars(self)["_kept_screen"] = kept
        return kept[1]

    def _item_vectors(self) -> Tensor:
        return self.network_.output.weight


class MultinomialNetwork(nn.Module):
    """A network whose last layer, ``output``, gives a logit for each item."""

    output: nn.Linear

    def before_output(self, code: Tensor) -> Tensor:
        """What ``output`` is fed with, of codes (n_rows, n_latent): the codes themselves if nothing is between."""
        return code

    def decode(self, code: Tensor) -> Tensor:
        """Logits (n_rows, n_items) of codes (n_rows, n_latent)."""
        logits: Tensor = self.output(self.before_output(code))
        return logits

    def nll(
        self, code: Tensor, rows: Tensor, columns: Tensor, counts: Tensor, products: torch.dtype
    ) -> Tensor:
        """Negative log-likelihood of the counts under the softmax of ``decode(code)``, in the steps that are fastest; see
        :func:`multinomial_output_nll`.
        """
        hidden = self.before_output(code)
        return multinomial_output_nll(
            hidden, self.output.weight, self.output.bias, rows, columns, counts, products
        )


class MultDAEConfig(NeuralConfig):
    """Settings of Mult-DAE."""

    n_hidden: PositiveInt = 600
    """Units of the hidden layer on either side of the code."""
    n_latent: PositiveInt = 200
    """Dimensions of a user's code."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of a history's items that are hidden from the encoder at each step: what it learns to restore."""


class MultDAE(MultinomialModel):
    """Denoising autoencoder with a multinomial likelihood, 600-200-600 with tanh, the code too.

    Mult-VAE without its noise and its KL term: fewer settings, and on large data often as good. The regulariser
    is ``weight_decay``.

    Source: Liang et al. 2018, as :class:`MultVAE`.
    """

    name = "mult_dae"
    config: MultDAEConfig
    config_class: ClassVar = MultDAEConfig
    search_space: ClassVar[SearchSpace] = {
        "dropout": span(0.2, 0.8),
        "learning_rate": span(1e-4, 1e-2, log=True),
        "weight_decay": span(0.0, 0.01),
    }
    network_: "MultDAENetwork"

    def _build(self, histories: csr_array) -> nn.Module:
        return MultDAENetwork(histories.shape[1], self.config.n_hidden, self.config.n_latent)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        values = nn.functional.dropout(batch.unit_length(), self.config.dropout)
        return self._nll(self.network_.encode(batch, values), batch)

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Codes within (-1, 1), shape (n_rows, n_latent)."""
        batch = self._batch(histories)
        return self.network_.encode(batch, batch.unit_length()).cpu().numpy()


class MultVAEConfig(NeuralConfig):
    """Settings of Mult-VAE; the defaults are the paper's, but for the annealing, which counts epochs."""

    n_hidden: PositiveInt = 600
    """Units of the hidden layer on either side of the code."""
    n_latent: PositiveInt = 200
    """Dimensions of a user's code."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of a history's items that are hidden from the encoder at each step."""
    kl_weight: NonNegativeFloat = 0.2
    """Weight of the KL term once it has risen to its full height; choose it on validation."""
    kl_epochs: PositiveInt = 50
    """Epochs over which that weight rises linearly from 0. In epochs, since a number of updates that suits large
    data is never reached on small data."""


class MultVAE(MultinomialModel):
    """Variational autoencoder with a multinomial likelihood, 600-200-600 with tanh.

    The history is scaled to length 1 and dropped out at the input; the loss is the multinomial negative
    log-likelihood of the raw counts plus an annealed KL term; scores come from the mean code. Needs
    non-negative values.

    Source: Liang, Krishnan, Hoffman & Jebara, "Variational autoencoders for collaborative filtering",
    WWW 2018. Ours differs in annealing by epochs, and in summing embedding rows for the sparse input.
    """

    name = "mult_vae"
    config: MultVAEConfig
    config_class: ClassVar = MultVAEConfig
    search_space: ClassVar[SearchSpace] = {
        "dropout": span(0.2, 0.8),
        "kl_weight": span(0.05, 1.0, log=True),
        "learning_rate": span(1e-4, 1e-2, log=True),
    }
    network_: "MultVAENetwork"

    def _build(self, histories: csr_array) -> nn.Module:
        return MultVAENetwork(histories.shape[1], self.config.n_hidden, self.config.n_latent)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        values = nn.functional.dropout(batch.unit_length(), self.config.dropout)
        mean, log_variance = self.network_.encode(batch, values)  # (n_rows, n_latent), twice
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        likelihood = self._nll(code, batch)
        annealed = self.config.kl_weight * min(1.0, epoch / self.config.kl_epochs)
        return likelihood + annealed * gaussian_kl(mean, log_variance)

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Mean codes, shape (n_rows, n_latent)."""
        batch = self._batch(histories)
        mean, _ = self.network_.encode(batch, batch.unit_length())
        return mean.cpu().numpy()


class Decoder(MultinomialNetwork):
    """Code -> hidden -> logits, as Mult-DAE and Mult-VAE have it."""

    def __init__(self, n_items: int, n_hidden: int, n_latent: int) -> None:
        super().__init__()
        self.hidden = dense_linear(n_latent, n_hidden)
        self.output = dense_linear(n_hidden, n_items)

    def before_output(self, code: Tensor) -> Tensor:
        """The hidden layer's units, shape (n_rows, n_hidden)."""
        return torch.tanh(self.hidden(code))


class MultDAENetwork(Decoder):
    """Encoder items -> hidden -> code, and the decoder."""

    def __init__(self, n_items: int, n_hidden: int, n_latent: int) -> None:
        super().__init__(n_items, n_hidden, n_latent)
        self.input = SparseLinear(n_items, n_hidden)
        self.code = dense_linear(n_hidden, n_latent)

    def encode(self, batch: SparseBatch, values: Tensor) -> Tensor:
        """Codes (n_rows, n_latent)."""
        return torch.tanh(self.code(torch.tanh(self.input(batch, values))))


class MultVAENetwork(Decoder):
    """Encoder items -> hidden -> (mean, log-variance), and the decoder."""

    def __init__(self, n_items: int, n_hidden: int, n_latent: int) -> None:
        super().__init__(n_items, n_hidden, n_latent)
        self.input = SparseLinear(n_items, n_hidden)
        self.code = dense_linear(n_hidden, 2 * n_latent)

    def encode(self, batch: SparseBatch, values: Tensor) -> tuple[Tensor, Tensor]:
        """``(mean, log-variance)``, each (n_rows, n_latent)."""
        mean, log_variance = self.code(torch.tanh(self.input(batch, values))).chunk(2, dim=1)
        return mean, log_variance
