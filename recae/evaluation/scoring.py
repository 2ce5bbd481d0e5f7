"""How good one fitted model is on one holdout. Rankings come from the code that serves, `Recommender.rank`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.data.holdout import pattern
from recae.data.splits import Holdout
from recae.errors import EvaluationError
from recae.evaluation import beyond_accuracy as beyond
from recae.evaluation import metrics
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.metrics import Values
from recae.evaluation.specs import MetricSpec, depth
from recae.models.base import Model
from recae.models.ranking import NEVER, SCORE_BYTES, Positions, Scores, hits
from recae.models.ratings import predicted_at
from recae.recommender import Recommender

Places: TypeAlias = NDArray[np.int64]

OF_ALL_LISTS: Mapping[str, Callable[[NDArray[np.integer[Any]]], float]] = {
    "coverage": beyond.coverage,
    "gini": beyond.gini,
}
"""Metrics of how often each item is shown."""

ROWS_AT_ONCE = 16_384
"""Users whose lists are held at a time: 100 ranks of them take 13 MB."""


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
    n_ranks = _depth(specs, holdout)
    groups = item_groups or {}
    per_user: dict[str, list[Values]] = {
        str(spec): [] for spec in specs if spec.definition.scope in {"hits", "lists"}
    }
    of_group: dict[tuple[str, str], list[Values]] = {}
    exposure = {
        str(spec): np.zeros(facts.n_items, dtype=np.int64)
        for spec in specs
        if spec.definition.scope == "exposure"
    }
    if per_user or exposure:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            lists = _lists(ranker, holdout, rows[start : start + ROWS_AT_ONCE], n_ranks)
            for spec in specs:
                text, k = str(spec), spec.k or n_ranks
                if spec.definition.per_row is not None:
                    per_user[text].append(spec.definition.per_row(lists.found, lists.n_relevant, k))
                    for group, members in groups.items():
                        of_group.setdefault((text, group), []).append(_of_group(lists, members, spec, k))
                elif spec.definition.scope == "lists":
                    per_user[text].append(_of_list(spec.name, lists, k, facts))
                elif text in exposure:
                    shown = lists.ids[:, :k][lists.shown[:, :k]]
                    exposure[text] += np.bincount(shown, minlength=facts.n_items)
    if any(spec.name == "auc" for spec in specs):
        per_user["auc"] = list(_auc(ranker, holdout, rows))
    found: dict[str, Score] = {}
    for spec in specs:
        text = str(spec)
        if text in exposure:
            found[text] = Score(OF_ALL_LISTS[spec.name](exposure[text]))
            continue
        values = np.concatenate(per_user[text])
        by_group = {
            group: np.concatenate(of_group[text, group]) for group in groups if (text, group) in of_group
        }
        found[text] = Score(float(values.mean()), values, by_group)
    return found


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


@dataclass(frozen=True)
class _Lists:
    """The lists of one batch of users, and what is right in them."""

    ids: Positions
    shown: NDArray[np.bool_]
    """False where a list ran out of items."""
    found: NDArray[np.bool_]
    """Whether the item is a target; as deep as the deepest metric, misses after a list's end."""
    targets: csr_array
    n_relevant: NDArray[np.int64]
    inputs: csr_array
    seen: csr_array


def _lists(ranker: Ranker, holdout: Holdout, rows: Places, n_ranks: int) -> _Lists:
    targets = holdout.targets[rows]
    ids, scores = ranker.rank_rows(holdout, rows, n_ranks)
    _refuse_nan(scores, ranker)
    shown = scores > NEVER  # (n_rows, k)
    return _Lists(
        ids,
        shown,
        _filled_up(hits(ids, targets) & shown, n_ranks),
        targets,
        np.diff(targets.indptr).astype(np.int64),
        holdout.inputs[rows],
        holdout.seen[rows],
    )


def _depth(specs: Sequence[MetricSpec], holdout: Holdout) -> int:
    """How many ranks are looked at: R-precision needs as many as the user with the most targets has."""
    most = int(np.diff(holdout.targets.indptr).max(initial=0))
    return max(depth(specs), most if any(spec.name == "r_precision" for spec in specs) else 0)


def _of_list(name: str, lists: _Lists, k: int, facts: ItemFacts) -> Values:
    """A metric of scope ``"lists"`` for every list of the batch."""
    ids, shown = lists.ids[:, :k], lists.shown[:, :k]
    match name:
        case "novelty":
            return beyond.novelty(facts.information[ids], shown)
        case "average_popularity":
            return beyond.average_popularity(facts.share[ids], shown)
        case "diversity":
            return beyond.diversity(ids, shown, facts.directions)
        case "serendipity":
            width = ids.shape[1]
            right = lists.found[:, :width]
            found: Values = beyond.serendipity(right, ids, shown, lists.seen, facts.popularity_rank)
            return np.asarray(found * (width / k))  # the catalogue may have fewer than k items
        case "calibration":
            return beyond.calibration(ids, shown, lists.inputs, facts.categories)
    raise AssertionError(f"no function computes {name}")


def _of_group(lists: _Lists, members: NDArray[np.bool_], spec: MetricSpec, k: int) -> Values:
    """The metric with the group's targets as the only ones; NaN for a user without any."""
    ones = csr_array(
        (members[lists.targets.indices].astype(np.int64), lists.targets.indices, lists.targets.indptr),
        shape=lists.targets.shape,
    )
    n_relevant: NDArray[np.int64] = np.asarray(ones.sum(axis=1))
    values = np.full(len(n_relevant), np.nan)
    asked = np.flatnonzero(n_relevant)
    if len(asked) and spec.definition.per_row is not None:
        found = lists.found[asked] & _filled_up(members[lists.ids[asked]], lists.found.shape[1])
        values[asked] = spec.definition.per_row(found, n_relevant[asked], k)
    return values


def _auc(ranker: Ranker, holdout: Holdout, rows: Places) -> Iterator[Values]:
    step = max(1, SCORE_BYTES // (4 * holdout.targets.shape[1]))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        scores = ranker.score_rows(holdout, some)
        _refuse_nan(scores, ranker)
        if holdout.candidates is None:
            ranked = np.ones(scores.shape, dtype=np.bool_)
        else:
            ranked = pattern(holdout.candidates[some]).toarray() > 0
        ranked[pattern(holdout.seen[some]).toarray() > 0] = False
        yield metrics.auc(scores, holdout.targets[some], ranked)


def _filled_up(found: NDArray[np.bool_], n_ranks: int) -> NDArray[np.bool_]:
    """Lists of a catalogue with fewer than ``n_ranks`` items, with misses after their end."""
    return np.pad(found, ((0, 0), (0, n_ranks - found.shape[1])))


def _refuse_nan(scores: NDArray[np.float32], judged: object) -> None:
    if np.isnan(scores).any():
        raise EvaluationError(
            f"{judged!r} gave {int(np.isnan(scores).sum()):,} NaN scores, which have no order; "
            "its training diverged, or a history it cannot take got through"
        )
