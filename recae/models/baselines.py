"""What an autoencoder has to beat: popularity, item neighbours, matrix factorisation."""

import warnings
from typing import ClassVar, Literal

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from recae.models.base import Fit, Model, ModelConfig
from recae.models.matrices import cosine
from recae.models.ranking import Positions, Scores
from recae.progress import bar


class PopularityConfig(ModelConfig):
    """Popularity has no settings."""


class Popularity(Model):
    """The same list for everybody: items by the number of users who chose them."""

    name = "popularity"
    config_class: ClassVar = PopularityConfig

    n_choices_: NDArray[np.float32]
    """Users who chose each item, shape (n_items,)."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        del how
        self.n_choices_ = np.bincount(histories.indices, minlength=histories.shape[1]).astype(np.float32)

    def _score(self, histories: csr_array) -> Scores:
        return np.tile(self.n_choices_, (histories.shape[0], 1))


class ItemKNNConfig(ModelConfig):
    """Settings of item kNN."""

    n_neighbours: PositiveInt = 100
    """Most similar items that are kept for each item."""
    weighting: Literal["cosine", "tfidf", "bm25"] = "cosine"
    """How users are weighted before items are compared; TF-IDF and BM25 play down those who choose much."""


class ItemKNN(Model):
    """Items like those in the history, by how much the same users chose them.

    Source: Sarwar et al., "Item-based collaborative filtering", WWW 2001; computed by implicit.
    """

    name = "item_knn"
    config: ItemKNNConfig
    config_class: ClassVar = ItemKNNConfig

    neighbours_: csr_array
    """Similarity of each item to its neighbours, itself among them, shape (n_items, n_items)."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        del how
        recommenders = {"cosine": CosineRecommender, "tfidf": TFIDFRecommender, "bm25": BM25Recommender}
        recommender = recommenders[self.config.weighting](K=self.config.n_neighbours)
        # implicit weights the matrix as COO, then warns itself of that, and divides by the norm of empty rows
        with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
            warnings.simplefilter("ignore", ParameterWarning)
            recommender.fit(csr_matrix(histories, dtype=np.float64), show_progress=False)
        self.neighbours_ = csr_array(recommender.similarity, dtype=np.float32)

    def _score(self, histories: csr_array) -> Scores:
        return np.asarray((histories @ self.neighbours_).toarray(), dtype=np.float32)

    def _item_similarity(self, wanted: Positions) -> Scores:
        similar = self.neighbours_[wanted].toarray()  # (n_wanted, n_items)
        itself = similar[np.arange(len(wanted)), wanted]
        return np.asarray(similar / np.where(itself > 0, itself, 1.0)[:, None], dtype=np.float32)


class ALSConfig(ModelConfig):
    """Settings of matrix factorisation by alternating least squares."""

    n_factors: PositiveInt = 64
    """Dimensions of the item and user factors."""
    l2: PositiveFloat = 0.05
    """Regularisation of the factors."""
    alpha: PositiveFloat = 1.0
    """Confidence in an interaction, relative to the confidence 1 that an absent one is a zero."""
    epochs: PositiveInt = 15
    """Passes over users and items."""
    seed: int = Field(default=0, ge=0)
    """Same seed: same model."""


class ALS(Model):
    """Implicit-feedback matrix factorisation, fitted by implicit; a history is folded in exactly.

    Source: Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
    """

    name = "als"
    config: ALSConfig
    config_class: ClassVar = ALSConfig

    item_factors_: NDArray[np.float32]
    """Shape (n_items, n_factors)."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        def each(epoch: int, seconds: float, loss: float) -> None:
            running.advance()
            how.callback(epoch, seconds, loss)

        # implicit's solver rejects read-only buffers and is slowed down tenfold by threads inside BLAS
        with (
            bar("fitting als", self.config.epochs, show=how.show_progress) as running,
            threadpool_limits(1, user_api="blas"),
        ):
            solver = self._solver()
            solver.fit(csr_matrix(histories, copy=True), show_progress=False, callback=each)
        self.item_factors_ = np.array(solver.item_factors, dtype=np.float32)

    def _score(self, histories: csr_array) -> Scores:
        return self._user_factors(histories) @ self.item_factors_.T

    def _user_factors(self, histories: csr_array) -> NDArray[np.float32]:
        """Least-squares factors of histories, shape (n_rows, n_factors)."""
        rows = np.arange(histories.shape[0])  # only says how many rows there are
        with threadpool_limits(1, user_api="blas"):
            solver = self._solver()
            solver.item_factors = self.item_factors_
            factors = solver.recalculate_user(rows, csr_matrix(histories, copy=True))
        return np.asarray(factors, dtype=np.float32).reshape(len(rows), -1)

    def _item_similarity(self, wanted: Positions) -> Scores:
        return cosine(self.item_factors_, wanted)

    def _user_similarity(self, wanted: Positions) -> Scores:
        return cosine(self._user_factors(self.histories_), wanted)

    def _solver(self) -> AlternatingLeastSquares:
        return AlternatingLeastSquares(
            factors=self.config.n_factors,
            regularization=self.config.l2,
            alpha=self.config.alpha,
            iterations=self.config.epochs,
            random_state=self.config.seed,
            calculate_training_loss=True,
        )
