"""The half of the contract that torch models share: sparse batches, training, scoring, storing."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.data.holdout import Holdout
from recae.memory import reused_memory
from recae.models import ranking
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.devices import Device, device_of, outlines, serving_device
from recae.models.matrices import cosine, inverse
from recae.models.neighbours import Derived
from recae.models.optimisers import Adam
from recae.models.precision import Precision, product_type
from recae.models.ranking import Positions, Scores, hits, ndcg, rank
from recae.models.trainer import Schedule, train
from recae.models.warm import growing_axes

VALIDATION_CUTOFF = 100
"""Early stopping looks at NDCG of the first 100, as the VAE papers do; where a row has candidates, of those among them."""


class NeuralConfig(ModelConfig):
    """Settings of every model that is trained by gradient steps."""

    epochs: PositiveInt = 200
    """Passes over the training rows, at most."""
    batch_size: PositiveInt = 500
    """Rows in one step."""
    learning_rate: PositiveFloat = 1e-3
    """Step size of Adam."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 penalty, added to the gradient."""
    patience: PositiveInt | None = 20
    """Epochs without a better validation value after which training stops; has no effect without validation."""
    seed: int = Field(default=0, ge=0)
    """Same seed, same threads: same model."""
    device: Device = "auto"
    """``auto`` takes a GPU where there is one, else the CPU; or ``cpu``, ``cuda``, ``cuda:1``."""
    precision: Precision = "auto"
    """Type of the factors of large products in training: ``auto`` takes bfloat16 where the device is fast at it,
    else float32. Weights and scores are float32 always. Only DAE, CDAE, Mult-DAE, Mult-VAE, RecVAE,
    H+Vamp, the sparse autoencoder, the sequential VAE and LMF go by it."""


@dataclass(frozen=True)
class SparseBatch:
    """Rows of a sparse matrix as the coordinates torch works with."""

    rows: Tensor  # (nnz,) int64, 0 to n_rows - 1, rising
    columns: Tensor  # (nnz,) int64
    values: Tensor  # (nnz,) float32
    offsets: Tensor  # (n_rows,) int64: where each row starts
    n_rows: int

    @classmethod
    def of(cls, matrix: csr_array, device: torch.device) -> Self:
        """The whole of ``matrix``."""
        n_rows = matrix.shape[0]
        rows = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(matrix.indptr))
        return cls(
            rows=torch.from_numpy(rows).to(device),
            columns=torch.from_numpy(matrix.indices.astype(np.int64)).to(device),
            values=torch.from_numpy(matrix.data.astype(np.float32)).to(device),
            offsets=torch.from_numpy(matrix.indptr[:-1].astype(np.int64)).to(device),
            n_rows=n_rows,
        )

    def unit_length(self) -> Tensor:
        """Values with each row scaled to L2 norm 1, shape (nnz,); an empty row has none to scale."""
        squares = torch.zeros(self.n_rows, device=self.values.device).index_add(
            0, self.rows, self.values.square()
        )
        vanished = torch.finfo(squares.dtype).tiny  # squares of tiny values underflow to 0: no NaN from them
        return self.values * squares.clamp_min(vanished).rsqrt()[self.rows]


def with_users(histories: csr_array) -> csr_array:
    """Histories with a column for each user behind the items, shape (n_users, n_items + n_users).

    So a batch of rows says whose they are; :func:`without_users` tells them apart again.
    """
    itself = sp.eye_array(histories.shape[0], dtype=np.float32, format="csr")
    return csr_array(sp.hstack([histories, itself], format="csr"))


def without_users(batch: SparseBatch, n_items: int) -> tuple[SparseBatch, Tensor]:
    """The items of a batch of such rows, and the user of each row, shape (n_rows,)."""
    is_user = batch.columns >= n_items  # the last entry of each row
    items = SparseBatch(
        rows=batch.rows[~is_user],
        columns=batch.columns[~is_user],
        values=batch.values[~is_user],
        offsets=batch.offsets - torch.arange(batch.n_rows, device=batch.offsets.device),
        n_rows=batch.n_rows,
    )
    return items, batch.columns[is_user] - n_items


class SparseLinear(nn.Module):
    """``x W + b`` for sparse rows x: the sum of the rows of W at the entries of x, so x is never densified.

    Its cost grows with the interactions of the batch, where a dense product grows with batch x n_inputs.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_inputs, n_outputs))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        nn.init.xavier_normal_(self.weight)

    def forward(self, batch: SparseBatch, values: Tensor) -> Tensor:
        """Outputs (n_rows, n_outputs) for ``values`` (nnz,) at the batch's entries."""
        summed: Tensor = nn.functional.embedding_bag(
            batch.columns, self.weight, batch.offsets, mode="sum", per_sample_weights=values
        )
        return summed + self.bias


