"""What a server asks of the database: recent histories, deleted users, changed items, and recommendations given."""

import threading
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from recae.data.acceptance import Acceptance
from recae.data.eventlog import EventLog
from recae.data.eventlog.events import Event, _plain_row, _row, accept
from recae.data.eventlog.items import StoredItem, StoredItems
from recae.data.eventlog.served import Served, ServedRecommendations
from recae.data.eventlog.snapshot import Snapshot
from recae.forgetting import Deletion, LogPosition
from tests.data.eventlog.conftest import NOW


def test_the_newest_events_of_a_user_come_first_and_no_more_than_asked_for(log):
    log.append([{"user_id": "u", "item_id": str(n), "value": n, "timestamp": n} for n in (2, 1, 3)])
    log.append([{"user_id": "v", "item_id": "9"}])

    assert log.recent("u", 2).events == [("3", 3.0, "view", 3, 3), ("2", 2.0, "view", 2, 1)]
    assert log.recent("nobody", 2).events == []
    assert log.recent("u", 2).deletion is None


def test_every_thread_sees_what_was_appended_a_moment_ago(log):
    seen = []

    def ask():
        for number in range(10):
            log.append([{"user_id": "u", "item_id": f"{threading.get_ident()}-{number}"}])
            seen.append(len(log.recent("u", 1_000).events))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(seen) == 30
    assert len(log.recent("u", 1_000).events) == 30


