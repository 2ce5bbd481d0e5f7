"""A deep autoencoder for ratings, trained to leave its own complete rows as they are."""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.data.holdout import Holdout
from recae.models.base import Fit
from recae.models.neural import (
    NeuralConfig,
    NeuralModel,
    SparseBatch,
    SparseLinear,
    dense_linear,
    values_at,
)
from recae.models.observed import Entries, products_at
from recae.models.ranking import Scores
from recae.models.rating_model import RatingModel, is_rated
from recae.models.ratings import RatingMeans
from recae.models.search_spaces import SearchSpace, span, whole


class DeepAutoRecConfig(NeuralConfig):
    """Settings of the deep rating autoencoder."""

    n_hidden: PositiveInt = 256
    """Units of the two layers before the code, and of the two after it."""
    n_code: PositiveInt = 512
    """Units of the code; most of them are dropped at each step, so it may be wide."""
    dropout: float = Field(default=0.8, ge=0, lt=1)
    """Share of the code's units that is set to 0 while training."""
    refeeding: NonNegativeFloat = 1.0
    """Weight of the second loss, that the network should leave its own output as it is; 0 to do without."""
    weight_decay: NonNegativeFloat = 1e-3
    """Pull of all weights towards 0, its authors' value; logs of 100,000 ratings want ten times as much."""
    batch_size: PositiveInt = 128
    """Training rows (users) in one step."""
    shrinkage: NonNegativeFloat = 5.0
    """Ratings after which an item's or a user's own mean counts as much as the overall mean."""


class DeepAutoRec(RatingModel, NeuralModel):
    """Users' rows through six selu layers with heavy dropout of the code; squared error over observed ratings.

    The network sees what overall, item and user means leave unexplained. Dense re-feeding: its output f(x) is a
    complete row, on which it should do nothing, so each step also minimises the squared distance of f(f(x)) and
    f(x) over all items. That pass computes every item of a batch, and each step moves all weights, so an epoch
    costs n_users x n_items x n_hidden. A user without ratings and an item that
    nobody rated are predicted by the means alone.

    Source: Kuchaiev & Ginsburg, "Training deep autoencoders for collaborative filtering", 2017. Ours differs in the
    means, in outputs without an activation, in Adam, and in one step on the sum of both losses in place of two.
    """

    name = "deep_autorec"
    config: DeepAutoRecConfig
    config_class: ClassVar = DeepAutoRecConfig
    search_space: ClassVar[SearchSpace] = {
        "n_hidden": whole(64, 512, log=True),
        "dropout": span(0.3, 0.9),
        "weight_decay": span(1e-4, 3e-2, log=True),
    }
    network_: "DeepAutoRecNetwork"

    means_: dict[str, Any]
    """The fields of :class:`~recae.models.ratings.RatingMeans`."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        self.means_ = RatingMeans.of(histories, self.config.shrinkage).as_dict()
        self._is_rated = is_rated(histories)
        super()._fit(histories, how)

    def _training_rows(self, histories: csr_array) -> csr_array:
        return self._means.residuals(histories)

    def _build(self, histories: csr_array) -> nn.Module:
        config = self.config
        return DeepAutoRecNetwork(histories.shape[1], config.n_hidden, config.n_code, config.dropout)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        network = self.network_
        hidden = network.hidden(network.encode(batch))
        errors = network.at(hidden, batch) - batch.values
        loss = errors.square().sum() / max(1, len(batch.values))
        if self.config.refeeding > 0:
            complete = network.decode(hidden).detach()  # (n_rows, n_items)
            again = network.decode(network.hidden(network.encode_complete(complete)))
            loss = loss + self.config.refeeding * (again - complete).square().mean()
        return loss

    def _validate(self, histories: csr_array, validation: Holdout) -> float:
        """Minus the RMSE of held-out ratings: higher is better."""
        del histories
        self.network_.eval()
        value = self._minus_rmse(validation)
        self.network_.train()
        return value

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """The code of each user, then their own offset in rating units, shape (n_rows, n_code + 1).

        Without ratings of known items the code is 0.
        """
        rated = self._rated_part(self._means.residuals(histories))
        codes = self.network_.encode(self._batch(rated)).cpu().numpy()
        codes[np.diff(rated.indptr) == 0] = 0.0
        return np.column_stack([codes, self._means.user_offsets(histories)])

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> Scores:
        """Ratings of all items, shape (n_rows, n_items_), clipped to the scale."""
        network, offsets = self.network_, codes[:, -1]
        code = torch.as_tensor(codes[:, :-1], device=network.offsets.device)
        residuals = network.decode(network.hidden(code)).cpu().numpy()
        residuals[~codes[:, :-1].any(axis=1)] = 0.0  # users without ratings
        return self._added_to_means(residuals, offsets)

    def _item_vectors(self) -> Tensor:
        return self.network_.output.weight

    @property
    def _means(self) -> RatingMeans:
        return RatingMeans(**self.means_)


class DeepAutoRecNetwork(nn.Module):
    """Three layers to the code and three back, selu after each but the last."""

    def __init__(self, n_items: int, n_hidden: int, n_code: int, dropout: float) -> None:
        super().__init__()
        self.input = SparseLinear(n_items, n_hidden)
        self.to_code = nn.Sequential(
            nn.SELU(), dense_linear(n_hidden, n_hidden), nn.SELU(), dense_linear(n_hidden, n_code), nn.SELU()
        )
        self.from_code = nn.Sequential(
            nn.Dropout(dropout),
            dense_linear(n_code, n_hidden),
            nn.SELU(),
            dense_linear(n_hidden, n_hidden),
            nn.SELU(),
        )
        self.output = nn.Embedding(n_items, n_hidden)  # a row for each output
        self.offsets = nn.Parameter(torch.zeros(n_items))
        nn.init.xavier_normal_(self.output.weight)

    def encode(self, batch: SparseBatch) -> Tensor:
        """Codes of rows of residuals, shape (n_rows, n_code)."""
        code: Tensor = self.to_code(self.input(batch, batch.values))
        return code

    def encode_complete(self, rows: Tensor) -> Tensor:
        """Codes of complete rows (n_rows, n_items), shape (n_rows, n_code)."""
        code: Tensor = self.to_code(rows @ self.input.weight + self.input.bias)
        return code

    def hidden(self, code: Tensor) -> Tensor:
        """The last hidden layer, shape (n_rows, n_hidden)."""
        found: Tensor = self.from_code(code)
        return found

    def at(self, hidden: Tensor, batch: SparseBatch) -> Tensor:
        """Outputs at the batch's entries, shape (nnz,): nothing is computed for the others."""
        entries = Entries.of_batch(batch, len(self.offsets))
        return products_at(entries, hidden, self.output.weight) + values_at(self.offsets, batch.columns)

    def decode(self, hidden: Tensor) -> Tensor:
        """All outputs, shape (n_rows, n_items)."""
        return hidden @ self.output.weight.T + self.offsets
