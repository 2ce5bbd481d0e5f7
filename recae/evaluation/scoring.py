"""How good one fitted model is on one holdout. Rankings come from the code that serves, `Recommender.rank`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recae.data.splits import Holdout
from recae.errors import EvaluationError
from recae.evaluation import metrics
from recae.evaluation.metrics import Values
from recae.evaluation.specs import MetricSpec, depth
from recae.models.base import Model
from recae.models.ranking import NEVER, hits
from recae.models.ratings import predicted_at
from recae.recommender import Recommender

ROWS_AT_ONCE = 16_384
"""Users whose lists are held at a time: 100 ranks of them take 13 MB."""


@dataclass(frozen=True, eq=False)
class Score:
    """One metric of one model."""

    value: float
    per_user: Values | None = None
    """Value of every user with held-out items, in the holdout's order; None where a metric has no such values."""

    @property
    def standard_error(self) -> float | None:
        """Of the mean over users; None for a metric that is no such mean, or for a single user."""
        if self.per_user is None or len(self.per_user) < 2:
            return None
        return float(self.per_user.std(ddof=1) / np.sqrt(len(self.per_user)))


def users_with_targets(holdout: Holdout) -> NDArray[np.int64]:
    """Rows that can be judged; the others have no value, and counting them as 0 would only dilute the mean."""
    return np.flatnonzero(np.diff(holdout.targets.indptr) > 0)


def score_rankings(
    recommender: Recommender, holdout: Holdout, specs: Sequence[MetricSpec], information: Values
) -> dict[str, Score]:
    """Rank the whole catalogue, or a row's candidates where the holdout names some, for users with held-out items.

    Args:
        recommender: around the fitted model.
        holdout: ``inputs`` are scored, ``seen`` is left out, ``targets`` are to be found.
        specs: metrics of scope ``"hits"`` and ``"lists"``.
        information: `metrics.self_information` of the training matrix, for novelty.

    Returns:
        A score for each spec, under its text.

    Raises:
        EvaluationError: if no user has held-out items, or a score is NaN: no order exists then.
    """
    rows = users_with_targets(holdout)
    if not len(rows):
        raise EvaluationError("no user has a held-out item; hold out more, or filter less")
    n_items = holdout.targets.shape[1]
    n_ranks = depth(specs)
    per_user: dict[str, list[Values]] = {str(spec): [] for spec in specs}
    covered = {str(spec): np.zeros(n_items, dtype=np.bool_) for spec in specs if spec.name == "coverage"}
    for start in range(0, len(rows), ROWS_AT_ONCE):
        batch = rows[start : start + ROWS_AT_ONCE]
        targets = holdout.targets[batch]
        candidates = None if holdout.candidates is None else holdout.candidates[batch]
        ids, scores = recommender.rank(
            holdout.inputs[batch], n_ranks, seen=holdout.seen[batch], candidates=candidates
        )
        _refuse_nan(scores, recommender.model)
        shown = scores > NEVER  # (n_rows, k); False where the list ran out of items
        found = _filled_up(hits(ids, targets) & shown, n_ranks)
        n_relevant = np.diff(targets.indptr).astype(np.int64)
        for spec in specs:
            k = spec.k or n_ranks
            if spec.definition.per_row is not None:
                per_user[str(spec)].append(spec.definition.per_row(found, n_relevant, k))
            elif spec.name == "novelty":
                per_user[str(spec)].append(metrics.novelty(information[ids[:, :k]], shown[:, :k]))
            else:
                covered[str(spec)][ids[:, :k][shown[:, :k]]] = True
    means = {text: np.concatenate(parts) for text, parts in per_user.items() if parts}
    return {
        text: Score(float(means[text].mean()), means[text])
        if text in means
        else Score(metrics.coverage(covered[text]))
        for text in per_user
    }


def score_ratings(model: Model, holdout: Holdout, specs: Sequence[MetricSpec]) -> dict[str, Score]:
    """Predict every held-out rating, a bounded batch of users at a time.

    Args:
        model: fitted, of ratings.
        holdout: ``inputs`` are scored; the values of ``targets`` are the truth.
        specs: metrics of scope ``"ratings"``.

    Returns:
        A score for each spec, under its text.

    Raises:
        EvaluationError: if nothing is held out, or a prediction is NaN.
    """
    rows = users_with_targets(holdout)
    if not len(rows):
        raise EvaluationError("no rating is held out; hold out more, or filter less")
    targets = holdout.targets[rows]
    predicted = predicted_at(model.score, holdout.inputs[rows], targets)  # (nnz of targets,)
    _refuse_nan(predicted, model)
    errors = {"rmse": metrics.rmse, "mae": metrics.mae}
    return {str(spec): Score(errors[spec.name](predicted, targets.data)) for spec in specs}


def _filled_up(found: NDArray[np.bool_], n_ranks: int) -> NDArray[np.bool_]:
    """Lists of a catalogue with fewer than ``n_ranks`` items, with misses after their end."""
    return np.pad(found, ((0, 0), (0, n_ranks - found.shape[1])))


def _refuse_nan(scores: NDArray[np.float32], model: Model) -> None:
    if np.isnan(scores).any():
        raise EvaluationError(
            f"{model!r} gave {int(np.isnan(scores).sum()):,} NaN scores, which have no order; "
            "its training diverged, or a history it cannot take got through"
        )
