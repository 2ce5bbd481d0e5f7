"""Ways to divide interactions into what a model learns from and what it is then asked about.

Every split is named and seeded: the same interactions, settings and seed give the same split. What could not be
used is never dropped in silence, ``Split.notes`` counts it.

A pair of user and item is one interaction, however many events it has. A split that goes by time goes by the first of
them, and its parts have that one's time: a repeat is nothing new to ask for, and takes nothing out of the past. The value is
what ``Interactions.from_events`` made of all events of the pair; ``duplicates="first"`` makes it one that was known then.
"""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from recae.data.events import Times
from recae.data.holdout import Holdout, Split, after_training, given
from recae.data.interactions import Interactions, Mask
from recae.errors import DataError

__all__ = [
    "Holdout",
    "Split",
    "given",
    "held_out_users",
    "leave_last_out",
    "random_ratings",
    "temporal",
]

Order = Literal["random", "time"]
Places = npt.NDArray[np.int64]


def held_out_users(
    interactions: Interactions,
    *,
    validation_users: int,
    test_users: int,
    fold_in: float = 0.8,
    by: Order = "random",
    seed: int = 0,
    among: Places | None = None,
) -> Split:
    """Strong generalisation: whole users are held out; part of each history is given, the rest asked for.

    The vocabulary is the items of the training users; events of held-out users with other items are dropped.
    Of the n events left, max(1, round((1 - fold_in) n)) become targets and at least one stays an input; users
    with fewer than two leave the holdout. Users with fewer than two events at all are never held out.

    Args:
        interactions: all of them.
        validation_users: how many users to hold out for validation; 0 for none.
        test_users: how many for the test.
        fold_in: share of a held-out history that is given, in (0, 1).
        by: ``random`` draws the targets; ``time`` takes the latest events, of each pair the first. Among equal times the
            seed decides.
        seed: of the users drawn and of their targets.
        among: rows that may be held out; None for all.

    Raises:
        DataError: if there are too few users, nothing to learn from, or no times for ``by="time"``.
    """
    if not 0 < fold_in < 1:
        raise ValueError(f"fold_in is a share between 0 and 1, found {fold_in}")
    if test_users < 1 or validation_users < 0:
        raise ValueError(
            f"expected test_users >= 1 and validation_users >= 0, found {test_users}, {validation_users}"
        )
    if by not in get_args(Order):
        raise ValueError(f"by is one of {', '.join(get_args(Order))}; found {by!r}")
    notes: dict[str, int] = {}
    if by == "time":
        interactions = _by_first_event(interactions, notes)  # refuses before any work
    rng = np.random.default_rng(seed)
    eligible = np.flatnonzero(np.diff(interactions.matrix.indptr) >= 2)
    if among is not None:
        eligible = np.intersect1d(eligible, among)
    held = validation_users + test_users
    if held > eligible.size or held >= interactions.n_users:
        raise DataError(
            f"{validation_users:,} + {test_users:,} users cannot be held out of {interactions.n_users:,}, of whom "
            f"{eligible.size:,} have at least two events and one must stay to learn from; ask for fewer"
        )
    drawn = rng.permutation(eligible)[:held].astype(np.int64)
    learning = np.setdiff1d(np.arange(interactions.n_users), drawn)
    training = interactions.select_users(learning)
    vocabulary = np.flatnonzero(np.bincount(training.matrix.indices, minlength=training.n_items))
    if not vocabulary.size:
        raise DataError("the users left to learn from have no events; hold out fewer users")

    def holdout(users: Places, called: str) -> Holdout:
        everything = interactions.select_users(np.sort(users))
        known = everything.restrict_items(vocabulary)
        _note(notes, f"{called} events with items outside the vocabulary", len(everything) - len(known))
        enough = np.flatnonzero(np.diff(known.matrix.indptr) >= 2)
        _note(notes, f"{called} users with fewer than two events left", known.n_users - enough.size)
        if not enough.size:
            raise DataError(
                f"no {called} user has two events with items of the training users; hold out fewer users"
            )
        asked = known.select_users(enough)
        row, rank, size = _ranked(asked, rng, asked.times if by == "time" else None)
        n_targets = np.clip(np.rint((1 - fold_in) * size), 1, size - 1)
        is_target = rank >= (size - n_targets)[row]
        inputs, targets = asked.where(~is_target), asked.where(is_target)
        return Holdout(
            inputs.matrix,
            targets.matrix,
            asked.users,
            inputs.matrix,
            inputs.times,
            target_times=targets.times,
        )

    test = holdout(drawn[:test_users], "test")
    validation = holdout(drawn[test_users:], "validation") if validation_users else None
    name = f"held-out users, {fold_in:.0%} fold-in by {by}"
    return Split(
        name,
        seed,
        training.restrict_items(vocabulary),
        validation,
        test,
        notes,
        of_strangers=True,
        in_time=by == "time",
    )


