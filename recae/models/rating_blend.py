"""A weighted sum of models of ratings that err differently, weights chosen on held-out ratings."""

from copy import copy
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from scipy.optimize import nnls
from scipy.sparse import csr_array

from recae.errors import ConfigError
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.members import (
    Blended,
    Member,
    continuing,
    fit_member,
    refuse_other_kinds,
    settled,
    starts_of,
)
from recae.models.ranking import Positions, Scores
from recae.models.rating_model import RatingModel
from recae.models.ratings import Values, predicted_at


class RatingBlendConfig(ModelConfig):
    """Settings of a blend of rating models."""

    members: tuple[Member, ...] = Field(
        min_length=1,
        default=(
            Member(name="sparsefc"),
            Member(name="autorec"),
            Member(name="autorec", settings={"by": "user"}),
            Member(name="biased_mf"),
        ),
    )
    """Name and settings of each model, all of ratings. A seed among the settings is added to the blend's."""
    weights: tuple[NonNegativeFloat, ...] | None = None
    """Of each member; None to choose them on validation, or to take equal ones where there is none."""
    offset: float = 0.0
    """Added to the weighted sum, in rating units; chosen together with the weights."""
    l2: PositiveFloat = 50.0
    """Pull of the chosen weights towards equal ones; raise it where few ratings are held out."""
    seed: int = Field(default=0, ge=0)
    """Same seed, same threads: same model."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for member in self.members:
            try:
                model = member.unfitted(self.seed)
            except ConfigError as error:
                raise ValueError(str(error)) from None
            if isinstance(model, RatingBlend):
                raise ValueError("a blend cannot be a member of a blend; list its members")  # noqa: TRY004 - pydantic's
            if model.feedback != "ratings":
                raise ValueError(
                    f"{member.name} gives scores, not ratings, so it cannot be blended with ratings"
                )
        if self.weights is not None and len(self.weights) != len(self.members):
            raise ValueError(f"{len(self.members)} members need as many weights, got {len(self.weights)}")
        return self

    def unfitted(self) -> list[Model]:
        """A new model for each member."""
        return [member.unfitted(self.seed) for member in self.members]


class RatingBlend(Blended, RatingModel):
    """``sum_m w_m r_m + b`` over the members' predictions r_m, clipped to the scale.

    Weights and offset minimise the squared error over held-out ratings plus ``l2 ||w - 1/n||^2``, with no weight
    below 0. The members are fitted to the same data one after the other, each with its own early stopping on the
    same held-out ratings. With ``weights`` given, or without validation, nothing is chosen. A warm start is one for each
    member whose kind allows it, from the earlier blend's of that kind; the others are fitted afresh.

    Source: Breiman, "Stacked regressions", Machine Learning 1996, whose weights are not negative either; ours
    differs in one held-out part in place of cross-validation, and in the pull towards the mean of the members.
    """

    name = "rating_blend"
    config: RatingBlendConfig
    config_class: ClassVar = RatingBlendConfig

    weights_: Values
    """Shape (n_members,)."""
    offset_: float
    """In rating units."""
    scale_: list[float]
    """Lowest and highest rating of the training data."""

    def _fit(self, histories: csr_array, how: Fit) -> None:
        members = self._unfitted()
        for place, (member, start) in enumerate(
            zip(members, starts_of(members, how.warm_start), strict=True)
        ):
            fit_member(member, place, histories, how, validation=how.validation, warm_start=start)
        self.members_ = members
        self.scale_ = [float(histories.data.min()), float(histories.data.max())]
        if self.config.weights is not None:
            self.weights_, self.offset_ = np.array(self.config.weights, dtype=np.float32), self.config.offset
        elif how.validation is None:
            self.weights_ = np.full(len(members), 1 / len(members), dtype=np.float32)
            self.offset_ = self.config.offset
        else:
            inputs, targets = how.validation.inputs, how.validation.targets
            predicted = np.stack([predicted_at(model.score, inputs, targets) for model in members], axis=1)
            self.weights_, self.offset_ = stacked(predicted, targets.data, self.config.l2)

    def settled_config(self) -> RatingBlendConfig:
        """The settings with the weights, and with what validation chose of each member."""
        update = {
            "members": settled(self.config.members, self.members_),
            "weights": tuple(self.weights_.tolist()),
            "offset": self.offset_,
        }
        return self.config.model_copy(update=update)

    def continuing(self, earlier: Model) -> Self:
        """With no more epochs for a member than its earlier one's, and the earlier weights and offset, unless the config
        gives weights.

        Raises:
            WarmStartError: if those are the weights of other members.
        """
        if not isinstance(earlier, RatingBlend):
            return self
        unfitted = self._unfitted()
        update: dict[str, Any] = {"members": continuing(self.config.members, unfitted, earlier.members_)}
        if self.config.weights is None:
            refuse_other_kinds(unfitted, earlier.members_)
            update |= {"weights": tuple(map(float, earlier.weights_)), "offset": earlier.offset_}
        return type(self)(self.config.model_copy(update=update))

    def _unfitted(self) -> list[Model]:
        return self.config.unfitted()

    def _score(self, histories: csr_array) -> Scores:
        total = np.full(histories.shape, self.offset_, dtype=np.float32)
        for weight, member in zip(self.weights_, self.members_, strict=True):
            if weight > 0:
                total += weight * member.score(histories)
        return np.clip(total, *self.scale_, out=total)

    def _unclipped(self) -> Self:
        model = copy(self)
        model.scale_ = [-np.inf, np.inf]
        model.members_ = [
            member._unclipped() if isinstance(member, RatingModel) else member  # noqa: SLF001 - its own
            for member in self.members_
        ]
        return model

    def _item_similarity(self, wanted: Positions) -> Scores:
        return self._mean([member._item_similarity(wanted) for member in self.members_])  # noqa: SLF001 - its own

    def _user_similarity(self, wanted: Positions) -> Scores:
        return self._mean([member._user_similarity(wanted) for member in self.members_])  # noqa: SLF001 - its own

    def _mean(self, similar: list[Scores]) -> Scores:
        """Mean of the members' similarities by their weights."""
        share = self.weights_ / max(float(self.weights_.sum()), 1e-9)
        return np.tensordot(share, np.stack(similar), axes=1).astype(np.float32)


def stacked(predicted: Values, truth: Values, l2: float) -> tuple[Values, float]:
    """Weights of predictions that come closest to the truth.

    Minimises  ||truth - b - predicted w||^2 + l2 ||w - 1/n||^2  over w >= 0 and b.

    Args:
        predicted: shape (n_ratings, n), a column for each model.
        truth: shape (n_ratings,).
        l2: above 0: models that say the same share the weight.

    Returns:
        ``(w, b)``, w of shape (n,).
    """
    n = predicted.shape[1]
    means, mean = predicted.mean(axis=0, dtype=np.float64), truth.mean(dtype=np.float64)
    left = np.vstack([predicted - means, np.sqrt(l2) * np.eye(n)])
    right = np.concatenate([truth - mean, np.full(n, np.sqrt(l2) / n)])
    # the normal equations have the same answer, and a system of n x n in place of n_ratings x n
    factor = np.linalg.cholesky(left.T @ left)
    found, _ = nnls(factor.T, np.linalg.solve(factor, left.T @ right))
    weights: Values = np.asarray(found, dtype=np.float32)
    return weights, float(mean - means @ weights)
