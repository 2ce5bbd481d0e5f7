"""Old events move into Parquet, are deleted with their user, or expire; a kill between any two steps changes nothing."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from sqlalchemy import event

from recae.data.eventlog import Event, EventLog, compaction, partitions
from recae.data.eventlog.ownership import OWNER
from recae.durable import locked
from recae.errors import BusyLogError, LastingLogError
from tests.data.eventlog.conftest import NOW

EVENTS = [Event(f"u{number % 3}", f"i{number}", timestamp=number * 7 % 10) for number in range(20)]


@pytest.fixture(autouse=True)
def small_partitions(monkeypatch):
    monkeypatch.setattr(compaction, "PARTITION_ROWS", 4)
    monkeypatch.setattr(partitions, "ROW_GROUP", 2)


def items(log, **where):
    return [item for table in log.stream(**where) for item in table.column("item_id").to_pylist()]


def files(archive):
    """Partitions and leftovers; the file that says whose they are is no part of either."""
    return sorted(path.name for path in archive.iterdir() if path.name != OWNER)


@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
def test_compaction_changes_nothing_that_a_training_reads(log, chunk_rows):
    log.append(EVENTS)
    before, after_the_eighth = items(log), items(log, after=8, until=15)
    old = sum(event.timestamp < 5 for event in EVENTS)

    assert log.compact(5) == old
    assert log.compact(5) == 0

    stats = log.stats()
    assert (stats.n_live, stats.n_archived, stats.n_events) == (20 - old, old, 20)
    assert stats.n_partitions == -(-old // 4)
    assert items(log, chunk_rows=chunk_rows) == before
    assert items(log, after=8, until=15, chunk_rows=chunk_rows) == after_the_eighth
    assert log.count() == 20


def test_an_archived_event_that_is_sent_again_is_known(log):
    log.append(EVENTS)
    log.compact(10)

    assert log.append(EVENTS) == (0, 20, [])
    assert log.append([*EVENTS, Event("u", "new", timestamp=3)] * 20) == (1, 419, [])
    assert items(log) == [event.item_id for event in EVENTS] + ["new"]


def test_a_deleted_user_leaves_the_live_table_and_the_partitions(log, archive):
    log.append(EVENTS)
    log.compact(5)

    assert log.delete_user("u1") == 7
    assert log.delete_user("u1") == 0

    assert items(log) == [event.item_id for event in EVENTS if event.user_id != "u1"]
    left = [user for name in files(archive) for user in pq.read_table(archive / name)["user_id"].to_pylist()]
    assert "u1" not in left
    assert log.history("u1").events == []
    assert log.append(EVENTS).accepted == 7, "their keys are free again"


def test_a_deletion_reads_no_rows_that_cannot_be_the_users(log, archive):
    """Groups of rows whose smallest and largest id leave the user out."""
    users = ["a", "b", "c", "d", "é", "é", "日本", "日本"]  # two a group of rows, four a partition
    log.append(Event(user, f"i{number}", timestamp=number) for number, user in enumerate(users))
    log.compact(10)
    first, _ = files(archive)
    content = bytearray((archive / first).read_bytes())
    n_footer = int.from_bytes(content[-8:-4], "little") + 8
    content[4:-n_footer] = bytes(len(content) - n_footer - 4)  # all but what the file says of itself
    (archive / first).write_bytes(content)

    assert log.delete_user("日本") == 2
    assert log.delete_user("nobody between") == 0
    with pytest.raises(LastingLogError, match=f"{first}, a part of the event log, cannot be read"):
        log.delete_user("c")


def test_expired_events_are_gone_everywhere(log, archive):
    log.append(EVENTS)
    log.compact(5)

    assert log.expire(7) == sum(event.timestamp < 7 for event in EVENTS)

    assert items(log) == [event.item_id for event in EVENTS if event.timestamp >= 7]
    assert files(archive) == []


def test_a_deletion_waits_for_maintenance_as_long_as_it_is_told_to(log, archive):
    log.append(EVENTS)
    log.compact(5)
    with ThreadPoolExecutor(1) as pool:
        with locked(archive):
            with pytest.raises(BusyLogError, match="nothing was changed, try again later"):
                log.delete_user("u1", wait=0.1)
            assert log.count() == 20
            waits = pool.submit(log.delete_user, "u1", wait=60.0)
            assert not waits.done()
        assert waits.result() == 7


def test_expiring_holds_the_keys_of_one_partition_at_a_time(log, monkeypatch):
    log.append(EVENTS)
    log.compact(8)
    n_old = sum(event.timestamp < 7 for event in EVENTS)
    freed = []
    event.listen(
        log.database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, _context, _many: (
            freed.append(len(parameters)) if statement.startswith("DELETE FROM archived_keys") else None
        ),
    )

    assert log.expire(7) == n_old

    assert (max(freed), sum(freed)) == (4, n_old), "a partition has four events"


def test_small_partitions_of_many_nights_become_few(log, archive):
    events = [Event(f"u{number % 3}", f"i{number}", timestamp=number) for number in range(20)]
    log.append(events)
    for time in range(2, 21, 2):  # two events a night
        log.compact(time)

    assert log.stats().n_partitions == 5, "of four events each"
    assert len(files(archive)) == 5
    assert items(log) == [event.item_id for event in events]
    assert log.append(events) == (0, 20, [])
    assert log.delete_user("u1") + log.delete_user("u2") == 13
    log.compact(20)
    assert log.stats().n_partitions == 2, "of the seven that deletions have left"
    assert items(log) == [event.item_id for event in events if event.user_id == "u0"]


@pytest.mark.parametrize("place", ["write after 2", "strike after 1", "strike after 2", "record after 2"])
def test_a_merging_that_is_killed_loses_and_doubles_nothing(log, url, archive, place):
    log.append(EVENTS)
    log.compact(1)

    killed_at(url, archive, "merge", place)

    assert items(log) == [event.item_id for event in EVENTS]
    assert log.append(EVENTS) == (0, 20, [])
    assert log.compact(2) == 0, "what was moved stays moved"
    assert (log.stats().n_partitions, log.stats().n_archived) == (1, 4)
    assert len(files(archive)) == 1, "nothing is left lying about"
    assert items(log) == [event.item_id for event in EVENTS]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_expiry_that_is_killed_is_finished_by_the_next(log, url, archive, nth):
    log.append(EVENTS)
    log.compact(5)
    kept = [event.item_id for event in EVENTS if event.timestamp >= 5]

    killed_at(url, archive, "expire", f"strike before {nth}")

    left = items(log)
    assert [item for item in left if item in kept] == kept, "no younger event is lost"
    n_left = len(left) - len(kept)
    assert n_left == sum(event.timestamp < 5 for event in EVENTS) - 4 * (nth - 1), "nothing is doubled"
    assert log.count() == len(left)
    assert log.expire(5) == n_left
    assert items(log) == kept
    assert len(files(archive)) == log.stats().n_partitions, "nothing is left lying about"


def test_a_stream_that_is_being_read_sees_neither_compaction_nor_deletion(log):
    log.append(EVENTS)
    log.compact(3)
    stream = log.stream(chunk_rows=2)
    read = next(stream).column("item_id").to_pylist()
    log.compact(8)
    log.delete_user("u0")
    log.delete_user("u1")

    for table in stream:
        read += table.column("item_id").to_pylist()
    assert read == [event.item_id for event in EVENTS]


def test_events_that_are_deleted_while_they_are_archived_stay_deleted(log, monkeypatch):
    log.append(EVENTS)
    write, done = partitions.write, []

    def and_meanwhile(*arguments):
        written = write(*arguments)
        if not done:
            done.append(
                log.database.write(lambda c: c.exec_driver_sql("DELETE FROM events WHERE user_id = 'u0'"))
            )
        return written

    monkeypatch.setattr(partitions, "write", and_meanwhile)
    log.compact(10)

    assert items(log) == [event.item_id for event in EVENTS if event.user_id != "u0"]


KILLED = """
import os, signal, sys
from pathlib import Path
from recae.data.eventlog import EventLog, compaction, partitions