def open_files(folder):
    """How many descriptors of this process are of files in a folder."""
    links = (path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return sum(link.is_relative_to(folder) for link in links)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_threads_that_have_ended_leave_no_files_open(log, home):
    log.append([{"user_id": "u", "item_id": "a"}])
    log.recent("u", 1)
    before = open_files(home)

    for _ in range(20):
        thread = threading.Thread(target=lambda: (log.recent("u", 1), log.stamp("u", 1)))
        thread.start()
        thread.join()

    assert open_files(home) == before


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_threads_that_read_at_the_same_time_have_a_connection_each(log):
    log.append([{"user_id": "u", "item_id": "a"}])
    with log.database._reader() as first, log.database._reader() as second:
        assert first is not second
        assert log.recent("u", 1).events[0][0] == "a"
    log.close()

    assert log.recent("u", 1).events[0][0] == "a", "on a new connection"


def test_a_deleted_user_stays_noted_without_the_id(log):
    log.append([{"user_id": "forget me", "item_id": "a"}])
    log.delete_user("forget me")
    log.delete_user("forget me")
    log.append([{"user_id": "forget me", "item_id": "b"}])

    assert [event[:2] for event in log.recent("forget me", 9).events] == [("b", 1.0)]
    found, log_id = log.recent("forget me", 9).deletion, log.position(0).log_id
    assert found == Deletion(log_id, until=1, at=NOW)
    with log.database.read() as connection:
        noted = connection.exec_driver_sql("SELECT * FROM deleted_users").all()
    assert len(noted) == 1
    assert b"forget" not in bytes(noted[0][0])


def test_a_deletion_names_the_last_event_before_it(log):
    log.append([{"user_id": user, "item_id": "a"} for user in "uvw"])
    log.delete_user("u")
    log.append([{"user_id": "v", "item_id": "b"}])
    log.delete_user("v")
    before = log.watermark()
    log.append([{"user_id": user, "item_id": "c"} for user in "uvw"])

    assert [log.recent(user, 9).deletion.until for user in "uv"] == [3, 4]
    assert log.recent("w", 9).deletion is None
    assert Snapshot(log).deleted([*"uvw", "nobody"]) == {user: log.recent(user, 9).deletion for user in "uv"}
    assert not log.recent("v", 9).deletion.precedes(log.position(before))
    assert log.recent("v", 9).deletion.precedes(log.position(log.watermark()))


def test_while_a_user_is_deleted_nobody_gets_a_number(log, url, archive):
    """Else a training could read beyond the deletion, and find what it is about to remove."""
    log.append([{"user_id": "u", "item_id": "a"}])
    others = []

    def append():
        with EventLog(url, archive) as other:
            other.append([{"user_id": "v", "item_id": "b"}])
            others.append(other.watermark())

    def write(connection):
        held = log.database.hold_numbers(connection)
        thread = threading.Thread(target=append)
        thread.start()
        thread.join(0.5)
        assert (held, others) == (1, [])
        return thread

    log.database.write(write).join()
    assert others == [2]


def test_deletions_that_an_older_version_noted_count_for_all_models_until_one_reads_on(log, url, archive):
    log.append([{"user_id": "u", "item_id": item} for item in "ab"])
    log.delete_user("u")

    def become_older(connection):
        connection.exec_driver_sql("ALTER TABLE deleted_users DROP COLUMN last_sequence")
        connection.exec_driver_sql("UPDATE schema_version SET version = 4")

    log.database.write(become_older)
    log.close()
    with EventLog(url, archive, clock=lambda: NOW) as upgraded:
        assert upgraded.recent("u", 9).deletion.until == 2
        assert upgraded.stamp("u", 9).deletion.until == 2


HERE = Deletion("this log", until=7, at=100)


@pytest.mark.parametrize(
    "learned",
    [
        None,
        LogPosition(log_id="this log", until=7, began=200),
        LogPosition(log_id="another", until=8, began=200),
        LogPosition(log_id="this log", until=8, began=99),
    ],
    ids=["a file", "not beyond it", "another log", "a log that was restored"],
)
def test_if_in_doubt_a_training_came_before_a_deletion(learned):
    assert not HERE.precedes(learned)
    assert HERE.precedes(LogPosition(log_id="this log", until=8, began=100))
    assert not HERE._replace(until=None).precedes(LogPosition(log_id="this log", until=8, began=100))


def test_changes_of_items_are_told_once(log):
    items = StoredItems(log.database)
    items.put([StoredItem("a", "Alien"), StoredItem("b")])
    everything = items.changes()
    items.put([StoredItem("a", "Aliens")])
    items.remove("b")
    items.remove("never there")
    since = items.changes(everything.version)

    assert {item.item_id for item in everything.stored} == {"a", "b"}
    assert [item.title for item in since.stored] == ["Aliens"]
    assert sorted(since.removed) == ["b", "never there"]
    assert items.changes(since.version) == (since.version, [], [])
    assert sorted(items.changes().removed) == ["b", "never there"]


def test_an_item_that_comes_back_is_removed_no_more(log):
    items = StoredItems(log.database)
    items.remove("a")
    before = items.changes()
    items.put([StoredItem("a")])

    assert items.changes(before.version).removed == []
    assert items.changes().removed == []


def test_two_who_change_one_item_at_once_lose_nothing(log):
    items = StoredItems(log.database)
    items.put([StoredItem("a")])

    def add(category):
        for number in range(5):
            items.change(
                "a",
                lambda found, name=f"{category}{number}": StoredItem(
                    "a", categories=(*found.categories, name)
                ),
            )

    threads = [threading.Thread(target=add, args=(category,)) for category in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(items.get("a").categories) == 10


def test_recommendations_are_joined_with_the_events_that_name_them(log):
    served = ServedRecommendations(log.database)
    served.add([Served(f"r{n}", f"u{n % 2}", "v1", "model", "e", "ab"[n % 2], 1) for n in range(4)])
    served.add(
        [Served("r9", None, "v1", "model", "e", "a", 1), Served("r8", "u0", "v1", "model", None, None, 1)]
    )
    log.append(
        [
            {"user_id": "u0", "item_id": "i", "value": 2, "event_id": f"x{n}", "recommendation_id": "r0"}
            for n in range(3)
        ]
    )

    def outcomes(*types):
        return sorted(served.outcomes("e", types, archive=log.archive))

    assert outcomes() == [("a", 2, 1, 3, 6.0), ("b", 2, 0, 0, 0.0)]
    assert outcomes("buy") == [("a", 2, 0, 0, 0.0), ("b", 2, 0, 0, 0.0)]
    assert served.experiments() == ["e"]
    log.delete_user("u0")
    assert outcomes() == [("b", 2, 0, 0, 0.0)]


def test_archived_events_count_for_experiments_and_expired_answers_go_with_their_events(log, monkeypatch):
    monkeypatch.setattr("recae.data.eventlog.compaction.PARTITION_ROWS", 2)  # one answer's events in several
    monkeypatch.setattr("recae.data.eventlog.served.IDS_AT_ONCE", 1)
    served = ServedRecommendations(log.database)
    served.add([Served(f"r{n}", f"u{n % 2}", "v1", "model", "e", "ab"[n % 2], n) for n in range(6)])
    served.add([Served("other", "u0", "v1", "model", "else", "a", 1)])
    for time, name in enumerate(["r0", "r2", "r0", "other", None, "r1", "r2", "r0"]):
        kind = "buy" if time % 2 else "view"
        log.append([Event("u", "i", kind, 2, time, recommendation_id=name)])

    def outcomes(*types):
        return sorted(served.outcomes("e", types, archive=log.archive))

    of_all, of_buys = outcomes(), outcomes("buy")
    assert of_all == [("a", 3, 2, 5, 10.0), ("b", 3, 1, 1, 2.0)]
    assert of_buys == [("a", 3, 2, 2, 4.0), ("b", 3, 1, 1, 2.0)]
    assert log.compact(7) == 7
    assert (outcomes(), outcomes("buy")) == (of_all, of_buys), "moving events changes no rate"

    log.expire(3)  # r0, r1 and r2 were given before, and r3 to r5 lead to nothing
    assert outcomes() == [("a", 1, 0, 0, 0.0), ("b", 2, 0, 0, 0.0)]


PLAIN = {"user_id": "u", "item_id": "i"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"value": 2},
        {"value": 2.5, "timestamp": 5},
        {"timestamp": 5.7, "event_type": "buy"},
        {"event_id": "e", "recommendation_id": "r"},
        {"event_id": None, "recommendation_id": None},
        {"user_id": " u "},
    ],
)
def test_an_event_that_needs_no_cleaning_is_stored_as_cleaning_would_store_it(more):
    event, rules = PLAIN | more, Acceptance(1_000.0)

    assert _plain_row(event, 900.0, rules) == _row(event, 900.0, rules)


