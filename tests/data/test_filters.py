"""Filters: which events count, and how much."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recae.data.filters import k_core, keep, weighted
from recae.data.interactions import Interactions
from recae.errors import DataError

EVENTS = pd.DataFrame(
    {
        "user_id": ["a", "b", "c", "d"],
        "item_id": ["x"] * 4,
        "timestamp": [10, 20, 30, 40],
        "event_type": ["view", "buy", "view", "like"],
        "value": [1.0, 2.0, 3.0, 4.0],
    }
)


def users(chunks) -> list[str]:
    return pd.concat(chunks)["user_id"].tolist()


def test_weights_multiply_values_and_zero_leaves_events_out():
    (chunk,) = weighted(EVENTS, {"view": 0.5, "buy": 10, "like": 0})

    assert chunk[["user_id", "value"]].to_numpy().tolist() == [["a", 0.5], ["b", 20.0], ["c", 1.5]]
    assert EVENTS["value"].tolist() == [1.0, 2.0, 3.0, 4.0], "the caller's table stays as it is"


def test_without_values_the_weight_is_the_value():
    (chunk,) = weighted(EVENTS.drop(columns="value"), {"view": 0.5}, other=3)

    assert chunk["value"].tolist() == [0.5, 3.0, 0.5, 3.0]


def test_an_event_type_without_a_weight_is_named():
    with pytest.raises(DataError, match="no weight for events of type 'buy', 'like'; there are 'view'"):
        list(weighted(EVENTS, {"view": 1}))


def test_a_weight_must_be_a_finite_number():
    with pytest.raises(ValueError, match="finite"):
        list(weighted(EVENTS, {"view": float("nan")}))


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="needs the column event_type; found"):
        list(weighted(EVENTS.drop(columns="event_type"), {}))


# a-x a-y b-x b-y form a 2-core; c-y and c-z fall: z has one user, and without z user c has one item.
CORE = Interactions.from_arrays(list("aabbcc"), list("xyxyyz"), [5, 4, 3, 2, 1, 1], times=[1, 2, 3, 4, 5, 6])


def test_a_k_core_drops_until_nothing_more_goes():
    core = k_core(CORE, min_user_items=2, min_item_users=2)

    assert (list(core.users), list(core.items)) == (["a", "b"], ["x", "y"])
    assert core.matrix.toarray().tolist() == [[5, 4], [3, 2]]
    assert core.times.tolist() == [1, 2, 3, 4]


@settings(max_examples=30)
@given(
    st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=40),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_a_k_core_is_what_dropping_one_at_a_time_leaves(pairs, fewest_items, fewest_users):
    left = set(pairs)
    while True:
        weak = {
            (user, item)
            for user, item in left
            if sum(u == user for u, _ in left) < fewest_items
            or sum(i == item for _, i in left) < fewest_users
        }
        if not weak:
            break
        left.discard(min(weak))

    data = Interactions.from_arrays([str(user) for user, _ in pairs], [str(item) for _, item in pairs])
    if not left:
        with pytest.raises(DataError, match="is left with at least"):
            k_core(data, min_user_items=fewest_items, min_item_users=fewest_users)
        return
    frame = k_core(data, min_user_items=fewest_items, min_item_users=fewest_users).to_frame()
    assert set(zip(frame["user_id"].astype(int), frame["item_id"].astype(int), strict=True)) == left


def test_keep_applies_the_minimum_value_before_it_counts():
    kept = keep(CORE, min_value=2)

    assert (list(kept.users), list(kept.items)) == (["a", "b"], ["x", "y"]), "c and z lost everything, and go"
    assert keep(CORE).matrix.nnz == 6
    with pytest.raises(DataError, match="no value reaches the minimum inf; the highest is 5"):
        keep(CORE, min_value=np.inf)


@pytest.mark.parametrize("feedback", ["implicit", "sequences"])
def test_what_is_not_above_0_is_no_liking_unless_a_minimum_says_so(feedback):
    thumbs = Interactions.from_events(
        pd.DataFrame({"user_id": list("aabb"), "item_id": list("xyxz"), "value": [1.0, -1.0, 0.5, 0.0]})
    )

    assert list(keep(thumbs, feedback=feedback).items) == ["x"]
    assert list(keep(thumbs, feedback=feedback, min_value=0).items) == ["x", "z"]
    assert len(keep(thumbs, feedback="ratings")) == 4, "of ratings the low ones say most"


def test_where_nothing_is_above_0_it_is_said_what_to_do():
    zeros = Interactions.from_events(pd.DataFrame({"user_id": ["a"], "item_id": ["x"], "value": [0.0]}))
    with pytest.raises(DataError, match=r"no value is above 0, the highest is 0, .*; set min_value lower"):
        keep(zeros, feedback="implicit")
