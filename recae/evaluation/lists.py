"""The lists of one batch of users, what is right in them, and every metric that follows: nothing is ranked again."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.data.holdout import Holdout
from recae.evaluation import beyond_accuracy as beyond
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.metrics import Values
from recae.evaluation.specs import MetricSpec
from recae.models.ranking import NEVER, Positions, Scores, hits

Places = NDArray[np.int64]

ROWS_AT_ONCE = 16_384
"""Users whose lists are held at a time, up to `USUAL_DEPTH` ranks of them, which take 13 MB; fewer if they are deeper."""
USUAL_DEPTH = 100


def batches(n_targets: NDArray[np.int64], depth: int, *, reach_targets: bool) -> Iterator[tuple[Places, int]]:
    """Places of users to rank together, and how many ranks they need; every place comes once.

    R-precision looks at as many ranks as a user has targets. Users with about as many are then ranked together, so
    that the few with hundreds do not deepen everybody's lists.

    Args:
        n_targets: shape (n_users,).
        depth: ranks that the other metrics look at.
        reach_targets: whether lists are to be as long as the user's targets are many, too.
    """
    order = np.argsort(n_targets, kind="stable") if reach_targets else np.arange(len(n_targets))
    ordered = n_targets[order]
    start = 0
    while start < len(order):
        deepest, end = depth, len(order)
        if reach_targets:
            deepest = max(depth, 2 * int(ordered[start]))
            end = int(np.searchsorted(ordered, deepest, side="right"))
        end = min(end, start + max(1, ROWS_AT_ONCE * USUAL_DEPTH // max(deepest, USUAL_DEPTH)))
        yield order[start:end], max(depth, int(ordered[end - 1])) if reach_targets else depth
        start = end


@dataclass(frozen=True)
class RankedLists:
    """One batch: a row is a user, a column a rank, best first."""

    ids: Positions
    """Item at each rank, shape (n_rows, at most n_ranks): no more than the catalogue has."""
    shown: NDArray[np.bool_]
    """False where a list ran out of items, same shape."""
    found: NDArray[np.bool_]
    """Whether the item is a target, shape (n_rows, n_ranks): misses after a list's end."""
    n_relevant: NDArray[np.int64]
    """Targets of each user, shape (n_rows,)."""
    holdout: Holdout
    rows: Places
    """Of the holdout."""
    targets: csr_array
    """Of these rows."""

    @classmethod
    def of(
        cls, holdout: Holdout, rows: Places, ids: Positions, scores: Scores, n_ranks: int
    ) -> "RankedLists":
        """Judge what `recae.models.ranking.top_n` gave for these rows."""
        targets = holdout.targets[rows]
        shown = scores > NEVER
        found = _filled_up(hits(ids, targets) & shown, n_ranks)
        return cls(ids, shown, found, np.diff(targets.indptr).astype(np.int64), holdout, rows, targets)

    def values(self, spec: MetricSpec, facts: ItemFacts) -> Values:
        """A metric of scope ``"hits"`` or ``"lists"`` for every user, shape (n_rows,)."""
        if spec.definition.per_row is not None:
            return spec.definition.per_row(self.found, self.n_relevant, self._cut(spec))
        ids, shown = self.ids[:, : spec.k], self.shown[:, : spec.k]
        match spec.name:
            case "novelty":
                return beyond.novelty(facts.information[ids], shown)
            case "average_popularity":
                return beyond.average_popularity(facts.share[ids], shown)
            case "diversity":
                return beyond.diversity(ids, shown, facts.directions)
            case "calibration":
                return beyond.calibration(ids, shown, self.holdout.inputs[self.rows], facts.categories)
            case "serendipity":
                return beyond.serendipity(
                    self.found[:, : spec.k],
                    ids,
                    shown,
                    self.holdout.seen[self.rows],
                    facts.popularity_rank,
                    None if self.holdout.candidates is None else self.holdout.candidates[self.rows],
                )
        raise AssertionError(f"no function computes {spec.name}")

    def exposure(self, spec: MetricSpec, n_items: int) -> NDArray[np.int64]:
        """How many of the lists show each item in their first k, shape (n_items,)."""
        return np.bincount(self.ids[:, : spec.k][self.shown[:, : spec.k]], minlength=n_items)

    def of_group(self, members: NDArray[np.bool_]) -> "GroupHits":
        """The same lists with the targets of one group of items as the only ones.

        Args:
            members: which items belong to the group, shape (n_items,).
        """
        among = np.concatenate([[0], np.cumsum(members[self.targets.indices])])
        n_relevant = np.diff(among[self.targets.indptr])  # (n_rows,)
        asked = np.flatnonzero(n_relevant)
        of_members = _filled_up(members[self.ids[asked]], self.found.shape[1])
        return GroupHits(len(n_relevant), asked, self.found[asked] & of_members, n_relevant[asked])

    def _cut(self, spec: MetricSpec) -> int:
        return spec.k or self.found.shape[1]


@dataclass(frozen=True)
class GroupHits:
    """What one group of items contributes to the lists of a batch."""

    n_rows: int
    """Of the whole batch."""
    asked: Places
    """Those with targets in the group."""
    found: NDArray[np.bool_]
    """Of the rows asked, shape (n_asked, n_ranks)."""
    n_relevant: NDArray[np.int64]

    def values(self, spec: MetricSpec) -> Values:
        """A metric of scope ``"hits"``, shape (n_rows,); NaN for a user without targets in the group."""
        values = np.full(self.n_rows, np.nan)
        if len(self.asked) and spec.definition.per_row is not None:
            k = spec.k or self.found.shape[1]
            values[self.asked] = spec.definition.per_row(self.found, self.n_relevant, k)
        return values


def _filled_up(found: NDArray[np.bool_], n_ranks: int) -> NDArray[np.bool_]:
    """Lists of a catalogue with fewer than ``n_ranks`` items, with misses after their end."""
    short = n_ranks - found.shape[1]
    return np.pad(found, ((0, 0), (0, short))) if short else found
