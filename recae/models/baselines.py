"""The simplest that an autoencoder has to beat: popularity, and item neighbours."""

import warnings
from typing import ClassVar, Literal

import numpy as np
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from pydantic import PositiveInt
from scipy.sparse import csr_array, csr_matrix

from recae.models.attribution import weighted_rows
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.ranking import Positions, Scores
from recae.models.search_spaces import SearchSpace, whole


class PopularityConfig(ModelConfig):
    """Popularity has no settings."""


class Popularity(Model):
    """The same list for everybody: items by the number of users who chose them."""

    name = "popularity"
    has_additive_contributions = True
    config_class: ClassVar = PopularityConfig

    n_choices_: NDArray[np.float32]
    """Users who chose each item, shape (n_items,)."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        del how
        self.n_choices_ = np.bincount(histories.indices, minlength=histories.shape[1]).astype(np.float32)

    def _score(self, histories: csr_array) -> Scores:
        return np.tile(self.n_choices_, (histories.shape[0], 1))

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        return np.zeros((history.nnz, len(items)), dtype=np.float32)  # the history does not matter


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
    has_additive_contributions = True
    config: ItemKNNConfig
    config_class: ClassVar = ItemKNNConfig
    search_space: ClassVar[SearchSpace] = {
        "n_neighbours": whole(10, 1_000, log=True),
        "weighting": ["cosine", "tfidf", "bm25"],
    }

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

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        return weighted_rows(history, self.neighbours_, items)

    def _item_similarity(self, wanted: Positions) -> Scores:
        similar = self.neighbours_[wanted].toarray()  # (n_wanted, n_items)
        itself = similar[np.arange(len(wanted)), wanted]
        return np.asarray(similar / np.where(itself > 0, itself, 1.0)[:, None], dtype=np.float32)
