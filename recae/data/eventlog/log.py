"""`EventLog`: append durably, read a user's history, and stream everything to a training."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import pyarrow as pa
from sqlalchemy import Connection, and_, func, make_url, or_, select
from sqlalchemy.exc import ArgumentError

from recae.config import Settings
from recae.data.acceptance import Acceptance
from recae.data.eventlog import compaction, ownership, partitions, schema, streaming
from recae.data.eventlog.bulk import rows_of
from recae.data.eventlog.database import Database
from recae.data.eventlog.events import Appended, Event, Recent, Stamp, StoredEvent, accept
from recae.data.eventlog.groups import GroupCommit
from recae.data.eventlog.stats import Stats, newest_of, stats_of
from recae.data.eventlog.together import ReadsUsers
from recae.errors import ConfigError, DataError
from recae.forgetting import LogPosition

CHUNK_ROWS = 65_536
DAY_S = 86_400
FIELDS = [schema.events.c[name] for name in StoredEvent._fields]


class Page(NamedTuple):
    """A part of a user's history."""

    events: list[StoredEvent]
    next_cursor: str | None
    """Where the next, older part begins; None if this is the last."""


class Tidied(NamedTuple):
    """What became of old events."""

    expired: int
    """Deleted."""
    archived: int
    """Moved into partitions."""


