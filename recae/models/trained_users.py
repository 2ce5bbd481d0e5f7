"""Matrix factorisation that knows the users it was trained on and no others: BPR and LMF."""

import hashlib
import itertools
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from implicit.bpr import BayesianPersonalizedRanking
from implicit.lmf import LogisticMatrixFactorization
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from recae.errors import DataError, ModelError
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.factorisation import implicits_errors, initialised
from recae.models.matrices import cosine
from recae.models.ranking import Positions, Scores
from recae.models.search_spaces import SearchSpace, span, whole
from recae.progress import bar


class TrainedUsersModel(Model):
    """What implicit's BPR and LMF share: a vector for each training user, and no way to make one for another.

    Scores still come from histories: a history is looked up among the training rows, and the factors of the
    row with exactly these entries serve (the first, if several users are twins). An empty history gets the
    items' biases. Any other is refused.

    Needs non-negative values. Keeps no checkpoints: implicit's solvers hold random generators and sums of gradients that
    they do not give away, and without these a training that goes on ends with another model.
    """

    supports_fold_in = False
    supports_warm_start = True

    user_factors_: NDArray[np.float32]
    """As implicit has them, with constants and biases, shape (n_users, n_factors + n_biases)."""
    item_factors_: NDArray[np.float32]
    """Shape (n_items, n_factors + n_biases)."""

    n_biases: ClassVar[int]
    """Last columns of both factor sets that hold biases, or the ones these are multiplied by; the items' first."""

    @abstractmethod
    def _solver(self) -> Any:
        """implicit's model, unfitted, on one thread: with more it does not repeat."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        if histories.data.min() < 0:
            raise DataError(
                f"{self.name} learns from likings, and found the value {histories.data.min():g}; "
                "drop negative values, or turn them into positive weights, before fitting"
            )

        def each(epoch: int, seconds: float, *counts: int) -> None:
            running.advance()
            loss = self._loss(*counts)
            if loss is not None:
                running.note(f"loss {loss:.4f}")
            how.callback(epoch, seconds, loss)

        solver = self._solver()
        # the solvers reject read-only buffers
        with (
            bar(f"fitting {self.name}", solver.iterations, show=how.show_progress) as running,
            threadpool_limits(1, user_api="blas"),
        ):
            if how.warm_start is not None:
                earlier: Any = how.warm_start.model
                fresh, carry = initialised(self._solver(), histories), how.warm_start.carry_rows
                solver.item_factors = carry(fresh.item_factors, earlier.item_factors_, "item")
                solver.user_factors = carry(fresh.user_factors, earlier.user_factors_, "user")
            with implicits_errors(self.name, histories):
                solver.fit(csr_matrix(histories, copy=True), show_progress=False, callback=each)
        self.user_factors_ = np.array(solver.user_factors, dtype=np.float32)
        self.item_factors_ = np.array(solver.item_factors, dtype=np.float32)

    def _loss(self, *counts: int) -> float | None:
        """The loss, from what implicit counted in an epoch beside the seconds."""
        del counts
        return None

    def _score(self, histories: csr_array) -> Scores:
        return self._user_factors(histories) @ self.item_factors_.T

    def _user_factors(self, histories: csr_array) -> NDArray[np.float32]:
        """Factors of the training rows that equal the histories, shape (n_rows, n_factors + n_biases)."""
        if "_row_of" not in vars(self):  # made when first needed: it is not stored with the model
            row_of: dict[bytes, int] = {}
            for row, key in enumerate(_keys(self.histories_)):
                row_of.setdefault(key, row)
            self._row_of = row_of
        rows = np.array([self._row_of.get(key, -1) for key in _keys(histories)], dtype=np.int64)
        is_empty = np.diff(histories.indptr) == 0
        strangers = np.flatnonzero((rows < 0) & ~is_empty)
        if strangers.size:
            raise ModelError(
                f"{self.name} cannot score a history it was not trained on, and {strangers.size:,} of "
                f"{len(rows):,} are no training rows (the first is row {strangers[0]}); fit again on a log with "
                "them, or use a model that folds histories in, such as als, pure_svd or ease"
            )
        factors = self.user_factors_[rows]
        factors[is_empty] = 0.0
        factors[is_empty, -self.n_biases] = 1.0  # times the items' biases, and nothing else
        return factors

    def _item_similarity(self, wanted: Positions) -> Scores:
        return cosine(self.item_factors_[:, : -self.n_biases], wanted)

    def _user_similarity(self, wanted: Positions) -> Scores:
        return cosine(self.user_factors_[:, : -self.n_biases], wanted)


def _keys(histories: csr_array) -> list[bytes]:
    """Of each row, what tells its entries from those of any other."""
    bounds = histories.indptr.tolist()
    return [
        hashlib.blake2b(
            histories.indices[start:end].tobytes() + histories.data[start:end].tobytes(), digest_size=16
        ).digest()
        for start, end in itertools.pairwise(bounds)
    ]


class BPRConfig(ModelConfig):
    """Settings of BPR."""

    n_factors: PositiveInt = 64
    """Dimensions of the item and user factors, beside the items' biases."""
    learning_rate: PositiveFloat = 0.05
    """Step size of gradient descent."""
    l2: NonNegativeFloat = 0.01
    """Regularisation of the factors."""
    epochs: PositiveInt = 100
    """Passes over as many drawn pairs as there are interactions."""
    seed: int = Field(default=0, ge=0)
    """Same seed: same model."""


