"""What a rating autoencoder has to beat: means, and biased matrix factorisation."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from recae.models.base import Fit
from recae.models.config import ModelConfig
from recae.models.matrices import cosine
from recae.models.ranking import Positions, Scores
from recae.models.rating_model import RatingModel
from recae.models.ratings import RatingMeans, Values, ridge_rows
from recae.models.search_spaces import SearchSpace, span, whole
from recae.models.trainer import Schedule, train
from recae.models.warm import WarmStart

ENTRIES_AT_ONCE = 2**16
"""Ratings whose predictions are computed at a time: their factors take 32 MB at 64 dimensions."""


class RatingMeansConfig(ModelConfig):
    """Settings of the mean predictor."""

    shrinkage: NonNegativeFloat = 5.0
    """Ratings after which an item's or a user's own mean counts as much as the overall mean."""


class MeanPredictor(RatingModel):
    """Overall mean + the item's offset + the user's offset, clipped to the scale: no taste at all.

    Source: as :class:`~recae.models.ratings.RatingMeans`.
    """

    name = "rating_means"
    config: RatingMeansConfig
    config_class: ClassVar = RatingMeansConfig
    search_space: ClassVar[SearchSpace] = {"shrinkage": span(0.5, 50, log=True)}

    means_: dict[str, Any]
    """The fields of :class:`~recae.models.ratings.RatingMeans`."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        del how
        self.means_ = RatingMeans.of(histories, self.config.shrinkage).as_dict()

    def _score(self, histories: csr_array) -> Scores:
        means = RatingMeans(**self.means_)
        return means.add_to(np.zeros(histories.shape, dtype=np.float32), means.user_offsets(histories))


class BiasedMFConfig(ModelConfig):
    """Settings of biased matrix factorisation."""

    n_factors: PositiveInt = 32
    """Dimensions of the item and user factors."""
    l2: PositiveFloat = 20.0
    """Regularisation of the factors, the same for every user and item; the most important setting."""
    epochs: PositiveInt = 50
    """Passes over users and items, at most."""
    patience: PositiveInt | None = 5
    """Epochs without a better validation value after which training stops; has no effect without validation."""
    shrinkage: NonNegativeFloat = 5.0
    """Ratings after which an item's or a user's own mean counts as much as the overall mean."""
    seed: int = Field(default=0, ge=0)
    """Same seed: same model."""


class BiasedMF(RatingModel):
    """Matrix factorisation of what overall, item and user means leave unexplained, from observed ratings only.

    Minimises  sum over ratings of (r_ui - means_ui - p_u . q_i)^2 + l2 (||P||^2 + ||Q||^2)  by ridge regressions
    of all users' factors, then of all items'. Any history is folded in by the same regression, and a user or an
    item without ratings has factors 0, so the means are predicted. Predictions are clipped to the scale.

    Source: Koren, Bell & Volinsky, "Matrix factorization techniques for recommender systems", Computer 2009.
    Ours differs in the offsets, which are shrunken means and are not learned with the factors.
    """

    name = "biased_mf"
    supports_warm_start = True
    keeps_checkpoints = True
    config: BiasedMFConfig
    config_class: ClassVar = BiasedMFConfig
    search_space: ClassVar[SearchSpace] = {"n_factors": whole(8, 128, log=True), "l2": span(2, 200, log=True)}

    means_: dict[str, Any]
    """The fields of :class:`~recae.models.ratings.RatingMeans`."""
    item_factors_: Values
    """Q, shape (n_items, n_factors)."""
    training_log_: dict[str, Any]
    """``losses`` and validation ``values`` of each epoch, and the ``best_epoch``."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        means = RatingMeans.of(histories, self.config.shrinkage)
        self.means_ = means.as_dict()
        # an "epoch" of the trainer is one step here: all users, then all items
        n_users = histories.shape[0]
        schedule = Schedule(
            n_users,
            self.config.epochs,
            batch_size=n_users,
            seed=self.config.seed,
            patience=self.config.patience,
        )
        validation = how.validation
        with threadpool_limits(1, user_api="blas"):  # the systems are too small to be shared by threads
            log = train(
                _Alternation(self, means.residuals(histories), how.warm_start),
                schedule,
                validate=None if validation is None else lambda: self._minus_rmse(validation),
                callback=how.callback,
                watch=how.watch,
                checkpoint=how.checkpoint,
                fingerprint=how.fingerprint(self, histories),
                description=f"fitting {self.name}",
                show_progress=how.show_progress,
            )
        self.training_log_ = log.as_dict()

    def _score(self, histories: csr_array) -> Scores:
        means = RatingMeans(**self.means_)
        factors = self._user_factors(histories)
        return means.add_to(factors @ self.item_factors_.T, means.user_offsets(histories))

    def _user_factors(self, histories: csr_array) -> Values:
        """P of any histories, shape (n_rows, n_factors)."""
        residuals = RatingMeans(**self.means_).residuals(histories)
        return ridge_rows(residuals, self.item_factors_, self.config.l2)

    def _item_similarity(self, wanted: Positions) -> Scores:
        return cosine(self.item_factors_, wanted)

    def _user_similarity(self, wanted: Positions) -> Scores:
        return cosine(self._user_factors(self.histories_), wanted)


class _Alternation:
    """A :class:`BiasedMF` under training, as the trainer sees it: the item factors are all there is to keep."""

    def __init__(self, model: BiasedMF, residuals: csr_array, warm_start: WarmStart | None) -> None:
        self._model = model
        self._by_user = residuals
        self._by_item = csr_array(residuals.T.tocsr())
        n_factors, rng = model.config.n_factors, np.random.default_rng(model.config.seed)
        factors = rng.standard_normal((residuals.shape[1], n_factors), dtype=np.float32)
        factors /= np.float32(np.sqrt(n_factors))
        if warm_start is not None:
            earlier: Any = warm_start.model
            factors = warm_start.carry_rows(factors, earlier.item_factors_, "item")
        model.item_factors_ = factors

    def update(self, rows: NDArray[np.int64]) -> float:
        """One pass over users and items; the objective after it, per rating."""
        del rows  # always all
        l2 = self._model.config.l2
        users = ridge_rows(self._by_user, self._model.item_factors_, l2)
        items = ridge_rows(self._by_item, users, l2)
        self._model.item_factors_ = items
        penalty = l2 * (float(np.sum(users**2)) + float(np.sum(items**2)))
        return (_squared_error(self._by_user, users, items) + penalty) / self._by_user.nnz

    def weights(self) -> dict[str, Any]:
        return {"item_factors": self._model.item_factors_}

    def load_weights(self, weights: dict[str, Any]) -> None:
        self._model.item_factors_ = weights["item_factors"]

    def optimiser_state(self) -> dict[str, Any]:
        return {}

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        """There is none: the next pass depends on the item factors alone."""


def _squared_error(residuals: csr_array, users: Values, items: Values) -> float:
    """Sum over the stored entries of (value - user . item)^2."""
    rows = np.repeat(np.arange(residuals.shape[0]), np.diff(residuals.indptr))
    total = 0.0
    for start in range(0, residuals.nnz, ENTRIES_AT_ONCE):
        part = slice(start, start + ENTRIES_AT_ONCE)
        predicted = np.einsum("nd,nd->n", users[rows[part]], items[residuals.indices[part]])
        total += float(np.sum((residuals.data[part] - predicted) ** 2))
    return total
