"""What would make a number too good to be true: answers that the model has seen. Each leak is refused by name.

The splits of `recae.data.splits` cannot leak; a split made elsewhere can, and so can a change to those. So every split
is looked at before anything is fitted.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.data.holdout import Holdout, Split, pattern
from recae.data.interactions import Interactions
from recae.errors import LeakageError, name_some

SHOWN = 3
"""Offenders that a message names."""


def refuse_leaks(split: Split) -> None:
    """Refuse a split in which an answer can be looked up.

    - a target inside the input, or among what may not be recommended (nobody could find it then);
    - a held-out user in train, or in both holdouts, where the split is of strangers;
    - a training event from the cut on, or a target from before it, where the split is by time;
    - an input that happened after a target of the same row, where the split promises the order;
    - a target that is in the user's own training row.

    An event at the very second of a target is no leak: which of the two came first is not known.

    Raises:
        LeakageError: that says which of these, where, and how often.
    """
    for part, holdout in _holdouts(split):
        _refuse_pairs(holdout, holdout.inputs, f"{part} targets are inside the input that the model is given")
        _refuse_pairs(
            holdout,
            holdout.seen,
            f"{part} targets are among what may not be recommended, so nobody finds them",
        )
        if split.of_strangers:
            known = [user for user in holdout.users.ids if user in split.train.users]
            if known:
                raise LeakageError(
                    f"{len(known):,} {part} users are held out and yet in train: {name_some(known, SHOWN)}; "
                    "take their rows out of train, or do not call the split one of held-out users"
                )
        else:
            _refuse_trained_targets(split.train, holdout, part)
        if split.cut is not None:
            _refuse_before(holdout, split.cut, part)
        if split.in_time:
            _refuse_later_inputs(holdout, part)
    if split.of_strangers and split.validation is not None:
        both = [user for user in split.test.users.ids if user in split.validation.users]
        if both:
            raise LeakageError(
                f"{len(both):,} users are in validation and in test: {name_some(both, SHOWN)}; "
                "settings would be chosen on the users that judge them: hold each out once"
            )
    if split.cut is not None:
        _refuse_future(split.train, split.cut)


def _holdouts(split: Split) -> Iterator[tuple[str, Holdout]]:
    if split.validation is not None:
        yield "validation", split.validation
    yield "test", split.test


def _refuse_pairs(holdout: Holdout, known: csr_array, leak: str) -> None:
    both = pattern(holdout.targets).multiply(pattern(known)).tocsr()
    if both.nnz:
        users = holdout.users.ids[np.flatnonzero(np.diff(both.indptr))]
        raise LeakageError(
            f"{both.nnz:,} {leak}: of {len(users):,} users ({name_some(users, SHOWN)}); take each out of one side"
        )


def _refuse_trained_targets(train: Interactions, holdout: Holdout, part: str) -> None:
    """A known user's target must not be in the training row, even where the input hides it."""
    positions = train.users.find(holdout.users.ids)
    rows = np.flatnonzero(positions >= 0)
    trained = train.matrix[positions[rows]]
    both = pattern(holdout.targets[rows]).multiply(pattern(trained)).tocsr()
    if both.nnz:
        users = holdout.users.ids[rows[np.flatnonzero(np.diff(both.indptr))]]
        raise LeakageError(
            f"{both.nnz:,} {part} targets are in train: of {len(users):,} users ({name_some(users, SHOWN)}); "
            "take them out of train"
        )


def _refuse_future(train: Interactions, cut: int) -> None:
    times = train.times
    if times is not None and (times >= cut).any():
        raise LeakageError(
            f"{int((times >= cut).sum()):,} training events happened at or after the cut at {cut}, the latest at "
            f"{int(times.max())}: the model would know the future; train on what came before"
        )


def _refuse_before(holdout: Holdout, cut: int, part: str) -> None:
    times = holdout.target_times
    if times is not None and (times < cut).any():
        raise LeakageError(
            f"{int((times < cut).sum()):,} {part} targets happened before the cut at {cut}, the earliest at "
            f"{int(times.min())}: what is asked for must lie in the future"
        )


def _refuse_later_inputs(holdout: Holdout, part: str) -> None:
    if holdout.input_times is None or holdout.target_times is None:
        return
    latest = _extreme(np.maximum, holdout.inputs, holdout.input_times)
    earliest = _extreme(np.minimum, holdout.targets, holdout.target_times)
    both = (np.diff(holdout.inputs.indptr) > 0) & (np.diff(holdout.targets.indptr) > 0)
    late = np.flatnonzero(both & (latest > earliest))
    if len(late):
        users = holdout.users.ids[late]
        raise LeakageError(
            f"{len(late):,} {part} users ({name_some(users, SHOWN)}) are given an event that happened after one they are "
            "asked for; give the earlier part, and ask for the later"
        )


def _extreme(choose: np.ufunc, matrix: csr_array, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The latest or earliest time of each row, shape (n_rows,); 0 for an empty row."""
    found = np.zeros(matrix.shape[0], dtype=np.int64)
    filled = np.flatnonzero(np.diff(matrix.indptr))
    if len(filled):
        found[filled] = choose.reduceat(times, matrix.indptr[filled])
    return found