class BPR(TrainedUsersModel):
    """Matrix factorisation that ranks what a user chose above what others did; fitted by implicit, values ignored.

    Source: Rendle, Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian personalized ranking from implicit
    feedback", UAI 2009. The loss that a callback hears is the share of drawn pairs in the wrong order.
    """

    name = "bpr"
    config: BPRConfig
    config_class: ClassVar = BPRConfig
    search_space: ClassVar[SearchSpace] = {
        "n_factors": whole(16, 256, log=True),
        "l2": span(1e-4, 0.1, log=True),
        "learning_rate": span(0.005, 0.2, log=True),
    }
    n_biases = 1

    def _solver(self) -> Any:
        return BayesianPersonalizedRanking(
            factors=self.config.n_factors,
            learning_rate=self.config.learning_rate,
            regularization=self.config.l2,
            iterations=self.config.epochs,
            random_state=self.config.seed,
            num_threads=1,
            use_gpu=False,
        )

    def _fit(self, histories: csr_array, how: Fit) -> None:
        self._n_drawn = histories.nnz
        super()._fit(histories, how)
        del self._n_drawn

    def _loss(self, *counts: int) -> float | None:
        correct, skipped = counts
        n_compared = self._n_drawn - skipped
        return 1.0 - correct / n_compared if n_compared else None


class LMFConfig(ModelConfig):
    """Settings of LMF."""

    n_factors: PositiveInt = 32
    """Dimensions of the item and user factors, beside the biases of both."""
    learning_rate: PositiveFloat = 1.0
    """Step size of AdaGrad."""
    l2: NonNegativeFloat = 0.6
    """Regularisation of the factors."""
    n_negatives: PositiveInt = 30
    """Items drawn as not chosen, for each that was chosen."""
    epochs: PositiveInt = 30
    """Passes over users and items."""
    seed: int = Field(default=0, ge=0)
    """Same seed: same model."""


class LMF(TrainedUsersModel):
    """Matrix factorisation of the log-odds that a user chooses an item, values as confidence; fitted by implicit.

    Source: Johnson, "Logistic matrix factorization for implicit feedback data", NIPS workshop 2014. implicit's
    differs in drawing the items that were not chosen. A warm start keeps the factors, but not AdaGrad's sums, without
    which the first steps are long: lower ``learning_rate`` for it.
    """

    name = "lmf"
    config: LMFConfig
    config_class: ClassVar = LMFConfig
    search_space: ClassVar[SearchSpace] = {
        "n_factors": whole(16, 128, log=True),
        "l2": span(0.05, 5, log=True),
        "learning_rate": span(0.1, 2, log=True),
    }
    n_biases = 2  # the items', multiplied by the users' 1, then the users', multiplied by the items' 1

    def _solver(self) -> Any:
        return LogisticMatrixFactorization(
            factors=self.config.n_factors,
            learning_rate=self.config.learning_rate,
            regularization=self.config.l2,
            neg_prop=self.config.n_negatives,
            iterations=self.config.epochs,
            random_state=self.config.seed,
            num_threads=1,
            use_gpu=False,
        )