@pytest.mark.parametrize(
    "more",
    [
        {"user_id": 7},
        {"user_id": "ü"},
        {"user_id": " "},
        {"user_id": ""},
        {"user_id": "u" * 257},
        {"user_id": "a\0b"},
        {"item_id": None},
        {"event_type": None},
        {"event_type": ""},
        {"value": True},
        {"value": float("nan")},
        {"value": "3"},
        {"value": 10**400},
        {"value": None},
        {"timestamp": None},
        {"timestamp": "5"},
        {"timestamp": 2_000},
        {"timestamp": -1},
        {"timestamp": float("nan")},
        {"timestamp": float("inf")},
        {"timestamp": 10**400},
        {"timestamp": -(10**400)},
        {"event_id": ""},
        {"event_id": 5},
        {"colour": "red"},
    ],
)
def test_any_other_event_takes_the_careful_way(more):
    event, rules = PLAIN | more, Acceptance(1_000.0)

    assert _plain_row(event, 900.0, rules) is None
    accept([event], 900.0, rules)


def test_a_stamp_is_the_same_exactly_as_long_as_the_recent_events_are(log):
    """Whatever happens to the log, in an order that a fixed seed draws."""
    random = np.random.default_rng(4)
    n_changed = n_same = 0
    users, n = ("u", "v"), 5
    before = {user: (log.stamp(user, n), log.recent(user, n)) for user in users}
    for number in range(120):
        match random.integers(10):
            case 0:
                log.delete_user(str(random.choice(users)))
            case 1:
                log.expire(int(random.integers(100)))
            case 2:
                log.compact(int(random.integers(100)))
            case 3:
                log.append([{"user_id": "u", "item_id": "same", "timestamp": 50}])
            case _:
                user, time = str(random.choice(users)), int(random.integers(100))
                log.append([{"user_id": user, "item_id": str(number), "timestamp": time}])
        for user in users:
            now = log.stamp(user, n), log.recent(user, n)
            assert now[0] == now[1].stamp
            if now[1] != before[user][1]:
                assert now[0] != before[user][0], "what has changed must show"
                n_changed += 1
            else:
                assert now[0] == before[user][0]
                n_same += 1
            before[user] = now
    assert n_changed > 50
    assert n_same > 50


def test_the_stamp_of_a_stranger_counts_nothing(log):
    assert log.stamp("nobody", 5) == (0, 0, None)


def test_many_users_are_read_as_each_of_them_is(log):
    """The newest n of each, in order, from the place where an id stands; ids need not be plain."""
    users = ["u", "o'brien", "日本", 'a"b,{c}\\', "nobody", *(str(number) for number in range(150))]
    log.append(
        [
            {"user_id": user, "item_id": str(n), "value": n, "timestamp": n * 7 % 5}
            for user in users
            if user != "nobody"
            for n in range(1, 2 + len(user) % 4)
        ]
    )
    log.delete_user("u")
    log.delete_user("17")
    log.append([{"user_id": "u", "item_id": "later"}])

    together = log.of_users([*users, "u"])

    for user in users:
        assert together.stamp(user, 3) == log.stamp(user, 3)
        assert together.recent(user, 3) == log.recent(user, 3)
    assert together.recent("u", 3).deletion == log.recent("u", 3).deletion is not None


def test_far_away_many_users_are_a_few_questions(postgres_url, archive):
    with EventLog(postgres_url, archive) as log:
        users = [str(number) for number in range(100)]
        log.append([{"user_id": user, "item_id": "a"} for user in users])
        asked = []
        event.listen(log.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

        together = log.of_users(users)
        for user in users:
            together.stamp(user, 10)
        assert len(asked) == 1
        for user in users[50:]:  # the others are remembered
            together.recent(user, 10)
        assert len(asked) == 3
        assert log.database.recent_of_each([], 10) == log.database.stamp_of_each([], 10) == []
