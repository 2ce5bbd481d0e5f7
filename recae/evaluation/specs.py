"""Metrics by name: ``"ndcg@100"``, ``"recall_capped@20"``, ``"rmse"``, with the definition a report prints beside them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from recae.errors import ConfigError
from recae.evaluation import metrics
from recae.evaluation.metrics import Counts, Hits, Values

RowMetric: TypeAlias = Callable[[Hits, Counts, int], Values]
Scope: TypeAlias = Literal["hits", "lists", "exposure", "scores", "ratings"]


@dataclass(frozen=True)
class Definition:
    """What one metric is.

    Args:
        text: one line; k stands for the cut-off.
        scope: what it is computed from: a user's hits, the user's list itself, how often all lists show each item,
            the scores of all items, or rating errors.
        better: which direction is better; None where more is not simply better: it selects and wins nothing.
        per_row: the function, for metrics of scope ``"hits"``.
        has_cut: whether it counts the first k ranks only, and is written ``name@k``.
    """

    text: str
    scope: Scope = "hits"
    better: Literal["higher", "lower"] | None = "higher"
    per_row: RowMetric | None = None
    has_cut: bool = True


DEFINITIONS: dict[str, Definition] = {
    "ndcg": Definition(
        "gain 1/log2(rank+1) summed over hits in the first k, over that of an ideal list with min(k, held-out) hits",
        per_row=metrics.ndcg,
    ),
    "recall": Definition(
        "hits in the first k / held-out items (LightGCN, BARS; trec recall)", per_row=metrics.recall
    ),
    "recall_capped": Definition(
        "hits in the first k / min(k, held-out items) (Mult-VAE's recall)", per_row=metrics.recall_capped
    ),
    "precision": Definition("hits in the first k / k", per_row=metrics.precision),
    "map": Definition(
        "precision at each hit in the first k, summed, / held-out items (trec map_cut, ir-measures AP@k)",
        per_row=metrics.average_precision,
    ),
    "map_capped": Definition(
        "precision at each hit in the first k, summed, / min(k, held-out items)",
        per_row=metrics.average_precision_capped,
    ),
    "mrr": Definition("1 / rank of the first hit; 0 without a hit in the first k", per_row=metrics.mrr),
    "hit_rate": Definition("share of users with a hit in the first k", per_row=metrics.hit_rate),
    "r_precision": Definition(
        "hits in the first R / R, R held-out items (trec Rprec)",
        per_row=lambda hits, n_relevant, _depth: metrics.r_precision(hits, n_relevant),
        has_cut=False,
    ),
    "auc": Definition(
        "chance that a held-out item is scored above one that is neither held out nor seen; ties count half",
        scope="scores",
        has_cut=False,
    ),
    "serendipity": Definition(
        "hits in the first k that are not among the user's k most popular unseen items / k", scope="lists"
    ),
    "calibration": Definition(
        "KL divergence of the list's mix of categories from the history's, smoothed by .01, in nats",
        scope="lists",
        better="lower",
    ),
    "diversity": Definition(
        "mean of 1 - cosine of the items' training columns over the pairs in the first k",
        scope="lists",
        better=None,
    ),
    "average_popularity": Definition(
        "mean share of train users who have the item over the first k", scope="lists", better=None
    ),
    "coverage": Definition(
        "share of the catalogue that stands in the first k of at least one user",
        scope="exposure",
        better=None,
    ),
    "gini": Definition(
        "inequality of how often each item of the catalogue stands in a first k: 0 equal, 1 one item alone",
        scope="exposure",
        better=None,
    ),
    "novelty": Definition(
        "mean of -log2(share of train users who have the item) over the first k, in bits",
        scope="lists",
        better=None,
    ),
    "rmse": Definition(
        "root of the mean squared error over all held-out ratings",
        scope="ratings",
        better="lower",
        has_cut=False,
    ),
    "mae": Definition(
        "mean absolute error over all held-out ratings", scope="ratings", better="lower", has_cut=False
    ),
}
"""Every metric there is. Means over users weigh every user with held-out items the same."""


@dataclass(frozen=True)
class MetricSpec:
    """One metric at one cut-off; ``str()`` gives back what `parse` read."""

    name: str
    k: int | None

    @classmethod
    def parse(cls, text: str) -> "MetricSpec":
        """Read ``"name@k"``, or ``"name"`` for metrics without a cut-off.

        Raises:
            ConfigError: if there is no such metric, or the cut-off is missing, superfluous or not a positive number.
        """
        name, at, cut = text.partition("@")
        if name not in DEFINITIONS:
            raise ConfigError(
                f"no metric is called {name!r} (in {text!r}); there are: {', '.join(DEFINITIONS)}"
            )
        if not DEFINITIONS[name].has_cut:
            if at:
                raise ConfigError(f"{text!r} has a cut-off, and {name} has none; write {name!r}")
            return cls(name, None)
        if not re.fullmatch(r"[1-9]\d{0,5}", cut, re.ASCII):
            raise ConfigError(f"{text!r} needs the number of ranks that count, for example '{name}@20'")
        return cls(name, int(cut))

    @property
    def definition(self) -> Definition:
        """What the metric is, without its cut-off."""
        return DEFINITIONS[self.name]

    @property
    def of_ratings(self) -> bool:
        """Whether it is of predicted ratings, rather than of ranked items."""
        return self.definition.scope == "ratings"

    def is_better(self, value: float, than: float) -> bool:
        """Whether ``value`` beats ``than``; never so for a metric where more is not simply better."""
        if self.definition.better == "higher":
            return value > than
        return self.definition.better == "lower" and value < than

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}@{self.k}"


def depth(specs: Sequence[MetricSpec]) -> int:
    """How many ranks these metrics look at; 0 if they look at none."""
    return max((spec.k for spec in specs if spec.k is not None), default=0)
