"""What blends share: what they are by their members, naming these, and training on from those of an earlier blend."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, JsonValue
from scipy.sparse import csr_array

from recae.data.holdout import Holdout
from recae.errors import WarmStartError
from recae.models import registry
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.warm import WarmStart


class Member(ModelConfig):
    """One model of a blend."""

    name: str
    """Its name in the registry."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Its settings; the others keep their defaults."""

    def unfitted(self, seed: int) -> Model:
        """A new model of it, as a member of a blend with this seed, to which its own is added.

        So two members of one kind differ by their own seeds, and the seed of the blend changes both.
        """
        settings = dict(self.settings)
        if "seed" in registry.config_class(self.name).model_fields:
            settings["seed"] = seed + int(str(settings.get("seed", 0)))
        return registry.create(self.name, **settings)


class Blended(Model):
    """A model made of others, its members: it can do what they can, and is stored with what they learned.

    A subclass says in its settings what the members are, and what it makes of their scores.
    """

    members_: list[Model]
    """Fitted, in the order of the settings."""

    @abstractmethod
    def _unfitted(self) -> list[Model]:
        """A new model for each member."""

    def _models(self) -> list[Model]:
        """The members, fitted or not."""
        return self.members_ if "members_" in vars(self) else self._unfitted()

    def _as_seen_by(self, member: Model, histories: csr_array) -> csr_array:
        """The histories of the blend as one of its members is to see them."""
        del member
        return histories

    @property
    def supports_fold_in(self) -> bool:  # type: ignore[override]  # of other models the class knows, here the config
        """Whether every member can score a history that was not in the training data."""
        return all(member.supports_fold_in for member in self._models())

    @property
    def supports_warm_start(self) -> bool:  # type: ignore[override]  # as above
        """Whether a member does."""
        return any(member.supports_warm_start for member in self._models())

    @property
    def keeps_checkpoints(self) -> bool:  # type: ignore[override]  # as above
        """Whether a member does."""
        return any(member.keeps_checkpoints for member in self._models())

    @property
    def reads_all_weights(self) -> bool:  # type: ignore[override]  # as above
        """Whether a member's scoring does."""
        return any(member.reads_all_weights for member in self._models())

    @property
    def chooses_on_validation(self) -> bool:
        """Weights, or the epochs of a member."""
        weights = getattr(self.config, "weights", None)
        return weights is None or any(member.chooses_on_validation for member in self._models())

    def check_device(self) -> None:
        """As the base class does it, for every member."""
        for member in self._unfitted():
            member.check_device()

    def _state(self) -> dict[str, Any]:
        state = super()._state()
        if "members_" in state:  # what all were fitted to is stored once
            state["members_"] = [
                {field: value for field, value in member._state().items() if field != "histories_"}  # noqa: SLF001 - own parts
                for member in self.members_
            ]
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        stored = state.pop("members_", None)
        super()._restore(state)
        if stored is not None:
            members = self._unfitted()
            for member, learned in zip(members, stored, strict=True):
                histories = self._as_seen_by(member, self.histories_)
                member._restore({"histories_": histories} | learned)  # noqa: SLF001 - own parts
            self.members_ = members


def counterparts(members: Sequence[Model], earlier: Sequence[Model]) -> list[Model | None]:
    """For each member the earlier one of its kind, or None: of several of a kind the first for the first, and so on."""
    left = list(earlier)
    found: list[Model | None] = []
    for member in members:
        match = next((before for before in left if before.name == member.name), None)
        left = [before for before in left if before is not match]
        found.append(match)
    return found


def refuse_other_kinds(members: Sequence[Model], earlier: Sequence[Model]) -> None:
    """Keep the weights of some models from being taken for those of others, where nothing is held out to choose new ones.

    Raises:
        WarmStartError: if these are not models of the same kinds in the same order.
    """
    now, before = ([member.name for member in models] for models in (members, earlier))
    if now != before:
        raise WarmStartError(
            f"the blend has the members {', '.join(now)}, the earlier one {', '.join(before)}, and too little "
            "is new to choose weights on; train from the beginning, or set weights"
        )


def starts_of(members: Sequence[Model], start: WarmStart | None) -> list[WarmStart | None]:
    """For each member what it starts from, or None where it is fitted afresh: it is new, or of a kind that keeps nothing.

    Args:
        members: unfitted.
        start: of the blend; None for no warm start at all.

    Raises:
        WarmStartError: if there is a start, and no member has anything to start from.
    """
    if start is None:
        return [None] * len(members)
    earlier: Any = start.model
    found = [
        replace(start, model=before) if before is not None and member.supports_warm_start else None
        for member, before in zip(members, counterparts(members, earlier.members_), strict=True)
    ]
    if not any(found):
        wanted, known = (", ".join(each.name for each in models) for models in (members, earlier.members_))
        raise WarmStartError(
            f"no member of the blend ({wanted}) can start from one of the earlier blend's ({known}); "
            "fit it without a warm start"
        )
    return found


def fit_member(
    member: Model,
    place: int,
    histories: csr_array,
    how: Fit,
    *,
    validation: Holdout | None,
    warm_start: WarmStart | None,
) -> Model:
    """Fit one member of a blend as the blend is to be fitted.

    Args:
        member: unfitted.
        place: its number in the blend, from 0.
        histories: the blend's, as the member is to see them.
        how: the blend's.
        validation: the blend's, as the member is to see it.
        warm_start: the member's own.

    Raises:
        WarmStartError: if the earlier member has layers of other sizes.
    """
    checkpoint = None if how.checkpoint is None else f"{how.checkpoint}.{place}"
    if checkpoint is not None and how.warm_start is not None:
        # A start can turn out to be impossible at a later member; a fit without one then finds no checkpoint of another.
        checkpoint += ".warm"
    try:
        return member.fit(
            histories, how.show_progress, validation=validation, checkpoint=checkpoint, warm_start=warm_start
        )
    except WarmStartError as error:
        raise WarmStartError(f"member {place + 1} of the blend, {member.name}: {error}") from error


def settled(members: Sequence[Member], fitted: Sequence[Model]) -> tuple[Member, ...]:
    """The members with what validation chose of each, such as the best number of epochs, among their settings.

    Args:
        members: of the settings.
        fitted: the models they name.
    """
    found = []
    for member, model in zip(members, fitted, strict=True):
        before, after = (config.model_dump(mode="json") for config in (model.config, model.settled_config()))
        chosen = {field: value for field, value in after.items() if value != before[field]}
        found.append(member.model_copy(update={"settings": member.settings | chosen}))
    return tuple(found)


def continuing(
    members: Sequence[Member], unfitted: Sequence[Model], earlier: Sequence[Model]
) -> tuple[Member, ...]:
    """The members with what :meth:`Model.continuing` takes from the earlier ones among their settings.

    Args:
        members: of the settings.
        unfitted: the models they name.
        earlier: fitted, of the earlier blend.
    """
    found = []
    for member, model, before in zip(members, unfitted, counterparts(unfitted, earlier), strict=True):
        settings, given = model.config.model_dump(mode="json"), {}
        if before is not None:
            after = model.continuing(before).config.model_dump(mode="json")
            given = {field: value for field, value in after.items() if value != settings[field]}
        found.append(member.model_copy(update={"settings": member.settings | given}))
    return tuple(found)
