"""What is accepted, what is known already, and what is refused and why."""

import pytest

from recae.data.eventlog import Event, EventLog
from recae.errors import ConfigError, EventLogError
from tests.data.eventlog.conftest import NOW


def rows(log):
    return [row for table in log.stream() for row in table.to_pylist()]


def codes(appended):
    return [(rejected.index, rejected.code) for rejected in appended.rejected]


def test_an_event_comes_back_with_all_of_its_fields(log):
    event = Event("u1", "i1", "buy", 2.5, NOW - 5, "e1", "r_1")

    assert log.append([event]) == (1, 0, [])

    (stored,) = log.history("u1").events
    assert stored == (1, *event[:4], NOW - 5, "e1", "r_1")
    assert rows(log) == [stored._asdict()]


def test_fields_that_are_left_out_have_defaults_and_the_time_is_that_of_arrival(log):
    log.append([{"user_id": 7, "item_id": 8, "event_id": None}])

    assert log.history("7").events == [(1, "7", "8", "view", 1.0, NOW, None, None)]


def test_an_event_id_makes_the_event_whatever_else_it_says(log):
    log.append([Event("u", "i", value=1, timestamp=NOW, event_id="e")])

    assert log.append([Event("other", "j", value=2, timestamp=NOW, event_id="e")]) == (0, 1, [])
    assert rows(log)[0]["user_id"] == "u"


@pytest.mark.parametrize("n", [150, 1_500], ids=["few", "copied"])
def test_of_events_with_one_id_in_one_append_the_first_stays(log, n):
    def events(item_id):
        return [Event("u", item_id, timestamp=NOW, event_id=f"e{number}") for number in range(n // 3)]

    assert log.append([*events("first"), *events("second")[::-1], *events("third")]).accepted == n // 3

    assert {row["item_id"] for row in rows(log)} == {"first"}


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": "v"},
        {"item_id": "j"},
        {"event_type": "buy"},
        {"value": 2.0},
        {"timestamp": NOW - 1},
        {"recommendation_id": "r"},
        {"event_id": "e"},
    ],
)
def test_without_an_event_id_all_fields_together_make_the_event(log, other):
    event = {"user_id": "u", "item_id": "i", "timestamp": NOW}
    log.append([event])

    assert log.append([event, event | other]) == (1, 1, [])


def test_the_same_event_twice_in_one_call_is_stored_once(log):
    assert log.append([Event("u", "i", timestamp=NOW)] * 300) == (1, 299, [])
    assert log.count() == 1


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"user_id": None}, "bad_user_id", "missing user_id"),
        ({"item_id": " "}, "bad_item_id", "missing item_id"),
        ({"item_id": 1.5}, "bad_item_id", "item_id is neither text nor an integer"),
        ({"user_id": "u" * 257}, "bad_user_id", "user_id is longer than 256 characters"),
        ({"user_id": "a\0b"}, "bad_user_id", "user_id holds a zero byte"),
        ({"value": "much"}, "bad_value", "value is not a number"),
        ({"value": float("inf")}, "bad_value", "value is not finite"),
        ({"event_type": ["view"]}, "bad_event_type", "event_type is neither text nor an integer"),
        ({"event_id": True}, "bad_event_id", "event_id is neither text nor an integer"),
        ({"timestamp": NOW + 61}, "bad_timestamp", "timestamp is in the future"),
        ({"timestamp": NOW * 1000}, "bad_timestamp", "not milliseconds"),
        ({"timestamp": "2023-11-14T22:13:20"}, "bad_timestamp", "timestamp names no zone"),
        ({"timestamp": "2023-11-14T22:15:00Z"}, "bad_timestamp", "timestamp is in the future"),
        ({"timestamp": "yesterday"}, "bad_timestamp", "neither epoch seconds nor ISO 8601"),
        ({"timestamp": float("nan")}, "bad_timestamp", "timestamp is not finite"),
        ({"timestamp": -1e11}, "bad_timestamp", "timestamp is before the year 1"),
        ({"rating": 5}, "bad_event", "there is no field rating; expected user_id"),
    ],
)
def test_a_bad_event_is_refused_with_a_code_and_the_others_are_stored(log, fields, code, message):
    good = {"user_id": "u", "item_id": "i", "timestamp": NOW}

    appended = log.append([good, good | fields, good | {"item_id": "j"}])

    assert (appended.accepted, codes(appended)) == (2, [(1, code)])
    assert message in appended.rejected[0].message


