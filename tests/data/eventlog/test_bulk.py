"""Whole tables get the keys that their events would get one at a time."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recae.data.acceptance import Acceptance
from recae.data.eventlog.bulk import rows_of
from recae.data.eventlog.events import DEFAULT_TYPE, Event, accept, keyed
from recae.data.rows import COLUMNS
from tests.data.eventlog.conftest import NOW

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)
EVENTS = st.fixed_dictionaries(
    {
        "user_id": IDS,
        "item_id": IDS,
        "timestamp": st.integers(-62_135_596_800, 253_402_300_799),
        "event_type": st.none() | IDS,
        "value": st.floats(-(2.0**100), 2.0**100, allow_nan=False, allow_subnormal=True),
        "event_id": st.none() | IDS,
        "recommendation_id": st.none() | IDS,
    }
)


@given(st.lists(EVENTS, min_size=1, max_size=8))
def test_a_table_gives_the_rows_that_its_events_give_singly(events):
    singly = [keyed(**event | {"event_type": event["event_type"] or DEFAULT_TYPE}) for event in events]

    assert rows_of(pa.Table.from_pylist(events, schema=COLUMNS), NOW) == singly


def test_columns_that_are_missing_get_their_defaults_like_fields_that_are_missing():
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [7]})
    (row,), rejected = accept([Event("u", "i", timestamp=7)], NOW, Acceptance(NOW))

    assert rejected == []
    assert rows_of(table, NOW) == [row]


def test_without_times_the_time_of_arrival_is_stored_and_is_no_part_of_the_key():
    table = pa.table({"user_id": ["u", "u"], "item_id": ["i", "j"]})

    (first, second), (later, _) = rows_of(table, NOW), rows_of(table, NOW + 1)

    assert first[0] == later[0] != second[0]
    assert (first[5], later[5]) == (NOW, NOW + 1)
    assert first[0] == keyed("u", "i", DEFAULT_TYPE, 1.0, 0, None, None)[0]


def test_an_empty_table_gives_nothing():
    assert rows_of(pa.table({}), NOW) == []


def test_zero_and_minus_zero_have_keys_of_their_own_as_when_sent_singly():
    events = [Event("u", "i", value=value, timestamp=7) for value in (0.0, -0.0)]
    rows, _ = accept(events, NOW, Acceptance(NOW))

    table = pa.table(
        {"user_id": ["u", "u"], "item_id": ["i", "i"], "timestamp": [7, 7], "value": [0.0, -0.0]}
    )
    assert [row[0] for row in rows_of(table, NOW)] == [row[0] for row in rows]
    assert rows[0][0] != rows[1][0]
