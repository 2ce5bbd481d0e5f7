"""SparseFC: a deep item autoencoder for ratings, whose weight matrices are made sparse by kernels."""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.errors import WarmStartError
from recae.models.base import Fit
from recae.models.config import ModelConfig
from recae.models.devices import Device, device_of
from recae.models.matrices import cosine
from recae.models.neural import values_at
from recae.models.observed import Entries, products_at, sparse_times
from recae.models.optimisers import LBFGS
from recae.models.ranking import Positions, Scores
from recae.models.rating_model import RatingModel
from recae.models.ratings import RatingMeans, Values, ridge_rows
from recae.models.search_spaces import SearchSpace, span
from recae.models.trainer import Schedule, train
from recae.models.warm import WarmStart, growing_axes

MEMORY = 10
"""Earlier steps from which L-BFGS estimates curvature: 2 x ``MEMORY`` copies of all weights are held."""
EMBEDDING_SCALE = 1e-3
"""Standard deviation of the units' first embeddings: all within reach of each other, so no weight starts at 0."""


class SparseFCConfig(ModelConfig):
    """Settings of SparseFC."""

    n_hidden: PositiveInt = 500
    """Units of each of the two sigmoid hidden layers."""
    n_embedding: PositiveInt = 5
    """Dimensions of the space in which units lie; only those closer than 1 are connected."""
    l2: PositiveFloat = 20.0
    """Penalty on the squared weights; the most important setting. Raise it with the number of ratings."""
    sparsity: NonNegativeFloat = 0.006
    """Penalty on the squared kernels: raise it for fewer connections."""
    epochs: PositiveInt = 30
    """Rounds of ``iterations`` steps on all ratings, at most."""
    iterations: PositiveInt = 20
    """Steps of L-BFGS in a round, which starts without memory of the round before."""
    patience: PositiveInt | None = 4
    """Rounds without a better validation value after which training stops; has no effect without validation."""
    shrinkage: NonNegativeFloat = 5.0
    """Ratings after which an item's or a user's own mean counts as much as the overall mean."""
    fold_in_l2: PositiveFloat = 30.0
    """Ridge penalty when a user's output weights are found from their ratings."""
    seed: int = Field(default=0, ge=0)
    """Same seed, same threads: same model."""
    device: Device = "auto"
    """``auto`` takes a GPU where there is one, else the CPU; or ``cpu``, ``cuda``, ``cuda:1``."""


