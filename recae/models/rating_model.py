"""What every model of ratings offers beside the common contract: ratings of single items by single users."""

from copy import copy
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from recae.data.holdout import Holdout
from recae.models.attribution import left_out_contributions
from recae.models.base import Model
from recae.models.matrices import as_batch, check_range
from recae.models.ranking import Positions, Scores
from recae.models.ratings import RatingMeans, Values, predicted_at


class RatingModel(Model):
    """A model whose scores are ratings, on the scale of its training data."""

    feedback = "ratings"

    means_: dict[str, Any]
    """The fields of :class:`~recae.models.ratings.RatingMeans`, the ends of the scale among them; a blend has its
    members' instead."""

    def predict(
        self, userid: int | ArrayLike, itemid: int | ArrayLike, user_items: Any = None
    ) -> np.float32 | Values:
        """The rating to expect of an item by a user, or of a batch of such pairs, clipped to the scale.

        A user without ratings and an item that nobody rated get what the means say.

        Args:
            userid: one id, or an array of them.
            itemid: one id, or as many as there are users.
            user_items: CSR, the history of each user in a row of its own, shape (n, n_items_); ``userid`` then only
                says how many there are. None takes the training rows of these users.

        Returns:
            One rating, or an array of them, shape (n,).

        Raises:
            NotFittedError: before ``fit``.
            IndexError: if an id is out of range.
            ValueError: if users, items and rows are not equally many.
            DataError: if ``user_items`` has other columns than the training data, or a value is not finite.
        """
        self._fitted()
        (users, single), (items, single_item) = as_batch(userid), as_batch(itemid)
        if single != single_item or len(users) != len(items) or users.ndim > 1 or items.ndim > 1:
            raise ValueError(
                "userid and itemid need to be two ids, or two arrays of one length: "
                f"got shapes {np.shape(userid)} and {np.shape(itemid)}"
            )
        check_range(items, self.n_items_, "itemid")
        if user_items is None:
            check_range(users, self.n_users_, "userid")
            known, rows = np.unique(users, return_inverse=True)  # a user's history is folded in once
            histories = self.histories_[known]
        else:
            histories, rows = self._checked(user_items), np.arange(len(users))
            if histories.shape[0] != len(users):
                raise ValueError(
                    "user_items must contain 1 row for every user in userid: "
                    f"got {histories.shape[0]} row(s) for {len(users)} user(s)"
                )
        found = self._predicted(histories, rows, items)
        return found[0] if single else found

    def _predicted(self, histories: csr_array, rows: Any, items: Any) -> Values:
        """Ratings of ``items`` (n,) by the users in ``rows`` (n,) of the histories."""
        order = np.lexsort((items, rows))
        pairs, places = np.unique(np.stack([rows[order], items[order]]), axis=1, return_inverse=True)
        wanted = csr_array(
            (
                np.ones(pairs.shape[1], dtype=np.float32),
                pairs[1],
                np.searchsorted(pairs[0], np.arange(histories.shape[0] + 1)),
            ),
            shape=histories.shape,
        )
        found = np.empty(len(rows), dtype=np.float32)
        found[order] = predicted_at(self._score, histories, wanted)[places.ravel()]
        return found

    @cached_property
    def _is_rated(self) -> NDArray[np.bool_]:
        """Whether anybody rated an item in training, shape (n_items_,): of the others nothing was learned.

        Not stored, so that models stored before it was asked for know it too. A fit that predicts before its end sets it.
        """
        return is_rated(self.histories_)

    def _rated_part(self, histories: csr_array) -> csr_array:
        """The entries of items that somebody rated in training; the same matrix, if there are no others."""
        kept = self._is_rated[histories.indices]
        if kept.all():
            return histories
        bounds = np.concatenate([[0], np.cumsum(kept)])[histories.indptr]
        return csr_array((histories.data[kept], histories.indices[kept], bounds), shape=histories.shape)

    def _added_to_means(self, residuals: Scores, user_offsets: Values) -> Scores:
        """Ratings from residuals (n_rows, n_items_), in place; an item that nobody rated gets what the means say.

        The weights of such an item never had a gradient: its residuals are those of random weights.
        """
        residuals[:, np.flatnonzero(~self._is_rated)] = 0.0
        return RatingMeans(**self.means_).add_to(residuals, user_offsets)

    def _contributions(self, history: csr_array, items: Positions) -> Scores:
        """By leaving out, before ratings are clipped to the scale: at its end nothing would move them any more."""
        return left_out_contributions(self._unclipped()._score_items, history, items)  # noqa: SLF001 - its own

    def _unclipped(self) -> Self:
        """This model with a scale without ends; what was learned is shared, not copied."""
        model = copy(self)
        model.means_ = self.means_ | {"lowest": -np.inf, "highest": np.inf}
        return model

    def _minus_rmse(self, validation: Holdout) -> float:
        """Minus the RMSE of held-out ratings: higher is better."""
        predicted = predicted_at(self._score, validation.inputs, validation.targets)
        return -float(np.sqrt(np.mean((predicted - validation.targets.data) ** 2)))


def is_rated(ratings: csr_array) -> NDArray[np.bool_]:
    """Whether an item has a rating, one of 0 too, shape (n_items,)."""
    found: NDArray[np.bool_] = np.bincount(ratings.indices, minlength=ratings.shape[1]) > 0
    return found
