"""Splits: what is learned from, what is given, and what is asked for."""

import numpy as np
import pytest
from hypothesis import assume, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.splits import Holdout, Split, given, held_out_users, leave_last_out, random_ratings, temporal
from recae.errors import DataError


def named(matrix, users: IdMap, items: IdMap) -> dict[tuple[str, str], float]:
    entries = matrix.tocoo()
    return {
        (users[row], items[column]): float(value)
        for row, column, value in zip(entries.row, entries.col, entries.data, strict=True)
    }


def parts_of(split: Split) -> dict[str, dict[tuple[str, str], float]]:
    items = split.train.items
    parts = {"train": named(split.train.matrix, split.train.users, items)}
    for name, holdout in (("validation", split.validation), ("test", split.test)):
        if holdout is not None:
            for kind in ("inputs", "targets", "seen"):
                parts[f"{name} {kind}"] = named(getattr(holdout, kind), holdout.users, items)
    return parts


# Every event has its own value, so that a value tells whose it is.
events = st.sets(st.tuples(st.integers(0, 11), st.integers(0, 7)), min_size=20, max_size=90)


def interactions_of(pairs, times=None) -> Interactions:
    pairs = sorted(pairs)
    return Interactions.from_arrays(
        [f"u{user}" for user, _ in pairs],
        [f"i{item}" for _, item in pairs],
        np.arange(1, len(pairs) + 1),
        [(7 * user + 3 * item) % 13 for user, item in pairs] if times is None else times,
    )


def split_or_give_up(make, *arguments, **settings) -> Split:
    """Data that are too few for the split are refused, which other tests see to."""
    try:
        return make(*arguments, **settings)
    except DataError:
        assume(False)
        raise


def check_holdout(holdout: Holdout) -> None:
    assert (np.diff(holdout.targets.indptr) > 0).all(), "a row without targets asks nothing"
    assert holdout.inputs.multiply(holdout.targets).nnz == 0, "what is given is not asked for"
    assert holdout.seen.multiply(holdout.targets).nnz == 0, "what is asked for may be recommended"
    for matrix in (holdout.inputs, holdout.targets):
        assert [matrix.data.dtype, matrix.indices.dtype] == ["float32", "int32"]


@settings(max_examples=25)
@for_all(events, st.sampled_from(["random", "time"]), st.integers(0, 3))
def test_held_out_users_share_nothing_with_train_and_lose_nothing_in_silence(pairs, by, seed):
    interactions = interactions_of(pairs)
    split = split_or_give_up(
        held_out_users, interactions, validation_users=2, test_users=3, by=by, fold_in=0.6, seed=seed
    )
    parts = parts_of(split)
    everything = named(interactions.matrix, interactions.users, interactions.items)

    people = [set(split.train.users), set(split.validation.users), set(split.test.users)]
    assert sum(map(len, people)) == len(set.union(*people))
    placed = [
        parts[kind]
        for kind in ("train", "validation inputs", "validation targets", "test inputs", "test targets")
    ]
    together = {pair: value for part in placed for pair, value in part.items()}
    assert sum(map(len, placed)) == len(together)
    assert together.items() <= everything.items()
    lost = {pair for pair in everything if pair not in together}
    noted = sum(count for reason, count in split.notes.items() if "events with items outside" in reason)
    outside = {(user, item) for user, item in lost if item not in split.train.items}
    assert noted == len(outside)
    short = sum(count for reason, count in split.notes.items() if "fewer than two" in reason)
    assert len(lost - outside) <= short, "each user that left the holdout had at most one event left"
    for holdout in (split.validation, split.test):
        check_holdout(holdout)
        assert (np.diff(holdout.inputs.indptr) > 0).all()


@settings(max_examples=25)
@for_all(events, st.integers(0, 3))
def test_by_time_no_input_is_later_than_a_target(pairs, seed):
    interactions = interactions_of(pairs)
    split = split_or_give_up(
        held_out_users, interactions, validation_users=0, test_users=4, by="time", seed=seed
    )

    frame = interactions.to_frame().set_index(["user_id", "item_id"])["timestamp"]
    inputs, targets = split.test.inputs.tocoo(), split.test.targets.tocoo()
    assert split.test.input_times.tolist() == [
        frame[split.test.users[row], split.train.items[column]]
        for row, column in zip(inputs.row, inputs.col, strict=True)
    ]
    for row, user in enumerate(split.test.users):
        given_last = max(frame[user, split.train.items[column]] for column in inputs.col[inputs.row == row])
        asked_first = min(
            frame[user, split.train.items[column]] for column in targets.col[targets.row == row]
        )
        assert given_last <= asked_first