class EventLog:
    """A log of events in SQLite or PostgreSQL, and its older part in Parquet files. Safe between threads.

    A process that forks opens its log after the fork.

    Args:
        url: ``sqlite:///file`` or ``postgresql://user@host/database``.
        archive: folder of the older part.
        max_clock_skew_s: how far in the future an event's time may lie.
        clock: seconds since 1970; for tests.
        create: make the log if there is none.

    Raises:
        ConfigError: for another kind of URL.
        EventLogError: if the database cannot be opened, or there is no log and it is not to be made.
    """

    def __init__(
        self,
        url: str,
        archive: Path,
        *,
        max_clock_skew_s: float = 300.0,
        clock: Callable[[], float] = time.time,
        create: bool = True,
    ) -> None:
        self.database = _database(url, create=create)
        self.archive = archive
        self._skew_s = max_clock_skew_s
        self._clock = clock
        self._groups = GroupCommit(self.database)

    @classmethod
    def open(cls, settings: Settings, *, create: bool = True) -> "EventLog":
        """The log that the settings name; errors as of the class."""
        return cls(
            settings.events_url,
            settings.events_archive,
            max_clock_skew_s=settings.max_clock_skew_s,
            create=create,
        )

    @property
    def acceptance(self) -> Acceptance:
        """What an event has to meet now."""
        return Acceptance(self._clock() + self._skew_s)

    def now(self) -> float:
        """Seconds since 1970, by the log's clock."""
        return self._clock()

    def append(self, events: Iterable[Event | Mapping[str, Any]]) -> Appended:
        """Store events; those accepted are on the disk when this returns.

        An event whose ``event_id``, or all of whose fields if it has none, the log knows already adds nothing. A late
        event is stored like any other: its place in the log is that of its arrival, its time is its own.

        Args:
            events: each an ``Event`` or a mapping with its fields, as from JSON.

        Raises:
            EventLogError: if the database fails; then none of them is acknowledged, and they may be sent again.
        """
        rows, rejected = accept(events, self._clock(), self.acceptance)
        accepted = self._groups.insert(rows) if rows else 0
        return Appended(accepted, len(rows) - accepted, rejected)

    def append_table(self, table: pa.Table, *, also: Callable[[Connection], None] | None = None) -> Appended:
        """Store a table as the readers give it, in one transaction.

        Args:
            table: columns as in ``recae.data.rows.COLUMNS``, which the readers have checked with ``acceptance``. Without
                a timestamp column the events get the time of now, which does not make two of them differ.
            also: what belongs into the same transaction.
        """
        rows = rows_of(table, self._clock())

        def work(connection: Connection) -> int:
            accepted = self.database.insert(connection, rows) if rows else 0
            if also is not None:
                also(connection)
            return accepted

        accepted = self.database.write(work)
        return Appended(accepted, len(rows) - accepted)

    def history(self, user_id: str, n: int | None = None, cursor: str | None = None) -> Page:
        """A user's live events, newest first: by time, and among equal times the one that arrived last.

        Args:
            user_id: whose events.
            n: at most so many; None for all.
            cursor: ``next_cursor`` of the page before.

        Raises:
            DataError: for a cursor that no page has given.
        """
        time_, sequence = schema.events.c.timestamp, schema.events.c.sequence
        query = select(*FIELDS).where(schema.events.c.user_id == user_id)
        if cursor is not None:
            at, number = _position(cursor)
            query = query.where(time_ <= at, or_(time_ < at, and_(time_ == at, sequence < number)))
        query = query.order_by(time_.desc(), sequence.desc())
        if n is not None:
            query = query.limit(n + 1)
        with self.database.read() as connection:
            events = [StoredEvent(*row) for row in connection.execute(query)]
        if n is None or len(events) <= n:
            return Page(events, None)
        last = events[n - 1] if n else None
        return Page(events[:n], f"{last.timestamp}.{last.sequence}" if last else cursor)

    def recent(self, user_id: str, n: int) -> Recent:
        """What a request needs of a user: the newest ``n`` live events, as the log is now.

        Raises:
            EventLogError: if the database fails.
        """
        return self.database.recent(user_id, n)

    def stamp(self, user_id: str, n: int) -> Stamp:
        """What is the same for as long as ``recent`` gives the same, for a fraction of its time.

        Raises:
            EventLogError: if the database fails.
        """
        return self.database.stamp(user_id, n)

    def of_users(self, user_ids: Iterable[str]) -> ReadsUsers:
        """What `recent` and `stamp` say of some users who are about to be asked for, in as few questions as it takes.

        Nothing is asked yet. Errors as of these two.
        """
        return self.database.of_users(user_ids)

    def watermark(self) -> int:
        """A number up to which the log is complete: no event can appear at or below it later."""
        return self.database.watermark()

    def position(self, until: int) -> LogPosition:
        """What a model notes that is about to read the log up to a watermark."""
        return LogPosition(log_id=ownership.identity(self.database), until=until, began=int(self._clock()))

    def stream(
        self,
        after: int = 0,
        until: int | None = None,
        *,
        chunk_rows: int = CHUNK_ROWS,
        with_keys: bool = False,
    ) -> Iterator[pa.Table]:
        """All events, archived ones too, in the order in which they arrived.

        Args:
            after: only events with higher numbers, as ``until`` of an earlier training.
            until: a watermark, the last number to read; None for that of now.
            chunk_rows: most rows of one table.
            with_keys: give a last column ``event_key``, see events.py.

        Yields:
            Tables with sequence, user_id, item_id, event_type, value, timestamp, event_id, recommendation_id. What is
            appended, moved or deleted while they are read does not show.
        """
        if chunk_rows < 1:
            raise ValueError(f"expected chunk_rows >= 1, found {chunk_rows}")
        until = self.watermark() if until is None else until
        fields = partitions.STORED if with_keys else partitions.ARROW
        return streaming.stream(self.database, self.archive, after, until, chunk_rows, fields)

    def count(self) -> int:
        """Number of events, archived ones included."""
        with self.database.read() as connection:
            return _n_live(connection) + sum(part.n_events for part in partitions.listed(connection))

    def stats(self) -> Stats:
        """What the log holds; reads the whole live table."""
        return stats_of(self.database)

    def newest(self, n: int) -> int | None:
        """Time of the newest among the last ``n`` events that arrived, in seconds since 1970; None without live events."""
        return newest_of(self.database, n)

    def delete_user(self, user_id: str, *, wait: bool | float = True) -> int:
        """Remove all events of a user, archived ones too, and return how many they were.

        What a model has learned from them stays in its weights until the next training; that they are deleted shows in
        :meth:`recent`, so that nobody is recommended to from the row that a model keeps of them. What a model has read
        after the deletion counts as of any other user.

        Args:
            user_id: whose events.
            wait: for compaction, expiry and other deletions to end; a number for so many seconds at most.

        Raises:
            BusyLogError: if they have not ended then; nothing is deleted.
        """
        return compaction.delete_user(self.database, self.archive, user_id, int(self._clock()), wait=wait)

    def check_archive(self) -> list[str]:
        """What is wrong with the older part, as far as it shows without reading all of it; nothing is changed.

        Raises:
            LastingLogError: if the archive is another log's.
        """
        ownership.check(self.database, self.archive)
        with self.database.read() as connection:
            listed = partitions.listed(connection)
        return [found for part in listed if (found := partitions.problem(self.archive, part)) is not None]

    def compact(self, before: int) -> int:
        """Move events with times before ``before`` into partitions; returns how many."""
        return compaction.archive(self.database, self.archive, before, self.watermark())

    def expire(self, before: int) -> int:
        """Remove all events with times before ``before``, live and archived, and return how many they were.

        The record of which answers were given before, which experiments are read from, goes too.
        """
        return compaction.expire(self.database, self.archive, before)

    def aged(self, days: float, now: float) -> compaction.Aged:
        """How many events are older than so many days at a moment, in seconds since 1970."""
        return compaction.aged(self.database, _days_before(now, days))

    def tidy(
        self,
        *,
        compact_after_days: float | None = None,
        retention_days: float | None = None,
        now: float | None = None,
    ) -> Tidied:
        """Expire what is too old to keep, then move what is old into partitions.

        Args:
            compact_after_days: age at which events move; None for never.
            retention_days: age at which they are deleted; None for never. An age is counted from an event's own time.
            now: seconds since 1970; None for the log's clock.
        """
        now = self._clock() if now is None else now
        expired = 0 if retention_days is None else self.expire(_days_before(now, retention_days))
        archived = 0 if compact_after_days is None else self.compact(_days_before(now, compact_after_days))
        return Tidied(expired, archived)

    def close(self) -> None:
        """Give up the connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _n_live(connection: Connection) -> int:
    found: int = connection.execute(select(func.count()).select_from(schema.events)).scalar_one()
    return found


def _days_before(now: float, days: float) -> int:
    return int(now - days * DAY_S)


def _position(cursor: str) -> tuple[int, int]:
    at, _, number = cursor.partition(".")
    try:
        return int(at), int(number)
    except ValueError:
        raise DataError(f"there is no cursor {cursor!r}; expected next_cursor of the page before") from None


def _database(url: str, *, create: bool) -> Database:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is not None and parsed.get_backend_name() == "sqlite" and parsed.database:
        from recae.data.eventlog.sqlite import SqliteDatabase

        return SqliteDatabase(parsed, create=create)
    if parsed is not None and parsed.get_backend_name() == "postgresql":
        try:
            from recae.data.eventlog.postgres import PostgresDatabase

            return PostgresDatabase(parsed, create=create)
        except ModuleNotFoundError as error:
            raise ConfigError(
                "PostgreSQL needs psycopg, which is not installed; run: pip install 'recae[postgres]'"
            ) from error
    raise ConfigError(
        "the event log's URL is neither sqlite:///FILE nor postgresql://USER@HOST/DATABASE; correct the setting events"
    )
