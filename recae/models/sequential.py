"""Sequential VAE: a recurrent network reads the history in order, and each step foretells the next items."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.models import ranking
from recae.models.losses import gaussian_kl
from recae.models.multinomial import Decoder
from recae.models.neural import NeuralConfig, NeuralModel, SparseBatch, dense_linear
from recae.models.ranking import Scores
from recae.models.search_spaces import SearchSpace, span


class SequentialVAEConfig(NeuralConfig):
    """Settings of the sequential VAE."""

    n_embedding: PositiveInt = 256
    """Dimensions of an item at the input."""
    n_hidden: PositiveInt = 200
    """Units of the recurrent layer, and of the hidden layer on either side of the code."""
    n_latent: PositiveInt = 64
    """Dimensions of the code of each step."""
    n_next: PositiveInt = 4
    """Items that follow a step and are to be foretold by it. 1 for the very next one; more where order is loose."""
    max_length: PositiveInt = 200
    """Items of a history that are read: the latest so many."""
    loss_steps: PositiveInt | None = 32
    """Steps of each history that are drawn for the loss of an update, since the softmax over all items costs the
    most; None for all. Memory is batch_size x loss_steps x n_items x 4 bytes, a few times."""
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Share of the items that are blanked out at the input while training."""
    kl_weight: NonNegativeFloat = 0.2
    """Weight of the KL term once it has risen to its full height; choose it on validation."""
    kl_epochs: PositiveInt = 50
    """Epochs over which that weight rises linearly from 0."""
    batch_size: PositiveInt = 64
    """Histories in one step."""