@settings(max_examples=25)
@for_all(events)
def test_leave_last_out_asks_for_the_latest_event_and_places_every_event_once(pairs):
    interactions = interactions_of(pairs)
    split = split_or_give_up(leave_last_out, interactions)
    parts = parts_of(split)
    times = interactions.to_frame().set_index(["user_id", "item_id"])["timestamp"]

    for user, item in parts["test targets"]:
        assert times[user, item] == times[user].max()
    for holdout in (split.validation, split.test):
        check_holdout(holdout)
        assert (np.diff(holdout.targets.indptr) == 1).all()
    placed = len(parts["train"]) + len(parts["validation targets"]) + len(parts["test targets"])
    dropped = sum(count for reason, count in split.notes.items() if "outside train" in reason)
    assert placed + dropped == len(interactions)
    expected_seen = parts["test inputs"].keys() | {
        pair for pair in parts["validation targets"] if pair[0] in split.test.users
    }
    assert parts["test seen"].keys() == expected_seen


@settings(max_examples=25)
@for_all(events)
def test_temporal_trains_on_the_past_only(pairs):
    interactions = interactions_of(pairs)
    split = split_or_give_up(temporal, interactions, validation_from=5, test_from=9)
    parts = parts_of(split)
    times = interactions.to_frame().set_index(["user_id", "item_id"])["timestamp"]

    assert all(times[pair] < 5 for pair in parts["train"])
    assert all(5 <= times[pair] < 9 for pair in parts["validation targets"])
    assert all(times[pair] >= 9 for pair in parts["test targets"])
    assert parts["test inputs"].items() <= parts["train"].items()
    placed = len(parts["train"]) + len(parts["validation targets"]) + len(parts["test targets"])
    assert placed + sum(split.notes.values()) == len(interactions)
    for holdout in (split.validation, split.test):
        check_holdout(holdout)


@settings(max_examples=25)
@for_all(events, st.integers(0, 3))
def test_random_ratings_places_every_rating_once_in_exact_shares(pairs, seed):
    interactions = interactions_of(pairs)
    split = random_ratings(interactions, validation_share=0.2, test_share=0.1, seed=seed)
    parts = parts_of(split)

    n = len(interactions)
    assert len(parts["test targets"]) == round(0.1 * n)
    assert len(parts["validation targets"]) == round(0.2 * n)
    together = parts["train"] | parts["validation targets"] | parts["test targets"]
    assert together == named(interactions.matrix, interactions.users, interactions.items)
    assert (split.train.users, split.train.items) == (interactions.users, interactions.items)


@pytest.mark.parametrize(
    "make",
    [
        lambda data, seed: held_out_users(data, validation_users=2, test_users=3, seed=seed),
        lambda data, seed: leave_last_out(data, seed=seed),
        lambda data, seed: random_ratings(data, seed=seed),
    ],
    ids=["held_out_users", "leave_last_out", "random_ratings"],
)
def test_a_seed_gives_one_split_and_another_seed_another(make):
    data = interactions_of({(user, item) for user in range(12) for item in range(8)}, times=[0] * 96)

    assert parts_of(make(data, 1)) == parts_of(make(data, 1))
    assert parts_of(make(data, 1)) != parts_of(make(data, 2))
    assert make(data, 1).seed == 1


# Users with a single event are never held out, so here nobody but the others can be.
LEARNERS = [(f"learner{item}", str(item)) for item in range(10)]


def held_out_of(*others: tuple[str, str], n: int) -> Split:
    users, items = zip(*LEARNERS, *others, strict=True)
    return held_out_users(Interactions.from_arrays(users, items), validation_users=0, test_users=n)


