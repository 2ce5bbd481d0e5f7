"""Several events of one pair: a split by time goes by the first, so the past stays what it was."""

import numpy as np
import pytest

from recae.data.filters import keep
from recae.data.holdout import places
from recae.data.interactions import Interactions
from recae.data.splits import Split, held_out_users, leave_last_out, random_ratings, temporal
from recae.errors import DataError

REPEATS = "pairs with several events, placed at the first"


def log(*events: tuple[str, str, int], duplicates="last") -> Interactions:
    users, items, times = zip(*events, strict=True)
    return Interactions.from_arrays(users, items, times=times, duplicates=duplicates)


# Everybody has six of ten items in the past, meets the first of them again after 4000, and then a new one.
PAST = [(f"u{user}", f"i{(user + turn) % 10}", 1000 + turn) for user in range(20) for turn in range(6)]
NEW = [(f"u{user}", f"i{(user + 7) % 10}", 5001) for user in range(20)]
AGAIN = [(f"u{user}", f"i{user % 10}", 5000) for user in range(20)]


def matrices(split: Split) -> list[list[list[float]]]:
    parts = [split.train.matrix, split.test.inputs, split.test.targets, split.test.seen]
    return [part.toarray().tolist() for part in parts]


@pytest.mark.parametrize("duplicates", ["last", "max"])
@pytest.mark.parametrize(
    "make",
    [
        lambda data: temporal(data, test_from=4000),
        leave_last_out,
        lambda data: held_out_users(data, validation_users=0, test_users=4, by="time"),
    ],
    ids=["temporal", "leave_last_out", "held_out_users"],
)
def test_repeats_change_nothing_in_a_split_by_time_but_a_note(make, duplicates):
    without, repeated = make(log(*PAST, *NEW)), make(log(*PAST, *NEW, *AGAIN, duplicates=duplicates))

    assert matrices(repeated) == matrices(without)
    assert repeated.train.times.tolist() == without.train.times.tolist()
    assert repeated.test.input_times.tolist() == without.test.input_times.tolist()
    assert repeated.test.target_times.tolist() == without.test.target_times.tolist()
    assert repeated.notes == {REPEATS: 20} | dict(without.notes)


def test_a_repeat_after_the_cut_is_not_asked_for_and_may_not_be_suggested():
    split = temporal(log(*PAST, *NEW, *AGAIN), test_from=4000)

    row = split.test.users.position("u0")
    items = split.train.items.ids
    assert items[split.test.targets[[row]].indices].tolist() == ["i7"]
    assert "i0" in items[split.train.matrix[[split.train.users.position("u0")]].indices]
    assert "i0" in items[split.test.seen[[row]].indices]


def test_the_value_is_that_of_all_events():
    split = temporal(log(*PAST, *NEW, *AGAIN, duplicates="count"), test_from=4000)

    row, column = split.train.users.position("u0"), split.train.items.position("i0")
    assert split.train.matrix[row, column] == 2.0


def test_the_value_of_the_first_event_is_taken_where_it_is_asked_for():
    events = {"user_ids": ["u"] * 3, "item_ids": ["i"] * 3, "values": [5, 2, 4]}

    found = Interactions.from_arrays(**events, times=[30, 10, 20], duplicates="first")
    assert (found.matrix.data.tolist(), found.times.tolist(), found.first_times.tolist()) == ([2], [30], [10])
    assert Interactions.from_arrays(**events, duplicates="first").matrix.data.tolist() == [5]


def test_places_in_train_are_those_of_the_first_events():
    split = leave_last_out(log(*PAST, *NEW, *AGAIN))

    row = split.train.users.position("u0")
    ordered = places(split.train.matrix, split.train.times)[[row]]
    assert split.train.items.ids[ordered.indices[np.argsort(ordered.data)]].tolist() == [
        f"i{turn}" for turn in range(5)
    ]


def test_a_split_by_chance_leaves_the_latest_times():
    repeated = log(*PAST, *AGAIN)
    split = random_ratings(repeated, validation_share=0.0, test_share=0.1)

    assert REPEATS not in split.notes
    assert max(split.train.times) == 5000


def test_the_first_times_go_along_with_every_choice_of_users_and_items():
    found = log(("a", "x", 9), ("a", "x", 1), ("a", "y", 2), ("b", "y", 3), ("b", "x", 8), ("b", "x", 4))

    assert (found.times.tolist(), found.first_times.tolist()) == ([9, 2, 8, 3], [1, 2, 4, 3])
    assert found.select_users([1, 0]).first_times.tolist() == [4, 3, 1, 2]
    assert found.restrict_items([1]).first_times.tolist() == [2, 3]
    assert found.where(np.array([True, False, True, False])).first_times.tolist() == [1, 4]
    assert keep(found, min_user_items=2).by_first_event().times.tolist() == [1, 2, 4, 3]


def test_without_repeats_or_times_there_are_no_first_times():
    assert log(("a", "x", 9), ("a", "y", 2)).first_times is None
    assert log(("a", "x", 9), ("a", "x", 9)).first_times is None, "twice in one second"
    assert Interactions.from_arrays(["a", "a"], ["x", "x"]).first_times is None


def test_there_must_be_a_first_time_for_every_entry():
    found = log(("a", "x", 9), ("a", "y", 2))

    with pytest.raises(DataError, match="2 interactions need as many times, found 1"):
        Interactions(found.matrix, found.users, found.items, found.times, np.array([1]))