class SparseFC(RatingModel):
    """Two sigmoid hidden layers over an item's ratings; each weight is scaled by how close its two units lie.

    The row of an item holds its ratings by the training users, 0 where there is none, so that who rated an item
    says something beside how. The network predicts what overall, item and user means leave unexplained:

        h = s(x (W1 * K1) + b1),   c = s(h (W2 * K2) + b2),   r_ui = means_ui + c_i . (W3 * K3)_u + b3_u

    with the hat kernels  K_jk = max(0, 1 - ||a_j - b_k||^2)  of learned embeddings a, b of a layer's inputs and
    outputs. All of it minimises  1/2 (sum over ratings of squared errors + l2 ||W||^2 + sparsity ||K||^2)  by
    full-batch L-BFGS. Loss and gradient touch observed entries only, at the entrance and at the exit.

    The output weights of a user, one of the training data too, are then a ridge regression of their ratings on
    the items' codes c, so that any history is folded in. An item nobody rated has no code, and is predicted by the
    overall mean and the user's offset, which the regression finds anew; a user without ratings by the means.

    Source: Muller, Martel & Indiveri, "Kernelized synaptic weight matrices", ICML 2018. Ours differs in the means,
    and in the regression in place of the users' own output weights.
    """

    name = "sparsefc"
    supports_warm_start = True
    keeps_checkpoints = True
    config: SparseFCConfig
    config_class: ClassVar = SparseFCConfig
    search_space: ClassVar[SearchSpace] = {
        "l2": span(5, 100, log=True),
        "sparsity": span(0.001, 0.05, log=True),
    }

    means_: dict[str, Any]
    """The fields of :class:`~recae.models.ratings.RatingMeans`."""
    item_codes_: Values
    """Units of the last hidden layer less their means over rated items, shape (n_items, n_hidden); 0 if not rated."""
    weights_: dict[str, Values]
    """Of the network, by name, for another training to start from: scores need the items' codes alone. Models stored
    before they were kept have none. They take 8 bytes x n_users x n_hidden, and for the hidden layer 4 x n_hidden^2."""
    connected_: list[float]
    """Share of the weights of each layer that the kernels leave."""
    training_log_: dict[str, Any]
    """``losses`` and validation ``values`` of each epoch, and the ``best_epoch``."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        means = RatingMeans.of(histories, self.config.shrinkage)
        self.means_ = means.as_dict()
        # an "epoch" of the trainer is one round here: all items at once
        n_items = histories.shape[1]
        schedule = Schedule(n_items, self.config.epochs, n_items, self.config.seed, self.config.patience)
        session = _Session(self.config, histories, means)
        if how.warm_start is not None:
            session.start_from(how.warm_start, histories.shape)
        validation = how.validation

        def validate() -> float:
            self.item_codes_ = session.item_codes()
            return self._minus_rmse(validation) if validation is not None else 0.0

        log = train(
            session,
            schedule,
            validate=None if validation is None else validate,
            callback=how.callback,
            watch=how.watch,
            checkpoint=how.checkpoint,
            fingerprint=how.fingerprint(self, histories),
            description=f"fitting {self.name}",
            show_progress=how.show_progress,
        )
        self.item_codes_ = session.item_codes()
        self.weights_ = {name: weight.cpu().numpy() for name, weight in session.weights().items()}
        self.connected_ = session.connected()
        self.training_log_ = log.as_dict()

    @property
    def measured(self) -> dict[str, float]:
        """The shares of ``connected_``, by layer."""
        names = ("connected, entrance", "connected, hidden", "connected, exit")
        return dict(zip(names, self.connected_, strict=True))

    def encode(self, histories: csr_array) -> Values:
        """What is known of each user, shape (n_rows, n_hidden + 1): regression weights on the items' codes, then
        the user's own offset in rating units.
        """
        means = RatingMeans(**self.means_)
        residuals = means.residuals(histories)
        # a last code of 1: what a user's mean lacks once the items of their history have codes
        with_offset = np.column_stack([self.item_codes_, np.ones(len(self.item_codes_), dtype=np.float32)])
        weights = ridge_rows(residuals, with_offset, self.config.fold_in_l2)
        weights[:, -1] += means.user_offsets(histories)
        return weights

    def decode(self, codes: Values) -> Scores:
        """Ratings of all items, shape (n_rows, n_items_), clipped to the scale."""
        return RatingMeans(**self.means_).add_to(codes[:, :-1] @ self.item_codes_.T, codes[:, -1])

    def _score(self, histories: csr_array) -> Scores:
        return self.decode(self.encode(histories))

    def _item_similarity(self, wanted: Positions) -> Scores:
        return cosine(self.item_codes_, wanted)

    def _user_similarity(self, wanted: Positions) -> Scores:
        return cosine(self.encode(self.histories_), wanted)


class SparseFCNetwork(nn.Module):
    """The two hidden layers and the outputs, with a kernel over each of the three weight matrices."""

    def __init__(self, n_users: int, n_hidden: int, n_embedding: int) -> None:
        super().__init__()
        self.entrance = KernelWeights(n_users, n_hidden, n_embedding)
        self.hidden = KernelWeights(n_hidden, n_hidden, n_embedding)
        self.exit = KernelWeights(n_users, n_hidden, n_embedding)  # transposed: a row for each output
        self.entrance_bias = nn.Parameter(torch.zeros(n_hidden))
        self.hidden_bias = nn.Parameter(torch.zeros(n_hidden))
        self.exit_bias = nn.Parameter(torch.zeros(n_users))

    def encode(self, ratings: Entries, entrance: Tensor, hidden: Tensor) -> Tensor:
        """Codes of items, shape (n_items, n_hidden), with these effective weights."""
        first = torch.sigmoid(sparse_times(ratings, entrance) + self.entrance_bias)
        return torch.sigmoid(first @ hidden + self.hidden_bias)

    def objective(self, ratings: Entries, wanted: Tensor, l2: float, sparsity: float) -> Tensor:
        """Half of squared errors and penalties, a scalar in squared rating units.

        Args:
            ratings: of items by users.
            wanted: what to predict at their entries, shape (nnz,).
            l2: penalty on the squared weights.
            sparsity: penalty on the squared kernels.
        """
        layers = (self.entrance, self.hidden, self.exit)
        kernels = [layer.kernel() for layer in layers]
        entrance, hidden, output = (
            layer.weight * kernel for layer, kernel in zip(layers, kernels, strict=True)
        )
        codes = self.encode(ratings, entrance, hidden)
        predicted = products_at(ratings, codes, output) + values_at(self.exit_bias, ratings.columns)
        penalty = sum(
            (
                l2 * layer.weight.square().sum() + sparsity * kernel.square().sum()
                for layer, kernel in zip(layers, kernels, strict=True)
            ),
            start=torch.zeros((), device=wanted.device),
        )
        return 0.5 * ((predicted - wanted).square().sum() + penalty)


class KernelWeights(nn.Module):
    """A weight matrix, and embeddings of its rows and columns that say which of its weights count."""

    def __init__(self, n_rows: int, n_columns: int, n_embedding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_rows, n_columns))
        self.of_rows = nn.Parameter(EMBEDDING_SCALE * torch.randn(n_rows, n_embedding))
        self.of_columns = nn.Parameter(EMBEDDING_SCALE * torch.randn(n_columns, n_embedding))
        nn.init.xavier_uniform_(self.weight)

    def kernel(self) -> Tensor:
        """``max(0, 1 - ||a_j - b_k||^2)``, within [0, 1], of the shape of the weights."""
        rows, columns = self.of_rows, self.of_columns
        # squares multiplied out: no array of rows x columns x dimensions
        lengths = rows.square().sum(dim=1, keepdim=True) + columns.square().sum(dim=1)
        return (1.0 - lengths + 2.0 * rows @ columns.T).clamp(0.0, 1.0)


class _Session:
    """One network under training, as the trainer sees it."""

    def __init__(self, config: SparseFCConfig, histories: csr_array, means: RatingMeans) -> None:
        device = device_of(config.device)
        self._config = config
        self._ratings = Entries.of(csr_array(histories.T.tocsr()), device)
        residuals = csr_array(means.residuals(histories).T.tocsr())
        self._wanted = torch.from_numpy(residuals.data).to(device)
        self._is_rated = np.bincount(histories.indices, minlength=histories.shape[1]) > 0
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(config.seed)
            self._network = SparseFCNetwork(histories.shape[0], config.n_hidden, config.n_embedding)
        self._network.to(device)

    def start_from(self, start: WarmStart, shape: tuple[int, int]) -> None:
        """Take over what an earlier model learned: the rows of known users, and the hidden layer.

        Args:
            start: its model is a SparseFC.
            shape: of the training matrix.
        """
        earlier: Any = start.model
        weights = vars(earlier).get("weights_")
        if weights is None:
            raise WarmStartError(
                "the earlier sparsefc was stored by a version that kept no weights of its network, only what scores need; "
                "fit it without a warm start once"
            )

        def build(histories: csr_array) -> nn.Module:
            return SparseFCNetwork(histories.shape[0], self._config.n_hidden, self._config.n_embedding)

        before = {name: torch.as_tensor(weight) for name, weight in weights.items()}
        start.carry_weights(self._network, before, growing_axes(build, shape))

    def update(self, rows: NDArray[np.int64]) -> float:
        """One round of L-BFGS; the objective before it, per rating."""
        del rows  # always all
        optimiser = LBFGS(
            self._network.parameters(),
            max_iter=self._config.iterations,
            history_size=MEMORY,
            line_search_fn="strong_wolfe",
        )

        def evaluate() -> Tensor:
            optimiser.zero_grad()
            objective = self._network.objective(
                self._ratings, self._wanted, self._config.l2, self._config.sparsity
            )
            objective.backward()
            return objective.detach()

        objective = optimiser.step(evaluate)
        return float(objective) / len(self._wanted)

    @torch.no_grad()
    def item_codes(self) -> Values:
        network = self._network
        layers = (network.entrance, network.hidden)
        found = network.encode(self._ratings, *(layer.weight * layer.kernel() for layer in layers))
        codes = np.array(found.cpu().numpy())
        codes -= codes[self._is_rated].mean(axis=0)
        codes[~self._is_rated] = 0.0
        return codes

    @torch.no_grad()
    def connected(self) -> list[float]:
        layers = (self._network.entrance, self._network.hidden, self._network.exit)
        return [float((layer.kernel() > 0).float().mean()) for layer in layers]

    def weights(self) -> dict[str, Any]:
        return dict(self._network.state_dict())

    def load_weights(self, weights: dict[str, Any]) -> None:
        self._network.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})

    def optimiser_state(self) -> dict[str, Any]:
        return {}

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        """There is none: a round depends on the weights alone."""
