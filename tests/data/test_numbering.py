"""Ids are numbered as they appear, whatever the batches and the types of their columns."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recae.data import numbering
from recae.data.idmap import IdMap
from recae.data.numbering import Numbering
from recae.errors import DataError, UnknownIdError

COLUMNS = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6), min_size=1, max_size=6)


def numbered(chunks, fixed=None, dtype="str"):
    numbers = Numbering("user", fixed)
    for chunk in chunks:
        numbers.add(pd.Series(chunk, dtype=dtype))
    return numbers.finish()


@pytest.mark.parametrize("batch", [1, 4, 100])
@given(chunks=COLUMNS)
def test_ids_have_the_order_of_their_first_appearance_in_batches_of_any_size(batch, chunks):
    everything = [id_ for chunk in chunks for id_ in chunk]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbering, "BATCH_ROWS", batch)
        positions, ids = numbered(chunks)

    assert list(ids) == list(dict.fromkeys(everything))
    assert [ids[position] for position in positions] == everything


def test_a_fixed_vocabulary_keeps_its_numbers_and_refuses_others():
    fixed = IdMap(["c", "a", "b"])
    positions, ids = numbered([["a", "b"], ["a", "c"]], fixed)

    assert positions.tolist() == [1, 2, 1, 0]
    assert ids is fixed
    with pytest.raises(UnknownIdError, match=r"2 user id\(s\) outside the 3 known: 'y', 'x'"):
        numbered([["a", "y"], ["x", "y"]], fixed)


@pytest.mark.parametrize("dtype", ["str", "object", "category", "string"])
def test_text_of_every_type_of_column_is_the_same_id(dtype):
    positions, ids = numbered([["b", "a", "b"]], dtype=dtype)

    assert (positions.tolist(), list(ids)) == ([0, 1, 0], ["b", "a"])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["a", None, float("nan")], "2 events have no user_id"),
        ([None, None], "2 events have no user_id"),
        ([1, 2], r"found 1, 2 \(int\)"),
        (["a", 7], r"found 7 \(int\)"),
        ([b"a", "b"], r"found b'a' \(bytes\)"),
        (["\ud800"], "text that is no Unicode"),
        ([""], "found ''"),
    ],
)
def test_what_is_no_id_is_refused(column, message):
    with pytest.raises(DataError, match=message):
        numbered([column], dtype=object)