@pytest.mark.parametrize("event", [None, 5, "event", ["u", "i"]])
def test_what_is_no_event_at_all_is_refused_too(log, event):
    assert codes(log.append([event])) == [(0, "bad_event")]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (NOW + 60, NOW + 60),
        (NOW - 0.5, NOW - 1),
        (0, 0),
        (-5, -5),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("1700000000", None),
    ],
)
def test_times_are_stored_as_whole_seconds_and_may_lie_ahead_by_as_much_as_clocks_differ(log, given, stored):
    appended = log.append([Event("u", "i", timestamp=given)])

    if stored is None:
        assert codes(appended) == [(0, "bad_timestamp")]
    else:
        assert [event.timestamp for event in log.history("u").events] == [stored]


def test_late_events_have_their_own_time_and_the_place_of_their_arrival(log):
    log.append([Event("u", "new", timestamp=NOW), Event("u", "late", timestamp=NOW - 10**8)])
    log.append([Event("u", "middle", timestamp=NOW - 5)])

    assert [event.item_id for event in log.history("u").events] == ["new", "middle", "late"]
    assert [row["item_id"] for row in rows(log)] == ["new", "late", "middle"]


def test_nothing_to_append_is_no_error(log):
    assert log.append([]) == (0, 0, [])


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE events; --", '"', "\\x41", "\t\n", "\\N", "ü\U0001f600", ",", "%s"]
)
def test_any_text_comes_back_as_it_was(log, text):
    user = f"u{text}"
    log.append([Event(user, f"i{text}", f"t{text}", 1.0, NOW, f"e{number}{text}") for number in range(250)])

    assert {event[1:4] for event in log.history(user).events} == {(user, f"i{text}", f"t{text}")}
    assert len(log.history(user).events) == 250


def test_a_log_is_found_again_when_it_is_opened_anew(log, url, archive):
    log.append([Event("u", "i", timestamp=NOW)])

    with EventLog(url, archive) as again:
        assert again.append([Event("u", "i", timestamp=NOW)]) == (0, 1, [])


@pytest.mark.parametrize("url", ["mysql://localhost/events", "sqlite://", "nonsense"])
def test_another_kind_of_database_is_a_mistake_of_the_settings(url, archive):
    with pytest.raises(ConfigError, match="neither sqlite:///FILE nor postgresql"):
        EventLog(url, archive)


def test_a_schema_of_a_newer_recae_is_left_alone(log, url, archive):
    log.database.write(
        lambda connection: connection.exec_driver_sql("UPDATE schema_version SET version = 99")
    )

    with pytest.raises(EventLogError, match="schema version 99, and this recae knows versions up to"):
        EventLog(url, archive)


def test_a_server_that_does_not_answer_is_named_without_its_password(archive):
    with pytest.raises(EventLogError, match=r"postgresql\+psycopg://recae:\*\*\*@127.0.0.1:1/events failed"):
        EventLog("postgresql://recae:secret@127.0.0.1:1/events", archive)


def test_a_file_that_is_no_database_is_an_error_that_names_it(home, archive):
    home.mkdir()
    (home / "events.db").write_text("this is no database, but long enough to be looked at" * 20)

    with pytest.raises(EventLogError, match=r"events.db failed: file is not a database"):
        EventLog(f"sqlite:///{home / 'events.db'}", archive)
