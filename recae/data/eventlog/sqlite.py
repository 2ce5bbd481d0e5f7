"""The event log in a SQLite file: nothing to install, many readers, one writer at a time.

Write-ahead logging with ``synchronous=FULL``: a commit returns when the operating system says that it is on the disk.
Writers wait for each other from their BEGIN on, so numbers of events are given out and committed in one order.
"""

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from recae.data.eventlog.checkpoints import Checkpoints
from recae.data.eventlog.database import Database
from recae.data.eventlog.events import Recent, Row, Stamp, user_key
from recae.durable import sync
from recae.forgetting import Deletion

T = TypeVar("T")

BUSY_S = 30
"""How long a writer waits for those before it, all in all, in seconds."""
FIRST_LOOK_S, LONGEST_LOOK_S = 0.0002, 0.01
"""Pauses between two looks whether it is a writer's turn."""
CHECKPOINT_PAGES = 16_384
"""64 MB of log before it is moved into the file: an ingest changes the same index pages again and again."""
CACHE_KIB = 65_536
READER_CACHE_KIB = 16_384
"""Of each connection that reads histories."""
ROWS_A_STATEMENT = 64
"""Rows of one INSERT; one a row took half as long again."""
USER_INDEX = "events_by_user"
PATIENCE = "recae_patience"
"""Execution option of a connection whose transaction writes: how long it waits for the writers before it, in seconds."""
BRIEF_S = 0.003
"""How long a loop may wait for a writer; two of them that take turns need less."""
SLOW_S, SLOW_FOR_S = 0.02, 5.0
"""A commit that took so long holds a loop up; then threads commit, for so long."""

NAMES = "sequence, event_key, user_id, item_id, event_type, value, timestamp, event_id, recommendation_id"
INSERT = f"INSERT OR IGNORE INTO events ({NAMES}) VALUES "  # noqa: S608 - constants only
INSERT_ONE = INSERT + "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
# ?1 is the first row's number: counting here spares Python to touch each row
INSERT_MANY = INSERT + ", ".join(
    f"(?1 + {place}, ?, ?, ?, ?, ?, ?, ?, ?)" for place in range(ROWS_A_STATEMENT)
)
RECENT = """SELECT item_id, value, event_type, timestamp, sequence FROM events WHERE user_id = ?
ORDER BY timestamp DESC, sequence DESC LIMIT ?"""
LAST_NUMBER = "SELECT last FROM event_sequence"
DELETED = """SELECT (SELECT id FROM log_identity), last_sequence, deleted_at
FROM deleted_users WHERE user_key = ?"""
STAMP = """SELECT n_events, total, (SELECT id FROM log_identity), last_sequence, deleted_at
FROM (SELECT count(*) AS n_events, coalesce(sum(sequence), 0) AS total
    FROM (SELECT sequence FROM events WHERE user_id = ? ORDER BY timestamp DESC, sequence DESC LIMIT ?))
LEFT JOIN deleted_users ON user_key = ?"""

CONFLICTS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
"""Primary error codes of a transaction that others got in the way of."""
REMEDIES = {
    sqlite3.SQLITE_CORRUPT: "its file is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "its file is damaged, or is no event log: restore it from a backup, or name another",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_READONLY: "its file cannot be written: give this user the right to, on its folder too",
}
"""Primary error code -> what to do about it; waiting mends none of these."""


