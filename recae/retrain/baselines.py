"""What a candidate is measured against beside the live model: popularity, and matrix factorisation tuned on validation."""

from collections.abc import Sequence
from typing import Any

from recae.data.holdout import holdout_for, values_for
from recae.data.interactions import Interactions
from recae.data.splits import held_out_users
from recae.errors import DataError
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.specs import MetricSpec
from recae.models import create
from recae.models.base import Model
from recae.retrain.contenders import as_serving, judge

ALS_SETTINGS: Sequence[dict[str, Any]] = (
    {"n_factors": 64, "alpha": 1.0, "l2": 0.05},
    {"n_factors": 64, "alpha": 10.0, "l2": 0.05},
    {"n_factors": 64, "alpha": 10.0, "l2": 10.0},
    {"n_factors": 128, "alpha": 1.0, "l2": 1.0},
    {"n_factors": 128, "alpha": 10.0, "l2": 10.0},
    {"n_factors": 32, "alpha": 1.0, "l2": 0.05},
    {"n_factors": 256, "alpha": 1.0, "l2": 1.0},
    {"n_factors": 32, "alpha": 10.0, "l2": 10.0},
)
"""Tried from the first on, as many as there are trials."""
VALIDATION_USERS = 1_000


def popularity(train: Interactions) -> Model:
    """The most popular items for everybody."""
    return create("popularity").fit(values_for("implicit", train), show_progress=False)


def tuned_als(
    train: Interactions, n_trials: int, metric: MetricSpec, seed: int, *, show_progress: bool = True
) -> tuple[Model, dict[str, Any]]:
    """Matrix factorisation with the best of some settings, and these settings.

    Args:
        train: what may be learned from; a part of its users chooses the settings.
        n_trials: how many settings to try, at least one.
        metric: what chooses.
        seed: of the users drawn.
        show_progress: show bars.
    """
    tried = ALS_SETTINGS[:n_trials]
    best = dict(tried[0])
    if len(tried) > 1:
        n_users = min(VALIDATION_USERS, train.n_users // 10)
        try:
            split = held_out_users(train, validation_users=0, test_users=n_users, seed=seed)
        except (DataError, ValueError):
            split = None  # too few users to choose by
        if split is not None:
            learning, asked = values_for("implicit", split.train), holdout_for("implicit", split.test)
            facts = ItemFacts(learning)
            reached = []
            for settings in tried:
                model = create("als", seed=seed, **settings).fit(learning, show_progress)
                reached.append(
                    judge(as_serving(model, split.train.items), asked, split.train.items, facts, metric).mean
                )
            best = dict(tried[reached.index(max(reached))])
    return create("als", seed=seed, **best).fit(values_for("implicit", train), show_progress), best
