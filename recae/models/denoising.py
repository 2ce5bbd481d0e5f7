"""Denoising autoencoders: restore the clean history from a corrupted one, without and with a vector per user."""

from typing import ClassVar, Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.data.holdout import Holdout
from recae.models.base import Fit
from recae.models.matrices import refuse_negative
from recae.models.neural import (
    NeuralConfig,
    NeuralModel,
    SparseBatch,
    SparseLinear,
    dense_linear,
    with_users,
    without_users,
)
from recae.models.pointwise_output import Logistic, Squared, pointwise_output_loss
from recae.models.ranking import Scores
from recae.models.search_spaces import SearchSpace, span, whole

Corruption = Literal["none", "drop", "mask", "gaussian"]

ACTIVATIONS: Final = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}


class DAEConfig(NeuralConfig):
    """Settings of the denoising autoencoder."""

    n_hidden: PositiveInt = 200
    """Units of the hidden layer."""
    activation: Literal["tanh", "sigmoid"] = "tanh"
    """What the hidden layer applies."""
    corruption: Corruption = "drop"
    """What is done to the values of a history before it is encoded: ``none`` (a plain autoencoder), ``drop`` (some
    become 0, the rest are scaled up), ``mask`` (the same, not scaled up: a shorter history), ``gaussian`` (each is
    multiplied by 1 + noise)."""
    strength: NonNegativeFloat = 0.5
    """Share of the values that ``drop`` and ``mask`` hide; standard deviation of the ``gaussian`` noise."""
    loss: Literal["squared", "logistic"] = "logistic"
    """``squared`` restores the values; ``logistic`` says for each item whether it was chosen, whatever its value."""
    unobserved_weight: float = Field(default=0.1, gt=0.0, le=1.0)
    """Weight of an item that is absent, which counts as 0, against one that is there: absence is weak evidence."""
    normalise: bool = True
    """Scale each history to length 1 at the input, so that long ones do not saturate the hidden layer."""

    @model_validator(mode="after")
    def _a_share_is_below_1(self) -> Self:
        if self.corruption in {"drop", "mask"} and self.strength >= 1.0:
            raise ValueError(
                f"corruption={self.corruption!r} hides a share of the values, and strength={self.strength:g} "
                "leaves none; give less than 1"
            )
        return self