class SequentialVAE(NeuralModel):
    """Variational autoencoder over the steps of a history: what was chosen last counts, and in which order.

    The value of an entry is its place in time: of two items of a history the one with the larger value came
    later; of equal values the lower column came first. Only the order of the values within a row counts, not
    their size, and only float32 tells them apart: give places (1, 2, 3...), not seconds.

    A GRU reads the item vectors; its state after t items gives a normal code, and a draw of it the multinomial
    likelihood of items t+1 to t+k. Scores come from the mean code after the last item.

    Source: Sachdeva, Manco, Ritacco & Pudi, "Sequential variational autoencoders for collaborative filtering",
    WSDM 2019. Ours differs in batches of several users, in a loss at a drawn part of the steps, in blanked-out
    inputs, and in the state before the first item, which foretells the first ones: so an empty history has a
    sensible answer, and a single item is enough to learn from.
    """

    name = "sequential_vae"
    feedback = "sequences"
    config: SequentialVAEConfig
    config_class: ClassVar = SequentialVAEConfig
    search_space: ClassVar[SearchSpace] = {
        "dropout": span(0.0, 0.6),
        "kl_weight": span(0.05, 1.0, log=True),
        "learning_rate": span(1e-4, 1e-2, log=True),
    }
    network_: "SequentialVAENetwork"

    def _build(self, histories: csr_array) -> nn.Module:
        config = self.config
        return SequentialVAENetwork(histories.shape[1], config.n_embedding, config.n_hidden, config.n_latent)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        sequences = Sequences.of(batch, self.config.max_length)
        states = self.network_.states(
            sequences.items[:, :-1], self.config.dropout
        )  # (n_rows, length, n_hidden)
        rows, steps = self._drawn_steps(sequences)  # (n_steps,) each
        mean, log_variance = self.network_.normal(states[rows, steps])
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        following = sequences.following(rows, steps, self.config.n_next)
        likelihood = self.network_.nll(code, *following, self._product_type)
        annealed = self.config.kl_weight * min(1.0, epoch / self.config.kl_epochs)
        return likelihood + annealed * gaussian_kl(mean, log_variance)

    def _drawn_steps(self, sequences: "Sequences") -> tuple[Tensor, Tensor]:
        """Row and number of items before each step that is to foretell, at most ``loss_steps`` a row."""
        length = sequences.items.shape[1]
        is_step = torch.arange(length, device=sequences.lengths.device) < sequences.lengths[:, None]
        wanted = self.config.loss_steps
        if wanted is not None and wanted < length:
            chance = torch.rand(is_step.shape, device=is_step.device).masked_fill(~is_step, -1.0)
            lowest = chance.topk(wanted, dim=1).values[:, -1:]
            is_step &= chance >= lowest
        rows, steps = torch.nonzero(is_step, as_tuple=True)
        return rows, steps

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Mean codes after the last item, shape (n_rows, n_latent); the states before it are made in blocks of rows."""
        n_rows, step = histories.shape[0], self._rows_at_once(histories)
        last = [
            self._last_states(histories[start : start + step]) for start in range(0, max(1, n_rows), step)
        ]
        mean, _ = self.network_.normal(torch.cat(last))
        return np.asarray(mean.cpu().numpy(), dtype=np.float32)

    def _last_states(self, histories: csr_array) -> Tensor:
        """States after the last item, shape (n_rows, n_hidden)."""
        sequences = Sequences.of(self._batch(histories), self.config.max_length)
        states = self.network_.states(sequences.items)  # (n_rows, length + 1, n_hidden)
        return states[torch.arange(len(states), device=states.device), sequences.lengths]

    def _rows_at_once(self, histories: csr_array) -> int:
        """Histories of which all that is held of each item keeps to the budget of a block of scores."""
        longest = int(np.diff(histories.indptr).max(initial=0))
        length = min(longest, self.config.max_length) + 1
        # twice the item's vector, as it is and with dropout; three gates of the recurrent layer, and twice its state
        numbers = 2 * self.config.n_embedding + 5 * self.config.n_hidden
        return max(1, ranking.SCORE_BYTES // (4 * length * numbers))

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> Scores:
        """Logits of the items to come, shape (n_rows, n_items_)."""
        code = torch.as_tensor(codes, device=self.network_.output.weight.device)
        return self.network_.decode(code).cpu().numpy()

    def _item_vectors(self) -> Tensor:
        return self.network_.output.weight


@dataclass(frozen=True)
class Sequences:
    """Histories in order, from the left, filled up on the right with item 0."""

    items: Tensor  # (n_rows, length) int64
    lengths: Tensor  # (n_rows,) int64: how many of a row are its own

    @classmethod
    def of(cls, batch: SparseBatch, max_length: int) -> Self:
        """The latest ``max_length`` items of each row, by rising value; of equal ones the lower column first."""
        by_value = torch.argsort(batch.values, stable=True)
        order = by_value[torch.argsort(batch.rows[by_value], stable=True)]
        counts = torch.bincount(batch.rows, minlength=batch.n_rows)
        lengths = counts.clamp_max(max_length)
        # what is too much at the start of a row gets a negative place
        skipped = (counts - lengths)[batch.rows]
        places = torch.arange(len(order), device=order.device) - batch.offsets[batch.rows] - skipped
        kept = places >= 0
        length = int(lengths.max()) if batch.n_rows else 0
        items = torch.zeros((batch.n_rows, length), dtype=torch.int64, device=order.device)
        items[batch.rows[kept], places[kept]] = batch.columns[order][kept]
        return cls(items, lengths)

    def following(self, rows: Tensor, steps: Tensor, n_next: int) -> tuple[Tensor, Tensor, Tensor]:
        """The items after each step as coordinates: number of the step, item, and a count of 1.

        Args:
            rows: row of each step, shape (n_steps,).
            steps: number of items before it, same shape.
            n_next: items of each step, fewer at the end of a row.
        """
        places = steps[:, None] + torch.arange(n_next, device=steps.device)  # (n_steps, n_next)
        step, number = torch.nonzero(places < self.lengths[rows][:, None], as_tuple=True)
        items = self.items[rows[step], places[step, number]]
        return step, items, torch.ones(len(items), device=items.device)


class SequentialVAENetwork(Decoder):
    """Item vectors, a recurrent layer, states -> hidden -> (mean, log-variance), and the decoder."""

    def __init__(self, n_items: int, n_embedding: int, n_hidden: int, n_latent: int) -> None:
        super().__init__(n_items, n_hidden, n_latent)
        self.items = nn.Embedding(n_items, n_embedding)
        nn.init.xavier_normal_(self.items.weight)
        self.recurrent = nn.GRU(n_embedding, n_hidden, batch_first=True)
        self.state_hidden = dense_linear(n_hidden, n_hidden)
        self.code = dense_linear(n_hidden, 2 * n_latent)

    def states(self, items: Tensor, dropout: float = 0.0) -> Tensor:
        """State before each item and after the last, shape (n_rows, length + 1, n_hidden), for items (n_rows, length).

        Items that fill up a row come after its own, so that they change none of its states.
        """
        start = torch.zeros((len(items), 1, self.recurrent.hidden_size), device=items.device)
        if items.shape[1] == 0:
            return start
        kept = nn.functional.dropout(torch.ones((*items.shape, 1), device=items.device), dropout)
        found, _ = self.recurrent(self.items(items) * kept)
        return torch.cat([start, found], dim=1)

    def normal(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """``(mean, log-variance)``, each (n, n_latent), of states (n, n_hidden)."""
        mean, log_variance = self.code(torch.tanh(self.state_hidden(states))).chunk(2, dim=1)
        return mean, log_variance
