"""What the numbers mean: one function a metric, each with formula, range and an example that a test runs.

Here is what tells right from wrong; what a list is like beyond that is in `recae.evaluation.beyond_accuracy`.
Ranking metrics take one batch of users:

    hits        bool (n_rows, n_ranks): is the item at this rank one the user really took? Best rank first.
    n_relevant  int (n_rows,): how many items of the user were held out, 1 or more; found or not.
    k           how many ranks count, 1 to n_ranks.

and give one float64 for each row; a report shows their mean over users. A list that ran out of items before rank
k is filled up with False: a missing suggestion is a wrong one. Users without held-out items have no value at all
and belong outside the batch.

Which items stand at which rank is decided by `recae.models.ranking.top_n`: best score first, and of equal scores
the lower column first.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.models import ranking

WORTH_SORTING = 80
"""From so many targets in one row, sorting its scores once costs less than comparing each target with all of them."""

Hits: TypeAlias = NDArray[np.bool_]
Counts: TypeAlias = NDArray[np.int_]
Values: TypeAlias = NDArray[np.float64]


def recall(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Share of the held-out items that are found: ``hits in first k / n_relevant``.

    From 0 to 1, and 1 is out of reach for a user with more than k held-out items. This is the Recall of NGCF,
    LightGCN and BARS, and trec_eval's ``recall``.

    >>> recall(np.array([[True, False, True]]), np.array([4]), k=3)
    array([0.5])
    """
    return _found(hits, n_relevant, k) / n_relevant