class WideLinear(nn.Linear):
    """A linear layer that scores all items in blocks which stay in the cache while they are used.

    The same values, to the bit as far as was seen, in 0.7 to 0.9 of the time: for few rows a product spends most of it on
    rearranging the weights, which otherwise goes through main memory.
    """

    BLOCK: ClassVar[int] = 1_024
    """Outputs of a block: with 600 inputs, 2.4 MB of weights."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (n_rows, n_outputs)."""
        n_outputs = self.out_features
        if n_outputs < 2 * self.BLOCK or torch.is_grad_enabled() or inputs.is_cuda or inputs.ndim != 2:
            return super().forward(inputs)
        outputs = inputs.new_empty(len(inputs), n_outputs)
        for start in range(0, n_outputs, self.BLOCK):
            part = slice(start, start + self.BLOCK)
            torch.addmm(self.bias[part], inputs, self.weight[part].T, out=outputs[:, part])
        return outputs


def dense_linear(n_inputs: int, n_outputs: int) -> nn.Linear:
    """A linear layer with the initialisation of :class:`SparseLinear`."""
    layer = WideLinear(n_inputs, n_outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def values_at(values: Tensor, places: Tensor) -> Tensor:
    """``values[places]`` along the first axis, with a gradient that is the same each time.

    Of plain indexing, threads add up the gradients of a place that occurs twice in whichever order they come to it, so
    that the last bits differ from run to run. Here one thread does, in the order of ``places``; that is faster, too.
    """
    return values.index_select(0, places)


class NeuralModel(Model):
    """A model whose weights are a torch module, trained on rows of the training matrix.

    A subclass writes ``_build`` and ``_loss``, and ``encode`` and ``decode`` to score.
    """

    reads_all_weights = True

    supports_warm_start = True
    keeps_checkpoints = True
    config: NeuralConfig
    config_class: ClassVar[type[NeuralConfig]]

    passes: ClassVar[int] = 1
    """Passes over the training rows that make an epoch."""

    network_: nn.Module
    training_log_: dict[str, Any]
    """``losses`` and validation ``values`` of each epoch, and the ``best_epoch``."""

    @abstractmethod
    def _build(self, histories: csr_array) -> nn.Module:
        """A new network with random weights, for these training rows."""

    @abstractmethod
    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        """Loss of a batch, a scalar; ``epoch`` counts finished epochs, with a fraction inside one."""

    @abstractmethod
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Codes of histories, shape (n_rows, n_latent)."""

    @abstractmethod
    def decode(self, codes: NDArray[np.float32]) -> Scores:
        """Scores of codes, shape (n_rows, n_items_)."""

    @abstractmethod
    def _item_vectors(self) -> Tensor:
        """What the network knows of each item, shape (n_items_, d)."""

    def _score(self, histories: csr_array) -> Scores:
        return self.decode(self.encode(histories))

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        """What takes the steps; with several, the passes of an epoch choose by ``_optimiser_of``."""
        return [self._adam(self.network_.parameters())]

    def _adam(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        # fused: one pass over weights and moments in place of ten
        return Adam(
            parameters, lr=self.config.learning_rate, weight_decay=self.config.weight_decay, fused=True
        )

    def _begin_pass(self, number: int) -> None:
        """Called before the first step of each pass of an epoch, with its number from 0."""

    def _optimiser_of(self, number: int) -> int:
        """Which optimiser steps in a pass of an epoch, by their numbers from 0."""
        del number
        return 0

    def _training_rows(self, histories: csr_array) -> csr_array:
        """What batches are drawn from."""
        return histories

    def _fit(self, histories: csr_array, how: Fit) -> None:
        rows = self._training_rows(histories)
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(self.config.seed)
            self.network_ = self._build(histories).to(device_of(self.config.device))
        if how.warm_start is not None:
            earlier: Any = how.warm_start.model  # of this class: fit has checked it
            how.warm_start.carry_weights(
                self.network_, earlier.network_.state_dict(), growing_axes(self._build, histories.shape)
            )
        validation = how.validation
        schedule = Schedule(
            rows.shape[0],
            self.config.epochs,
            self.config.batch_size,
            self.config.seed,
            self.config.patience,
            self.passes,
        )
        self.network_.train()
        with reused_memory():
            log = train(
                _Session(self, rows),
                schedule,
                validate=None if validation is None else lambda: self._validate(histories, validation),
                callback=how.callback,
                watch=how.watch,
                checkpoint=how.checkpoint,
                fingerprint=how.fingerprint(self, histories),
                description=f"fitting {self.name}",
                show_progress=how.show_progress,
            )
        self.network_.eval()
        self.training_log_ = log.as_dict()

    def _validate(self, histories: csr_array, validation: Holdout) -> float:
        """NDCG@100 on held-out users: higher is better."""
        del histories  # ratings models need it
        self.network_.eval()
        wanted = np.diff(validation.targets.indptr) > 0
        inputs, targets = validation.inputs[wanted], validation.targets[wanted]
        candidates = None if validation.candidates is None else validation.candidates[wanted]
        seen = validation.seen[wanted]
        ids, _ = rank(self._score, inputs, VALIDATION_CUTOFF, exclude=seen, candidates=candidates)
        value = ndcg(hits(ids, targets), np.diff(targets.indptr), VALIDATION_CUTOFF).mean()
        self.network_.train()
        return float(value)

    @torch.no_grad()
    def _item_similarity(self, wanted: Positions) -> Scores:
        return cosine(self._item_vectors().cpu().numpy(), wanted, self._item_vector_scale)

    @Derived
    def _item_vector_scale(self) -> NDArray[np.float32]:
        """What makes vectors of length 1 of the items' vectors, shape (n_items_,)."""
        with torch.no_grad():
            lengths = self._item_vectors().norm(dim=1).cpu().numpy()
        seen = np.bincount(self.histories_.indices, minlength=self.n_items_) > 0
        return inverse(np.where(seen, lengths, np.float32(0.0)))  # unseen: random weights, like nothing

    def _user_similarity(self, wanted: Positions) -> Scores:
        return cosine(self._user_codes, wanted)

    @Derived
    def _user_codes(self) -> NDArray[np.float32]:
        """Codes of all training users, shape (n_users_, n_latent), 4 bytes a number; made in blocks, as scores are."""
        step = max(1, ranking.SCORE_BYTES // (4 * self.n_items_))
        starts = range(0, self.n_users_, step)
        return np.concatenate([self.encode(self.histories_[start : start + step]) for start in starts])

    @property
    def _product_type(self) -> torch.dtype:
        """What training multiplies in where the factors are large."""
        return product_type(self.config.precision, next(self.network_.parameters()).device)

    def _batch(self, histories: csr_array) -> SparseBatch:
        return SparseBatch.of(histories, next(self.network_.parameters()).device)

    def _state(self) -> dict[str, Any]:
        state = super()._state()
        if "network_" in state:
            state["network_"] = dict(state["network_"].state_dict())
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        weights = state.pop("network_", None)
        super()._restore(state)
        if weights is not None:
            with outlines():  # random weights would draw from the caller's generator
                self.network_ = self._build(self.histories_)
            # assign: the stored arrays themselves, which processes share, and no copies of them
            self.network_.load_state_dict(_as_tensors(weights), assign=True)
            self.network_.to(serving_device(self.config.device)).eval()


class _Session:
    """One model under training, as the trainer sees it."""

    def __init__(self, model: NeuralModel, rows: csr_array) -> None:
        self._model = model
        self._rows = rows
        self._n_batches = math.ceil(rows.shape[0] / model.config.batch_size)
        self._n_updates = 0
        self._optimisers = model._optimisers()  # noqa: SLF001 - the session is the model's own

    def update(self, rows: NDArray[np.int64]) -> float:
        model = self._model
        n_passes, place = divmod(self._n_updates, self._n_batches)
        number = n_passes % model.passes
        if place == 0:
            model._begin_pass(number)  # noqa: SLF001 - as above
        optimiser = self._optimisers[model._optimiser_of(number)]  # noqa: SLF001 - as above
        epoch = self._n_updates / (self._n_batches * model.passes)
        loss = model._loss(model._batch(self._rows[rows]), epoch)  # noqa: SLF001 - as above
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        self._n_updates += 1
        return float(loss.detach())

    def weights(self) -> dict[str, Any]:
        return dict(self._model.network_.state_dict())

    def load_weights(self, weights: dict[str, Any]) -> None:
        self._model.network_.load_state_dict(_as_tensors(weights))

    def optimiser_state(self) -> dict[str, Any]:
        states = [optimiser.state_dict()["state"] for optimiser in self._optimisers]
        return {"n_updates": self._n_updates, "states": states}

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        self._n_updates = state["n_updates"]
        for optimiser, stored in zip(self._optimisers, state["states"], strict=True):
            moments = {int(key): _as_tensors(value) for key, value in stored.items()}
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": moments, "param_groups": groups})


def _as_tensors(weights: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value) for name, value in weights.items()}
