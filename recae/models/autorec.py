"""AutoRec: an autoencoder for ratings that learns from observed entries only."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.data.holdout import Holdout
from recae.errors import WarmStartError
from recae.models.base import Fit
from recae.models.config import ModelConfig
from recae.models.lazy_adam import LazyAdam, rows_of, touched_share
from recae.models.neural import NeuralConfig, NeuralModel, SparseBatch, SparseLinear, values_at
from recae.models.observed import Entries, products_at
from recae.models.ranking import Scores
from recae.models.rating_model import RatingModel, is_rated
from recae.models.ratings import RatingMeans, ridge_rows
from recae.models.search_spaces import SearchSpace, span, whole

LAZY_BELOW = 0.1
"""Share of the inputs that a batch touches, below which ``adam="auto"`` is lazy. A touched row costs a lazy step seven times
what any row costs a dense one: it lies anywhere, and is copied out and back. On 30,000 users x 40,000 items with 1,000,000
ratings, by item, one thread, a lazy step took .18, .50, .66, .81, .98 and 1.4 of a dense one's time at shares of .01, .05,
.09, .13, .16 and .27 with 500 hidden units, and .30, .66, .91, 1.01, 1.3 and 1.6 with 100. So on one thread no lazy step is
taken that is slower, and no dense one passes over more than ten rows for each that is touched. It looks at the data alone, not
at the machine: the choice changes what is learned, and the same log and settings give the same model."""


class AutoRecConfig(NeuralConfig):
    """Settings of AutoRec."""

    by: Literal["user", "item"] = "item"
    """Whose ratings make a training row. Items have more ratings each than users have, and predict better."""
    n_hidden: PositiveInt = 500
    """Units of the sigmoid hidden layer."""
    batch_size: PositiveInt = 128
    """Training rows (users or items) in one step."""
    weight_decay: NonNegativeFloat = 1e-4
    """L2 penalty, added to the gradient; the most important setting, choose it on validation."""
    adam: Literal["auto", "dense", "lazy"] = "auto"
    """What a step of Adam moves: ``dense`` all weights; ``lazy`` those of the inputs (``by="item"``: the users) that the batch
    has ratings of, so that the cost of an epoch grows with the ratings alone. The others stand still: their weights decay when
    they are touched, as often as they learn. ``auto`` is lazy where a batch touches less than a tenth of the inputs, dense else."""
    presence: NonNegativeFloat = 0.0
    """Added to each rating that the network reads, in rating units, so that who rated counts beside how."""
    shrinkage: NonNegativeFloat = 5.0
    """Ratings after which an item's or a user's own mean counts as much as the overall mean."""
    fold_in_l2: PositiveFloat = 1.0
    """Ridge penalty when ``by="item"`` finds a user's output weights from their ratings."""