url, archive, action, place = sys.argv[1:]
compaction.PARTITION_ROWS = 4
def then_die(function, when, nth):
    calls = []
    def dies(*arguments, **options):
        calls.append(function)
        if when == "before" and len(calls) == nth: os.kill(os.getpid(), signal.SIGKILL)
        done = function(*arguments, **options)
        if when == "after" and len(calls) == nth: os.kill(os.getpid(), signal.SIGKILL)
        return done
    return dies
log = EventLog(url, Path(archive))
name, when, nth = place.split()
setattr(partitions, name, then_die(getattr(partitions, name), when, int(nth)))
{"compact": lambda: log.compact(5), "merge": lambda: log.compact(2), "delete": lambda: log.delete_user("u1"), "expire": lambda: log.expire(5)}[action]()
"""


def killed_at(url, archive, action, place):
    """Let a process do something, and die before or after the nth call of a function of partitions.py."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, url, str(archive), action, place],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.mark.parametrize("place", ["write after 1", "record after 1", "sweep before 2"])
@pytest.mark.parametrize("action", ["compact", "delete"])
def test_a_kill_between_the_steps_loses_and_doubles_nothing(log, url, archive, action, place):
    log.append(EVENTS)
    if action == "delete":
        log.compact(5)
    kept = [event.item_id for event in EVENTS if event.user_id != "u1"]

    killed_at(url, archive, action, place)

    whole = [event.item_id for event in EVENTS]
    assert items(log) in ([whole] if action == "compact" else [whole, kept])
    if action == "compact":
        assert log.append(EVENTS) == (0, 20, [])
        log.compact(5)
        assert items(log) == whole
        assert log.stats().n_live == sum(event.timestamp >= 5 for event in EVENTS)
    log.delete_user("u1")
    assert items(log) == kept
    assert len(files(archive)) == log.stats().n_partitions, "nothing is left lying about"


