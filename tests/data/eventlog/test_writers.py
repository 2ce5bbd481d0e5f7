"""Several writers at once, and writers that die: nothing acknowledged is lost, nothing is doubled, nothing slips in below."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from recae.data.eventlog import Event, EventLog
from recae.data.eventlog.events import keyed
from recae.errors import EventLogError
from tests.data.eventlog.conftest import NOW

PATIENCE_S = 120

WRITER = """
import sys
from pathlib import Path
from recae.data.eventlog import Event, EventLog

url, archive, writer, first, last = sys.argv[1:]
log = EventLog(url, Path(archive))
for number in range(int(first), int(last)):
    done = log.append([Event(writer, f"i{number}", timestamp=number, event_id=f"e{number}")])
    print(number, done.accepted, flush=True)
"""


def started(log, archive, url, writer, first, last):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(archive), writer, str(first), str(last)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_log_is_opened_while_another_writes(log, url, archive):
    log.append([Event("u", "i", event_id="before")])
    with log.database._writing(PATIENCE_S) as other:
        log.database.insert(other, [keyed("u", "i", "view", 1.0, NOW, "now", None)])
        with ThreadPoolExecutor(1) as pool:
            opened = pool.submit(EventLog, url, archive).result(10)
        with opened:
            assert [event.event_id for event in opened.history("u").events] == ["before"]


def ids(log):
    return [event_id for table in log.stream() for event_id in table.column("event_id").to_pylist()]


def test_what_was_acknowledged_before_a_kill_is_in_the_log(log, url, archive):
    process = started(log, archive, url, "u", 0, 10**6)
    acknowledged = [int(process.stdout.readline().split()[0]) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()  # communicate would miss the lines that readline has buffered
    process.communicate(timeout=PATIENCE_S)
    acknowledged += [int(line.split()[0]) for line in rest.splitlines() if line.endswith(" 1")]

    stored = ids(log)

    assert process.returncode == -signal.SIGKILL
    assert acknowledged == list(range(len(acknowledged)))
    assert stored[: len(acknowledged)] == [f"e{number}" for number in acknowledged]
    assert len(stored) <= len(acknowledged) + 1, "only the one in flight may be there without its answer"


def test_processes_that_append_the_same_events_store_each_once(log, url, archive):
    n = 60
    processes = [
        started(log, archive, url, f"u{writer}", 10 * writer, 10 * writer + n) for writer in range(3)
    ]
    answers = [process.communicate(timeout=PATIENCE_S) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], answers
    accepted = sum(int(line.split()[1]) for said, _ in answers for line in said.splitlines())
    assert accepted == n + 20
    assert sorted(ids(log)) == sorted(f"e{number}" for number in range(n + 20))


def test_threads_of_one_log_store_each_event_once(log):
    batches = [
        [Event("u", f"i{number}", timestamp=NOW) for number in range(first, first + 40)]
        for first in range(0, 400, 20)
    ]

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(log.append, batches))

    assert sum(appended.accepted for appended in done) == log.count() == 420
    assert sum(appended.duplicates for appended in done) == 20 * 40 - 420


def test_large_appends_with_the_same_events_in_other_orders_wait_for_each_other(url, archive):
    events = [Event("u", f"i{number}", timestamp=NOW) for number in range(3_000)]
    orders = [events, events[::-1], events[1_000:] + events[:1_000], events[::2] + events[1::2]]
    logs = [EventLog(url, archive) for _ in orders]

    with ThreadPoolExecutor(len(orders)) as pool:
        done = list(pool.map(lambda log, order: log.append(order), logs, orders))

    assert sum(appended.accepted for appended in done) == logs[0].count() == len(events)
    for log in logs:
        log.close()


def test_one_bad_transaction_of_a_group_is_not_reported_as_stored(log, monkeypatch):
    def fails(connection, rows):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(log.database, "insert", fails)

    with pytest.raises(RuntimeError, match="disk is full"):
        log.append([Event("u", "i", timestamp=NOW)])
    monkeypatch.undo()
    assert log.append([Event("u", "i", timestamp=NOW)]).accepted == 1


def on_the_first_try(statement):
    """Work that a server's error ends at its first try, and that is done at the next."""
    tries = []

    def work(connection):
        tries.append(connection)
        if len(tries) == 1:
            connection.execute(text(statement))
        return len(tries)

    return work


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
@pytest.mark.parametrize("code", ["40001", "40P01", "57P01", "08006"])
def test_a_conflict_is_known_by_its_code_whatever_language_the_server_speaks(log, code):
    fails = f"DO $$ BEGIN RAISE EXCEPTION 'Das ging schief' USING ERRCODE = '{code}'; END $$"

    assert log.database.write(on_the_first_try(fails)) == 2


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_words_of_a_conflict_in_another_error_are_none(log):
    fails = "DO $$ BEGIN RAISE EXCEPTION 'no deadlock detected' USING ERRCODE = 'P0001'; END $$"

    with pytest.raises(EventLogError, match="no deadlock detected"):
        log.database.write(on_the_first_try(fails))


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_a_transaction_whose_connection_is_cut_off_is_repeated_on_another(log):
    assert log.database.write(on_the_first_try("SELECT pg_terminate_backend(pg_backend_pid())")) == 2


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_two_writers_that_wait_for_each_other_both_get_through(log):
    both_hold, tries = threading.Barrier(2), []

    def work(first, second):
        def takes_both(connection):
            tries.append(first)
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({first})")
            if len(tries) <= 2:
                both_hold.wait(PATIENCE_S)
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({second})")

        return takes_both

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(log.database.write, work(*order)) for order in ((1, 2), (2, 1))]:
            done.result(PATIENCE_S)

    assert len(tries) >= 3, "the server ended one of them, and it was repeated"


def test_no_writer_slips_in_at_or_below_a_watermark(log, url, archive):
    """One that has its numbers, and is slow to commit; another one that is faster."""
    has_numbers, may_commit = threading.Event(), threading.Event()
    slow_rows = [(b"slow-key-16bytes", "slow", "i", "view", 1.0, NOW, None, None)]

    def slow(connection):
        other.database.insert(connection, slow_rows)
        has_numbers.set()
        assert may_commit.wait(PATIENCE_S)

    with EventLog(url, archive) as other, ThreadPoolExecutor(3) as pool:
        slow_one = pool.submit(other.database.write, slow)
        assert has_numbers.wait(PATIENCE_S)
        fast_one = pool.submit(log.append, [Event("fast", "i", timestamp=NOW)])
        asked = pool.submit(lambda: (until := log.watermark(), users(log, until)))
        if "postgres" in url:
            fast_one.result(PATIENCE_S)
        else:
            asked.result(PATIENCE_S)
        may_commit.set()
        until, seen = asked.result(PATIENCE_S)
        slow_one.result(PATIENCE_S)
        fast_one.result(PATIENCE_S)

    assert users(log, until) == seen
    assert set(users(log, log.watermark())) == {"slow", "fast"}


def users(log, until):
    return [user for table in log.stream(0, until) for user in table.column("user_id").to_pylist()]


def test_watermarks_taken_among_busy_writers_stay_complete(log, url, archive):
    def write(writer):
        with EventLog(url, archive) as own:
            for number in range(15):
                own.append([Event(f"u{writer}", f"i{number}.{part}", timestamp=NOW) for part in range(3)])

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        seen = []
        while not all(writer.done() for writer in writers):
            until = log.watermark()
            seen.append((until, len(users(log, until))))
        for writer in writers:
            writer.result()

    assert log.count() == 4 * 15 * 3
    assert [(until, len(users(log, until))) for until, _ in seen] == seen