class DAE(NeuralModel):
    """One hidden layer that restores the clean history from a corrupted one, over all items of the batch.

    With ``corruption="none"`` it is the plain autoencoder. Without corruption, or a small ``n_hidden``, it learns
    to copy, which recommends nothing: what ranks is what it can tell of an item it was not shown.

    Source: Vincent, Larochelle, Bengio & Manzagol, "Extracting and composing robust features with denoising
    autoencoders", ICML 2008. Ours differs in untied weights, a linear output under the squared loss, and in
    noise on the values that are there only, so that the input stays sparse.
    """

    name = "dae"
    config: DAEConfig
    config_class: ClassVar[type[DAEConfig]] = DAEConfig
    search_space: ClassVar[SearchSpace] = {
        "strength": span(0.0, 0.8),
        "unobserved_weight": span(0.01, 1.0, log=True),
        "n_hidden": whole(50, 600, log=True),
        "learning_rate": span(1e-4, 1e-2, log=True),
    }
    network_: "DAENetwork"

    def check_values(self, histories: csr_array) -> None:
        """Negative ones, with the logistic loss."""
        if self.config.loss == "logistic":
            reader = f"{self.name} with loss='logistic' takes every value for a choice"
            refuse_negative(histories, reader, "set loss='squared'")

    def _build(self, histories: csr_array) -> nn.Module:
        return DAENetwork(histories.shape[1], self.config.n_hidden, self.config.activation)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        return self._restoring(self.network_.encode(batch, self._corrupted_inputs(batch)), batch)

    def _inputs(self, batch: SparseBatch) -> Tensor:
        return batch.unit_length() if self.config.normalise else batch.values

    def _corrupted_inputs(self, batch: SparseBatch) -> Tensor:
        values = corrupted(self._inputs(batch), self.config.corruption, self.config.strength)
        if self.config.corruption != "mask" or not self.config.normalise:
            return values
        # a masked history is a shorter one, and has length 1 as it will have at scoring; it may be empty
        squares = torch.zeros(batch.n_rows, device=values.device).index_add(0, batch.rows, values.square())
        return values * squares.clamp_min(torch.finfo(values.dtype).tiny).rsqrt()[batch.rows]

    def _restoring(self, hidden: Tensor, batch: SparseBatch) -> Tensor:
        """Loss of decoding ``hidden`` (n_rows, n_hidden) against the clean batch."""
        loss = (Squared if self.config.loss == "squared" else Logistic)(self.config.unobserved_weight)
        output, products = self.network_.output, self._product_type
        return pointwise_output_loss(
            loss, hidden, output.weight, output.bias, batch.rows, batch.columns, batch.values, products
        )

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Hidden units of the clean histories, shape (n_rows, n_hidden)."""
        batch = self._batch(histories)
        return self.network_.encode(batch, self._inputs(batch)).cpu().numpy()

    @torch.no_grad()
    def decode(self, codes: NDArray[np.float32]) -> Scores:
        """Restored values, or logits of having been chosen, shape (n_rows, n_items_)."""
        hidden = torch.as_tensor(codes, device=self.network_.output.weight.device)
        return self.network_.decode(hidden).cpu().numpy()

    def _item_vectors(self) -> Tensor:
        return self.network_.output.weight


class DAENetwork(nn.Module):
    """``V f(W x + b) + c`` for sparse rows x."""

    def __init__(self, n_items: int, n_hidden: int, activation: Literal["tanh", "sigmoid"]) -> None:
        super().__init__()
        self.input = SparseLinear(n_items, n_hidden)
        self.output = dense_linear(n_hidden, n_items)
        self.activation = ACTIVATIONS[activation]

    def encode(self, batch: SparseBatch, values: Tensor, added: Tensor | float = 0.0) -> Tensor:
        """Hidden units (n_rows, n_hidden); ``added`` goes to them before the activation."""
        return self.activation(self.input(batch, values) + added)

    def decode(self, hidden: Tensor) -> Tensor:
        """Outputs (n_rows, n_items)."""
        outputs: Tensor = self.output(hidden)
        return outputs


def corrupted(values: Tensor, corruption: Corruption, strength: float) -> Tensor:
    """Values with random noise, same shape; what is absent stays absent.

    Args:
        values: of any shape.
        corruption: see :attr:`DAEConfig.corruption`.
        strength: see :attr:`DAEConfig.strength`.
    """
    if corruption == "drop":
        return nn.functional.dropout(values, strength)
    if corruption == "mask":
        return values * (torch.rand_like(values) >= strength)
    if corruption == "gaussian":
        return values * (1.0 + strength * torch.randn_like(values))
    return values


class CDAEConfig(DAEConfig):
    """Settings of CDAE."""


class CDAE(DAE):
    """Denoising autoencoder with a vector for each user in the hidden layer.

    In training a user's own vector explains what the history does not. At scoring every history gets the mean
    vector of the users who have one: scores come from histories, never from stored ids, so that a user of the
    training data and one who came a second ago take the same path. What is left of the user vectors then is
    their effect on the weights; where they take over too much of the explaining, raise ``weight_decay`` or use
    ``dae``. Takes n_users x n_hidden beside the weights of ``dae``.

    Source: Wu, DuBois, Zheng & Ester, "Collaborative denoising auto-encoders for top-N recommender systems",
    WSDM 2016. Ours differs in the mean vector, and in a loss over all items in place of sampled ones.
    """

    name = "cdae"
    config: CDAEConfig
    config_class: ClassVar[type[CDAEConfig]] = CDAEConfig
    network_: "CDAENetwork"

    mean_user_: NDArray[np.float32]
    """Mean vector of the training users who have a history, shape (n_hidden,)."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        super()._fit(histories, how)
        self._average_users(histories)

    def _build(self, histories: csr_array) -> nn.Module:
        n_users, n_items = histories.shape
        return CDAENetwork(n_users, n_items, self.config.n_hidden, self.config.activation)

    def _training_rows(self, histories: csr_array) -> csr_array:
        return with_users(histories)

    def _loss(self, batch: SparseBatch, epoch: float) -> Tensor:
        del epoch
        items, users = without_users(batch, self.network_.output.out_features)
        hidden = self.network_.encode(items, self._corrupted_inputs(items), self.network_.users(users))
        return self._restoring(hidden, items)

    def _validate(self, histories: csr_array, validation: Holdout) -> float:
        self._average_users(histories)
        return super()._validate(histories, validation)

    @torch.no_grad()
    def _average_users(self, histories: csr_array) -> None:
        has_history = torch.from_numpy(np.diff(histories.indptr) > 0)
        vectors = self.network_.users.weight
        self.mean_user_ = vectors[has_history.to(vectors.device)].mean(dim=0).cpu().numpy()

    @torch.no_grad()
    def encode(self, histories: csr_array) -> NDArray[np.float32]:
        """Hidden units of the clean histories of the mean user, shape (n_rows, n_hidden)."""
        batch = self._batch(histories)
        user = torch.as_tensor(self.mean_user_, device=batch.values.device)
        return self.network_.encode(batch, self._inputs(batch), user).cpu().numpy()


class CDAENetwork(DAENetwork):
    """``V f(W x + u + b) + c`` for sparse rows x and the vector u of their user."""

    def __init__(
        self, n_users: int, n_items: int, n_hidden: int, activation: Literal["tanh", "sigmoid"]
    ) -> None:
        super().__init__(n_items, n_hidden, activation)
        self.users = nn.Embedding(n_users, n_hidden)
        nn.init.zeros_(self.users.weight)  # a user is like any other until their choices say otherwise