def test_the_fold_in_share_is_kept_and_asks_for_at_least_one():
    ten = [("ten", str(item)) for item in range(10)]
    split = held_out_of(*ten, ("two", "0"), ("two", "1"), n=2)

    assert list(split.test.users) == ["ten", "two"]
    assert np.diff(split.test.inputs.indptr).tolist() == [8, 1]
    assert np.diff(split.test.targets.indptr).tolist() == [2, 1]
    assert split.name == "held-out users, 80% fold-in by random"
    assert split.validation is None


def test_items_that_no_training_user_has_are_dropped_and_counted():
    split = held_out_of(("c", "0"), ("c", "1"), ("c", "only c has it"), n=1)

    assert list(split.train.items) == [str(item) for item in range(10)]
    assert split.notes == {"test events with items outside the vocabulary": 1}


def test_users_who_keep_too_little_of_their_history_leave_the_holdout():
    split = held_out_of(("c", "0"), ("c", "only c has it"), ("d", "0"), ("d", "1"), n=2)

    assert list(split.test.users) == ["d"]
    assert split.notes == {
        "test events with items outside the vocabulary": 1,
        "test users with fewer than two events left": 1,
    }
    with pytest.raises(DataError, match="no test user has two events with items of the training users"):
        held_out_of(("c", "0"), ("c", "only c has it"), n=1)


# Ann: x at 1, y at 2, z at 3, w at 4. Bob: y at 5, x at 6, w at 7, z at 8. Cy has two events only.
THREE = Interactions.from_arrays(
    ["ann"] * 4 + ["bob"] * 4 + ["cy"] * 2,
    ["x", "y", "z", "w", "y", "x", "w", "z", "w", "z"],
    times=[1, 2, 3, 4, 5, 6, 7, 8, 1, 2],
)


def test_leave_last_out_takes_the_last_event_and_the_one_before():
    parts = parts_of(leave_last_out(THREE))

    assert parts["test targets"].keys() == {("ann", "w"), ("bob", "z")}
    assert parts["validation targets"].keys() == {("ann", "z"), ("bob", "w")}
    assert parts["test inputs"].keys() == {("ann", "x"), ("ann", "y"), ("bob", "y"), ("bob", "x")}
    assert parts["test seen"].keys() == parts["test inputs"].keys() | {("ann", "z"), ("bob", "w")}
    assert leave_last_out(THREE).notes == {"users with fewer than 3 events, who only train": 1}


def test_leave_last_out_without_validation_asks_cy_too():
    split = leave_last_out(THREE, with_validation=False)

    assert split.validation is None
    assert parts_of(split)["test targets"].keys() == {("ann", "w"), ("bob", "z"), ("cy", "z")}
    assert split.notes == {}


def test_temporal_cuts_where_it_is_told_and_leaves_out_strangers():
    split = temporal(THREE, validation_from=3, test_from=4)
    parts = parts_of(split)

    assert parts["train"].keys() == {("ann", "x"), ("ann", "y"), ("cy", "w"), ("cy", "z")}
    assert parts["validation targets"].keys() == {("ann", "z")}
    assert parts["test targets"].keys() == {("ann", "w")}
    assert split.notes == {"test events of users or items outside train": 4}, "bob comes after the cut"
    assert split.seed is None
    assert split.name == "temporal, cut at 3 and 4"