def leave_last_out(interactions: Interactions, *, with_validation: bool = True, seed: int = 0) -> Split:
    """Next-item prediction: a user's last event is the test, the one before it the validation. Of each item the first counts.

    Users with fewer than three events (two without a validation) only train. Among equal times the seed decides
    which event is last. The input of both holdouts is the training row; the test may not recommend the
    validation event either. Targets that nobody in train has are dropped and counted.

    Raises:
        DataError: without times, or if no user has enough events.
    """
    notes: dict[str, int] = {}
    interactions = _by_first_event(interactions, notes)
    row, rank, size = _ranked(interactions, np.random.default_rng(seed), _times_of(interactions))
    kept = 2 if with_validation else 1
    asked = (size > kept)[row]
    is_test = asked & (rank == size[row] - 1)
    is_validation = asked & (rank == size[row] - 2) & with_validation
    _note(
        notes,
        f"users with fewer than {kept + 1} events, who only train",
        int(((size > 0) & (size <= kept)).sum()),
    )
    return _by_event("leave last out", seed, interactions, is_validation, is_test, notes)


def temporal(
    interactions: Interactions,
    *,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    validation_from: int | None = None,
    test_from: int | None = None,
) -> Split:
    """The past predicts the future: the same cuts through time for everybody. Of each pair the first event counts.

    An event at the very second of a cut belongs to the later part, so equal times never fall on two sides.
    Users without training events, and targets that nobody in train has, are dropped and counted. The input of
    both holdouts is the training row; the test may not recommend the validation events either.

    Args:
        interactions: with times.
        validation_share: share of all events, about, between the two cuts; 0 for no validation.
        test_share: share of all events, about, from the second cut on.
        validation_from: with ``test_from``: first second (since 1970) of the validation, None for no validation.
        test_from: first second of the test; the shares are ignored then.

    Raises:
        DataError: without times, if a cut leaves nothing on one of its sides, or if equal times leave no validation.
    """
    notes: dict[str, int] = {}
    interactions = _by_first_event(interactions, notes)
    times = _times_of(interactions)
    if test_from is None:
        if validation_share < 0 or test_share <= 0 or validation_share + test_share >= 1:
            raise ValueError(
                f"shares must leave events to train on, found {validation_share} and {test_share}"
            )
        by_time = np.sort(times)
        validation_from, test_from = (
            int(by_time[round((1 - share) * (by_time.size - 1))])
            for share in (validation_share + test_share, test_share)
        )
        if validation_share and validation_from == test_from:
            raise DataError(
                f"{int((times == test_from).sum()):,} events share the second {test_from}, and both cuts fall on it: there would "
                "be no validation; ask for larger shares, or give validation_from and test_from"
            )
        n_asked = round(test_share * times.size)
        n_more = int((times >= test_from).sum()) - n_asked
        _note(
            notes,
            "events beyond test_share, since their second is the cut's",
            n_more if n_more > n_asked / 10 else 0,
        )
    start = test_from if validation_from is None else validation_from
    if start > test_from:
        raise ValueError(f"the validation starts at {start}, after the test at {test_from}")
    if not times.min() < start <= test_from <= times.max():
        raise DataError(
            f"the events go from {times.min()} to {times.max()}, in seconds since 1970, and the cut at {start} and "
            f"{test_from} leaves nothing on one of its sides; move it (a time in milliseconds is to be divided by 1,000)"
        )
    is_validation, is_test = (times >= start) & (times < test_from), times >= test_from
    split = _by_event(
        f"temporal, cut at {start} and {test_from}", None, interactions, is_validation, is_test, notes
    )
    return replace(split, cut=start)