class AutoRec(RatingModel, NeuralModel):
    """One sigmoid hidden layer, squared error over observed ratings, predictions clipped to the scale.

    The network sees what overall, item and user means leave unexplained, so that a missing rating enters as
    "as expected". A user without ratings and an item that nobody rated are predicted by the means alone.

    ``by="user"`` encodes a user's ratings. ``by="item"`` encodes each item's ratings by the training users;
    the output weights of a user are then a linear regression of their ratings on the items' codes, which
    folds in any history in closed form, that of a user who was not in the training data too.

    Source: Sedhain, Menon, Sanner & Xie, "AutoRec: autoencoders meet collaborative filtering", WWW 2015.
    Ours differs in the means, in Adam, and in the fold-in of users by item codes.
    """

    name = "autorec"
    config: AutoRecConfig
    config_class: ClassVar = AutoRecConfig
    search_space: ClassVar[SearchSpace] = {
        "n_hidden": whole(100, 1_000, log=True),
        "weight_decay": span(1e-6, 1e-2, log=True),
        "presence": span(0.0, 2.0),
    }
    network_: "AutoRecNetwork"

    means_: dict[str, Any]
    """The fields of :class:`RatingMeans`."""
    item_codes_: NDArray[np.float32]
    """Shape (n_items, n_hidden), with ``by="item"`` only."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        if how.warm_start is not None:
            self._refuse_the_other_side(how.warm_start.model)
        self.means_ = RatingMeans.of(histories, self.config.shrinkage).as_dict()
        self._is_rated = is_rated(histories)
        self._rows = self._training_rows(histories)
        self._is_lazy = self._kind_of_step(histories) == "lazy"
        super()._fit(histories, how)
        self._encode_items()
        del self._rows, self._is_lazy

    def _refuse_the_other_side(self, earlier: Any) -> None:
        """With as many users as items the sizes would agree, and users get the weights of items."""
        if earlier.config.by != self.config.by:
            raise WarmStartError(
                f"by={self.config.by!r} cannot start from an autorec with by={earlier.config.by!r}; take its settings, or fit "
                "without a warm start"
            )

    def _training_rows(self, histories: csr_array) -> csr_array:
        residuals = self._means.residuals(histories)
        return residuals if self.config.by == "user" else csr_array(residuals.T.tocsr())

    def _build(self, histories: csr_array) -> nn.Module:
        n_users, n_items = histories.shape
        return AutoRecNetwork(n_items if self.config.by == "user" else n_users, self.config.n_hidden)

    def settled_config(self) -> ModelConfig:
        """With the kind of step that validation judged: of a few more ratings ``auto`` might make another."""
        return super().settled_config().model_copy(update={"adam": self._kind_of_step(self.histories_)})

    def _kind_of_step(self, histories: csr_array) -> Literal["dense", "lazy"]:
        """What the setting ``adam`` comes to for histories (n_users, n_items)."""
        config, (n_users, n_items) = self.config, histories.shape
        if config.adam != "auto":
            return config.adam
        if config.by == "user":
            n_ratings, n_rows = np.bincount(histories.indices, minlength=n_items), n_users
        else:
            n_ratings, n_rows = np.diff(histories.indptr), n_items
        return "lazy" if touched_share(n_ratings, n_rows, config.batch_size) < LAZY_BELOW else "dense"

    def _adam(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        if not self._is_lazy:
            return super()._adam(parameters)
        return LazyAdam(parameters, self.config.learning_rate, self.config.weight_decay)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        forward = self.network_.by_touched_rows if self._is_lazy else self.network_
        predicted = forward(batch, self._read(batch))
        return (predicted - batch.values).square().sum() / max(1, len(batch.values))

    def _validate(self, histories: csr_array, validation: Holdout) -> float:
        """Minus the RMSE of held-out ratings: higher is better."""
        del histories
        self.network_.eval()
        self._encode_items()
        value = self._minus_rmse(validation)
        self.network_.train()
        return value

    def _hidden(self, batch: SparseBatch) -> Tensor:
        """Hidden units of rows of residuals, shape (n_rows, n_hidden)."""
        return self.network_.encode(batch, self._read(batch))

    def _read(self, batch: SparseBatch) -> Tensor:
        """What the network reads at the batch's entries, shape (nnz,)."""
        return batch.values + self.config.presence

    @torch.no_grad()
    def _encode_items(self) -> None:
        if self.config.by == "item":
            codes = self._hidden(self._batch(self._rows)).cpu().numpy()
            codes[~self._is_rated] = 0.0  # nothing is known of them
            self.item_codes_ = codes

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """What is known of each user, shape (n_rows, n_hidden + 1): hidden units or regression weights on the
        items' codes, then the user's own offset in rating units. Without ratings of known items the units are 0.
        """
        residuals = self._means.residuals(histories)
        if self.config.by == "user":
            rated = self._rated_part(residuals)
            codes = self._hidden(self._batch(rated)).cpu().numpy()
            codes[np.diff(rated.indptr) == 0] = 0.0
        else:
            codes = ridge_rows(residuals, self.item_codes_, self.config.fold_in_l2)
        return np.column_stack([codes, self._means.user_offsets(histories)])

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> Scores:
        """Ratings of all items, shape (n_rows, n_items_), clipped to the scale."""
        hidden, offsets = codes[:, :-1], codes[:, -1]
        if self.config.by == "user":
            device = self.network_.output.weight.device
            residuals = self.network_.decode(torch.as_tensor(hidden, device=device)).cpu().numpy()
            residuals[~hidden.any(axis=1)] = 0.0  # a sigmoid is above 0: these are users without ratings
        else:
            residuals = hidden @ self.item_codes_.T
        return self._added_to_means(residuals, offsets)

    def _item_vectors(self) -> Tensor:
        return self.network_.output.weight if self.config.by == "user" else torch.from_numpy(self.item_codes_)

    @property
    def _means(self) -> RatingMeans:
        return RatingMeans(**self.means_)


class AutoRecNetwork(nn.Module):
    """``V sigmoid(W x + b) + c`` for sparse rows x."""

    def __init__(self, n_inputs: int, n_hidden: int) -> None:
        super().__init__()
        self.input = SparseLinear(n_inputs, n_hidden)
        self.output = nn.Embedding(n_inputs, n_hidden)  # a row of V for each output
        self.offsets = nn.Parameter(torch.zeros(n_inputs))
        nn.init.xavier_normal_(self.output.weight)

    def forward(self, batch: SparseBatch, values: Tensor) -> Tensor:
        """Outputs at the batch's entries for ``values`` (nnz,) there, shape (nnz,)."""
        return self.at(self.encode(batch, values), batch)

    def by_touched_rows(self, batch: SparseBatch, values: Tensor) -> Tensor:
        """The same, by a network of the batch's inputs alone: neither it nor its gradient holds a row of any other."""
        inputs, columns = torch.unique(batch.columns, return_inverse=True)
        rows = {
            name: rows_of(weights, inputs)
            for name, weights in self.named_parameters()
            if name != "input.bias"
        }
        outputs: Tensor = torch.func.functional_call(self, rows, (replace(batch, columns=columns), values))
        return outputs

    def encode(self, batch: SparseBatch, values: Tensor) -> Tensor:
        """Hidden units for ``values`` (nnz,) at the batch's entries, shape (n_rows, n_hidden)."""
        return torch.sigmoid(self.input(batch, values))

    def at(self, hidden: Tensor, batch: SparseBatch) -> Tensor:
        """Outputs at the batch's entries, shape (nnz,): nothing is computed for the others."""
        entries = Entries.of_batch(batch, len(self.offsets))
        return products_at(entries, hidden, self.output.weight) + values_at(self.offsets, batch.columns)

    def decode(self, hidden: Tensor) -> Tensor:
        """All outputs, shape (n_rows, n_inputs)."""
        return hidden @ self.output.weight.T + self.offsets