class SqliteDatabase(Database):
    """A file, which is created with its folder if it is missing, unless ``create`` is False."""

    PATIENCE_S: ClassVar[float] = BUSY_S
    PASSING: ClassVar[str] = (
        "see that its file and folder are there and writable, that no other process keeps it locked, and that this one "
        "may open more files"
    )

    def __init__(self, url: URL, *, create: bool = True) -> None:
        file = Path(url.database or "")
        is_new = not file.exists()
        if create:
            file.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            url, pool_size=8, max_overflow=-1, connect_args={"timeout": BUSY_S, "check_same_thread": False}
        )
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        self._readers: list[sqlite3.Connection] = []
        self._idle: list[sqlite3.Connection] = []  # of these, a stack: list.append and list.pop need no lock
        self._readers_lock = threading.Lock()
        self._checkpoints = Checkpoints(str(file))
        self._slow_until = 0.0  # monotonic time
        if is_new and not create:
            self.engine = engine
            raise self._missing()
        super().__init__(engine, create=create)
        if is_new:
            sync(file.parent)

    def insert(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Store the new ones; numbers of rows that are there already stay unused."""
        first = self._take_numbers(connection, len(rows))
        whole = len(rows) - len(rows) % ROWS_A_STATEMENT
        before = _changes(connection)
        if whole:
            connection.exec_driver_sql(
                INSERT_MANY,
                [
                    (first + start, *chain.from_iterable(rows[start : start + ROWS_A_STATEMENT]))
                    for start in range(0, whole, ROWS_A_STATEMENT)
                ],
            )
        if whole < len(rows):
            connection.exec_driver_sql(
                INSERT_ONE, [(first + place, *row) for place, row in enumerate(rows[whole:], whole)]
            )
        return _changes(connection) - before - _remove_archived(connection, first)

    def recent(self, user_id: str, n: int) -> Recent:
        """As the base class does it, for a fifth of the time: sqlite3 itself, on a connection that only reads."""
        with self._reader() as reader:
            events = reader.execute(RECENT, (user_id, n)).fetchall()
            noted = reader.execute(DELETED, (user_key(user_id),)).fetchone()
        return Recent(events, Deletion(*noted) if noted else None)

    def stamp(self, user_id: str, n: int) -> Stamp:
        """As the base class does it, in the way of `recent`."""
        with self._reader() as reader:
            n_events, total, *noted = reader.execute(STAMP, (user_id, n, user_key(user_id))).fetchone()
        return Stamp(n_events, total, Deletion.noted(*noted))

    def close(self) -> None:
        """Give up the connections."""
        self._checkpoints.close()
        with self._readers_lock:
            for reader in self._readers:
                reader.close()
            self._readers, self._idle = [], []
        super().close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else reads on meanwhile; there are as many as threads have read at the same time."""
        idle = self._idle  # of before a `close`, if that comes in between
        try:
            try:
                reader = idle.pop()  # the last one used, which has the most in its cache
            except IndexError:
                reader = self._new_reader()
            try:
                yield reader
            finally:
                idle.append(reader)
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _new_reader(self) -> sqlite3.Connection:
        file = str(self.engine.url.database)
        reader = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        reader.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
        with self._readers_lock:
            self._readers.append(reader)
        return reader

    def begin_load(self) -> None:
        """An empty log is loaded without its index of users, which costs half of each event, row by row.

        Whoever reads meanwhile is answered as ever, only later.
        """

        def drop(connection: Connection) -> None:
            if connection.exec_driver_sql("SELECT EXISTS (SELECT 1 FROM events)").scalar_one() == 0:
                connection.exec_driver_sql(f"DROP INDEX IF EXISTS {USER_INDEX}")

        self.write(drop)

    def end_load(self) -> None:
        """Make the index of users, if it is not there: sorted at once, in a fifth of the time."""
        self.write(_make_user_index)

    def watermark(self) -> int:
        """Writers commit in the order of their numbers, so it is the last number."""
        with self.read() as connection:
            found: int = connection.exec_driver_sql(LAST_NUMBER).scalar_one()
        return found

    def hold_numbers(self, connection: Connection) -> int:
        """Who writes is the only one."""
        found: int = connection.exec_driver_sql(LAST_NUMBER).scalar_one()
        return found

    def _is_current(self, connection: Connection) -> bool:
        return super()._is_current(connection) and _has_user_index(connection)

    def _migrate(self, connection: Connection) -> None:
        super()._migrate(connection)
        _make_user_index(connection)  # a load that was killed has left none

    def write_briefly(self, work: Callable[[Connection], T]) -> T | None:
        """As the base class tells it: not where others write for longer, nor on a disk that takes its time."""
        started = time.monotonic()
        if started < self._slow_until:
            return None
        try:
            with self._writing(BRIEF_S) as connection:
                done = work(connection)
        except SQLAlchemyError as error:
            if self._is_conflict(error):
                return None
            raise self._explained(error) from error
        ended = time.monotonic()
        if ended - started > SLOW_S:
            self._slow_until = ended + SLOW_FOR_S
        self._checkpoints.commit_done()
        return done

    def _passes(self, error: DBAPIError) -> bool:
        return _primary_code(error.orig) in CONFLICTS

    def _remedy(self, cause: BaseException | None) -> str | None:
        code = _primary_code(cause)
        if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            return _obstacle(Path(str(self.engine.url.database))) or REMEDIES.get(code)
        return REMEDIES.get(code)

    @contextmanager
    def _writing(self, patience_s: float) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            writer = connection.execution_options(**{PATIENCE: patience_s})
            with writer.begin():
                yield writer

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @staticmethod
    def _take_numbers(connection: Connection, n: int) -> int:
        """The first of ``n`` numbers that nobody has had; unlike rowids they are not used again after a delete."""
        last: int = connection.exec_driver_sql(
            "UPDATE event_sequence SET last = last + ? RETURNING last", (n,)
        ).scalar_one()
        return last - n + 1


def _primary_code(error: BaseException | None) -> int:
    """SQLite's primary error code; 0 for what is not its error."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _has_user_index(connection: Connection) -> bool:
    is_there = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?)"
    return bool(connection.exec_driver_sql(is_there, (USER_INDEX,)).scalar_one())


def _make_user_index(connection: Connection) -> None:
    if not _has_user_index(connection):
        connection.exec_driver_sql(f"CREATE INDEX {USER_INDEX} ON events (user_id, timestamp)")


def _obstacle(file: Path) -> str | None:
    """What to do about a file that cannot be opened for writing; None if nothing that lasts is seen in its way.

    SQLite says the same of a file without rights and of a process with too many files open, which passes.
    """
    folder = file.absolute().parent
    try:
        if file.is_dir():
            return "it is a folder: name a file"
        if not folder.is_dir():
            return None  # may be mounted again
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return "its disk is mounted read-only: mount it for writing, or name another log"
        may_write = os.access(folder, os.W_OK | os.X_OK)
        if may_write and (not file.exists() or os.access(file, os.R_OK | os.W_OK)):
            return None
    except PermissionError:  # of a folder above
        pass
    except OSError:  # a network's disk that is away
        return None
    return f"it is not writable for this user (id {os.geteuid()}): give it the right to, on its folder too"


def _remove_archived(connection: Connection, first: int) -> int:
    """Take out what a partition holds already, among the rows from number ``first`` on."""
    if connection.exec_driver_sql("SELECT EXISTS (SELECT 1 FROM archived_keys)").scalar_one() == 0:
        return 0
    return connection.exec_driver_sql(
        "DELETE FROM events WHERE sequence >= ? AND event_key IN (SELECT event_key FROM archived_keys)",
        (first,),
    ).rowcount


def _changes(connection: Connection) -> int:
    """Rows that this connection has changed so far; a statement of many rows tells it right, unlike its rowcount."""
    raw: Any = connection.connection.driver_connection
    changes: int = raw.total_changes
    return changes


def _configure(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # SQLAlchemy's own BEGIN is the one that counts, see _begin
    cursor = raw.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"cache_size = -{CACHE_KIB}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """A writer takes the lock at once: one that reads first could not wait for it later."""
    patience_s = connection.get_execution_options().get(PATIENCE)
    if patience_s is not None:
        _begin_writing(connection, patience_s)
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection, patience_s: float) -> None:
    """Wait for the lock, and look often: a commit takes half a millisecond.

    SQLite itself looks again after 1, 2, 5, 10 ... 100 ms. Of two processes that write all the time, one would mostly
    find the other at it, and an event would wait for half a second.
    """
    raw: Any = connection.connection.driver_connection
    deadline, pause = time.monotonic() + patience_s, FIRST_LOOK_S
    pages = 0 if patience_s == BRIEF_S else CHECKPOINT_PAGES  # after brief commits a thread does it
    raw.execute(f"PRAGMA wal_autocheckpoint = {pages}")
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < deadline:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if _primary_code(error) not in CONFLICTS:
                    break
                time.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 1.3, LONGEST_LOOK_S)
            else:
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # once more: the error is SQLAlchemy's
    finally:
        raw.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000}")
