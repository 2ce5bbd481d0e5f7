"""Fit a model for use: on everything there is, for as many epochs as held-out users or ratings found best."""

from pathlib import Path
from typing import TypeVar

from recae.data.holdout import holdout_for, values_for
from recae.data.interactions import Interactions
from recae.data.splits import Order, Split, held_out_users, random_ratings
from recae.models.base import Model

M = TypeVar("M", bound=Model)

FEWEST_HELD_OUT = 5
"""With fewer users or ratings held out than this, the best epoch would be found by chance."""


def fit_to_everything(
    model: M,
    interactions: Interactions,
    *,
    validation_share: float = 0.1,
    seed: int = 0,
    show_progress: bool = True,
    checkpoint: Path | None = None,
) -> M:
    """Fit to all interactions, and choose the number of epochs on a part that was held out first.

    A model that is trained by epochs is fitted twice: without a share of the users (of the ratings, if it
    predicts ratings) to find its best epoch, then to everything for that many epochs. A model in closed form,
    or with too little data to hold out, is fitted once.

    Args:
        model: unfitted; its ``epochs`` are the most it may take.
        interactions: to a model of likings every one counts as 1, whatever its value; to a model of sequences
            their times give the order.
        validation_share: held out to find the best epoch; 0 to train for all epochs.
        seed: of what is held out.
        show_progress: show bars.
        checkpoint: training writes its state to files of this name with ``.epochs`` and ``.final`` added, and
            goes on from those it finds there.

    Returns:
        A fitted model of the same class, whose ``epochs`` say how long it was trained.

    Raises:
        DataError, FitError: as :meth:`Model.fit`.
        ArtifactError: if a checkpoint belongs to a run with other settings or data.
    """

    def file(phase: str) -> str | None:
        return None if checkpoint is None else f"{checkpoint}.{phase}"

    split = _split_off(model, interactions, validation_share, seed)
    if split is not None:
        train, test = values_for(model.feedback, split.train), holdout_for(model.feedback, split.test)
        model.fit(train, show_progress, validation=test, checkpoint=file("epochs"))
        model = with_best_epochs(model)
    matrix = values_for(model.feedback, interactions)
    return model.fit(matrix, show_progress, checkpoint=file("final"))


def with_best_epochs(fitted: M) -> M:
    """An unfitted model with the settings of ``fitted``, and the number of epochs its validation found best."""
    log = getattr(fitted, "training_log_", None)
    update = {} if log is None else {"epochs": log["best_epoch"]}
    return type(fitted)(fitted.config.model_copy(update=update))


def _split_off(model: Model, interactions: Interactions, share: float, seed: int) -> Split | None:
    """What to choose the epoch on, as the test part of a split; None if there is nothing to choose, or too little."""
    if "patience" not in type(model.config).model_fields or share <= 0:
        return None
    if model.feedback == "ratings":
        if share * len(interactions) < FEWEST_HELD_OUT:
            return None
        return random_ratings(interactions, validation_share=0.0, test_share=share, seed=seed)
    n_users = round(share * interactions.n_users)
    if n_users < FEWEST_HELD_OUT:
        return None
    by: Order = (
        "time" if model.feedback == "sequences" else "random"
    )  # what comes next is asked for, or what is missing
    return held_out_users(interactions, validation_users=0, test_users=n_users, by=by, seed=seed)