def test_a_partition_that_is_missing_or_damaged_is_named(log, archive):
    log.append(EVENTS)
    log.compact(5)
    name = files(archive)[0]
    (archive / name).write_bytes(b"this is no Parquet")

    with pytest.raises(LastingLogError, match=f"{name}, a part of the event log, cannot be read"):
        items(log)
    (archive / name).unlink()
    with pytest.raises(
        LastingLogError, match=f"{name}, a part of the event log, cannot be read: there is no such file"
    ):
        items(log)


def test_two_maintenance_runs_wait_for_each_other(log, url, archive):
    log.append(EVENTS)
    program = (
        "import sys; from pathlib import Path; from recae.data.eventlog import EventLog; "
        "print(EventLog(sys.argv[1], Path(sys.argv[2])).compact(10))"
    )
    command = [sys.executable, "-c", program, url, str(archive)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    runs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    moved = [int(run.communicate()[0]) for run in runs]

    assert sum(moved) == 20
    assert items(log) == [event.item_id for event in EVENTS]
    with EventLog(url, archive) as again:
        assert again.append(EVENTS).duplicates == 20


def test_tidying_deletes_what_is_too_old_to_keep_and_moves_what_is_old(log):
    log.append(
        {"user_id": "u", "item_id": str(days), "timestamp": NOW - days * 86_400} for days in (1, 40, 400)
    )

    assert log.tidy() == (0, 0)
    assert log.tidy(compact_after_days=30, retention_days=365) == (1, 1)
    assert (log.stats().n_live, log.stats().n_archived) == (1, 1)
