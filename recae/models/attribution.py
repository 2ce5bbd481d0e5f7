"""What each item of a history adds to a score: the part of the contract that explains an answer."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from recae.errors import ModelError
from recae.models import ranking
from recae.models.matrices import as_batch, check_range
from recae.models.neighbours import Neighbours
from recae.models.ranking import Positions, Scores


class Attribution(Neighbours):
    """A fitted model's contributions: how a score comes about.

    By default by leaving each item out in turn; a model whose score is a sum over the history's items writes
    ``_contributions`` and sets ``has_additive_contributions``.
    """

    has_additive_contributions: ClassVar[bool] = False
    """Whether the contributions of a history sum to its scores, but for what no item of the history brings: the score that
    an item has without any (its popularity), and what all items have in common (the mean that a blend takes off). Where
    they do not, each is the fall of the score when this one item is left out; of ratings, before they are clipped."""
    supports_fold_in: ClassVar[bool]
    name: ClassVar[str]

    def contributions(self, history: Any, items: int | ArrayLike) -> Scores:
        """How much each item of a history adds to the scores of some items; negative where it takes away.

        >>> from scipy.sparse import csr_array
        >>> from recae.models import create
        >>> model = create("item_knn").fit(csr_array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
        >>> model.contributions(csr_array([[1.0, 0.0, 1.0]]), [1]).round(2)  # of items 0 and 2 to the score of item 1
        array([[0.82],
               [0.58]], dtype=float32)

        Args:
            history: sparse CSR, shape (1, n_items_); it need not be of a training user.
            items: columns whose scores are to be explained; one, or several.

        Returns:
            Fresh float32 array, shape (n_history, n_asked), in the unit of the scores. Rows are the history's items
            by rising column; zeros are left out first where the values are likings. An empty history has no rows.

        Raises:
            NotFittedError: before ``fit``.
            ValueError: if ``history`` is not one row.
            IndexError: if an item is out of range.
            DataError: if the number of columns differs from the training data, or a value is not finite.
            ModelError: if the model scores no history but those it was trained on.
        """
        self._fitted()
        row = self._checked(history)
        if row.shape[0] != 1:
            raise ValueError(
                f"contributions are of one history, got {row.shape[0]} rows; ask for each by itself"
            )
        asked, _ = as_batch(items)
        check_range(asked, self.n_items_, "items:")
        if not self.supports_fold_in:
            raise ModelError(
                f"{self.name} has a vector for each training user and none for a part of a history, so it cannot say "
                "what an item adds; use a model that folds histories in, such as als, pure_svd or ease"
            )
        if not row.nnz or not len(asked):
            return np.zeros((row.nnz, len(asked)), dtype=np.float32)
        return self._contributions(row, asked)

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        """Contributions (n_history, n_asked) of a canonical row with at least one entry: a fresh array."""
        return left_out_contributions(self._score_items, history, items)

    def _score_items(self, histories: csr_array, items: Positions) -> Scores:
        """Scores of some items alone, (n_rows, n_asked); a model that need not compute the others overrides it."""
        return self._score(histories)[:, items]

    @abstractmethod
    def _score(self, histories: csr_array) -> Scores:
        """Scores of canonical float32 histories."""

    @abstractmethod
    def _checked(self, histories: Any) -> csr_array:
        """Histories in canonical form."""


def left_out_contributions(
    score_items: Callable[[csr_array, Positions], Scores], history: csr_array, items: Positions
) -> Scores:
    """How far the scores of some items fall when each item of a history is left out, in blocks of ``SCORE_BYTES``.

    Args:
        score_items: histories (b, n_items) and columns -> scores (b, n_asked).
        history: shape (1, n_items), canonical.
        items: the columns asked for.

    Returns:
        Shape (n_history, n_asked).
    """
    entries = np.arange(history.nnz)
    whole = score_items(history, items)  # (1, n_asked)
    found = np.empty((history.nnz, len(items)), dtype=np.float32)
    # scores, and the histories themselves
    step = max(1, ranking.SCORE_BYTES // (4 * history.shape[1] + 12 * history.nnz))
    for start in range(0, history.nnz, step):
        left_out = entries[start : start + step]
        found[left_out] = whole - score_items(without_each(history, left_out), items)
    return found


def without_each(history: csr_array, entries: NDArray[np.int_]) -> csr_array:
    """One row over and over, each time without another of its stored entries.

    Args:
        history: shape (1, n_items), canonical.
        entries: which to leave out, by storage order, shape (n_rows,).

    Returns:
        Shape (n_rows, n_items).
    """
    n_left = history.nnz - 1
    kept = np.arange(n_left) + (np.arange(n_left) >= entries[:, None])  # (n_rows, n_left)
    starts = (
        np.arange(0, len(entries) * n_left + 1, n_left) if n_left else np.zeros(len(entries) + 1, dtype=int)
    )
    return csr_array(
        (history.data[kept.ravel()], history.indices[kept.ravel()], starts.astype(np.int32)),
        shape=(len(entries), history.shape[1]),
    )


def weighted_rows(history: csr_array, weights: Any, items: Positions) -> Scores:
    """Contributions ``x_i B_ij`` under item-to-item weights, shape (n_history, n_asked).

    Args:
        history: shape (1, n_items).
        weights: B, dense or CSR, shape (n_items, n_items).
        items: the columns asked for.
    """
    if isinstance(weights, np.ndarray):
        block = weights[np.ix_(history.indices, items)]
    else:
        block = weights[history.indices][:, items].toarray()
    return np.asarray(block * history.data[:, None], dtype=np.float32)
