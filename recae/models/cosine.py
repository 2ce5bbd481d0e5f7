"""CosineDAE: a shallow denoising autoencoder whose scores are cosines, trained with a sampled softmax."""

import math
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.models.multinomial import MultinomialModel, MultinomialNetwork
from recae.models.neural import NeuralConfig, SparseBatch, WideLinear, values_at
from recae.models.search_spaces import SearchSpace, span, whole


class CosineDAEConfig(NeuralConfig):
    """Settings of CosineDAE."""

    n_latent: PositiveInt = 128
    """Dimensions of an item's vector, and of a user's code."""
    temperature: PositiveFloat = 0.1
    """What cosines are divided by: the lower, the more the hardest items to tell apart count."""
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Share of a history's items that are hidden from the code at each step: what it learns to restore."""
    popularity_damping: NonNegativeFloat = 0.5
    """An item that n users chose weighs n to the minus this in a code: 0.5 as in LightGCN, 0 for all alike."""
    n_sampled: PositiveInt = 2_048
    """Items that a step's softmax is over, drawn alike from all; a catalogue that is no larger is taken whole."""
    learning_rate: PositiveFloat = 0.004
    """Step size of Adam."""


class CosineDAE(MultinomialModel):
    """One vector for each item: a user's code is the sum of the history's, and a score the cosine of code and item.

    ``score = cos(x D A, a_i) / temperature + b_i``, with the items' vectors as rows of A, the damping of popular items on
    the diagonal of D, and a bias b for what everybody takes. Only directions count, so popular items cannot win by length,
    and the softmax at a low temperature looks at the items that are hard to tell apart. It errs in other ways than linear
    models do, and is at its best in a blend with one. Needs non-negative values.

    Source: the loss of Wu et al., "On the effectiveness of sampled softmax loss for item recommendation", TOIS 2024; a user
    as the items chosen, and cosines, as Mao et al., "SimpleX", CIKM 2021; the weights of items in a code as LightGCN's,
    SIGIR 2020. Ours has no vectors of users, so that any history is encoded in one pass, hides part of it in training,
    and has a bias.
    """

    name = "cosine_dae"
    config: CosineDAEConfig
    config_class: ClassVar = CosineDAEConfig
    search_space: ClassVar[SearchSpace] = {
        "n_latent": whole(64, 512, log=True),
        "temperature": span(0.05, 0.3, log=True),
        "dropout": span(0.1, 0.7),
        "learning_rate": span(1e-3, 2e-2, log=True),
    }
    network_: "CosineNetwork"

    def _build(self, histories: csr_array) -> nn.Module:
        n_chosen = np.bincount(histories.indices, minlength=histories.shape[1])
        weights = np.maximum(n_chosen, 1.0) ** -self.config.popularity_damping
        return CosineNetwork(self.config.n_latent, self.config.temperature, weights.astype(np.float32))

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        """Negative log-likelihood of an interaction, mean over those of the batch."""
        del epoch
        network = self.network_
        vectors, bias = network.unit_vectors(), network.bias
        shown = nn.functional.dropout(batch.values, self.config.dropout)
        codes = network.encode(batch, shown) / network.temperature  # (n_rows, n_latent)
        n_items, n_sampled = len(bias), self.config.n_sampled
        if n_sampled < n_items:
            drawn = torch.randint(n_items, (n_sampled,), device=bias.device)
            logits = torch.addmm(values_at(bias, drawn), codes, values_at(vectors, drawn).T)
        else:
            n_sampled, logits = n_items, torch.addmm(bias, codes, vectors.T)
        log_total = torch.logsumexp(logits, dim=1) + math.log(n_items / n_sampled)  # (n_rows,)
        pull = nn.functional.embedding_bag(
            batch.columns, vectors, batch.offsets, mode="sum", per_sample_weights=batch.values
        )
        explained = (codes * pull).sum() + torch.dot(values_at(bias, batch.columns), batch.values)
        possible = torch.dot(values_at(log_total, batch.rows), batch.values)
        return (possible - explained) / batch.values.sum().clamp_min(1e-9)

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Codes of length 1, shape (n_rows, n_latent); of an empty history 0."""
        batch = self._batch(histories)
        return self.network_.encode(batch, batch.values).cpu().numpy()


class CosineNetwork(MultinomialNetwork):
    """A vector and a bias for each item.

    Args:
        n_latent: dimensions of a vector.
        temperature: what cosines are divided by.
        item_weights: of each item in a code, shape (n_items,). They follow from the training rows, and are not learned.
    """

    item_weights: Tensor

    def __init__(self, n_latent: int, temperature: float, item_weights: NDArray[np.float32]) -> None:
        super().__init__()
        self.temperature = temperature
        self.vectors = nn.Parameter(torch.empty(len(item_weights), n_latent))
        self.bias = nn.Parameter(torch.zeros(len(item_weights)))
        nn.init.normal_(self.vectors, std=n_latent**-0.5)  # lengths about 1
        self.register_buffer("item_weights", torch.from_numpy(item_weights), persistent=False)

    def unit_vectors(self) -> Tensor:
        """The rows of A with length 1, shape (n_items, n_latent)."""
        return nn.functional.normalize(self.vectors, dim=1)

    def encode(self, batch: SparseBatch, values: Tensor) -> Tensor:
        """Codes of length 1 (n_rows, n_latent) of ``values`` (nnz,) at the batch's entries."""
        summed = nn.functional.embedding_bag(
            batch.columns,
            self.vectors,
            batch.offsets,
            mode="sum",
            per_sample_weights=values * self.item_weights[batch.columns],
        )
        return nn.functional.normalize(summed, dim=1)

    @property
    def output(self) -> nn.Linear:  # type: ignore[override] # a layer elsewhere; here made of the vectors
        """The layer from codes to scores: made at first use, since the weights that serve do not change."""
        kept: nn.Linear | None = vars(self).get("_kept_output")
        if kept is None:
            with torch.no_grad():
                kept = WideLinear(self.vectors.shape[1], len(self.bias), device="meta")
                kept.weight = nn.Parameter(self.unit_vectors() / self.temperature, requires_grad=False)
                kept.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=False)
            vars(self)["_kept_output"] = kept  # no submodule: it is not to be stored
        return kept

    def train(self, mode: bool = True) -> Self:
        """Weights change in training, so what was made of them is made again."""
        vars(self).pop("_kept_output", None)
        return super().train(mode)
