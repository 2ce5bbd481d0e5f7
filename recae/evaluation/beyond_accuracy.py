"""What a list is like, whether or not it is right: one function a metric, with formula, range and a tested example.

The functions take one batch of lists:

    ids      int (n_rows, k): columns of the items shown, best rank first.
    shown    bool (n_rows, k): False where the list ran out of items; those ranks do not count.

and give one float64 for each row, but for `coverage` and `gini`, which are of all lists together.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.data.holdout import pattern
from recae.evaluation.metrics import Hits, Values

Ids: TypeAlias = NDArray[np.integer[Any]]

SMOOTHING = 0.01
"""Share of the history's distribution in the list's, so that a category the list lacks costs a finite amount."""
CELLS_AT_ONCE = 4_000_000
"""Bound of the numbers that diversity and calibration hold at a time; one list may exceed it alone. 50 MB."""


def coverage(exposure: NDArray[np.integer[Any]]) -> float:
    """Share of the catalogue that is suggested to somebody: ``items in at least one list / n_items``.

    Args:
        exposure: how many lists show the item, shape (n_items,).

    From 0 to 1. Popularity covers little; a random list covers everything, so it is read beside NDCG, never alone.

    >>> coverage(np.array([3, 0, 1, 0]))
    0.5
    """
    return float((np.asarray(exposure) > 0).mean())


def gini(exposure: NDArray[np.integer[Any]]) -> float:
    """How unequally the items are shown: ``sum over i of (2i - n - 1) e_i / (n sum of e)``, e sorted upwards, i from 1.

    Args:
        exposure: how many lists show the item, shape (n_items,).

    From 0 (all equally often) to 1 - 1/n (one item alone). 0 if nothing is shown at all.

    Source: the Gini index as Ricci, Rokach & Shapira, "Recommender Systems Handbook", define it for sales diversity.

    >>> gini(np.array([5, 5, 5, 5])), gini(np.array([0, 0, 0, 7]))
    (0.0, 0.75)
    """
    ordered = np.sort(np.asarray(exposure, dtype=np.float64))
    total, n = ordered.sum(), len(ordered)
    if not total:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def novelty(information: NDArray[np.floating[Any]], shown: Hits) -> Values:
    """How unexpected a list is: mean self-information of its items, in bits.

    Args:
        information: (n_rows, k), ``-log2(share of train users who have it)`` of the item at each rank.
        shown: see above.

    From 0 (everybody in train has all of it) to log2(n_users); an empty list has 0.

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010.

    >>> novelty(np.array([[1.0, 3.0, 9.0]]), np.array([[True, True, False]]))
    array([2.])
    """
    return _mean_shown(information, shown)


def average_popularity(share: NDArray[np.floating[Any]], shown: Hits) -> Values:
    """How well known a list is: mean share of train users who have its items.

    Args:
        share: (n_rows, k), of the item at each rank.
        shown: see above.

    From 0 to 1; an empty list has 0.

    >>> average_popularity(np.array([[0.5, 0.1, 0.9]]), np.array([[True, True, False]]))
    array([0.3])
    """
    return _mean_shown(share, shown)


def diversity(ids: Ids, shown: Hits, directions: csr_array) -> Values:
    """How different the items of one list are: mean of ``1 - cosine`` over its pairs.

    The cosine is of the items' columns in the training matrix (who has them, not how much): 1 for two that the same
    people have, 0 for two that nobody has together.

    Args:
        ids: see above.
        shown: see above.
        directions: `ItemFacts.directions`, shape (n_items, n_users).

    From 0 to 1. A list of fewer than two items has no pairs, and 0.

    Source: Ziegler et al., "Improving recommendation lists through topic diversification", WWW 2005.

    >>> same_takers, others = [1.0, 0.0], [0.0, 1.0]
    >>> directions = csr_array(np.array([same_takers, same_takers, others]))
    >>> diversity(np.array([[0, 1, 2]]), np.array([[True, True, True]]), directions).round(4)
    array([0.6667])
    """
    found = np.zeros(len(ids))
    n_takers = np.diff(directions.indptr)  # (n_items,)
    cells = np.where(shown, n_takers[ids], 0).sum(axis=1, dtype=np.int64)  # at most, of each list's sum
    for rows in _in_budget(cells):
        marks = _indicator(ids[rows], shown[rows], directions.shape[0])
        total = csr_array(marks @ directions)  # (rows, n_users): sum of the list's unit vectors
        n = shown[rows].sum(axis=1)
        both = _row_sums(total, total.data**2) - marks @ (n_takers > 0)  # twice the sum of cosines over pairs
        n_pairs = n * (n - 1)
        found[rows] = np.where(n_pairs > 0, 1.0 - both / np.maximum(n_pairs, 1), 0.0)
    return found.clip(0.0, 1.0)


def serendipity(
    hits: Hits,
    ids: Ids,
    shown: Hits,
    seen: csr_array,
    popularity_rank: NDArray[np.integer[Any]],
    candidates: csr_array | None = None,
) -> Values:
    """Right and not obvious: ``hits in first k that the k most popular items do not hold / k``.

    The obvious list is the user's own: the k most popular items that the user may be suggested.

    Args:
        hits: bool (n_rows, k), whether the item at the rank is one the user really took.
        ids: see above; (n_rows, fewer than k) where the catalogue has fewer than k items.
        shown: see above, shape of ``ids``.
        seen: what may not be suggested, shape (n_rows, n_items).
        popularity_rank: place of each item, 0 for the most popular, shape (n_items,).
        candidates: the only items that may be suggested, shape (n_rows, n_items); None for all.

    From 0 to 1, and never above precision; 0 for popularity itself.

    Source: Ge, Delgado-Battenfeld & Jannach, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", RecSys 2010, with popularity as the primitive model.

    Two hits, and item 0 is seen, so 1 and 2 are the obvious list: first both are in it, then one.

    >>> rank, seen = np.array([0, 1, 2, 3]), csr_array([[1, 0, 0, 0]])
    >>> serendipity(np.array([[True, True]]), np.array([[2, 1]]), np.array([[True, True]]), seen, rank)
    array([0.])
    >>> serendipity(np.array([[True, True]]), np.array([[3, 1]]), np.array([[True, True]]), seen, rank)
    array([0.5])
    """
    k = hits.shape[1]
    right = hits[:, : ids.shape[1]] & shown
    if candidates is None:
        place = popularity_rank[ids] - _more_popular(seen, ids, popularity_rank)
    else:
        left_out = csr_array(pattern(candidates).multiply(pattern(seen)))
        place = _more_popular(candidates, ids, popularity_rank) - _more_popular(
            left_out, ids, popularity_rank
        )
    return np.asarray((right & (place >= k)).sum(axis=1) / k, dtype=np.float64)


def calibration(ids: Ids, shown: Hits, histories: csr_array, categories: csr_array) -> Values:
    """How far the list's mix of categories is from the history's: ``KL(p || 0.99 q + 0.01 p)`` in nats.

    p is the mean category distribution of the history's items, q that of the list's; items without categories do not
    count.

    Args:
        ids: see above.
        shown: see above.
        histories: shape (n_rows, n_items); stored entries count, not their values.
        categories: share of each category in each item, shape (n_items, n_categories).

    From 0 (the same mix) to -ln(0.01) = 4.6 (nothing in common); lower is better. A history without categories has
    nothing to be off from, and 0.

    Source: Steck, "Calibrated recommendations", RecSys 2018.

    >>> drama, comedy = [1.0, 0.0], [0.0, 1.0]
    >>> categories = csr_array(np.array([drama, comedy, drama, comedy]))
    >>> history, shown = csr_array([[1, 1, 0, 0]]), np.array([[True, True]])
    >>> calibration(np.array([[2, 3]]), shown, history, categories)
    array([0.])
    >>> calibration(np.array([[2, 0]]), shown, csr_array([[0, 1, 0, 1]]), categories).round(2)
    array([4.61])
    """
    found = np.zeros(len(ids))
    for rows in _in_budget(np.full(len(ids), categories.shape[1], dtype=np.int64)):
        wanted = _distributions(pattern(histories[rows]) @ categories)  # (rows, n_categories)
        given = _distributions(_indicator(ids[rows], shown[rows], categories.shape[0]) @ categories)
        smoothed = (1 - SMOOTHING) * given + SMOOTHING * wanted
        ratio = np.divide(wanted, smoothed, out=np.ones_like(wanted), where=wanted > 0)
        found[rows] = (wanted * np.log(ratio)).sum(axis=1)
    return found.clip(0.0)


def _mean_shown(values: NDArray[np.floating[Any]], shown: Hits) -> Values:
    total = np.where(shown, values, 0.0).sum(axis=1, dtype=np.float64)
    return np.asarray(total / np.maximum(shown.sum(axis=1), 1), dtype=np.float64)


def _more_popular(
    matrix: csr_array, ids: Ids, popularity_rank: NDArray[np.integer[Any]]
) -> NDArray[np.integer[Any]]:
    """How many of the row's entries are more popular than the item, shape of ``ids``."""
    n_rows, n_items = matrix.shape
    rows = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(matrix.indptr))
    entries = np.sort(rows * n_items + popularity_rank[matrix.indices])  # row by row, most popular first
    wanted = np.arange(n_rows, dtype=np.int64)[:, None] * n_items + popularity_rank[ids]
    return np.searchsorted(entries, wanted) - matrix.indptr[:-1, None]


def _indicator(ids: Ids, shown: Hits, n_items: int) -> csr_array:
    """1 where the list shows the item, shape (n_rows, n_items)."""
    indptr = np.concatenate([[0], np.cumsum(shown.sum(axis=1))])
    return csr_array((np.ones(indptr[-1]), ids[shown], indptr), shape=(len(ids), n_items))


def _in_budget(cells: NDArray[np.int64]) -> Iterator[slice]:
    """Runs of rows whose cells sum up to `CELLS_AT_ONCE` at most, or single rows that have more."""
    bounds = np.cumsum(cells)
    start = 0
    while start < len(cells):
        reached = int(bounds[start - 1]) if start else 0
        end = max(int(np.searchsorted(bounds, reached + CELLS_AT_ONCE, side="right")), start + 1)
        yield slice(start, end)
        start = end


def _row_sums(matrix: csr_array, values: Values) -> Values:
    """Sums of ``values``, aligned with the matrix's entries, over each row."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    sums: Values = np.bincount(rows, weights=values, minlength=matrix.shape[0]).astype(np.float64)
    return sums


def _distributions(sums: csr_array) -> Values:
    dense = sums.toarray()
    total = dense.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(dense, total, out=np.zeros_like(dense), where=total > 0))
