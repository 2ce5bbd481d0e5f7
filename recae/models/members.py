"""What blends share: naming their members, and training on from those of an earlier blend."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, JsonValue
from scipy.sparse import csr_array

from recae.data.holdout import Holdout
from recae.errors import WarmStartError
from recae.models.base import Fit, Model
from recae.models.config import ModelConfig
from recae.models.warm import WarmStart


class Member(ModelConfig):
    """One model of a blend."""

    name: str
    """Its name in the registry."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Its settings; the others keep their defaults."""


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
