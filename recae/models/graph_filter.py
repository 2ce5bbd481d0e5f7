"""GF-CF: the log as a graph of users and items, whose smooth signals are likings."""

from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt
from scipy.sparse import csr_array, diags_array

from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.decomposition import right_singular_vectors
from recae.models.matrices import refuse_negative, sparse_times_dense
from recae.models.ranking import Positions, Scores
from recae.models.search_spaces import SearchSpace, span, whole

MANY_MET: Final = 0.04
"""Share of the users that histories lead to, from which steps on all users are faster than on those that were met."""


class GFCFConfig(ModelConfig):
    """Settings of GF-CF."""

    n_factors: PositiveInt = 256
    """Dimensions of the smoothest signals; fewer where the data have no more."""
    factor_weight: NonNegativeFloat = 0.3
    """Weight of those signals beside the two steps over the graph."""


class GFCF(Model):
    """Two steps over the graph, from the history's items to users and back, and its smoothest signals; score = x K.

    With the log normalised by the degrees of users and items, ``N = D_u^-1/2 X D_i^-1/2``, and V its first right singular
    vectors: ``K = N'N + factor_weight D_i^-1/2 V V' D_i^1/2``. In closed form, with a sparse N and no matrix of items x
    items, so it is fitted in the time of a truncated singular value decomposition. Needs non-negative values.

    Source: Shen et al., "How powerful is graph convolution for recommendation?", CIKM 2021, equation 10.
    """

    name = "gf_cf"
    has_additive_contributions = True
    free_settings = frozenset({"n_factors", "factor_weight"})
    config: GFCFConfig
    config_class: ClassVar = GFCFConfig
    search_space: ClassVar[SearchSpace] = {
        "n_factors": whole(16, 512, log=True),
        "factor_weight": span(0.01, 2.0, log=True),
    }

    item_factors_: NDArray[np.float32]
    """V, shape (n_items, at most n_factors), orthonormal columns."""

    def check_values(self, histories: csr_array) -> None:
        """Negative ones."""
        refuse_negative(histories, f"{self.name} divides by the sums of rows and columns")

    def _fit(self, histories: csr_array, how: Fit) -> None:
        del how
        self._walk_over(histories)
        self.item_factors_ = right_singular_vectors(self._graph, self.config.n_factors)

    def retuned(self, config: ModelConfig) -> Self | None:
        """With another weight, or with the first of the same factors."""
        model = super().retuned(config)
        if model is None or model.config.n_factors > self.config.n_factors:
            return None
        model.item_factors_ = self.item_factors_[:, : model.config.n_factors]
        return model

    def _score(self, histories: csr_array) -> Scores:
        found = self._walked(histories)
        entered = csr_array(
            (histories.data * self._of_items[histories.indices], histories.indices, histories.indptr),
            shape=histories.shape,
        )
        smooth = sparse_times_dense(entered, self.item_factors_) @ self.item_factors_.T
        smooth *= np.float32(self.config.factor_weight) * _reciprocal(self._of_items)
        found += smooth
        return found

    def _walked(self, histories: csr_array) -> Scores:
        """``histories N'N``, from items to users and back to items, shape (n_rows, n_items)."""
        met = histories @ self._from_item  # (n_rows, n_users)
        if met.nnz < MANY_MET * met.shape[0] * met.shape[1]:
            return np.asarray((met @ self._graph).toarray(), dtype=np.float32)
        return np.ascontiguousarray((self._from_item @ met.toarray().T).T)

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        found: Scores = (self._from_item[history.indices] @ self._from_item[items].T).toarray()
        smooth = self.item_factors_[history.indices] @ self.item_factors_[items].T  # (n_history, n_asked)
        smooth *= self._of_items[history.indices][:, None]
        smooth *= np.float32(self.config.factor_weight) * _reciprocal(self._of_items[items])
        found += smooth
        found *= history.data[:, None]
        return found

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        if "histories_" in state:
            self._walk_over(self.histories_)

    def _walk_over(self, histories: csr_array) -> None:
        """Make what is read of the training rows, which is not stored beside them again."""
        self._of_items = _reciprocal(np.sqrt(histories.sum(axis=0)))  # D_i^-1/2
        of_users = _reciprocal(np.sqrt(histories.sum(axis=1)))
        self._graph = csr_array(diags_array(of_users) @ histories @ diags_array(self._of_items))  # N
        self._from_item = csr_array(self._graph.T)


def _reciprocal(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / value, and 0 for 0."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
