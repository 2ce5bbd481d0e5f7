"""Models of different nights on the same questions, each through the recommender that serves it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.data.holdout import Holdout, holdout_for
from recae.data.idmap import IdMap
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.metrics import Values
from recae.evaluation.scoring import score_rankings
from recae.evaluation.specs import MetricSpec
from recae.models.base import Model
from recae.models.ranking import NEVER, Positions, Scores
from recae.recommender import Recommender


@dataclass(frozen=True)
class Judged:
    """What one contender reached on the held-out events."""

    per_user: Values
    """The gate's metric of every judged user, shape (n_users,)."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Every metric by its text."""

    @property
    def mean(self) -> float:
        """Of the gate's metric."""
        return float(self.per_user.mean())


class Contender:
    """A model whose columns are not those of the holdout: items it does not know are never suggested by it.

    Args:
        recommender: the model as it serves.
        items: columns of the holdout.
    """

    def __init__(self, recommender: Recommender, items: IdMap) -> None:
        self._recommender = recommender
        self._n_items = len(items)
        in_holdout = items.find(recommender.items)  # own column -> column of the holdout, or -1
        self._own = np.flatnonzero(in_holdout >= 0).astype(np.int32)
        self._theirs = in_holdout[self._own]
        self._column_of: NDArray[np.int32] = np.where(in_holdout >= 0, in_holdout, 0).astype(np.int32)

    def rank_rows(self, holdout: Holdout, rows: NDArray[np.int64], n: int) -> tuple[Positions, Scores]:
        """As `recae.evaluation.scoring.Ranker.rank_rows`."""
        if not len(self._own):
            return np.zeros((len(rows), 1), dtype=np.int32), np.full((len(rows), 1), NEVER, dtype=np.float32)
        ids, scores = self._recommender.rank(
            self._in_own(holdout.inputs[rows]), n, seen=self._in_own(holdout.seen[rows]), items=self._own
        )
        return self._column_of[ids], scores

    def score_rows(self, holdout: Holdout, rows: NDArray[np.int64]) -> Scores:
        """As `recae.evaluation.scoring.Ranker.score_rows`."""
        scores = np.full((len(rows), self._n_items), NEVER, dtype=np.float32)
        own = self._recommender.model.score(self._in_own(holdout.inputs[rows]))
        scores[:, self._theirs] = own[:, self._own]
        return scores

    def _in_own(self, matrix: csr_array) -> csr_array:
        """The same rows in the model's own columns."""
        taken = csr_array(matrix[:, self._theirs])
        shape = (matrix.shape[0], len(self._recommender.items))
        moved = csr_array((taken.data, self._own[taken.indices], taken.indptr), shape=shape)
        moved.sort_indices()
        return moved

    def __repr__(self) -> str:
        return repr(self._recommender.model)


def judge(
    recommender: Recommender, holdout: Holdout, items: IdMap, facts: ItemFacts, metric: MetricSpec
) -> Judged:
    """Score one model on the holdout.

    Args:
        recommender: of any columns.
        holdout: values as in the log; each model is asked as its kind of feedback wants it.
        items: columns of the holdout.
        facts: of the training matrix.
        metric: what the gate compares.

    Raises:
        EvaluationError: if a score is NaN.
    """
    asked = holdout_for(recommender.model.feedback, holdout)
    specs = list(dict.fromkeys([metric, *(MetricSpec(name, metric.k) for name in ("recall", "coverage"))]))
    scores = score_rankings(Contender(recommender, items), asked, specs, facts)
    per_user = scores[str(metric)].per_user
    if per_user is None:
        raise ValueError(f"{metric} has no value for each user")
    return Judged(per_user, {text: score.value for text, score in scores.items()})


def as_serving(model: Model, items: IdMap) -> Recommender:
    """A model that is not stored yet, as it would serve."""
    return Recommender(model, items)
