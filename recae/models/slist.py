"""SLIST: a linear autoencoder of histories in order, in closed form: what was chosen last counts most, and what follows it."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array

from recae.models.attribution import weighted_rows
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.devices import Device, device_with_room
from recae.models.gram import add_product, check_memory, gram_matrix, invert_with_ridge, needed_bytes
from recae.models.matrices import cosine, sparse_times_dense
from recae.models.ranking import Positions, Scores
from recae.models.search_spaces import SearchSpace, span


class SLISTConfig(ModelConfig):
    """Settings of SLIST."""

    l2: PositiveFloat = 300.0
    """Added to the Gram matrix's diagonal. Raise it for sparser data."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """p: share of the input that is dropped, in exact expectation."""
    similarity_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Weight of items that stand in one history, in whatever order; the rest is of items that follow one another."""
    n_cuts: PositiveInt = 5
    """Places at which each history is cut into what came before and what came after."""
    first_cut: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Share of a history before its first cut; the others are spread evenly from there to its end."""
    recency: NonNegativeFloat = 2.0
    """How fast an item of the history fades: one at its start counts exp(-recency) of one at its end. 0: all count the same."""
    device: Device = "auto"
    """Where ``fit`` works: ``auto`` takes a GPU where there is one with room for it, else the CPU; or ``cpu``, ``cuda``,
    ``cuda:1``. Scores are computed on the CPU."""


class SLIST(Model):
    """Linear weights that rebuild a history from itself, and what came after from what came before it.

    With X the histories and, over all cuts that something follows, S what came before (items weighted by recency) and T
    what came after,

        min_B  a |X - XB|^2 + (1 - a) |T - SB|^2 + tr(B' L B)    subject to    diag(B) <= 0

    has the solution ``B = P C - P diag(mu)``, ``P = (H + L)^-1``, ``H = a X'X + (1 - a) S'S``,
    ``C = a X'X + (1 - a) S'T``, ``L = diag(l2 + p/(1-p) H_jj)``, ``mu_j = max(0, (P C)_jj / P_jj)``. A history scores
    ``w(x) B`` with its items weighted by recency too. S'S and S'T are means over the cuts.

    The value of an entry is its place in time: of two items of a history the one with the larger value came later;
    only the order of the values in a row counts. ``fit`` holds three float32 matrices of n_items x n_items.

    Source: Choi, Kim, Lee, Shim & Lee, "Session-aware linear item-item models for session-based recommendation",
    WWW 2021. Ours differs in users' whole histories for sessions, cut at a few places in place of all; in the recency
    by share of the history in place of number of items; in the diagonal and in exact dropout.
    """

    name = "slist"
    feedback = "sequences"
    has_additive_contributions = True
    config: SLISTConfig
    config_class: ClassVar = SLISTConfig
    search_space: ClassVar[SearchSpace] = {
        "l2": span(10, 5_000, log=True),
        "dropout": span(0.1, 0.8),
        "similarity_share": span(0.0, 0.9),
        "recency": span(0.25, 16.0, log=True),
    }

    weights_: Scores
    """B, shape (n_items, n_items): what an item of the history (row) adds to the score of another (column)."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        config, n_items = self.config, histories.shape[1]
        check_memory(n_items, n_matrices=3)
        device = device_with_room(config.device, needed_bytes(histories, n_rows=n_items, n_matrices=3))
        matrix = gram_matrix(_ones(histories), device)  # becomes H
        matrix *= config.similarity_share
        cross = matrix.clone()  # becomes C
        for cut in np.linspace(config.first_cut, 1.0, config.n_cuts, endpoint=False):
            before, after = self._cut(histories, float(cut))
            weight = (1.0 - config.similarity_share) / config.n_cuts
            add_product(before, before, into=matrix, weight=weight)
            add_product(before, after, into=cross, weight=weight)
        ridge = config.l2 + config.dropout / (1.0 - config.dropout) * matrix.diagonal()
        invert_with_ridge(matrix, ridge, show_progress=how.show_progress)  # it is P now
        weights = torch.mm(matrix, cross)
        # P diag(mu), in place: no fourth matrix
        matrix *= (weights.diagonal() / matrix.diagonal()).clamp_min(0.0)
        weights -= matrix
        self.weights_ = weights.cpu().numpy()

    def _cut(self, histories: csr_array, cut: float) -> tuple[csr_array, csr_array]:
        """What came before a share of each history, by recency at the cut, and what came after.

        Of a history after whose cut nothing came, neither: that it ends does not say that nothing follows its items.
        """
        places = relative_places(histories)
        is_after = places >= cut
        rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
        goes_on = np.bincount(rows[is_after], minlength=histories.shape[0]) > 0
        is_before = ~is_after & goes_on[rows]
        fading = np.exp(-self.config.recency * (1.0 - places[is_before] / cut)).astype(np.float32)
        return _kept(histories, is_before, fading), _kept(histories, is_after, np.float32(1.0))

    def _score(self, histories: csr_array) -> Scores:
        return sparse_times_dense(self._by_recency(histories), self.weights_)

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        return weighted_rows(self._by_recency(history), self.weights_, items)

    def _by_recency(self, histories: csr_array) -> csr_array:
        """What the history's items count: w(x)."""
        fading = np.exp(-self.config.recency * (1.0 - relative_places(histories))).astype(np.float32)
        return csr_array((fading, histories.indices, histories.indptr), shape=histories.shape)

    def _item_similarity(self, wanted: Positions) -> Scores:
        """Cosine of what two items say about all the others."""
        return cosine(self.weights_, wanted)


def relative_places(histories: csr_array) -> NDArray[np.float64]:
    """Share of its row that came before each entry, from 0 to below 1, in storage order.

    By rising value; of equal values the lower column first.
    """
    counts = np.diff(histories.indptr)
    rows = np.repeat(np.arange(histories.shape[0]), counts)
    order = np.lexsort((histories.indices, histories.data, rows))  # rows stay in place
    found = np.empty(histories.nnz, dtype=np.float64)
    found[order] = np.arange(histories.nnz) - histories.indptr[rows]
    return found / counts[rows]


def _ones(histories: csr_array) -> csr_array:
    return csr_array(
        (np.ones_like(histories.data), histories.indices, histories.indptr), shape=histories.shape
    )


def _kept(
    histories: csr_array, kept: NDArray[np.bool_], values: NDArray[np.float32] | np.float32
) -> csr_array:
    """The entries for which ``kept`` is True, with other values."""
    rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))[kept]
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=histories.shape[0]))])
    data = np.broadcast_to(values, rows.shape).astype(np.float32)
    return csr_array((data, histories.indices[kept], starts), shape=histories.shape)
