"""IdMap: an ordered vocabulary of strings."""

import copy
import pickle

import pytest

from recae.data.idmap import IdMap
from recae.errors import DataError, UnknownIdError


def test_positions_follow_the_order_of_the_ids():
    items = IdMap(["b", "a", "c"])

    assert len(items) == 3
    assert list(items) == items.ids.tolist() == ["b", "a", "c"]
    assert [items.position(id_) for id_ in "bac"] == [0, 1, 2]
    assert items.positions(["c", "b", "c"]).tolist() == [2, 0, 2]
    assert items.positions(["c"]).dtype == "int32"
    assert [items[0], items[2]] == ["b", "c"]
    assert "a" in items
    assert "z" not in items


def test_every_unknown_id_is_named():
    items = IdMap(["a", "b"])

    with pytest.raises(UnknownIdError, match=r"2 item id\(s\) outside the 2 known: 'x', 'y'") as caught:
        items.positions(["a", "x", "y"])
    assert caught.value.unknown == ["x", "y"]
    with pytest.raises(UnknownIdError, match="1 user id"):
        items.position("x", kind="user")


def test_known_keeps_the_order_and_lists_the_rest():
    positions, unknown = IdMap(["a", "b", "c"]).known(["c", "x", "a", "x"])

    assert positions.tolist() == [2, 0]
    assert unknown == ["x", "x"]


def test_an_integer_is_never_taken_for_its_string():
    with pytest.raises(UnknownIdError, match="1 known: 7;"):
        IdMap(["7"]).positions([7])


@pytest.mark.parametrize("position", [-1, 2])
def test_no_position_but_the_own_ones_names_an_id(position):
    with pytest.raises(IndexError, match=f"position {position} is outside 0 to 1"):
        IdMap(["a", "b"])[position]


@pytest.mark.parametrize("wrong", [7, 7.0, None, "", b"7"])
def test_an_id_is_a_non_empty_string(wrong):
    with pytest.raises(DataError, match="an id is a non-empty string; found"):
        IdMap(["a", wrong])


def test_ids_that_come_twice_are_refused_by_name():
    with pytest.raises(DataError, match=r"come more than once: 'a'$"):
        IdMap(["a", "b", "a"])


def test_a_single_string_is_not_a_list_of_letters():
    with pytest.raises(TypeError, match=r"write \['abc'\]"):
        IdMap(["abc"]).positions("abc")


def test_the_ids_cannot_be_changed():
    items = IdMap(["a"])

    with pytest.raises(ValueError, match="read-only"):
        items.ids[0] = "b"


def test_equal_means_the_same_ids_in_the_same_order():
    assert IdMap(["a", "b"]) == IdMap(["a", "b"])
    assert IdMap(["a", "b"]) != IdMap(["b", "a"])
    assert IdMap(["a"]) != IdMap(["a", "b"])
    assert IdMap(["a"]) != ["a"]
    assert hash(IdMap(["a", "b"])) == hash(IdMap(["a", "b"]))


def test_a_range_names_columns_by_their_number():
    assert list(IdMap.of_range(3)) == ["0", "1", "2"]
    assert len(IdMap.of_range(0)) == 0
    assert repr(IdMap.of_range(0)) == "IdMap(no ids)"
    assert repr(IdMap(["a"])) == "IdMap(1 ids: 'a')"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda ids: pickle.loads(pickle.dumps(ids))])
def test_it_survives_being_copied_and_sent_to_another_process(copied):
    items = copied(IdMap(["b", "a"]))

    assert items == IdMap(["b", "a"])
    assert items.position("a") == 1
