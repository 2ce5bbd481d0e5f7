"""A database that holds an event log: what SQLite and PostgreSQL do differently, behind one interface."""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from recae.data.eventlog.events import Recent, Row, Stamp, user_key
from recae.data.eventlog.migrations import is_current, migrate, version_of
from recae.data.eventlog.together import ReadsUsers
from recae.errors import EventLogError, LastingLogError
from recae.forgetting import Deletion

T = TypeVar("T")

TRIES = 8
"""How often a transaction is tried that others got in the way of."""
FIRST_PAUSE_S = 0.02

RECENT = text(
    "SELECT item_id, value, event_type, timestamp, sequence FROM events WHERE user_id = :user_id "
    "ORDER BY timestamp DESC, sequence DESC LIMIT :n"
)
DELETED = text(
    "SELECT (SELECT id FROM log_identity), last_sequence, deleted_at FROM deleted_users WHERE user_key = :user_key"
)
"""Columns of a `Deletion`."""
STAMP = text(
    "SELECT n_events, total, (SELECT id FROM log_identity), last_sequence, deleted_at FROM "
    "(SELECT count(*) AS n_events, coalesce(sum(sequence), 0) AS total FROM "
    "(SELECT sequence FROM events WHERE user_id = :user_id ORDER BY timestamp DESC, sequence DESC LIMIT :n) AS newest) "
    "AS summed LEFT JOIN deleted_users ON user_key = :user_key"
)
"""Columns of a `Stamp`, of events read from the index of users alone."""


class Database(ABC):
    """Transactions, the insertion of events, and the watermark."""

    PATIENCE_S: ClassVar[float] = 60.0
    """How long :meth:`write` waits for others, over all its tries, in seconds."""

    PASSING: ClassVar[str] = "see that its database is up and writable"
    """What to do about an error that may pass by itself."""

    def __init__(self, engine: Engine, *, create: bool = True) -> None:
        self.engine = engine
        self._may_create = create
        try:
            with self.read() as connection:
                is_ready = self._is_current(connection)
            if not is_ready:  # else nobody waits for those who write
                self.write(self._migrate)
        except BaseException:
            engine.dispose()
            raise

    @property
    def url(self) -> str:
        """Its address, without a password."""
        return self.engine.url.render_as_string(hide_password=True)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in one transaction, on the disk when this returns; all of it is repeated if others interfere.

        A conflict may show at once or after a long wait, so the tries share one time limit, ``PATIENCE_S``.

        Raises:
            EventLogError: if the database cannot be reached, or does not let it through.
        """
        deadline = time.monotonic() + self.PATIENCE_S
        for attempt in range(1, TRIES + 1):
            try:
                with self._writing(max(0.0, deadline - time.monotonic())) as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                is_last = attempt == TRIES or time.monotonic() >= deadline
                if is_last or not self._is_conflict(error):
                    raise self._explained(error) from error
                time.sleep(FIRST_PAUSE_S * 2**attempt * random.random())
        raise AssertionError("the last try returns or raises")

    def write_briefly(self, work: Callable[[Connection], T]) -> T | None:  # noqa: ARG002 - SQLite takes it
        """As :meth:`write`, if it can be done within milliseconds; None, and nothing done, if not.

        Raises:
            EventLogError: if the database cannot be reached.
        """
        return None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database from its first query to its end."""
        try:
            with self._reading() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._explained(error) from error

    @abstractmethod
    def insert(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Store what the log does not hold yet, in this order, and return how many those are."""

    def recent(self, user_id: str, n: int) -> Recent:
        """The newest ``n`` live events of a user, and whether their events were deleted."""
        with self.read() as connection:
            events = connection.execute(RECENT, {"user_id": user_id, "n": n}).all()
            noted = connection.execute(DELETED, {"user_key": user_key(user_id)}).one_or_none()
        return Recent([tuple(event) for event in events], Deletion(*noted) if noted else None)

    def stamp(self, user_id: str, n: int) -> Stamp:
        """See :class:`Stamp`; of the newest ``n`` live events of a user."""
        known = {"user_id": user_id, "user_key": user_key(user_id), "n": n}
        with self.read() as connection:
            n_events, total, *noted = connection.execute(STAMP, known).one()
        return Stamp(int(n_events), int(total), Deletion.noted(*noted))

    def of_users(self, user_ids: Iterable[str]) -> ReadsUsers:  # noqa: ARG002 - PostgreSQL takes it
        """`recent` and `stamp` of some users who are about to be asked for; by itself each user alone."""
        return self

    @abstractmethod
    def watermark(self) -> int:
        """The highest sequence number S of which no event up to S can appear later; 0 for an empty log."""

    @abstractmethod
    def hold_numbers(self, connection: Connection) -> int:
        """The last number given to an event; until the end of this transaction, which writes, nobody gets another."""

    def begin_load(self) -> None:  # noqa: B027 - not every database has something to do
        """Get ready for many events at once; `end_load` follows, or the next opening makes up for it."""

    def end_load(self) -> None:  # noqa: B027 - as above
        """Be as before `begin_load`."""

    def close(self) -> None:
        """Give up the connections."""
        self.engine.dispose()

    @abstractmethod
    @contextmanager
    def _writing(self, patience_s: float) -> Iterator[Connection]:
        """A transaction that writes, and waits so long for others, in seconds."""

    @abstractmethod
    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that reads one state."""

    def _is_current(self, connection: Connection) -> bool:
        """Whether nothing is to be made or changed in the database before it is used."""
        return is_current(connection)

    def _migrate(self, connection: Connection) -> None:
        if not self._may_create and not version_of(connection):
            raise self._missing()
        migrate(connection)

    def _missing(self) -> LastingLogError:
        """The error for a log that is not there, and is not to be made."""
        return LastingLogError(
            f"there is no event log in {self.url}; `recae ingest` makes one, and the settings events (RECAE_EVENTS) and "
            "home (RECAE_HOME, --home) name another"
        )

    def _is_conflict(self, error: SQLAlchemyError) -> bool:
        return isinstance(error, DBAPIError) and self._passes(error)

    @abstractmethod
    def _passes(self, error: DBAPIError) -> bool:
        """Whether others got in the way of a transaction, or its connection was lost: the next try may go through."""

    def _remedy(self, cause: BaseException | None) -> str | None:  # noqa: ARG002 - each database has its own
        """What a person has to do about an error that waiting does not mend; None for any other."""
        return None

    def _explained(self, error: Exception) -> EventLogError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        said = " ".join(str(cause).split())
        remedy = self._remedy(cause)
        if remedy is not None:
            return LastingLogError(f"the event log {self.url} failed: {said}; {remedy}")
        return EventLogError(f"the event log {self.url} failed: {said}; {self.PASSING}")
