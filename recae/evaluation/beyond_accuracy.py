"""What a list is like, whether or not it is right: one function a metric, with formula, range and a tested example.

The functions take one batch of lists:

    ids      int (n_rows, k): columns of the items shown, best rank first.
    shown    bool (n_rows, k): False where the list ran out of items; those ranks do not count.

and give one float64 for each row, but for `coverage` and `gini`, which are of all lists together.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.evaluation.metrics import Hits, Values

Ids: TypeAlias = NDArray[np.integer[Any]]

SMOOTHING = 0.01
"""Share of the history's distribution in the list's, so that a category the list lacks costs a finite amount."""
PAIR_ROWS = 1_024
"""Lists whose items' vectors are summed at a time."""


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
    lengths = np.asarray(directions.multiply(directions).sum(axis=1)).ravel()  # (n_items,), 1 or 0
    for start in range(0, len(ids), PAIR_ROWS):
        rows = slice(start, start + PAIR_ROWS)
        marks = _indicator(ids[rows], shown[rows], directions.shape[0])
        n = shown[rows].sum(axis=1)
        total = marks @ directions  # (rows, n_users): sum of the list's unit vectors
        squared = np.asarray(total.multiply(total).sum(axis=1)).ravel()
        both = squared - marks @ lengths  # twice the sum of cosines over pairs
        n_pairs = n * (n - 1)
        found[rows] = np.where(n_pairs > 0, 1.0 - both / np.maximum(n_pairs, 1), 0.0)
    return found.clip(0.0, 1.0)


def serendipity(
    hits: Hits, ids: Ids, shown: Hits, seen: csr_array, popularity_rank: NDArray[np.integer[Any]]
) -> Values:
    """Right and not obvious: ``hits in first k that the k most popular items do not hold / k``.

    The obvious list is the user's own: the k most popular items that the user may be suggested.

    Args:
        hits: bool (n_rows, k), whether the item at the rank is one the user really took.
        ids: see above.
        shown: see above.
        seen: what may not be suggested, shape (n_rows, n_items).
        popularity_rank: place of each item, 0 for the most popular, shape (n_items,).

    From 0 to 1, and never above precision; 0 for popularity itself.

    Source: Ge, Delgado-Battenfeld & Jannach, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", RecSys 2010, with popularity as the primitive model.

    Here item 2 is found, and so is item 0, which is the most popular but one the user has seen.

    >>> rank = np.array([0, 1, 2, 3])
    >>> serendipity(np.array([[True, True]]), np.array([[2, 1]]), np.array([[True, True]]), csr_array([[1, 0, 0, 0]]), rank)
    array([0.])
    >>> serendipity(np.array([[True, True]]), np.array([[3, 1]]), np.array([[True, True]]), csr_array([[1, 0, 0, 0]]), rank)
    array([0.5])
    """
    n_rows, k = ids.shape
    n_items = len(popularity_rank)
    rows = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(seen.indptr))
    taken = np.sort(rows * n_items + popularity_rank[seen.indices])  # of each row, from its most popular on
    places = np.arange(n_rows, dtype=np.int64)[:, None] * n_items + popularity_rank[ids]
    seen_before = np.searchsorted(taken, places) - seen.indptr[:-1, None]
    obvious = popularity_rank[ids] - seen_before < k  # its place once the seen ones are left out
    return np.asarray((hits & shown & ~obvious).sum(axis=1) / k, dtype=np.float64)


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
    ones = csr_array((np.ones(histories.nnz), histories.indices, histories.indptr), shape=histories.shape)
    wanted = _distributions(ones @ categories)
    given = _distributions(_indicator(ids, shown, categories.shape[0]) @ categories)
    smoothed = (1 - SMOOTHING) * given + SMOOTHING * wanted
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(wanted > 0, wanted * np.log(wanted / smoothed), 0.0)
    return np.asarray(terms.sum(axis=1), dtype=np.float64).clip(0.0)


def _mean_shown(values: NDArray[np.floating[Any]], shown: Hits) -> Values:
    total = np.where(shown, values, 0.0).sum(axis=1, dtype=np.float64)
    return np.asarray(total / np.maximum(shown.sum(axis=1), 1), dtype=np.float64)


def _indicator(ids: Ids, shown: Hits, n_items: int) -> csr_array:
    """1 where the list shows the item, shape (n_rows, n_items)."""
    indptr = np.concatenate([[0], np.cumsum(shown.sum(axis=1))])
    return csr_array((np.ones(indptr[-1]), ids[shown], indptr), shape=(len(ids), n_items))


def _distributions(sums: csr_array) -> Values:
    dense = sums.toarray()
    total = dense.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(dense, total, out=np.zeros_like(dense), where=total > 0))
