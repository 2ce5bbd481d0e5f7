"""A blend: what several models say about a history, on one scale, in one weighted sum."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from scipy.sparse import csr_array

from recae.data.holdout import Feedback, Holdout, holdout_for, pattern
from recae.errors import ConfigError
from recae.models import registry
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.matrices import as_asked, training_matrix
from recae.models.members import (
    Blended,
    Member,
    continuing,
    fit_member,
    refuse_other_kinds,
    settled,
    starts_of,
)
from recae.models.ranking import SCORE_BYTES, Positions, Scores, hits, ndcg, top_n

SHARES = np.linspace(0.0, 1.0, 21)
"""What a member's share of the blend is chosen from."""

ROUNDS = 2
"""Times that every share is chosen anew, where there are more than two members; the second changes little."""


class BlendConfig(ModelConfig):
    """Settings of a blend."""

    members: tuple[Member, ...] = Field((Member(name="dan"), Member(name="mult_vae")), min_length=2)
    """Two models or more, each with a ``name`` and ``settings``; none of ratings. A seed among the settings is added to
    the blend's."""
    weights: tuple[NonNegativeFloat, ...] | None = None
    """One for each member. None: chosen on validation; without a validation every member counts the same."""
    cutoff: PositiveInt = 20
    """Weights are chosen by NDCG of so many first items."""
    seed: int = Field(default=0, ge=0)
    """Of every member that has one: same seed, same threads, same model."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for member in self.members:
            if registry.create(member.name, **member.settings).feedback == "ratings":
                raise ConfigError(f"{member.name} predicts ratings; a blend is of models that rank")
        if self.weights is not None and len(self.weights) != len(self.members):
            raise ValueError(
                f"{len(self.weights)} weights for {len(self.members)} members; give one for each"
            )
        if self.weights is not None and not sum(self.weights) > 0:
            raise ValueError("one of the weights must be above 0")
        return self

    def unfitted(self) -> list[Model]:
        """A new model for each member."""
        return [member.unfitted(self.seed) for member in self.members]


class Blend(Blended):
    """The weighted sum of what its members score, each row on a scale of mean 0 and standard deviation 1.

    Members that err in different ways can rank better together than the best of them. Their scores have no common
    unit, and one member's can spread a hundred times wider for one user than for another; so each row is scaled by
    itself.

    ``fit`` fits the members one after the other, then chooses the weights on the validation, by coordinates: the
    share of one member at a time, of ``SHARES``, the others keeping their proportions. With two members that is one
    exhaustive search. Choosing costs one scoring of the validation by all members for each share that is chosen.

    A warm start is one for each member whose kind allows it, from the earlier blend's of that kind; the others, and those
    that are new, are fitted afresh.

    A blend with a member of sequences is of sequences; members that do not go by order see 1 for each place.

    Source: linear combination of standardised scores, after Shaw & Fox, "Combination of multiple searches",
    TREC-2 1994 (CombSUM, there with scores scaled by their range).
    """

    name = "blend"
    config: BlendConfig
    config_class: ClassVar = BlendConfig
    free_settings = frozenset({"weights"})

    weights_: NDArray[np.float32]
    """Of the members; their sum is 1."""

    @property
    def feedback(self) -> Feedback:  # type: ignore[override]  # of other models the class knows, here the config
        """Sequences, if that of a member is."""
        return "sequences" if any(_goes_by_order(member) for member in self._models()) else "implicit"

    @property
    def has_additive_contributions(self) -> bool:  # type: ignore[override]  # as above
        """Whether every member's are."""
        return all(member.has_additive_contributions for member in self._models())

    def retuned(self, config: ModelConfig) -> Self | None:
        """With other weights, if the new config gives some; the members are the same."""
        weights = config.weights if isinstance(config, BlendConfig) else None
        if weights is None:
            return None
        model = super().retuned(config)
        if model is not None:
            model.weights_ = _shares(weights)
        return model

    def settled_config(self) -> BlendConfig:
        """The settings with the weights, and with the best number of epochs of each member."""
        update = {
            "members": settled(self.config.members, self.members_),
            "weights": tuple(map(float, self.weights_)),
        }
        return self.config.model_copy(update=update)

    def continuing(self, earlier: Model) -> Self:
        """With no more epochs for a member than its earlier one's, and the earlier weights, unless the config gives some.

        Raises:
            WarmStartError: if those are the weights of other members.
        """
        if not isinstance(earlier, Blend):
            return self
        unfitted = self.config.unfitted()
        update: dict[str, Any] = {"members": continuing(self.config.members, unfitted, earlier.members_)}
        if self.config.weights is None:
            refuse_other_kinds(unfitted, earlier.members_)
            update["weights"] = tuple(map(float, earlier.weights_))
        return type(self)(self.config.model_copy(update=update))

    # ---------------------------------------------------------------- learning

    @classmethod
    def of_fitted(
        cls,
        config: BlendConfig,
        members: Sequence[Model],
        user_items: Any,
        *,
        validation: Holdout | None = None,
    ) -> Self:
        """The blend that ``fit`` would have made, where its members are fitted already: only weights are chosen.

        Args:
            config: names the same members, in the same order.
            members: fitted to ``user_items``; shared with the blend, not copied.
            user_items: sparse, shape (n_users, n_items), as for ``fit``.
            validation: weights are chosen on it, unless the config gives them.

        Raises:
            ConfigError: if a member has other settings than the config says.
            DataError, FitError: of the matrix and the validation, as :meth:`fit`.
        """
        for wanted, member in zip(config.unfitted(), members, strict=True):
            if (wanted.name, wanted.config) != (member.name, member.config):
                raise ConfigError(
                    f"the blend wants {wanted}, and was given {member}; fit it with these settings"
                )
        blend = cls(config)
        histories = training_matrix(user_items, blend.feedback)
        if validation is not None:
            validation = as_asked(validation, blend.feedback, histories.shape[1])
        blend._weigh(members, validation)
        blend._check_finite()
        blend.histories_ = histories
        return blend

    def check_values(self, histories: csr_array) -> None:
        """As every member does."""
        for member in self.config.unfitted():
            member.check_values(self._as_seen_by(member, histories))

    def _fit(self, histories: csr_array, how: Fit) -> None:
        members = self.config.unfitted()
        for place, (member, start) in enumerate(
            zip(members, starts_of(members, how.warm_start), strict=True)
        ):
            validation = None if how.validation is None else self._asked_of(member, how.validation)
            seen = self._as_seen_by(member, histories)
            fit_member(member, place, seen, how, validation=validation, warm_start=start)
        self._weigh(members, how.validation)

    def _weigh(self, members: Sequence[Model], validation: Holdout | None) -> None:
        """Take fitted members, and the weights of the config, or the best on a validation."""
        self.members_, n_members = list(members), len(members)
        self.weights_ = _shares(self.config.weights or [1.0] * n_members)
        if self.config.weights is None and validation is not None:
            for place in [n_members - 1] if n_members == 2 else [*range(n_members)] * ROUNDS:
                self.weights_ = self._best_share(place, validation)

    def _best_share(self, place: int, validation: Holdout) -> NDArray[np.float32]:
        """The weights with the best share of one member, on a validation; of equally good shares the lowest."""
        itself = np.arange(len(self.members_)) == place
        others = np.where(itself, 0.0, self.weights_)
        others = others if others.any() else np.where(itself, 0.0, 1.0)
        others /= others.sum()
        gained = np.zeros(len(SHARES))
        for rows in _batches(validation):
            targets, seen = validation.targets[rows], validation.seen[rows]
            candidates = None if validation.candidates is None else validation.candidates[rows]
            part, rest = self._apart(place, others, validation.inputs[rows])
            for number, share in enumerate(SHARES):
                scores = np.float32(1.0 - share) * rest + np.float32(share) * part
                ids, _ = top_n(scores, self.config.cutoff, exclude=seen, candidates=candidates)
                found = hits(ids, targets)
                gained[number] += ndcg(found, np.diff(targets.indptr), self.config.cutoff).sum()
        best = SHARES[int(np.argmax(np.round(gained, 9)))]  # rounding: no choice by the order of a sum
        return _shares(np.where(itself, best, (1 - best) * others))

    # ---------------------------------------------------------------- scoring

    def _score(self, histories: csr_array) -> Scores:
        scores = np.zeros(histories.shape, dtype=np.float32)
        for member, weight in zip(self.members_, self.weights_, strict=True):
            if weight:
                scores += weight * standardised(member.score(self._as_seen_by(member, histories)))
        return scores

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        """The members' weighted sum, each on the scale it has in the score; the scale is kept as the history left it.

        The mean that a member's scores lose is the same for all items, and belongs to no item of the history.
        """
        if not self.has_additive_contributions:
            return super()._contributions(history, items)
        found = np.zeros((history.nnz, len(items)), dtype=np.float32)
        for member, weight in zip(self.members_, self.weights_, strict=True):
            if weight:
                seen = self._as_seen_by(member, history)
                deviation = member.score(seen).std()
                found += weight / (deviation or np.float32(1.0)) * member.contributions(seen, items)
        return found

    def _apart(self, place: int, others: NDArray[np.float64], histories: csr_array) -> tuple[Scores, Scores]:
        """What one member says, and what the others say together under their weights, each (n_rows, n_items)."""
        part = rest = np.zeros(histories.shape, dtype=np.float32)
        for number, member in enumerate(self.members_):
            if number == place or others[number]:
                scores = standardised(member.score(self._as_seen_by(member, histories)))
                if number == place:
                    part = scores
                else:
                    rest = rest + np.float32(others[number]) * scores
        return part, rest

    def _item_similarity(self, wanted: Positions) -> Scores:
        return self._weighted([member._item_similarity(wanted) for member in self.members_])  # noqa: SLF001 - own parts

    def _user_similarity(self, wanted: Positions) -> Scores:
        return self._weighted([member._user_similarity(wanted) for member in self.members_])  # noqa: SLF001 - own parts

    def _weighted(self, similarities: Sequence[Scores]) -> Scores:
        total = sum(weight * each for weight, each in zip(self.weights_, similarities, strict=True))
        return np.asarray(total, dtype=np.float32)

    # ---------------------------------------------------------------- members

    def _unfitted(self) -> list[Model]:
        return self.config.unfitted()

    def _as_seen_by(self, member: Model, histories: csr_array) -> csr_array:
        return pattern(histories) if self._hides_order_from(member) else histories

    def _asked_of(self, member: Model, validation: Holdout) -> Holdout:
        return holdout_for("implicit", validation) if self._hides_order_from(member) else validation

    def _hides_order_from(self, member: Model) -> bool:
        return self.feedback == "sequences" and not _goes_by_order(member)


def standardised(scores: Scores) -> Scores:
    """Each row with mean 0 and standard deviation 1 over the items, in place; a row of equal scores becomes 0.

    Args:
        scores: shape (n_rows, n_items).
    """
    scores -= scores.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.einsum("ij,ij->i", scores, scores) / np.float32(scores.shape[1]))
    scores /= np.where(deviation > 0, deviation, np.float32(1.0))[:, None]
    return scores


def _goes_by_order(model: Model) -> bool:
    return model.feedback == "sequences"


def _shares(weights: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float32]:
    """Weights with the sum 1."""
    given = np.asarray(weights, dtype=np.float64)
    return np.asarray(given / given.sum(), dtype=np.float32)


def _batches(validation: Holdout) -> Iterator[NDArray[np.int64]]:
    """Rows with held-out items, so many at a time that a block of scores keeps to its budget."""
    rows = np.flatnonzero(np.diff(validation.targets.indptr))
    step = max(1, SCORE_BYTES // (4 * validation.targets.shape[1]))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
