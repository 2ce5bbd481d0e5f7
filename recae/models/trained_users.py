"""Matrix factorisation that knows the users it was trained on and no others: BPR and LMF."""

import hashlib
import itertools
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.errors import ModelError
from recae.models.base import Fit
from recae.models.matrices import cosine, inverse, refuse_negative
from recae.models.neural import NeuralConfig, NeuralModel, SparseBatch, values_at, with_users, without_users
from recae.models.optimisers import Adam
from recae.models.pointwise_output import ConfidentLogistic, pointwise_output_loss
from recae.models.ranking import Positions, Scores
from recae.models.search_spaces import SearchSpace, span, whole


class TrainedUsersConfig(NeuralConfig):
    """Settings of both."""

    n_factors: PositiveInt = 64
    """Dimensions of the item and user factors, beside the biases."""


class TrainedUsersModel(NeuralModel):
    """What BPR and LMF share: a vector for each training user, and no way to make one for another.

    Scores still come from histories: a history is looked up among the training rows, and the factors of the
    row with exactly these entries serve (the first, if several users are twins). An empty history gets the
    items' biases. Any other is refused. Needs non-negative values.

    Not implicit's: it draws BPR's other item by popularity, and for a user of LMF no more than n_factors + 2 items that were
    not chosen; on MovieLens 1M both ranked far worse for it.
    """

    supports_fold_in = False
    reads_all_weights = False
    config: TrainedUsersConfig
    network_: "FactorNetwork"

    def check_values(self, histories: csr_array) -> None:
        """Negative ones."""
        refuse_negative(histories, f"{self.name} learns from likings")

    def _fit(self, histories: csr_array, how: Fit) -> None:
        self._row_of = _first_rows(histories)  # a validation scores before the training rows are kept
        super()._fit(histories, how)

    def _build(self, histories: csr_array) -> nn.Module:
        return FactorNetwork(*histories.shape, self.config.n_factors)

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        # the losses hold the penalty, of the vectors that a step is about; Adam's, of all at each step, would leave none of them
        return [Adam(self.network_.parameters(), lr=self.config.learning_rate, fused=True)]

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """What was learned of the training users who have these histories, shape (n_rows, d); of an empty one, 0.

        Raises:
            ModelError: if a history is no training user's.
        """
        rows, is_empty = self._users_of(histories)
        users = torch.from_numpy(np.maximum(rows, 0)).to(self.network_.offsets.device)
        codes: NDArray[np.float32] = self.network_.codes(users).cpu().numpy()
        codes[is_empty] = 0.0
        return codes

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> Scores:
        """Scores of all items, shape (n_rows, n_items_)."""
        return self.network_.decode(torch.as_tensor(codes, device=self.network_.offsets.device)).cpu().numpy()

    def _users_of(self, histories: csr_array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Training rows that equal the histories, and which histories are empty, both of shape (n_rows,)."""
        rows = np.array([self._row_of.get(key, -1) for key in _keys(histories)], dtype=np.int64)
        is_empty = np.diff(histories.indptr) == 0
        strangers = np.flatnonzero((rows < 0) & ~is_empty)
        if strangers.size:
            raise ModelError(
                f"{self.name} cannot score a history it was not trained on, and {strangers.size:,} of "
                f"{len(rows):,} are no training rows (the first is row {strangers[0]}); fit again on a log with "
                "them, or use a model that folds histories in, such as als, pure_svd or ease"
            )
        return rows, is_empty

    @cached_property
    def _row_of(self) -> dict[bytes, int]:
        """The key of a history -> the first training row that has it; not stored with the model."""
        return _first_rows(self.histories_)

    def _item_vectors(self) -> Tensor:
        return self.network_.items.weight

    def _user_similarity(self, wanted: Positions) -> Scores:
        vectors = self.network_.users.weight.detach().cpu().numpy()
        # of a user without a history nothing was learned: random weights, like nobody
        lengths = np.where(
            np.diff(self.histories_.indptr) > 0, np.linalg.norm(vectors, axis=1), np.float32(0.0)
        )
        return cosine(vectors, wanted, inverse(lengths))


def _first_rows(histories: csr_array) -> dict[bytes, int]:
    row_of: dict[bytes, int] = {}
    for row, key in enumerate(_keys(histories)):
        row_of.setdefault(key, row)
    return row_of


def _keys(histories: csr_array) -> list[bytes]:
    """Of each row, what tells its entries from those of any other."""
    bounds = histories.indptr.tolist()
    return [
        hashlib.blake2b(
            histories.indices[start:end].tobytes() + histories.data[start:end].tobytes(), digest_size=16
        ).digest()
        for start, end in itertools.pairwise(bounds)
    ]


class FactorNetwork(nn.Module):
    """Vectors of users and items, and a bias of each item."""

    def __init__(self, n_users: int, n_items: int, n_factors: int) -> None:
        super().__init__()
        self.users = nn.Embedding(n_users, n_factors)
        self.items = nn.Embedding(n_items, n_factors)
        self.offsets = nn.Parameter(torch.zeros(n_items))
        for vectors in (self.users, self.items):
            nn.init.normal_(vectors.weight, std=0.1)

    def codes(self, users: Tensor) -> Tensor:
        """What is known of these users (n,), shape (n, d)."""
        vectors: Tensor = self.users(users)
        return vectors

    def decode(self, codes: Tensor) -> Tensor:
        """Scores of all items, shape (n, n_items)."""
        return codes @ self.items.weight.T + self.offsets


class BPRConfig(TrainedUsersConfig):
    """Settings of BPR."""

    batch_size: PositiveInt = 1024
    """Pairs of a chosen and another item in one step."""
    learning_rate: PositiveFloat = 2e-3
    """Step size of Adam."""
    weight_decay: NonNegativeFloat = 0.01
    """L2 penalty of the vectors that a step draws; the most important setting, choose it on validation."""
    epochs: PositiveInt = 50
    """Passes over the interactions, at most."""
    patience: PositiveInt | None = 5
    """Epochs without a better validation value after which training stops; has no effect without validation."""


class BPR(TrainedUsersModel):
    """Matrix factorisation that ranks what a user chose above what they did not; values do not count, zeros are no choice.

    Each interaction of an epoch is compared with an item that is drawn uniformly from those its user has not.

    Source: Rendle, Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian personalized ranking from implicit
    feedback", UAI 2009. Ours differs in Adam, and in an epoch that takes each interaction once.
    """

    name = "bpr"
    config: BPRConfig
    config_class: ClassVar = BPRConfig
    search_space: ClassVar[SearchSpace] = {
        "n_factors": whole(16, 256, log=True),
        "weight_decay": span(1e-4, 0.1, log=True),
        "learning_rate": span(5e-4, 1e-2, log=True),
    }

    N_DRAWS: ClassVar[int] = 10
    """Times that another item is drawn for one the user has; whoever has nearly all items learns from fewer pairs."""

    def _training_rows(self, histories: csr_array) -> csr_array:
        """A row for each interaction: its item and, in a column behind the items, its user."""
        n_users, n_items = histories.shape
        users = np.repeat(np.arange(n_users), np.diff(histories.indptr))
        # ascending: what a draw is looked up in
        self._chosen = torch.from_numpy(users * n_items + histories.indices)
        columns = np.stack([histories.indices, n_items + users], axis=1)
        return csr_array(
            (np.ones(columns.size, dtype=np.float32), columns.ravel(), 2 * np.arange(len(users) + 1)),
            shape=(len(users), n_items + n_users),
        )

    def _fit(self, histories: csr_array, how: Fit) -> None:
        super()._fit(histories, how)
        del self._chosen

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        network = self.network_
        liked, users = batch.columns.view(-1, 2).T
        users = users - len(network.offsets)
        other, is_other = self._drawn(users)
        liked, other, users = liked[is_other], other[is_other], users[is_other]
        vectors = network.users(users), network.items(liked), network.items(other)
        ahead = (vectors[0] * (vectors[1] - vectors[2])).sum(dim=1)
        ahead = ahead + values_at(network.offsets, liked) - values_at(network.offsets, other)
        lengths = sum(each.square().sum() for each in vectors)
        loss = nn.functional.softplus(-ahead).sum() + 0.5 * self.config.weight_decay * lengths
        found: Tensor = loss / max(1, len(users))
        return found

    def _drawn(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """An item for each of the users, and whether it is one that they have not; both of shape (n,)."""
        n_items = len(self.network_.offsets)
        items = torch.randint(n_items, users.shape, device=users.device)
        is_other = self._has_not(users, items)
        for _ in range(self.N_DRAWS - 1):
            if bool(is_other.all()):
                break
            again = torch.nonzero(~is_other).flatten()
            items[again] = torch.randint(n_items, again.shape, device=users.device)
            is_other[again] = self._has_not(users[again], items[again])
        return items, is_other

    def _has_not(self, users: Tensor, items: Tensor) -> Tensor:
        chosen = self._chosen = self._chosen.to(users.device)
        keys = users * len(self.network_.offsets) + items
        places = torch.searchsorted(chosen, keys).clamp_max(len(chosen) - 1)
        return chosen[places] != keys


class LMFConfig(TrainedUsersConfig):
    """Settings of LMF."""

    batch_size: PositiveInt = 128
    """Users in one step."""
    learning_rate: PositiveFloat = 3e-3
    """Step size of Adam."""
    weight_decay: NonNegativeFloat = 20.0
    """L2 penalty of a user's factors, and of the items' for all users; the most important setting, choose it on validation."""
    patience: PositiveInt | None = 5
    """Epochs without a better validation value after which training stops; has no effect without validation."""
    alpha: PositiveFloat = 3.0
    """Confidence in an interaction with the value 1; the confidence that an item was not chosen is 1."""


class LMF(TrainedUsersModel):
    """Matrix factorisation of the log-odds that a user chooses an item, values as confidence.

    Source: Johnson, "Logistic matrix factorization for implicit feedback data", NIPS workshop 2014: over all items, none
    are drawn. Ours differs in Adam on some users and all items at once, in place of AdaGrad on either in turns.
    """

    name = "lmf"
    config: LMFConfig
    config_class: ClassVar = LMFConfig
    search_space: ClassVar[SearchSpace] = {
        "n_factors": whole(16, 256, log=True),
        "weight_decay": span(1, 100, log=True),
        "alpha": span(0.5, 50, log=True),
    }
    network_: "LogisticNetwork"

    def _build(self, histories: csr_array) -> nn.Module:
        share = (histories.nnz + 1) / (np.prod(histories.shape) + 2)  # of a log without interactions, too
        return LogisticNetwork(*histories.shape, self.config.n_factors, float(np.log(share / (1.0 - share))))

    def _training_rows(self, histories: csr_array) -> csr_array:
        return with_users(histories)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        network = self.network_
        items, users = without_users(batch, len(network.offsets))
        codes = network.codes(users)
        nll = pointwise_output_loss(
            ConfidentLogistic(),
            codes[:, :-1],
            network.items.weight,
            network.offsets,
            items.rows,
            items.columns,
            self.config.alpha * items.values,
            self._product_type,
            row_bias=codes[:, -1],
        )
        lengths = (
            codes[:, :-1].square().sum() / len(users)  # of their vectors, not their biases
            + network.items.weight.square().sum() / network.users.num_embeddings
        )
        loss: Tensor = nll + 0.5 * self.config.weight_decay * lengths
        return loss


class LogisticNetwork(FactorNetwork):
    """With a bias of each user, too; the items' start at the log-odds of any choice, ``log_odds``."""

    def __init__(self, n_users: int, n_items: int, n_factors: int, log_odds: float) -> None:
        super().__init__(n_users, n_items, n_factors)
        self.user_offsets = nn.Embedding(n_users, 1)
        nn.init.zeros_(self.user_offsets.weight)
        nn.init.constant_(self.offsets, log_odds)

    def codes(self, users: Tensor) -> Tensor:
        """Their vectors, and their biases behind, shape (n, n_factors + 1)."""
        return torch.cat([super().codes(users), self.user_offsets(users)], dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Log-odds of all items, shape (n, n_items)."""
        return super().decode(codes[:, :-1]) + codes[:, -1:]
