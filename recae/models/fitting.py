"""Fit a model for use: on everything there is, for as many epochs as held-out users or ratings found best."""

from pathlib import Path
from typing import TypeVar

import numpy as np

from recae.data.holdout import holdout_for, values_for
from recae.data.interactions import Interactions
from recae.data.splits import Order, Split, held_out_users, random_ratings
from recae.errors import DataError
from recae.models.base import Model
from recae.models.warm import Earlier, WarmStart

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
    warm_start_from: Earlier | None = None,
) -> M:
    """Fit to all interactions, and choose the number of epochs on a part that was held out first.

    A model that is trained by epochs is fitted twice: without a share of the users (of the ratings, if it
    predicts ratings; of the choices, if it can score no strangers) to find its best epoch, then to everything for that
    many epochs. A model in closed form,
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
        warm_start_from: a model fitted earlier, to train on from. It knows the answers of the users it learned from,
            so only users new since then are held out. Where these are too few, and for ratings and choices, the training
            takes all its ``epochs``, but no more than the earlier model's did, and a blend keeps its weights.

    Returns:
        A fitted model of the same class, whose ``epochs`` say how long it was trained.

    Raises:
        DataError, FitError: as :meth:`Model.fit`.
        ValueError: if ``validation_share`` is 1 or more.
        CheckpointError: if a checkpoint is damaged, or belongs to a run with other settings or data.
        WarmStartError: if training cannot start from the earlier model.
    """

    def file(phase: str) -> str | None:
        return None if checkpoint is None else f"{checkpoint}.{phase}"

    def start(log: Interactions) -> WarmStart | None:
        return None if warm_start_from is None else warm_start_from.start_of(log)

    split = _split_off(model, interactions, validation_share, seed, warm_start_from)
    if split is not None:
        train, test = values_for(model.feedback, split.train), holdout_for(model.feedback, split.test)
        model.fit(
            train, show_progress, validation=test, checkpoint=file("epochs"), warm_start=start(split.train)
        )
        model = with_best_epochs(model)
    elif warm_start_from is not None:
        model = model.continuing(warm_start_from.model)
    matrix = values_for(model.feedback, interactions)
    return model.fit(matrix, show_progress, checkpoint=file("final"), warm_start=start(interactions))


def with_best_epochs(fitted: M) -> M:
    """An unfitted model with the settings of ``fitted``, and what its validation chose: the best number of epochs."""
    return type(fitted)(fitted.settled_config())


def _split_off(
    model: Model, interactions: Interactions, share: float, seed: int, earlier: Earlier | None
) -> Split | None:
    """What to choose the epoch on, as the test part of a split; None if there is nothing to choose, or too little."""
    if share >= 1:
        raise ValueError(f"validation_share must leave something to learn from, found {share}")
    if not model.chooses_on_validation or share <= 0:
        return None
    if model.feedback == "ratings" or not model.supports_fold_in:
        if share * len(interactions) < FEWEST_HELD_OUT or earlier is not None:
            return None
        return random_ratings(interactions, validation_share=0.0, test_share=share, seed=seed)
    can_be_asked = np.diff(interactions.matrix.indptr) >= 2
    if earlier is not None:
        can_be_asked &= earlier.users is not None
        if earlier.users is not None:
            can_be_asked &= earlier.users.find(interactions.users) < 0
    users = np.flatnonzero(can_be_asked)
    n_users = min(round(share * interactions.n_users), len(users))
    if n_users < FEWEST_HELD_OUT:
        return None
    # what comes next is asked for, or what is missing
    by: Order = "time" if model.feedback == "sequences" else "random"
    try:
        split = held_out_users(
            interactions, validation_users=0, test_users=n_users, by=by, seed=seed, among=users
        )
    except DataError:  # nobody of them has two items that others have too, or nobody else has any
        return None
    return split if len(split.test) >= FEWEST_HELD_OUT else None
