"""How good one fitted model is on one holdout. Rankings come from the code that serves, `Recommender.rank`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recae.data.splits import Holdout
from recae.errors import EvaluationError
from recae.evaluation import beyond_accuracy as beyond
from recae.evaluation import metrics
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.lists import Places, RankedLists, batches
from recae.evaluation.metrics import Values
from recae.evaluation.specs import MetricSpec, depth
from recae.models.base import Model
from recae.models.ranking import SCORE_BYTES, Positions, Scores
from recae.models.ratings import predicted_at
from recae.recommender import Recommender

OF_ALL_LISTS: Mapping[str, Callable[[NDArray[np.integer[Any]]], float]] = {
    "coverage": beyond.coverage,
    "gini": beyond.gini,
}
"""Metrics of how often each item is shown."""


@dataclass(frozen=True, eq=False)
class Score:
    """One metric of one model."""

    value: float
    per_user: Values | None = None
    """Value of every user with held-out items, in the holdout's order; None where a metric has no such values."""
    by_group: Mapping[str, Values] = field(default_factory=dict)
    """Group of items -> the same with that group's targets alone; NaN for a user without any."""

    @property
    def standard_error(self) -> float | None:
        """Of the mean over users; None for a metric that is no such mean, or for a single user."""
        if self.per_user is None or len(self.per_user) < 2:
            return None
        return float(self.per_user.std(ddof=1) / np.sqrt(len(self.per_user)))


def users_with_targets(holdout: Holdout) -> NDArray[np.int64]:
    """Rows that can be judged; the others have no value, and counting them as 0 would only dilute the mean."""
    return np.flatnonzero(np.diff(holdout.targets.indptr) > 0)


class Ranker(Protocol):
    """What ranks the rows of a holdout: a model of ours in its `Recommender`, or somebody else's."""

    def rank_rows(self, holdout: Holdout, rows: Places, n: int) -> tuple[Positions, Scores]:
        """The n best items of these rows, nothing of ``holdout.seen`` among them; as `recae.models.ranking.top_n`."""

    def score_rows(self, holdout: Holdout, rows: Places) -> Scores:
        """Scores of all items, shape (n_rows, n_items)."""


@dataclass(frozen=True)
class Serving:
    """A model as it serves: rankings come from `Recommender.rank`."""

    recommender: Recommender

    def rank_rows(self, holdout: Holdout, rows: Places, n: int) -> tuple[Positions, Scores]:
        """As `Ranker.rank_rows`."""
        candidates = None if holdout.candidates is None else holdout.candidates[rows]
        return self.recommender.rank(holdout.inputs[rows], n, seen=holdout.seen[rows], candidates=candidates)

    def score_rows(self, holdout: Holdout, rows: Places) -> Scores:
        """As `Ranker.score_rows`."""
        return self.recommender.model.score(holdout.inputs[rows])

    def __repr__(self) -> str:
        return repr(self.recommender.model)


def score_rankings(
    ranker: Ranker,
    holdout: Holdout,
    specs: Sequence[MetricSpec],
    facts: ItemFacts,
    *,
    item_groups: Mapping[str, NDArray[np.bool_]] | None = None,
) -> dict[str, Score]:
    """Rank the whole catalogue, or a row's candidates where the holdout names some, for users with held-out items.

    Args:
        ranker: gives the lists.
        holdout: ``inputs`` are scored, ``seen`` is left out, ``targets`` are to be found.
        specs: metrics of any scope but ``"ratings"``.
        facts: of the training matrix.
        item_groups: name -> bool (n_items,); each metric of scope ``"hits"`` is also computed with the group's targets
            as the only ones.

    Returns:
        A score for each spec, under its text.

    Raises:
        EvaluationError: if no user has held-out items, or a score is NaN: no order exists then.
    """
    rows = users_with_targets(holdout)
    if not len(rows):
        raise EvaluationError("no user has a held-out item; hold out more, or filter less")
    groups = item_groups or {}
    of_hits = [spec for spec in specs if spec.definition.scope == "hits"]
    per_user = {str(spec): np.empty(len(rows)) for spec in specs if spec.definition.scope != "exposure"}
    by_group = {str(spec): {group: np.empty(len(rows)) for group in groups} for spec in of_hits}
    exposure = {
        str(spec): np.zeros(facts.n_items, dtype=np.int64)
        for spec in specs
        if spec.definition.scope == "exposure"
    }
    for places, lists in _ranked(ranker, holdout, rows, specs):
        for spec in specs:
            if spec.definition.scope in {"hits", "lists"}:
                per_user[str(spec)][places] = lists.values(spec, facts)
            elif spec.definition.scope == "exposure":
                exposure[str(spec)] += lists.exposure(spec, facts.n_items)
        for group, members in groups.items() if of_hits else ():
            hits_of_group = lists.of_group(members)
            for spec in of_hits:
                by_group[str(spec)][group][places] = hits_of_group.values(spec)
    if "auc" in per_user:
        per_user["auc"] = np.concatenate(list(_auc(ranker, holdout, rows)))
    return {
        str(spec): Score(OF_ALL_LISTS[spec.name](exposure[str(spec)]))
        if str(spec) in exposure
        else Score(float(per_user[str(spec)].mean()), per_user[str(spec)], by_group.get(str(spec), {}))
        for spec in specs
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


def _ranked(
    ranker: Ranker, holdout: Holdout, rows: Places, specs: Sequence[MetricSpec]
) -> Iterator[tuple[Places, RankedLists]]:
    """The lists of all users, a batch at a time, and where among ``rows`` each batch stands; ranked once."""
    n_targets = np.diff(holdout.targets.indptr)[rows].astype(np.int64)
    reach_targets = any(spec.name == "r_precision" for spec in specs)
    if not depth(specs) and not reach_targets:
        return  # no metric looks at lists
    for places, n_ranks in batches(n_targets, depth(specs), reach_targets=reach_targets):
        ids, scores = ranker.rank_rows(holdout, rows[places], n_ranks)
        _refuse_nan(scores, ranker)
        yield places, RankedLists.of(holdout, rows[places], ids, scores, n_ranks)


def _auc(ranker: Ranker, holdout: Holdout, rows: Places) -> Iterator[Values]:
    step = max(1, SCORE_BYTES // (4 * holdout.targets.shape[1]))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        scores = ranker.score_rows(holdout, some)
        _refuse_nan(scores, ranker)
        candidates = None if holdout.candidates is None else holdout.candidates[some]
        yield metrics.auc(scores, holdout.targets[some], holdout.seen[some], candidates)


def _refuse_nan(scores: NDArray[np.float32], judged: object) -> None:
    if np.isnan(scores).any():
        raise EvaluationError(
            f"{judged!r} gave NaN scores, which have no order; "
            "its training diverged, or a history it cannot take got through"
        )