def random_ratings(
    interactions: Interactions, *, validation_share: float = 0.1, test_share: float = 0.1, seed: int = 0
) -> Split:
    """Rating prediction: every entry goes to train, validation or test by chance, in exact shares.

    All users and items stay, also those whose ratings all fell into the test: the error over them counts.

    Raises:
        DataError: if a part that was asked for would be empty.
    """
    if validation_share < 0 or test_share <= 0 or validation_share + test_share >= 1:
        raise ValueError(f"shares must leave ratings to train on, found {validation_share} and {test_share}")
    n_test = round(test_share * len(interactions))
    n_held = n_test + round(validation_share * len(interactions))
    place = np.random.default_rng(seed).permutation(len(interactions))
    parts = (place >= n_held, (n_test <= place) & (place < n_held), place < n_test)
    train, validation, test = map(interactions.where, parts)
    name = f"random ratings, {validation_share:.0%} validation and {test_share:.0%} test"
    return given(train, validation if validation_share else None, test, name=name, seed=seed)


def _by_event(
    name: str,
    seed: int | None,
    interactions: Interactions,
    is_validation: Mask,
    is_test: Mask,
    notes: dict[str, int],
) -> Split:
    """Split entry by entry; the vocabularies are what is left in train."""
    learning = interactions.where(~is_validation & ~is_test).matrix
    users = np.flatnonzero(np.diff(learning.indptr))
    items = np.flatnonzero(np.bincount(learning.indices, minlength=interactions.n_items))

    def part(mask: Mask, called: str) -> Interactions:
        within = interactions.where(mask).select_users(users).restrict_items(items)
        _note(notes, f"{called} events of users or items outside train", int(mask.sum()) - len(within))
        if not len(within):
            raise DataError(
                f"the {called} part has no events of known users and items; move the cut, or use more data"
            )
        return within

    train = part(~is_validation & ~is_test, "train")
    test = part(is_test, "test")
    validation = part(is_validation, "validation") if is_validation.any() else None
    history = interactions.where(~is_test).select_users(users).restrict_items(items).matrix
    asked = None if validation is None else after_training(train, validation, train.matrix)
    return Split(name, seed, train, asked, after_training(train, test, history), notes, in_time=True)


def _ranked(
    interactions: Interactions, rng: np.random.Generator, times: Times | None
) -> tuple[Places, Places, Places]:
    """Order every row by time, or at random without times; the generator decides among equal times.

    Returns:
        row and rank within it of every entry, shape (nnz,), and the size of every row, shape (n_users,).
    """
    indptr = interactions.matrix.indptr
    size = np.diff(indptr).astype(np.int64)
    row = np.repeat(np.arange(size.size), size)
    chance = rng.random(row.size)
    order = np.lexsort((chance, row) if times is None else (chance, times, row))
    rank = np.empty_like(order)
    rank[order] = np.arange(row.size) - indptr[row]  # lexsort keeps rows in place, so row[order] == row
    return row, rank, size


def _by_first_event(interactions: Interactions, notes: dict[str, int]) -> Interactions:
    """With the times that a split by time goes by; refuses interactions without times."""
    placed = interactions.by_first_event()
    n_repeated = int((_times_of(placed) != _times_of(interactions)).sum())
    _note(notes, "pairs with several events, placed at the first", n_repeated)
    return placed


def _times_of(interactions: Interactions) -> Times:
    if interactions.times is None:
        raise DataError("this split goes by time, and these interactions have none; map a timestamp column")
    return interactions.times


def _note(notes: dict[str, int], reason: str, count: int) -> None:
    if count:
        notes[reason] = count
