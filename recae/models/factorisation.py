"""Matrix factorisation of likings that folds new histories in, ALS and PureSVD: what an autoencoder is measured against."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from recae.errors import FitError
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.decomposition import right_singular_vectors
from recae.models.matrices import cosine, sparse_times_dense
from recae.models.ranking import Positions, Scores
from recae.models.search_spaces import SearchSpace, span, whole
from recae.models.storage import write_state
from recae.models.trainer import read_checkpoint
from recae.progress import bar


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

    Source: Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008. As implicit has it,
    the confidence in a value r is ``alpha r``, where the paper's is ``1 + alpha r``: with an alpha of 1, a like of 1 counts
    no more than an absent one, and below that less.
    """

    name = "als"
    has_additive_contributions = True
    supports_warm_start = True
    keeps_checkpoints = True
    config: ALSConfig
    config_class: ClassVar = ALSConfig
    search_space: ClassVar[SearchSpace] = {
        "n_factors": whole(16, 512, log=True),
        "l2": span(0.01, 100, log=True),
        "alpha": span(0.5, 50, log=True),
    }

    item_factors_: NDArray[np.float32]
    """Shape (n_items, n_factors)."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        n_done = 0
        fingerprint = how.fingerprint(self, histories)

        def each(epoch: int, seconds: float, loss: float) -> None:
            if how.checkpoint is not None:
                # the users' too: the next pass looks for better ones from there on
                factors = {"items": solver.item_factors, "users": solver.user_factors}
                state = factors | {"n_done": n_done + epoch + 1}
                write_state(how.checkpoint, state, fingerprint=fingerprint)
            running.advance()
            how.callback(n_done + epoch, seconds, loss)

        # implicit's solver rejects read-only buffers and is slowed down tenfold by threads inside BLAS
        with (
            bar("fitting als", self.config.epochs, show=how.show_progress) as running,
            threadpool_limits(1, user_api="blas"),
        ):
            solver = self._solver()
            if how.checkpoint is not None and Path(how.checkpoint).exists():
                state = read_checkpoint(how.checkpoint, fingerprint)
                solver.item_factors, solver.user_factors = np.array(state["items"]), np.array(state["users"])
                n_done = state["n_done"]
                solver.iterations -= n_done
                running.advance(n_done)
            elif how.warm_start is not None:
                earlier: Any = how.warm_start.model
                fresh = initialised(self._solver(), histories)
                # the users' come from these in the first step
                solver.item_factors = how.warm_start.carry_rows(
                    fresh.item_factors, earlier.item_factors_, "item"
                )
            with implicits_errors(self.name, histories):
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
            with implicits_errors(self.name, histories):
                factors = solver.recalculate_user(rows, csr_matrix(histories, copy=True))
        return np.asarray(factors, dtype=np.float32).reshape(len(rows), self.item_factors_.shape[1])

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        """``y_j' A^-1 c_i y_i``, A the matrix of the fold-in; A depends on the whole history, and is kept as it is.

        Source: Hu, Koren & Volinsky 2008, section 5.
        """
        confidence = self.config.alpha * history.data.astype(np.float64)
        factors = self.item_factors_.astype(np.float64)
        chosen, n_factors = factors[history.indices], factors.shape[1]  # (n_history, n_factors)
        with threadpool_limits(1, user_api="blas"):
            matrix = factors.T @ factors + self.config.l2 * np.eye(n_factors)
            # as implicit has it: a negative value is confidence that the item is not liked
            matrix += (chosen * (np.abs(confidence) - 1.0)[:, None]).T @ chosen
            weighted = np.linalg.solve(matrix, factors[items].T)  # (n_factors, n_asked)
            found = (chosen * np.maximum(confidence, 0.0)[:, None]) @ weighted
        return np.asarray(found, dtype=np.float32)

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
            # implicit's default is the GPU where it finds one: its factors are no arrays there, and it folds in otherwise
            use_gpu=False,
        )


class PureSVDConfig(ModelConfig):
    """Settings of PureSVD."""

    n_factors: PositiveInt = 64
    """Dimensions of the item factors; fewer where the data have no more. The only setting: choose it well."""


class PureSVD(Model):
    """Truncated singular value decomposition of the log, absent entries as zeros; score = x V V'.

    V are the right singular vectors of the largest singular values, so that any history is folded in by one
    projection. In closed form: nothing is random, the solver's start vector is fixed.

    Source: Cremonesi, Koren & Turrin, "Performance of recommender algorithms on top-n recommendation tasks",
    RecSys 2010, section 3.2.2.
    """

    name = "pure_svd"
    has_additive_contributions = True
    config: PureSVDConfig
    config_class: ClassVar = PureSVDConfig
    search_space: ClassVar[SearchSpace] = {"n_factors": whole(8, 512, log=True)}

    item_factors_: NDArray[np.float32]
    """V, shape (n_items, at most n_factors), orthonormal columns."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        del how
        self.item_factors_ = right_singular_vectors(histories, self.config.n_factors)

    def _score(self, histories: csr_array) -> Scores:
        return self._user_factors(histories) @ self.item_factors_.T

    def _user_factors(self, histories: csr_array) -> NDArray[np.float32]:
        """x V, shape (n_rows, n_factors)."""
        return sparse_times_dense(histories, self.item_factors_)

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        found: Scores = self.item_factors_[history.indices] @ self.item_factors_[items].T
        found *= history.data[:, None]
        return found

    def _item_similarity(self, wanted: Positions) -> Scores:
        return cosine(self.item_factors_, wanted)

    def _user_similarity(self, wanted: Positions) -> Scores:
        return cosine(self._user_factors(self.histories_), wanted)


@contextmanager
def implicits_errors(name: str, histories: csr_array) -> Iterator[None]:
    """implicit's complaints about numbers inside, as errors of ours that name the model and the largest value."""
    try:
        yield
    except (ModelFitError, ValueError) as error:
        if isinstance(error, ValueError) and "posv" not in str(error):  # a callback's, or a wrong argument
            raise
        raise FitError(
            f"{name} could not solve for its factors in float32 ({error}), where values reach "
            f"{np.abs(histories.data).max(initial=0.0):g}; scale the values down, lower alpha or the learning rate, or raise l2"
        ) from error


def initialised(solver: Any, histories: csr_array) -> Any:
    """implicit's model with the factors it starts from."""
    solver.iterations = 0
    solver.fit(csr_matrix(histories, copy=True), show_progress=False)
    return solver
