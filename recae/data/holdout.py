"""What a split consists of: interactions to learn from, and questions with known answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.errors import DataError

if TYPE_CHECKING:  # both bring pandas, which nothing that serves a model needs
    from recae.data.events import Times
    from recae.data.interactions import Interactions

Feedback: TypeAlias = Literal["implicit", "ratings", "sequences"]
"""What the values of a matrix mean: 1 for every interaction, ratings, or places in time."""


@dataclass(frozen=True, eq=False)
class Holdout:
    """Questions and their answers: score ``inputs``, leave out ``seen``, look for ``targets``."""

    inputs: csr_array
    """Histories given to the model, shape (n_rows, n_items); columns are those of the training matrix."""
    targets: csr_array
    """What was held out, same shape; at least one entry in every row."""
    users: IdMap
    """Who stands behind each row."""
    seen: csr_array = None  # type: ignore[assignment]  # __post_init__ fills it in
    """What may not be recommended, same shape; the inputs unless given."""
    input_times: "Times | None" = None
    """Seconds since 1970 of every input, aligned with ``inputs.data``; None if the log had no times."""
    candidates: csr_array | None = None
    """The only items to rank for each row, its targets among them, same shape; None for the whole catalogue."""
    target_times: "Times | None" = None
    """Seconds since 1970 of every target, aligned with ``targets.data``; None if the log had no times."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", self.inputs if self.seen is None else self.seen)
        shapes = {self.inputs.shape, self.targets.shape, self.seen.shape}
        if len(shapes) > 1 or self.inputs.shape[0] != len(self.users):
            raise DataError(
                f"inputs, targets, seen and {len(self.users)} users must agree; found shapes {shapes}"
            )
        if self.candidates is not None:
            if self.candidates.shape != self.inputs.shape:
                raise DataError(
                    f"candidates have the shape {self.candidates.shape}, the inputs {self.inputs.shape}; they must agree"
                )
            missing = self.targets.nnz - pattern(self.targets).multiply(pattern(self.candidates)).nnz
            if missing:
                raise DataError(
                    f"{missing:,} targets are not among the candidates, so nobody could find them"
                )

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Holdout({len(self):,} users, {self.inputs.nnz:,} inputs, {self.targets.nnz:,} targets)"


@dataclass(frozen=True, eq=False)
class Split:
    """Training interactions and what to evaluate on."""

    name: str
    """The kind of split with the settings that define it."""
    seed: int | None
    """The seed it was drawn with; None where nothing is random."""
    train: "Interactions"
    """What a model may learn from; its items are the vocabulary of both holdouts."""
    validation: Holdout | None
    """For choosing settings and for early stopping."""
    test: Holdout
    """To be scored once, with what was chosen."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What could not be used: a reason, and how many events or users it concerns."""
    of_strangers: bool = False
    """Whether the users of both holdouts are nobody that train knows."""
    in_time: bool = False
    """Whether what a row is given happened before what it is asked for."""
    cut: int | None = None
    """The second since 1970 before which all of train happened, and from which on all that is asked for; None for no
    such cut."""
    feedback: Feedback = "implicit"
    """What the values of its matrices mean. `recae.evaluation.split_for` sets it together with them."""


def given(
    train: "Interactions",
    validation: "Interactions | None",
    test: "Interactions",
    *,
    name: str = "given",
    seed: int | None = None,
    validation_is_seen: bool = False,
) -> Split:
    """A split that somebody has already made. All parts share one vocabulary of users and of items.

    The input of both holdouts is the training row; a holdout keeps the users that have targets.

    Args:
        train: what to learn from.
        validation: targets for choosing settings, or None.
        test: targets of the test.
        name: what to call the split.
        seed: the seed it was made with, if any.
        validation_is_seen: whether the test may not recommend validation events. Published tables differ in
            this, and it moves every number: do as the table did.

    Raises:
        DataError: if the vocabularies differ, parts overlap, or train or targets are empty.
    """
    parts = {"train": train, "test": test} | ({"validation": validation} if validation is not None else {})
    if any(part.users != train.users or part.items != train.items for part in parts.values()):
        raise DataError(
            "the parts of a given split must share their user ids and item ids, in the same order"
        )
    for part, interactions in parts.items():
        if not len(interactions):
            raise DataError(f"the {part} part has no events; a split needs some in every part")
    together = reduce(add, (pattern(part.matrix) for part in parts.values()))
    overlap = int((together.data > 1).sum())
    if overlap:
        raise DataError(
            f"{overlap:,} user-item pairs are in more than one part; a test on training data says nothing"
        )
    history = pattern(train.matrix)
    if validation is not None and validation_is_seen:
        history = history + pattern(validation.matrix)
    return Split(
        name,
        seed,
        train,
        None if validation is None else after_training(train, validation, train.matrix),
        after_training(train, test, history),
    )


def after_training(train: "Interactions", targets: "Interactions", seen: csr_array) -> Holdout:
    """Ask for ``targets`` given the training rows; only users with targets stay."""
    rows = np.flatnonzero(np.diff(targets.matrix.indptr))
    inputs = train.select_users(rows)
    asked = targets.select_users(rows)
    return Holdout(
        inputs.matrix, asked.matrix, inputs.users, seen[rows], inputs.times, target_times=asked.times
    )


def pattern(matrix: csr_array) -> csr_array:
    """The pattern as float32 ones: a stored rating of 0.0 is an interaction, and sums would drop it."""
    return csr_array((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)


def places(matrix: csr_array, times: "Times | None") -> csr_array:
    """The pattern with each entry's place in its row, from 1 for the earliest; of equal times the lower column first.

    Args:
        matrix: shape (n_users, n_items).
        times: aligned with ``matrix.data``.

    Raises:
        DataError: without times.
    """
    if times is None:
        raise DataError(
            "the order of events is asked for, and these interactions have no times; map a timestamp column, "
            "or use a model that does not go by order"
        )
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, times, rows))
    found = np.empty(matrix.nnz, dtype=np.float32)
    found[order] = np.arange(matrix.nnz) - matrix.indptr[rows] + 1  # lexsort keeps rows in place
    return csr_array((found, matrix.indices, matrix.indptr), shape=matrix.shape)


def values_for(feedback: Feedback, interactions: "Interactions") -> csr_array:
    """The matrix that a model of such feedback learns from, shape (n_users, n_items).

    Raises:
        DataError: if order is asked for, and there are no times.
    """
    if feedback == "sequences":
        return places(interactions.matrix, interactions.times)
    return interactions.matrix if feedback == "ratings" else pattern(interactions.matrix)


def holdout_for(feedback: Feedback, holdout: Holdout) -> Holdout:
    """The questions as a model of such feedback is to be asked; the answers count 1 each, unless they are ratings.

    Raises:
        DataError: if order is asked for, and there are no times.
    """
    if feedback == "ratings":
        return holdout
    asked = (
        places(holdout.inputs, holdout.input_times) if feedback == "sequences" else pattern(holdout.inputs)
    )
    return replace(holdout, inputs=asked, targets=pattern(holdout.targets), seen=pattern(holdout.seen))