def recall_capped(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Share of what could be found that is found: ``hits in first k / min(k, n_relevant)``.

    From 0 to 1, and 1 is in reach of every user. This is the Recall of Mult-VAE and of most held-out-user tables;
    it is never lower than `recall`, so the two must not be compared.

    >>> recall_capped(np.array([[True, False, True]]), np.array([4]), k=3).round(4)
    array([0.6667])
    """
    return _found(hits, n_relevant, k) / np.minimum(n_relevant, k)


def precision(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Share of the first k that is right: ``hits in first k / k``.

    From 0 to 1, and never above ``n_relevant / k``. Short lists are divided by k too.

    >>> precision(np.array([[True, False, True, False]]), np.array([4]), k=4)
    array([0.5])
    """
    return _found(hits, n_relevant, k) / k


def hit_rate(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Whether anything is right: 1 if one of the first k is a hit, else 0.

    The mean over users is the share of users who found something.

    >>> hit_rate(np.array([[False, True], [False, False]]), np.array([1, 1]), k=2)
    array([1., 0.])
    """
    return (_found(hits, n_relevant, k) > 0).astype(np.float64)


def mrr(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Reciprocal rank of the first hit: ``1 / its rank``, and 0 without a hit in the first k.

    From 0 to 1; the mean over users is the mean reciprocal rank.

    >>> mrr(np.array([[False, True, True], [False, False, False]]), np.array([2, 2]), k=3)
    array([0.5, 0. ])
    """
    found = _found(hits, n_relevant, k)
    first_rank = hits[:, :k].argmax(axis=1) + 1  # (n_rows,); rank 1 where there is no hit
    return np.where(found > 0, 1.0 / first_rank, 0.0)


def ndcg(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Discounted gain over the best reachable one: ``sum over hits of 1/log2(rank + 1) / ideal``.

    Gains are 0 or 1. The ideal list has its ``min(k, n_relevant)`` hits in front, so 1 is in reach of every user.
    From 0 to 1; trec_eval's ``ndcg_cut`` with binary judgements.

    Here hits at ranks 1 and 3 of 3, four items held out: (1 + 1/2) / (1 + 0.6309 + 1/2).

    >>> ndcg(np.array([[True, False, True]]), np.array([4]), k=3).round(4)
    array([0.7039])
    """
    _found(hits, n_relevant, k)  # its checks
    return np.asarray(ranking.ndcg(hits, n_relevant, k), dtype=np.float64)


def average_precision(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Mean precision at the hits: ``sum over hits in first k of precision@rank / n_relevant``.

    From 0 to 1, and 1 is out of reach for a user with more than k held-out items. This is trec_eval's ``map_cut``
    and ir-measures' ``AP@k``; the mean over users is MAP@k.

    Here (1/1 + 2/3) / 4.

    >>> average_precision(np.array([[True, False, True]]), np.array([4]), k=3).round(4)
    array([0.4167])
    """
    return _summed_precision(hits, n_relevant, k) / n_relevant


def average_precision_capped(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Mean precision at the hits, over those in reach: as `average_precision`, divided by ``min(k, n_relevant)``.

    From 0 to 1, and 1 is in reach of every user. This is the MAP@k of the RecSys challenges.

    Here (1/1 + 2/3) / 3.

    >>> average_precision_capped(np.array([[True, False, True]]), np.array([4]), k=3).round(4)
    array([0.5556])
    """
    return _summed_precision(hits, n_relevant, k) / np.minimum(n_relevant, k)


def r_precision(hits: Hits, n_relevant: Counts) -> Values:
    """Precision at the rank where all could have been found: ``hits in first R / R``, R held-out items.

    From 0 to 1, and 1 is in reach of every user; precision and recall are the same at this rank. trec_eval's
    ``Rprec``. The lists must be as deep as the largest R.

    Here two items are held out, and one of the first two is right.

    >>> r_precision(np.array([[True, False, True]]), np.array([2]))
    array([0.5])
    """
    _found(hits, n_relevant, hits.shape[1])  # its checks
    if (n_relevant > hits.shape[1]).any():
        raise ValueError(f"a row has {n_relevant.max()} held-out items, and lists are {hits.shape[1]} deep")
    within = np.arange(hits.shape[1]) < n_relevant[:, None]  # (n_rows, n_ranks)
    return np.asarray((hits & within).sum(axis=1) / n_relevant, dtype=np.float64)


def auc(
    scores: NDArray[np.floating[Any]],
    targets: csr_array,
    left_out: csr_array,
    candidates: csr_array | None = None,
) -> Values:
    """Chance that a held-out item is scored above another one: ``(pairs in order + ties / 2) / pairs``.

    Pairs of one held-out item and one that is neither held out nor left out of the ranking. From 0 to 1; a random
    order has .5, and so has a user without such pairs. It counts the far end of the ranking as much as the first
    places, so it is read beside NDCG.

    Args:
        scores: shape (n_rows, n_items), without NaN.
        targets: what was held out, same shape; stored entries count, not their values, here and below.
        left_out: what may not be suggested, same shape.
        candidates: the only items that were to be ranked, same shape; None for all.

    Here the held-out item beats one of two others, and ties with the second.

    >>> nothing = csr_array((1, 3))
    >>> auc(np.array([[3.0, 3.0, 1.0]]), csr_array([[1, 0, 0]]), nothing)
    array([0.75])
    """
    found = np.full(len(scores), 0.5)
    for row, of_row in enumerate(scores):
        wanted = _columns(targets, row)
        no_others = np.union1d(wanted, _columns(left_out, row))
        if candidates is None:  # all, less the few that do not count
            beaten = _beaten(of_row, of_row[wanted]) - _beaten(of_row[no_others], of_row[wanted])
            n_others = len(of_row) - len(no_others)
        else:
            others = np.setdiff1d(_columns(candidates, row), no_others)
            beaten, n_others = _beaten(of_row[others], of_row[wanted]), len(others)
        if n_others and len(wanted):
            found[row] = beaten.sum() / (n_others * len(wanted))
    return found


def rmse(predicted: NDArray[np.floating[Any]], actual: NDArray[np.floating[Any]]) -> float:
    """Root mean squared error over all held-out ratings, in rating units: ``sqrt(mean((predicted - actual)^2))``.

    From 0 upwards, lower is better. Every rating weighs the same, so active users weigh more.

    >>> rmse(np.array([4.0, 2.0]), np.array([5.0, 5.0])).__round__(4)
    2.2361
    """
    return float(np.sqrt(np.mean(_errors(predicted, actual) ** 2)))


def mae(predicted: NDArray[np.floating[Any]], actual: NDArray[np.floating[Any]]) -> float:
    """Mean absolute error over all held-out ratings, in rating units: ``mean(|predicted - actual|)``.

    From 0 upwards, lower is better; never above `rmse`.

    >>> mae(np.array([4.0, 2.0]), np.array([5.0, 5.0]))
    2.0
    """
    return float(np.mean(np.abs(_errors(predicted, actual))))


def _found(hits: Hits, n_relevant: Counts, k: int) -> NDArray[np.int64]:
    """Hits in the first k of each row, after the checks that all ranking metrics share."""
    if hits.ndim != 2 or hits.dtype != np.bool_:
        raise ValueError(
            f"hits must be a bool array (n_rows, n_ranks), not {hits.dtype} of shape {hits.shape}"
        )
    if n_relevant.shape != (len(hits),):
        raise ValueError(
            f"n_relevant must have one count for each of {len(hits)} rows, not {n_relevant.shape}"
        )
    if not 1 <= k <= hits.shape[1]:
        raise ValueError(
            f"k must be from 1 to the {hits.shape[1]} ranks given, not {k}; fill short lists with False"
        )
    if (n_relevant < 1).any():
        raise ValueError("n_relevant must be 1 or more: leave users without held-out items out of the batch")
    if (hits.sum(axis=1) > n_relevant).any():
        raise ValueError("a row has more hits than held-out items: one item stands in its list twice")
    return np.asarray(hits[:, :k].sum(axis=1, dtype=np.int64))


def _summed_precision(hits: Hits, n_relevant: Counts, k: int) -> Values:
    """Precision at the rank of each hit in the first k, summed over the hits, shape (n_rows,)."""
    _found(hits, n_relevant, k)  # its checks
    first = hits[:, :k]
    precision_at = first.cumsum(axis=1) / np.arange(1, k + 1)  # (n_rows, k)
    return np.asarray(np.where(first, precision_at, 0.0).sum(axis=1), dtype=np.float64)


def _columns(matrix: csr_array, row: int) -> NDArray[np.int32]:
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]])


def _beaten(others: NDArray[np.floating[Any]], wanted: NDArray[np.floating[Any]]) -> Values:
    """How many of the others each wanted score is above, a tie for a half, shape of ``wanted``."""
    if len(wanted) < WORTH_SORTING:
        twice = [np.count_nonzero(others < score) + np.count_nonzero(others <= score) for score in wanted]
        return np.array(twice, dtype=np.float64) / 2
    ordered = np.sort(others)
    return (np.searchsorted(ordered, wanted) + np.searchsorted(ordered, wanted, side="right")) / 2


def _errors(predicted: NDArray[np.floating[Any]], actual: NDArray[np.floating[Any]]) -> Values:
    if predicted.shape != actual.shape or predicted.ndim != 1 or not len(actual):
        raise ValueError(
            f"predicted {predicted.shape} and actual {actual.shape} must be equally long lists with at least one rating"
        )
    return predicted.astype(np.float64) - actual.astype(np.float64)
