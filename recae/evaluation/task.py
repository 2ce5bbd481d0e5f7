"""What the models of a protocol share: the split, and how a fitted model is judged on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recae.data.catalogue import Catalogue
from recae.data.splits import Holdout, Split
from recae.evaluation.datasets import split_for
from recae.evaluation.examples import Asked, asked_examples, predicted_for, suggested_for
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.metrics import Values
from recae.evaluation.outsiders import Outsider, ScoreTable
from recae.evaluation.protocol import Protocol
from recae.evaluation.scoring import Ranker, Score, Serving, score_rankings, score_ratings, users_with_targets
from recae.evaluation.specs import MetricSpec, depth
from recae.models.base import Model
from recae.recommender import Recommender

CURVE_RANKS = (1, 2, 3, 5, 10, 20, 50, 100)
"""Cut-offs of the curves, as far as the lists are deep."""


@dataclass(frozen=True)
class Tested:
    """All that one meeting with the test part gave."""

    scores: Mapping[str, Score]
    """Of the reported metrics, by their text."""
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Metric -> cut-off -> value."""
    lists: tuple[tuple[str, ...], ...] = ()
    """The first suggestions for each example user, as item ids."""
    predicted: tuple[tuple[float, ...], ...] = ()
    """The rating of each of an example user's targets."""

    measured: Mapping[str, float] = field(default_factory=dict)
    """What the fit measured of the model."""

    @property
    def per_user(self) -> dict[str, Values]:
        """Value of every judged user, by metric, where users have one."""
        return {text: score.per_user for text, score in self.scores.items() if score.per_user is not None}

    def by_item_group(self, group: str) -> dict[str, Values]:
        """The same with the targets of one group of items alone."""
        return {text: score.by_group[group] for text, score in self.scores.items() if group in score.by_group}


class Task:
    """The split of one seed, and what judges on it."""

    def __init__(self, protocol: Protocol, split: Split, catalogue: Catalogue | None = None) -> None:
        self.split = split
        self.seed = protocol.seed
        self.metrics = protocol.metrics
        self.judged = users_with_targets(split.test)
        self.examples: Asked = asked_examples(split, self.judged)
        self.facts = ItemFacts(split.train.matrix, split.train.items, catalogue)
        if any(spec.name == "calibration" for spec in [*self.metrics.reported, self.metrics.selecting]):
            _ = self.facts.categories  # without any, this refuses now, and not after hours of fitting
        self._unordered = split_for("implicit", split) if split.feedback == "sequences" else None

    def split_for(self, model: Model | Outsider) -> Split:
        """The split as the model is to see it: what does not go by order sees ones in place of places."""
        if self._unordered is not None and model.feedback != "sequences":
            return self._unordered
        return self.split

    def validation_value(self, model: Model | Outsider) -> float | None:
        """The number that chooses; None without a validation part."""
        validation = self.split_for(model).validation
        if validation is None or isinstance(model, ScoreTable):  # a table is of the test users alone
            return None
        spec = self.metrics.selecting
        return self._scores(model, validation, [spec])[str(spec)].value

    def prefers(self, value: float | None, than: float | None) -> bool:
        """Whether validation prefers the first value; of equal ones neither."""
        return value is not None and than is not None and self.metrics.selecting.is_better(value, than)

    def tested(self, fitted: Model | Outsider, test: Holdout | None = None) -> Tested:
        """Judge a fitted model on the test part.

        Args:
            fitted: knows the items of train.
            test: in place of the split's own, for a model that was refitted.
        """
        test = self.split_for(fitted).test if test is None else test
        measured = fitted.measured if isinstance(fitted, Model) else {}
        if self.metrics.of_ratings and isinstance(fitted, Model):
            scores = self._scores(fitted, test, self.metrics.reported)
            return Tested(
                scores, predicted=predicted_for(fitted, test, self.examples.rows), measured=measured
            )
        curve = self._curve_specs()
        specs = list(dict.fromkeys([*self.metrics.reported, *curve]))
        scores = score_rankings(
            self._ranker(fitted), test, specs, self.facts, item_groups=self.facts.popularity_groups
        )
        curves: dict[str, dict[int, float]] = {}
        for spec in curve:
            curves.setdefault(spec.name, {})[spec.k or 0] = scores[str(spec)].value
        lists = suggested_for(self._ranker(fitted), test, self.split.train.items, self.examples.rows)
        reported = {str(spec): scores[str(spec)] for spec in self.metrics.reported}
        return Tested(reported, curves, lists, measured=measured)

    def _scores(
        self, model: Model | Outsider, holdout: Holdout, specs: Sequence[MetricSpec]
    ) -> dict[str, Score]:
        """Score of each metric on the holdout, through the code that serves."""
        if self.metrics.of_ratings and isinstance(model, Model):
            return score_ratings(model, holdout, specs)
        return score_rankings(self._ranker(model), holdout, specs, self.facts)

    def _ranker(self, model: Model | Outsider) -> Ranker:
        if isinstance(model, Model):
            return Serving(Recommender(model, self.split.train.items))
        return model

    def _curve_specs(self) -> list[MetricSpec]:
        """The reported metrics, and coverage, at every rank of the curves that the lists reach."""
        deepest = depth(self.metrics.reported)
        if not deepest:
            return []  # of AUC and R-precision alone: neither has cut-offs
        ranks = sorted({k for k in CURVE_RANKS if k < deepest} | {deepest})
        names = dict.fromkeys(
            [spec.name for spec in self.metrics.reported if spec.k is not None] + ["coverage"]
        )
        return [MetricSpec(name, int(k)) for name in names for k in ranks]


def judged_users(task: Task) -> tuple[str, ...]:
    """Ids of the users that have a value, in the order of all per-user values."""
    return tuple(map(str, task.split.test.users.ids[np.asarray(task.judged)]))
