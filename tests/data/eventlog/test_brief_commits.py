"""Commits in a server's loop: only where they hold nothing up, and as durable as any other."""

import sqlite3
import threading
import time

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError

from recae.data.eventlog import EventLog, checkpoints, sqlite
from recae.data.eventlog.events import accept
from recae.errors import EventLogError


@pytest.fixture
def log(sqlite_url, archive, monkeypatch):
    monkeypatch.setattr(sqlite, "SLOW_S", 1e9)  # this machine may be busy
    monkeypatch.setattr(sqlite, "BRIEF_S", 1.0)
    with EventLog(sqlite_url, archive) as opened:
        yield opened


@pytest.fixture
def other(home, log):
    """Another process's connection."""
    connection = sqlite3.connect(home / "events.db", isolation_level=None)
    yield connection
    connection.close()


def insert(log, *items):
    rows, _ = accept([{"user_id": "u", "item_id": item} for item in items], log.now(), log.acceptance)
    return lambda connection: log.database.insert(connection, rows)


def stored(connection):
    return [item for (item,) in connection.execute("SELECT item_id FROM events ORDER BY sequence")]


def test_a_brief_commit_is_there_for_everybody_when_it_returns(log, other):
    assert log.database.write_briefly(insert(log, "a", "b")) == 2
    assert log.database.write_briefly(insert(log, "c", "d")) == 2

    assert stored(other) == ["a", "b", "c", "d"]


def test_where_another_one_writes_it_gives_up_at_once_and_stores_nothing(log, other):
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()

    assert log.database.write_briefly(insert(log, "a")) is None

    assert time.monotonic() - started < 5.0, "an ingest can hold the lock for long"
    other.execute("ROLLBACK")
    assert stored(other) == []
    assert log.database.write_briefly(insert(log, "a")) == 1


def test_a_writer_with_patience_waits_for_the_one_before(log, other):
    other.execute("BEGIN IMMEDIATE")
    waiting = threading.Thread(target=lambda: log.append([{"user_id": "u", "item_id": "late"}]))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    other.execute("COMMIT")
    waiting.join(10)

    assert not waiting.is_alive()
    assert stored(other) == ["late"]


def test_a_writer_that_waits_in_vain_says_so_after_one_wait(log, other, monkeypatch):
    monkeypatch.setattr(sqlite.SqliteDatabase, "PATIENCE_S", 0.3)
    begin, waits = sqlite._begin_writing, []

    def noted(connection, patience_s):
        waits.append(patience_s)
        begin(connection, patience_s)

    monkeypatch.setattr(sqlite, "_begin_writing", noted)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(EventLogError, match="database is locked"):
        log.database.write(insert(log, "a"))

    assert len(waits) == 1, "it has waited for as long as a writer waits"


def test_what_is_busy_at_once_is_tried_again_within_the_time_that_is_left(log, monkeypatch):
    """As SQLite refuses a transaction whose state is outdated: no wait would help that one."""
    tries = []

    def is_outdated_twice(connection):
        tries.append(connection.get_execution_options()[sqlite.PATIENCE])
        if len(tries) < 3:
            outdated = sqlite3.OperationalError("database is locked")
            outdated.sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT
            raise OperationalError("COMMIT", {}, outdated)
        return insert(log, "a")(connection)

    assert log.database.write(is_outdated_twice) == 1
    assert sqlite.BUSY_S >= tries[0] > tries[1] > tries[2], "one time limit for all of them"


def test_a_disk_that_takes_its_time_is_left_to_threads_for_a_while(log, monkeypatch):
    monkeypatch.setattr(sqlite, "SLOW_S", -1.0)

    assert log.database.write_briefly(insert(log, "a")) == 1
    assert log.database.write_briefly(insert(log, "b")) is None

    monkeypatch.setattr(log.database, "_slow_until", 0.0)
    assert log.database.write_briefly(insert(log, "b")) == 1


def test_an_error_of_the_work_undoes_it_and_comes_out(log, other):
    def fails(connection):
        insert(log, "a")(connection)
        raise ValueError("after the first row")

    with pytest.raises(ValueError, match="after the first row"):
        log.database.write_briefly(fails)

    assert stored(other) == []


def test_the_write_ahead_log_moves_into_the_file_beside_the_writers(log, other, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoints, "MOST_PAGES", 50)
    for number in range(300):
        while log.database.write_briefly(insert(log, f"{number:0200d}")) is None:
            pass  # the log begins anew at this moment

    moving = log.database._checkpoints
    # behind a checkpoint that began before the last commit, and does not move all
    moving._threads.submit(lambda: None).result(30)
    moving.commit_done()
    moving._threads.submit(lambda: None).result(30)  # behind the last checkpoint
    log.append([{"user_id": "u", "item_id": "last"}])

    _busy, n_pages, _moved = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    # below 50 pages it need not begin anew, and the last commit writes a few behind them
    assert n_pages < 100, "it began anew; 300 commits write 1,200 pages"
    assert log.count() == 301


def test_after_a_brief_commit_the_larger_ones_move_the_write_ahead_log_too(log, home, monkeypatch):
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 100)
    assert log.database.write_briefly(insert(log, "a")) == 1
    for number in range(20):
        log.append([{"user_id": "u", "item_id": f"{number}-{place}"} for place in range(500)])

    assert (home / "events.db-wal").stat().st_size < 3 * 2**20, "10,000 events are twice as much"


def test_what_is_no_lock_is_told_at_once(log, home, monkeypatch):
    def read_only():
        return sqlite3.connect(f"file:{home / 'events.db'}?mode=ro", uri=True, check_same_thread=False)

    engine = create_engine("sqlite://", creator=read_only)
    event.listen(engine, "begin", sqlite._begin)
    monkeypatch.setattr(log.database, "engine", engine)
    started = time.monotonic()

    with pytest.raises(EventLogError, match="readonly"):
        log.append([{"user_id": "u", "item_id": "a"}])
    with pytest.raises(EventLogError, match="readonly"):
        log.database.write_briefly(insert(log, "a"))

    assert time.monotonic() - started < 5.0, "nobody will end that wait"


def test_a_commit_beside_the_end_of_the_log_is_no_error(log):
    log.database._checkpoints.close()
    log.database._checkpoints._last = -1e9

    assert log.database.write_briefly(insert(log, "a")) == 1