def test_temporal_by_shares_keeps_events_of_one_second_together():
    # 20 events at each of the seconds 0 to 4, and everybody has a bit of everything in the first two.
    everything = [(user, item) for user in range(10) for item in range(10)]
    data = interactions_of(everything, times=[(user + item) % 10 // 2 for user, item in everything])

    split = temporal(data, validation_share=0.0, test_share=0.3)

    assert len(split.train) == 60, "the last 30 events begin within second 3, and take all of it along"
    assert split.test.targets.nnz == 40
    assert split.validation is None
    assert split.notes == {"events beyond test_share, since their second is the cut's": 10}


def test_temporal_by_shares_without_a_validation_that_was_asked_for_is_refused():
    everything = [(user, item) for user in range(10) for item in range(10)]
    data = interactions_of(everything, times=[min(5, (user + item) % 10) for user, item in everything])

    with pytest.raises(
        DataError, match=r"50 events share the second 5, and both cuts fall on it.* larger shares"
    ):
        temporal(data, validation_share=0.1, test_share=0.1)
    assert temporal(data, validation_share=0.45, test_share=0.1).validation is not None


def test_a_public_split_keeps_the_rows_that_are_asked_about():
    users, items = IdMap(["a", "b"]), IdMap(["x", "y", "z"])
    train, validation, test = (
        Interactions.from_arrays(*pairs, users=users, items=items)
        for pairs in ((["a", "b"], ["x", "y"]), (["b"], ["z"]), (["b"], ["x"]))
    )
    masked = parts_of(given(train, validation, test, validation_is_seen=True))
    plain = parts_of(given(train, validation, test))

    assert plain["test targets"].keys() == {("b", "x")}
    assert plain["test inputs"].keys() == plain["test seen"].keys() == {("b", "y")}
    assert masked["test seen"].keys() == {("b", "y"), ("b", "z")}
    assert masked["validation seen"].keys() == {("b", "y")}


def test_parts_of_a_public_split_may_not_overlap():
    train = Interactions.from_arrays(["a", "b"], ["x", "x"], [0.0, 1.0])

    with pytest.raises(DataError, match="2 user-item pairs are in more than one part"):
        given(train, None, train)


def test_parts_of_a_public_split_share_their_vocabularies():
    with pytest.raises(DataError, match="must share their user ids"):
        given(Interactions.from_arrays(["a"], ["x"]), None, Interactions.from_arrays(["b"], ["x"]))


def test_a_part_without_events_is_refused():
    train = Interactions.from_arrays(["a"], ["x"])

    with pytest.raises(DataError, match="the test part has no events"):
        given(train, None, Interactions.from_arrays([], [], users=train.users, items=train.items))


def test_a_cut_in_milliseconds_is_refused_with_the_seconds_there_are():
    log = Interactions.from_arrays(["a", "a", "b"], ["x", "y", "x"], times=[1_600_000_000, 1_600_000_100, 7])
    complaint = (
        r"the events go from 7 to 1600000100, in seconds since 1970, and the cut at 1600000050000 and 1600000050000 leaves"
        r" nothing on one of its sides; move it \(a time in milliseconds"
    )
    with pytest.raises(DataError, match=complaint):
        temporal(log, test_from=1_600_000_050_000)
    with pytest.raises(DataError, match=r"the events go from 7 to 1600000100"):
        temporal(log, test_from=7)


def test_more_users_than_can_be_held_out_are_refused():
    with pytest.raises(
        DataError, match=r"2 \+ 2 users cannot be held out of 3, of whom 3 have at least two events"
    ):
        held_out_users(THREE, validation_users=2, test_users=2)
    with pytest.raises(DataError, match="one must stay to learn from"):
        held_out_users(THREE, validation_users=0, test_users=3)


@pytest.mark.parametrize(
    "make",
    [
        lambda data: held_out_users(data, validation_users=0, test_users=1, by="time"),
        leave_last_out,
        temporal,
    ],
    ids=["held_out_users", "leave_last_out", "temporal"],
)
def test_splits_by_time_need_times(make):
    with pytest.raises(DataError, match="these interactions have none; map a timestamp column"):
        make(Interactions.from_arrays(["a", "a", "b", "b"], ["x", "y", "x", "y"]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: held_out_users(THREE, validation_users=0, test_users=1, fold_in=1.0),
            "between 0 and 1, found 1.0",
        ),
        (lambda: held_out_users(THREE, validation_users=0, test_users=0), "test_users >= 1"),
        (
            lambda: held_out_users(THREE, validation_users=0, test_users=1, by="luck"),
            "random, time; found 'luck'",
        ),
        (lambda: temporal(THREE, validation_share=0.5, test_share=0.5), "found 0.5 and 0.5"),
        (lambda: temporal(THREE, validation_from=5, test_from=4), "starts at 5, after the test at 4"),
        (lambda: random_ratings(THREE, test_share=0.0), "found 0.1 and 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_holdout_whose_parts_differ_in_shape_is_refused():
    matrix = THREE.matrix

    with pytest.raises(DataError, match="must agree"):
        Holdout(matrix, matrix[:, :2], THREE.users)
