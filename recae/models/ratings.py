"""What models of ratings share: user and item means to start from, the scale, ratings at single entries, ridge regressions."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv, sposv
from scipy.sparse import csr_array

from recae.errors import ModelError
from recae.models.ranking import SCORE_BYTES, Scores

Values = NDArray[np.float32]


@dataclass(frozen=True)
class RatingMeans:
    """The rating to expect before any taste is known: overall mean + the item's offset + the user's offset.

    Offsets are means of what the earlier terms leave over, shrunk towards 0 as if ``shrinkage`` further
    ratings had left over nothing; so an item or a user with no ratings has offset 0.

    Source: the baseline estimates of Koren, "Factor in the neighbors", TKDD 2010, section 2.1.
    """

    mean: float
    item_offsets: Values  # (n_items,)
    shrinkage: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, ratings: csr_array, shrinkage: float) -> Self:
        """Means of a training matrix, shape (n_users, n_items)."""
        mean = float(ratings.data.mean(dtype=np.float64))
        sums = np.bincount(ratings.indices, weights=ratings.data - mean, minlength=ratings.shape[1])
        counts = np.bincount(ratings.indices, minlength=ratings.shape[1])
        offsets = (sums / np.maximum(counts + shrinkage, 1e-9)).astype(np.float32)
        return cls(mean, offsets, shrinkage, float(ratings.data.min()), float(ratings.data.max()))

    def user_offsets(self, histories: csr_array) -> Values:
        """What each user rates above the mean and the items' offsets, shape (n_rows,)."""
        left = histories.data - self.mean - self.item_offsets[histories.indices]
        counts = np.diff(histories.indptr)
        rows = np.repeat(np.arange(histories.shape[0]), counts)
        sums = np.bincount(rows, weights=left, minlength=histories.shape[0])
        return (sums / np.maximum(counts + self.shrinkage, 1e-9)).astype(np.float32)

    def residuals(self, histories: csr_array) -> csr_array:
        """The ratings less what the means explain: same entries, zeros included."""
        rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
        expected = self.mean + self.item_offsets[histories.indices] + self.user_offsets(histories)[rows]
        left = (histories.data - expected).astype(np.float32)
        return csr_array((left, histories.indices, histories.indptr), shape=histories.shape)

    def add_to(self, residuals: Scores, user_offsets: Values) -> Scores:
        """Ratings from predicted residuals (n_rows, n_items), in place, clipped to the scale of the training data."""
        residuals += self.mean + self.item_offsets
        residuals += user_offsets[:, None]
        return np.clip(residuals, self.lowest, self.highest, out=residuals)

    def as_dict(self) -> dict[str, Any]:
        """The fields, to be stored with a model."""
        return dict(vars(self))


def predicted_at(score: Callable[[csr_array], Scores], histories: csr_array, wanted: csr_array) -> Values:
    """Predicted ratings at the stored entries of ``wanted``, scored in batches that fit ``SCORE_BYTES``.

    Args:
        score: histories (b, n_items) -> ratings (b, n_items).
        histories: what is known of each user, shape (n_rows, n_items).
        wanted: same shape; its values do not matter.

    Returns:
        Shape (wanted.nnz,), in storage order.
    """
    n_rows, n_items = histories.shape
    step = max(1, SCORE_BYTES // (4 * max(n_items, 1)))
    parts = []
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        block = wanted[rows]
        places = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        parts.append(score(histories[rows])[places, block.indices])
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def ridge_rows(residuals: csr_array, codes: Values, l2: float) -> Values:
    """Ridge regression of each row's values on the codes of its columns; only stored entries count.

    Row u of the result is  argmin_w  sum over stored (u, i) of (r_ui - w . codes_i)^2 + l2 ||w||^2,  which is
    0 for an empty row.

    Args:
        residuals: shape (n_rows, n); a stored zero is a value.
        codes: float32, shape (n, n_codes).
        l2: above 0, the same for every row.

    Returns:
        float32, shape (n_rows, n_codes).

    Raises:
        ModelError: if ``l2`` is lost in rounding beside the codes.
    """
    found = np.zeros((residuals.shape[0], codes.shape[1]), dtype=np.float32)
    bounds = residuals.indptr.tolist()
    for row, (start, end) in enumerate(itertools.pairwise(bounds)):
        if end > start:
            found[row] = _ridge(codes[residuals.indices[start:end]], residuals.data[start:end], l2)
    return found


def _ridge(codes: NDArray[Any], values: NDArray[Any], l2: float) -> NDArray[Any]:
    """Weights (n_codes,) for codes (n, n_codes) and values (n,), in the precision of the codes if that will do."""
    is_wide = len(codes) < codes.shape[1]  # take the smaller of the two equivalent systems
    gram = codes @ codes.T if is_wide else codes.T @ codes
    gram.ravel()[:: len(gram) + 1] += l2
    wanted = values if is_wide else codes.T @ values
    solve = sposv if gram.dtype == np.float32 else dposv
    # transposed it is in LAPACK's order, and nothing is copied
    _, solution, failed = solve(gram.T, wanted, overwrite_a=1)
    if not failed:
        return np.asarray(codes.T @ solution if is_wide else solution)
    if codes.dtype == np.float32:
        return _ridge(codes.astype(np.float64), values.astype(np.float64), l2)
    raise ModelError(f"a ridge regression with l2 = {l2:g} has no stable solution; raise l2")
