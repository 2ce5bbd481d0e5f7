"""Linear autoencoders in closed form: one symmetric inverse, one pass over the log.

All of them minimise, over item-to-item weights B,

    tr((X - XB)' W (X - XB)) + tr(B' L B)    subject to    diag(B) <= xi

with ``W = diag(n_u^-beta)`` scaled to mean 1 over the users with items, n_u the number of items of user u, ``G = X'WX`` and
``L = diag(l2 + p/(1-p) G_jj)``. With ``P = (G + L)^-1`` the solution is ``B = I - P diag(mu)``,
``mu_j = max(L_jj, (1 - xi) / P_jj)``, and a history x scores ``((x D^-alpha) B) D^alpha``, D the item counts.
P is what costs time; xi and alpha come after it, so any number of them is tried on one P.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat
from scipy.sparse import csr_array

from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.devices import Device
from recae.models.gram import inverse_gram
from recae.models.matrices import sparse_times_dense, weighted_sum
from recae.models.ranking import Positions, Scores
from recae.models.search_spaces import SearchSpace, span

Vector = NDArray[np.float32]


class LinearConfig(ModelConfig):
    """Settings of every linear autoencoder."""

    l2: PositiveFloat = 500.0
    """Added to the Gram matrix's diagonal. Raise it for sparser data."""
    device: Device = "auto"
    """Where ``fit`` works: ``auto`` takes a GPU where there is one with room for it, else the CPU; or ``cpu``, ``cuda``,
    ``cuda:1``. Scores are computed on the CPU."""


class LinearAutoencoder(Model):
    """What the family shares: the solution, and scoring without ever forming B.

    ``fit`` holds one float32 matrix of n_items x n_items (1.6 GB at 20,000 items) and a workspace of a third of it.
    """

    config: LinearConfig
    has_additive_contributions = True
    free_settings = frozenset({"max_self_weight", "item_rescaling"})

    precision_: Scores
    """P, shape (n_items, n_items), symmetric."""
    ridge_: Vector
    """L, the diagonal of the penalty, shape (n_items,)."""
    n_choices_: Vector
    """Users who chose each item, shape (n_items,)."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        n_items = histories.shape[1]
        lengths = np.diff(histories.indptr)
        weights = np.where(lengths > 0, np.maximum(lengths, 1) ** -self._setting("user_damping"), 0.0)
        # a user without items adds nothing to G: counted here, it would make l2 weigh less
        weights *= np.count_nonzero(lengths) / weights.sum()
        data = histories.data * np.repeat(np.sqrt(weights), lengths).astype(np.float32)
        weighted = csr_array((data, histories.indices, histories.indptr), shape=histories.shape)
        self.precision_, self.ridge_ = inverse_gram(
            weighted,
            l2=self.config.l2,
            dropout=self._setting("dropout"),
            device=self.config.device,
            show_progress=how.show_progress,
        )
        self.n_choices_ = np.bincount(histories.indices, minlength=n_items).astype(np.float32)

    def _score(self, histories: csr_array) -> Scores:
        negated, scale = self._factors
        inputs = histories
        if scale is not None:
            data = histories.data / scale[histories.indices]
            inputs = csr_array((data, histories.indices, histories.indptr), shape=histories.shape)
        scores = sparse_times_dense(inputs, self.precision_)  # (n_rows, n_items)
        scores *= negated
        rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
        scores[rows, histories.indices] += inputs.data
        if scale is not None:
            scores *= scale
        return scores

    def score_row(self, columns: Positions, values: Scores) -> Scores:
        """As the base class does it, without a sparse matrix of one row, which costs more than the sum itself."""
        negated, scale = self._factors
        inputs = values if scale is None else values / scale[columns]
        scores = weighted_sum(columns, inputs, self.precision_)  # (n_items,)
        scores *= negated
        scores[columns] += inputs
        if scale is not None:
            scores *= scale
        return scores

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        scale, columns = self._scale, history.indices
        found: Scores = self.precision_[np.ix_(columns, items)]  # (n_history, n_asked)
        found *= -self._multipliers_of(items)
        found[columns[:, None] == items] += 1.0
        found *= (history.data / scale[columns])[:, None]
        found *= scale[items]
        return found

    def weights(self) -> Scores:
        """B, shape (n_items, n_items): what an item of the history (row) adds to the score of another (column)."""
        negated, scale = self._factors
        weights = self.precision_ * negated
        weights[np.diag_indices(len(weights))] += 1.0
        if scale is not None:
            weights /= scale[:, None]
            weights *= scale
        return weights

    def _item_similarity(self, wanted: Positions) -> Scores:
        """Partial correlation, ``-P_ij / sqrt(P_ii P_jj)``: what two items share that no other item explains."""
        scale = np.diag(self.precision_) ** np.float32(-0.5)
        similar: Scores = self.precision_[wanted] * -scale[wanted, None] * scale
        similar[:, self.n_choices_ == 0] = 0.0
        return similar

    @property
    def _factors(self) -> tuple[Vector, Vector | None]:
        """-mu and D^alpha, each (n_items,), None for all ones; kept, since reading P's diagonal for each request is work."""
        kept: tuple[Scores, LinearConfig, Vector, Vector | None] | None = vars(self).get("_kept")
        if kept is None or kept[0] is not self.precision_ or kept[1] is not self.config:
            scale = self._scale if self._setting("item_rescaling") else None
            kept = self.precision_, self.config, -self._multipliers, scale
            vars(self)["_kept"] = kept
        return kept[2:]

    @property
    def _multipliers(self) -> Vector:
        """mu, shape (n_items,)."""
        return self._multipliers_of(slice(None))

    def _multipliers_of(self, items: Positions | slice) -> Vector:
        """mu of some items: no other entry of the diagonal is read."""
        bound = np.float32(1.0 - self._setting("max_self_weight"))
        multipliers: Vector = np.maximum(self.ridge_[items], bound / np.diag(self.precision_)[items])
        return multipliers

    @property
    def _scale(self) -> Vector:
        """D^alpha, shape (n_items,)."""
        scale: Vector = np.maximum(self.n_choices_, 1.0) ** np.float32(self._setting("item_rescaling"))
        return scale

    def _setting(self, name: str) -> float:
        """A setting that some of the family have; 0 leaves its effect out."""
        return float(getattr(self.config, name, 0.0))


