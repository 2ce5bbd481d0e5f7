"""Interactions: from events to one matrix with names."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recae.data.holdout import places, values_for
from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.errors import DataError, UnknownIdError

# Ann has x three times, out of order in time; Bob has y once.
EVENTS = pd.DataFrame(
    {
        "user_id": ["ann", "bob", "ann", "ann", "ann"],
        "item_id": ["x", "y", "x", "z", "x"],
        "value": [1.0, 2.0, 4.0, 5.0, 3.0],
        "timestamp": [10, 20, 50, 40, 30],
    }
)


def cells(interactions: Interactions) -> dict[tuple[str, str], float]:
    frame = interactions.to_frame()
    return dict(zip(zip(frame["user_id"], frame["item_id"], strict=True), frame["value"], strict=True))


@pytest.mark.parametrize(
    ("duplicates", "value"),
    [("last", 4.0), ("sum", 1.0 + 4.0 + 3.0), ("max", 4.0), ("count", 3.0)],
)
def test_several_events_of_one_pair_become_one_by_the_stated_rule(duplicates, value):
    interactions = Interactions.from_events(EVENTS, duplicates=duplicates)

    single = 1.0 if duplicates == "count" else None
    assert cells(interactions) == {
        ("ann", "x"): value,
        ("ann", "z"): single or 5.0,
        ("bob", "y"): single or 2.0,
    }
    assert interactions.to_frame()["timestamp"].tolist() == [50, 40, 20]


def test_without_times_the_last_event_is_the_one_that_came_last():
    assert cells(Interactions.from_events(EVENTS.drop(columns="timestamp")))["ann", "x"] == 3.0


def test_among_equal_times_the_last_event_is_the_one_that_came_last():
    assert cells(Interactions.from_events(EVENTS.assign(timestamp=7)))["ann", "x"] == 3.0


def test_without_values_an_event_counts_one():
    events = EVENTS.drop(columns="value")

    assert set(cells(Interactions.from_events(events)).values()) == {1.0}
    assert cells(Interactions.from_events(events, duplicates="sum"))["ann", "x"] == 3.0


def test_ids_are_numbered_as_they_first_appear():
    interactions = Interactions.from_events(EVENTS)

    assert list(interactions.users) == ["ann", "bob"]
    assert list(interactions.items) == ["x", "y", "z"]
    assert interactions.matrix.toarray().tolist() == [[4.0, 0.0, 5.0], [0.0, 2.0, 0.0]]
    assert repr(interactions) == "Interactions(2 users x 3 items, 3 entries, with times)"


def test_the_matrix_has_the_stated_types_and_shape():
    users, items = IdMap(["nobody", "bob", "ann"]), IdMap(["z", "y", "x", "unused"])
    interactions = Interactions.from_events(EVENTS, users=users, items=items)

    matrix = interactions.matrix
    assert matrix.shape == (interactions.n_users, interactions.n_items) == (3, 4)
    assert len(interactions) == 3
    assert [matrix.data.dtype, matrix.indices.dtype, matrix.indptr.dtype] == ["float32", "int32", "int32"]
    assert matrix.has_canonical_format
    assert interactions.times is not None
    assert interactions.times.dtype == "int64"


def test_an_id_outside_a_fixed_vocabulary_is_named():
    with pytest.raises(UnknownIdError, match=r"1 item id.*'z'"):
        Interactions.from_events(EVENTS, items=IdMap(["x", "y"]))


def test_a_stored_zero_is_an_interaction():
    interactions = Interactions.from_arrays(["a", "a"], ["x", "y"], [0.0, 1.0])

    assert len(interactions) == 2
    assert len(interactions.restrict_items([0])) == 1
    assert len(interactions.select_users([0]).where(np.array([True, False]))) == 1


@settings(max_examples=25)
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=60
    ),
    cut=st.integers(0, 60),
)
def test_chunks_make_the_same_matrix_as_the_whole_table(pairs, cut):
    table = pd.DataFrame(pairs, columns=["user_id", "item_id", "value"]).astype(
        {"user_id": str, "item_id": str}
    )

    for duplicates in ("last", "sum", "max", "count"):
        whole = Interactions.from_events(table, duplicates=duplicates)
        chunks = Interactions.from_events(iter([table[:cut], table[cut:]]), duplicates=duplicates)
        assert (whole.users, whole.items) == (chunks.users, chunks.items)
        assert (whole.matrix != chunks.matrix).nnz == 0

    expected: dict[tuple[str, str], float] = {}
    for user, item, value in pairs:
        expected[str(user), str(item)] = expected.get((str(user), str(item)), 0) + value
    assert cells(Interactions.from_events(table, duplicates="sum")) == expected


def test_choosing_users_moves_values_and_times_along():
    chosen = Interactions.from_events(EVENTS).select_users([1, 0])

    assert list(chosen.users) == ["bob", "ann"]
    assert chosen.matrix.toarray().tolist() == [[0.0, 2.0, 0.0], [4.0, 0.0, 5.0]]
    assert chosen.times.tolist() == [20, 50, 40]


def test_choosing_items_moves_values_and_times_along_and_keeps_emptied_users():
    chosen = Interactions.from_events(EVENTS).restrict_items([2, 0])

    assert list(chosen.items) == ["z", "x"]
    assert chosen.matrix.toarray().tolist() == [[5.0, 4.0], [0.0, 0.0]]
    assert chosen.times.tolist() == [40, 50]


def test_a_mask_keeps_single_entries():
    kept = Interactions.from_events(EVENTS).where(np.array([False, True, True]))

    assert kept.matrix.toarray().tolist() == [[0.0, 0.0, 5.0], [0.0, 2.0, 0.0]]
    assert kept.times.tolist() == [40, 20]


def test_the_table_it_gives_makes_the_same_interactions_again():
    interactions = Interactions.from_events(EVENTS)
    again = Interactions.from_events(
        interactions.to_frame(), users=interactions.users, items=interactions.items
    )

    assert (again.matrix != interactions.matrix).nnz == 0
    assert again.times.tolist() == interactions.times.tolist()


def test_no_events_are_fine_only_for_a_known_vocabulary():
    empty = Interactions.from_arrays([], [], users=IdMap(["a"]), items=IdMap(["x", "y"]))
    assert empty.matrix.shape == (1, 2)
    assert len(empty) == 0

    with pytest.raises(DataError, match="no events"):
        Interactions.from_arrays([], [])
    with pytest.raises(DataError, match="no events"):
        Interactions.from_events(iter([]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": [1.0, np.nan, 1.0, 1.0, 1.0]}, "values must be finite"),
        ({"value": [1.0, np.inf, 1.0, 1.0, 1.0]}, "values must be finite"),
        ({"value": [1.0, 1e39, 1.0, 1.0, 1.0]}, "finite numbers of float32"),
        ({"value": list("12345")}, "value must be numbers, found str"),
        ({"timestamp": [1.0, 2.0, np.nan, 4.0, 5.0]}, "timestamp must be integer seconds, found float64"),
        ({"user_id": ["a", None, "a", "a", "a"]}, "1 events have no user_id"),
        ({"user_id": [1, 2, 1, 1, 1]}, r"found 1, 2 \(int\)"),
        ({"item_id": ["x", "", "x", "x", "x"]}, "non-empty string"),
    ],
)
def test_events_that_cannot_be_right_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_events(EVENTS.assign(**change))


def test_a_sum_beyond_float32_is_refused():
    with pytest.raises(DataError, match="finite numbers of float32"):
        Interactions.from_arrays(["a", "a"], ["x", "x"], [3e38, 3e38], duplicates="sum")


def test_missing_columns_are_named_with_what_was_found():
    with pytest.raises(DataError, match=r"user_id and item_id; found \['user', 'item_id'\]"):
        Interactions.from_events(EVENTS[["user_id", "item_id"]].rename(columns={"user_id": "user"}))


def test_chunks_must_have_the_same_columns():
    with pytest.raises(DataError, match="they must agree"):
        Interactions.from_events([EVENTS, EVENTS.drop(columns="value")])


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match=r"differ in length: \{'user_id': 2, 'item_id': 1\}"):
        Interactions.from_arrays(["a", "b"], ["x"])


def test_an_unknown_rule_for_duplicates_is_refused():
    with pytest.raises(ValueError, match="last, sum, max, count; found 'mean'"):
        Interactions.from_events(EVENTS, duplicates="mean")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (
            csr_array(np.ones((1, 2), dtype=np.float32)),
            "the matrix is 1 x 2, but there are 1 user ids and 3 item",
        ),
        (csr_array(np.ones((1, 3))), "expected float32 values and int32 indices, found float64"),
        (
            csr_array(
                (np.ones(2, np.float32), np.array([1, 0], np.int32), np.array([0, 2], np.int32)), shape=(1, 3)
            ),
            "sorted and without duplicates",
        ),
        (csr_array(np.array([[np.nan, 0, 0]], dtype=np.float32)), "found NaN or infinity"),
    ],
)
def test_parts_that_do_not_fit_are_refused(matrix, message):
    with pytest.raises(DataError, match=message):
        Interactions(matrix, IdMap(["a"]), IdMap(["x", "y", "z"]))


def test_there_must_be_a_time_for_every_entry():
    interactions = Interactions.from_events(EVENTS)

    with pytest.raises(DataError, match="3 interactions need as many times, found 2"):
        Interactions(interactions.matrix, interactions.users, interactions.items, np.array([1, 2]))


# ------------------------------------------------------------------ the order of events


def test_places_count_each_users_events_from_the_earliest():
    log = Interactions.from_events(EVENTS)  # ann: z at 40, then x at 50
    assert places(log.matrix, log.times).toarray().tolist() == [[2.0, 0.0, 1.0], [0.0, 1.0, 0.0]]


def test_of_events_at_the_same_time_the_lower_column_comes_first():
    log = Interactions.from_arrays(["a"] * 3, ["x", "y", "z"], times=[7, 7, 1])
    assert places(log.matrix, log.times).toarray().tolist() == [[2.0, 3.0, 1.0]]


def test_places_of_interactions_without_times_are_refused_with_the_way_out():
    log = Interactions.from_arrays(["a"], ["x"])
    with pytest.raises(
        DataError, match="no times; map a timestamp column, or use a model that does not go by"
    ):
        values_for("sequences", log)


def test_each_kind_of_feedback_gets_the_values_it_learns_from():
    log = Interactions.from_events(EVENTS)
    assert values_for("implicit", log).toarray().tolist() == [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    assert values_for("ratings", log) is log.matrix
    assert values_for("sequences", log).toarray().tolist() == [[2.0, 0.0, 1.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("duplicates", "said"),
    [("sum", "add up to 6e+38"), ("max", None)],
)
def test_sums_that_no_float32_can_hold_name_the_pair_and_what_to_do(duplicates, said):
    events = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "a"], "value": [3e38, 3e38]})

    if said is None:
        assert len(Interactions.from_events(events, duplicates=duplicates)) == 1
        return
    with pytest.raises(DataError, match=re.escape(f"those of user 'u' with item 'a' {said}")) as raised:
        Interactions.from_events(events, duplicates=duplicates)
    assert 'choose "last"' in str(raised.value)
