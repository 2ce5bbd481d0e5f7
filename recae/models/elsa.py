"""ELSA: a linear autoencoder of low rank, for catalogues whose item-to-item matrix would not fit."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.models.losses import normalised_mse
from recae.models.neural import NeuralConfig, NeuralModel, SparseBatch
from recae.models.optimisers import NAdam
from recae.models.ranking import Positions, Scores
from recae.models.search_spaces import SearchSpace, span, whole


class ELSAConfig(NeuralConfig):
    """Settings of ELSA."""

    n_latent: PositiveInt = 256
    """Dimensions of an item's vector. More is closer to EASE; time per step grows with its square."""
    learning_rate: PositiveFloat = 0.1
    """Step size of NAdam. Lengths do not matter, only directions: it can be large."""
    epochs: PositiveInt = 20
    """Passes over the training rows, at most."""


class ELSA(NeuralModel):
    """EASE with the item-to-item weights ``A A' - I``, the rows of A of length 1: score = x A A' - x.

    Unit rows put a zero on the diagonal, so that no item explains itself, as EASE has it by a constraint. Memory
    is n_items x n_latent, a few times; EASE takes n_items x n_items. Trained with NAdam on the normalised squared
    error.

    Source: Vancura, Alves, Kasalicky & Kordik, "Scalable linear shallow autoencoder for collaborative
    filtering", RecSys 2022. Ours gives the same loss from inner products: with the code c = x A,
    ``|x A A' - x|^2 = c A'A c' - 2 |c|^2 + |x|^2``, so that a step forms no scores, and none of its cost grows
    with batch x n_items.
    """

    name = "elsa"
    has_additive_contributions = True
    config: ELSAConfig
    config_class: ClassVar = ELSAConfig
    search_space: ClassVar[SearchSpace] = {
        "n_latent": whole(64, 1_024, log=True),
        "learning_rate": span(0.01, 0.3, log=True),
    }
    network_: "ELSANetwork"

    def _build(self, histories: csr_array) -> nn.Module:
        return ELSANetwork(histories.shape[1], self.config.n_latent)

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        return [
            NAdam(
                self.network_.parameters(),
                lr=self.config.learning_rate,
                weight_decay=self.config.weight_decay,
            )
        ]

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        vectors = self.network_.unit_vectors()  # (n_items, n_latent)
        codes = self.network_.encode(batch, vectors)  # (n_rows, n_latent)
        squares = torch.zeros(batch.n_rows, device=codes.device).index_add(
            0, batch.rows, batch.values.square()
        )
        code_squares = codes.square().sum(dim=1)
        reconstructed = ((codes @ (vectors.T @ vectors)) * codes).sum(dim=1)  # |x A A'|^2
        return normalised_mse(code_squares - squares, reconstructed - 2.0 * code_squares + squares, squares)

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Sums of the vectors of the items chosen, shape (n_rows, n_latent)."""
        return self.network_.encode(self._batch(histories), self.network_.unit_vectors()).cpu().numpy()

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> Scores:
        """``codes A'``, shape (n_rows, n_items_): the score of every item that is not in the history."""
        vectors = self.network_.unit_vectors()
        return (torch.as_tensor(codes, device=vectors.device) @ vectors.T).cpu().numpy()

    def _score(self, histories: csr_array) -> Scores:
        scores = super()._score(histories)
        rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
        scores[rows, histories.indices] -= histories.data  # an item may not explain itself
        return scores

    @torch.no_grad()
    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        of_history, asked = (
            self.network_.unit_vectors_of(history.indices),
            self.network_.unit_vectors_of(items),
        )
        found: Scores = (of_history @ asked.T).cpu().numpy()
        found[history.indices[:, None] == items] -= 1.0  # as in the score
        found *= history.data[:, None]
        return found

    def _item_vectors(self) -> Tensor:
        return self.network_.unit_vectors()


class ELSANetwork(nn.Module):
    """One vector for each item; only its direction counts."""

    def __init__(self, n_items: int, n_latent: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(n_items, n_latent))
        nn.init.xavier_uniform_(self.vectors)

    def unit_vectors(self) -> Tensor:
        """A, shape (n_items, n_latent)."""
        return nn.functional.normalize(self.vectors, dim=1)

    def unit_vectors_of(self, items: Positions) -> Tensor:
        """Rows of A, shape (n, n_latent)."""
        rows = torch.from_numpy(items.astype(np.int64)).to(self.vectors.device)
        return nn.functional.normalize(self.vectors[rows], dim=1)

    def encode(self, batch: SparseBatch, vectors: Tensor) -> Tensor:
        """``x A`` for sparse rows x, shape (n_rows, n_latent)."""
        codes: Tensor = nn.functional.embedding_bag(
            batch.columns, vectors, batch.offsets, mode="sum", per_sample_weights=batch.values
        )
        return codes