class EASEConfig(LinearConfig):
    """Settings of EASE."""


class EASE(LinearAutoencoder):
    """Embarrassingly shallow autoencoder: predict each item from all the others; diag(B) = 0.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.
    """

    name = "ease"
    config_class: ClassVar = EASEConfig
    search_space: ClassVar[SearchSpace] = {"l2": span(10, 5_000, log=True)}


class EDLAEConfig(LinearConfig):
    """Settings of EDLAE."""

    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """p: share of the input that is dropped, in exact expectation; penalises what explains popular items."""


class EDLAE(LinearAutoencoder):
    """EASE under input dropout, taken in exact expectation: a penalty that grows with an item's popularity.

    Source: Steck, "Autoencoders that don't overfit towards the identity", NeurIPS 2020.
    """

    name = "edlae"
    config: EDLAEConfig
    config_class: ClassVar = EDLAEConfig
    search_space: ClassVar[SearchSpace] = {"l2": span(10, 5_000, log=True), "dropout": span(0.1, 0.8)}


class RLAEConfig(LinearConfig):
    """Settings of RLAE."""

    max_self_weight: float = Field(default=0.3, ge=0.0, lt=1.0)
    """xi: largest weight of an item for itself; 0 is EASE. Any number of them is tried on one fit."""


class RLAE(LinearAutoencoder):
    """EASE with the constraint on the diagonal relaxed: items may explain themselves a little.

    Source: Moon, Kim & Lee, "It's enough: relaxing diagonal constraints in linear autoencoders for
    recommendation", SIGIR 2023.
    """

    name = "rlae"
    config: RLAEConfig
    config_class: ClassVar = RLAEConfig
    search_space: ClassVar[SearchSpace] = {"l2": span(10, 5_000, log=True), "max_self_weight": span(0.0, 0.9)}


class RDLAEConfig(EDLAEConfig, RLAEConfig):
    """Settings of RDLAE."""


class RDLAE(LinearAutoencoder):
    """RLAE under exact input dropout.

    Source: as :class:`RLAE`.
    """

    name = "rdlae"
    config: RDLAEConfig
    config_class: ClassVar = RDLAEConfig
    search_space: ClassVar[SearchSpace] = {
        "l2": span(10, 5_000, log=True),
        "dropout": span(0.1, 0.8),
        "max_self_weight": span(0.0, 0.9),
    }


class DANConfig(RDLAEConfig):
    """Settings of DAN."""

    user_damping: float = Field(default=0.5, ge=0.0, le=2.0)
    """beta: a user with n items counts n^-beta; raise it where few users make most of the log."""
    item_rescaling: float = Field(default=0.1, ge=-1.0, le=1.0)
    """alpha: items count by popularity^-alpha in the history, and by popularity^alpha in the score. Any number of
    them is tried on one fit."""


class DAN(LinearAutoencoder):
    """RDLAE with data-adaptive normalisation of users and items.

    Source: Park, Yoon, Choi & Lee, "Why is normalization necessary for linear recommenders?", SIGIR 2025. Ours
    scales the user weights to mean 1, so that ``l2`` means the same for every ``user_damping``.
    """

    name = "dan"
    config: DANConfig
    config_class: ClassVar = DANConfig
    search_space: ClassVar[SearchSpace] = {
        "l2": span(10, 5_000, log=True),
        "dropout": span(0.1, 0.8),
        "max_self_weight": span(0.0, 0.9),
        "user_damping": span(0.0, 1.0),
        "item_rescaling": span(0.0, 0.5),
    }
