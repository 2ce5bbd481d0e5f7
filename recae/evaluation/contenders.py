"""What stands for election: every combination of a model's settings, and what is refused before any fitting."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from recae.data.holdout import Feedback, Split
from recae.errors import ConfigError, EvaluationError, name_some
from recae.evaluation.datasets import check_refittable
from recae.evaluation.protocol import Protocol
from recae.evaluation.sections import ModelSection, Settings
from recae.models import registry
from recae.models.base import Model

HAS: Mapping[Feedback, str] = {
    "implicit": "counts every interaction as 1",
    "ratings": "is of ratings",
    "sequences": "is of sequences",
}
"""What the values of a split are, in a sentence."""


@dataclass(frozen=True)
class Contender:
    """One combination of settings, and the unfitted model with them."""

    searched: Settings
    unfitted: Model

    def model(self) -> Model:
        """A new model with these settings: a fitted one is kept only while it is the best."""
        return type(self.unfitted)(self.unfitted.config)


def contenders_of(protocol: Protocol, section: ModelSection) -> list[Contender]:
    """An unfitted model for every combination: a wrong name or setting shows here, before any work.

    None for somebody else's scores: there is nothing to fit.

    Raises:
        ConfigError: that names file and key.
    """
    if section.scores is not None:
        return []
    key = "name"
    try:
        fields = registry.config_class(section.name).model_fields
        key = "space"
        _refuse_unknown(section.space, section.name, fields)
        defaults: Settings = {"seed": protocol.seed} if "seed" in fields else {}
        key = "settings"
        if section.search:
            registry.create(section.name, **defaults | section.settings)
            key = "search"
        contenders = [
            Contender(searched, registry.create(section.name, **defaults | section.settings | searched))
            for searched in section.combinations()
        ]
        for contender in contenders:
            contender.unfitted.check_device()
    except ConfigError as error:
        raise ConfigError(f"{protocol.place_of(section)}.{key}: {error}") from error
    return contenders


def _refuse_unknown(space: Collection[str], name: str, fields: Collection[str]) -> None:
    unknown = [setting for setting in space if setting not in fields]
    if unknown:
        raise ConfigError(
            f"{name} has no setting {', '.join(unknown)}; its settings are {', '.join(fields) or 'none'}"
        )


def refuse_dishonest(
    protocol: Protocol, split: Split, section: ModelSection, contenders: Sequence[Contender]
) -> None:
    """Refuse what cannot give an honest number.

    Raises:
        EvaluationError: that names the model and what to do.
    """
    model, n_contenders = contenders[0].unfitted, len(contenders)
    if protocol.metrics.of_ratings and model.feedback != "ratings":
        raise EvaluationError(
            f"{section.title} gives scores, not ratings, so it has no {protocol.metrics.report[0]}; "
            "take it out of this protocol, or use ranking metrics"
        )
    if model.feedback not in {"implicit", protocol.data.feedback}:
        raise EvaluationError(
            f"{section.title} learns from {model.feedback}, but this protocol {HAS[protocol.data.feedback]}; "
            f"set data.feedback = '{model.feedback}', or take it out"
        )
    if split.validation is None and n_contenders > 1:
        raise EvaluationError(
            f"{section.title} has {n_contenders} combinations of settings to choose from and there is no validation "
            "part; hold one out, or fix the settings: they are never chosen on test"
        )
    if split.validation is None and section.refit:
        raise EvaluationError(
            f"{section.title} is to be refitted with what validation found best, and there is no validation part; "
            "hold one out, or leave refit out"
        )
    if section.refit == "only" and n_contenders > 1:
        raise EvaluationError(
            f"{section.title} has {n_contenders} combinations of settings to choose from and refit = 'only', which tries "
            "none on validation; fix the settings, or say refit = true"
        )
    if section.refit:
        check_refittable(split, model.feedback)
    refuse_strangers(model, split, section.title)


def refuse_other_order(model: Model, split: Split, title: str) -> None:
    """Refuse a fitted model that goes by order on a split whose values are no places in time.

    Raises:
        EvaluationError: that names the model, and what to do.
    """
    if model.feedback == "sequences" and split.feedback != "sequences":
        raise EvaluationError(
            f"{title} learns from sequences, but this split {HAS[split.feedback]}; "
            "judge it on split_for('sequences', split), where it is to be fitted too"
        )


def refuse_strangers(model: Model, split: Split, title: str) -> None:
    """Refuse test users that a model was not trained on and cannot score.

    Raises:
        EvaluationError: that names the model, some of the users, and what to do.
    """
    if model.supports_fold_in:
        return
    strangers = [user for user in split.test.users.ids if user not in split.train.users]
    if strangers:
        raise EvaluationError(
            f"{title} cannot score users it was not trained on, and {len(strangers):,} test users are "
            f"held out ({name_some(strangers, 3)}); take it out, or use a split by time or by event"
        )
