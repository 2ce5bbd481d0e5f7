"""A list that does not say the same thing ten times: re-ranking by maximal marginal relevance."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.models.matrices import unit_rows
from recae.models.ranking import Positions, Scores

POOL = 200
"""The best so many items are put in a new order; further places stay as they are. The number depends neither on the
page nor on its length, so that pages of one request follow each other, whatever their lengths."""


class Diversity:
    """Re-ranking over the items of a training matrix: two items are as alike as the users who chose them.

    Similarity is the cosine of the matrix's columns, each entry counted as 1: the same measure for every model, and
    within [0, 1]. From the first request on it holds the matrix a second time, by item.

    Args:
        histories: the training matrix, shape (n_users, n_items).
    """

    def __init__(self, histories: csr_array) -> None:
        self._histories = histories

    def order(self, ids: Positions, scores: Scores, n: int, diversity: float) -> NDArray[np.int64]:
        """The first places of a ranking in their new order.

        Args:
            ids: columns, best first, shape (k,): ``POOL`` of them or all there are, and n of them at least.
            scores: their scores, shape (k,).
            n: places wanted.
            diversity: from 0, the order as it is, to 1, relevance counts only for the first place.

        Returns:
            Places in ``ids``, shape (min(n, k),). The first m of them do not depend on n.
        """
        vectors = self._users_of[ids[:POOL]]
        chosen = maximal_marginal_relevance(scores[:POOL], vectors, n, diversity)
        return np.concatenate([chosen, np.arange(len(chosen), min(n, len(ids)))])

    @cached_property
    def _users_of(self) -> csr_array:
        """Who chose each item, rows of length 1, shape (n_items, n_users)."""
        chosen = csr_array(
            (
                np.ones(self._histories.nnz, dtype=np.float32),
                self._histories.indices,
                self._histories.indptr,
            ),
            shape=self._histories.shape,
        )
        return unit_rows(csr_array(chosen.T.tocsr()))


def maximal_marginal_relevance(
    relevance: Scores, vectors: csr_array, n: int, diversity: float
) -> NDArray[np.int64]:
    """Items of a pool one after the other, each the best of ``(1 - d) relevance - d similarity to those before it``.

    Relevance is scaled to [0, 1] over the pool; the similarity is the largest to any item chosen before, 0 for the
    first. Of equal values the earlier item is taken, so that d = 0 keeps the order of a pool that comes best first.

    Args:
        relevance: shape (n_pool,), finite.
        vectors: rows of length 1 or 0, shape (n_pool, n_dimensions); the similarity is their inner product.
        n: how many to choose; all, if there are fewer.
        diversity: d, from 0 to 1.

    Returns:
        Rows of the pool in the order they were chosen, shape (min(n, n_pool),).

    Source: Carbonell & Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
    summaries", SIGIR 1998; their lambda is 1 - d.
    """
    n_pool = len(relevance)
    if not n_pool:
        return np.empty(0, dtype=np.int64)
    lowest, highest = float(relevance.min()), float(relevance.max())
    scale = highest - lowest if highest > lowest else 1.0
    worth = (1.0 - diversity) * (relevance.astype(np.float64) - lowest) / scale  # (n_pool,)
    redundancy = np.zeros(n_pool, dtype=np.float64)
    chosen = np.empty(min(n, n_pool), dtype=np.int64)
    bounds = vectors.indptr
    latest = np.zeros(vectors.shape[1], dtype=vectors.dtype)  # the vector of the item chosen last
    for place in range(len(chosen)):
        best = int(np.argmax(worth - diversity * redundancy))
        chosen[place] = best
        worth[best] = -np.inf  # once is enough
        entries = slice(bounds[best], bounds[best + 1])
        columns = vectors.indices[entries]
        latest[columns] = vectors.data[entries]
        np.maximum(redundancy, vectors @ latest, out=redundancy)
        latest[columns] = 0.0
    return chosen
