"""The event log in PostgreSQL: many writers at once, on other machines too.

A number is taken before its transaction commits, so a writer that is slow to commit could slip below a number that a
reader has seen already. Therefore every writer holds one advisory lock, shared, from before its first number until its
commit, and the watermark is read under the same lock, alone: by then each number given out is committed or never will be.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import DBAPIError

from recae.data.eventlog.database import Database
from recae.data.eventlog.events import Recent, Row, Stamp, user_key
from recae.data.eventlog.together import ReadsUsers, ReadTogether
from recae.forgetting import Deletion

LOCK = 7_226_563_651_061_114_729  # any number that no other program uses; it is the log's for ever
CONNECT_S = 10
STAYS_AWAKE: Mapping[str, int] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Seconds, seconds, times, milliseconds. A firewall that forgets a connection says so to neither end, and who waits for an
answer would wait for two hours, or for ever; so the kernel asks whether the server is there, and gives up after a minute."""
COPY_FROM = 200
"""Rows from which COPY into a temporary table is faster than arrays in one statement."""

NAMES = "event_key, user_id, item_id, event_type, value, timestamp, event_id, recommendation_id"
INSERT = f"""
    INSERT INTO events (sequence, {NAMES})
    SELECT sequence, {NAMES} FROM (SELECT nextval('event_sequence') AS sequence, * FROM {{source}}) AS numbered
    WHERE NOT EXISTS (SELECT 1 FROM archived_keys AS old WHERE old.event_key = numbered.event_key)
    ORDER BY event_key, sequence
    ON CONFLICT (event_key) DO NOTHING"""  # noqa: S608 - constants only
# By key, or two writers would deadlock; then by number: of two with one key the first stays.
ARRAYS = """unnest(%s::bytea[], %s::text[], %s::text[], %s::text[], %s::float8[], %s::bigint[], %s::text[], %s::text[])
    AS given (event_key, user_id, item_id, event_type, value, timestamp, event_id, recommendation_id)"""
INCOMING = """CREATE TEMPORARY TABLE IF NOT EXISTS incoming (
    event_key BYTEA, user_id TEXT, item_id TEXT, event_type TEXT,
    value DOUBLE PRECISION, timestamp BIGINT, event_id TEXT, recommendation_id TEXT
) ON COMMIT DELETE ROWS"""

RECENT_OF_EACH = """
    SELECT place, item_id, value, event_type, timestamp, sequence
    FROM unnest(%s::text[]) WITH ORDINALITY AS asked (asked_id, place)
    CROSS JOIN LATERAL (
        SELECT item_id, value, event_type, timestamp, sequence FROM events WHERE user_id = asked_id
        ORDER BY timestamp DESC, sequence DESC LIMIT %s
    ) AS newest
    ORDER BY place, timestamp DESC, sequence DESC"""
DELETED_OF_EACH = """
    SELECT user_key, (SELECT id FROM log_identity), last_sequence, deleted_at
    FROM deleted_users WHERE user_key = ANY(%s)"""
STAMP_OF_EACH = """
    SELECT n_events, total, (SELECT id FROM log_identity), last_sequence, deleted_at
    FROM unnest(%s::text[], %s::bytea[]) WITH ORDINALITY AS asked (asked_id, asked_key, place)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n_events, coalesce(sum(sequence), 0) AS total FROM (
            SELECT sequence FROM events WHERE user_id = asked_id ORDER BY timestamp DESC, sequence DESC LIMIT %s
        ) AS newest
    ) AS summed
    LEFT JOIN deleted_users ON user_key = asked_key
    ORDER BY place"""

CONFLICTS = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
    }
)
"""SQLSTATEs of a transaction that may go through when it is repeated; messages are in the server's language."""
CONNECTION_FAILED = "08"
"""Class of the SQLSTATEs of a connection that broke."""
REMEDIES: Mapping[str, str] = {
    "53100": "make room on its server's disk",  # disk_full
    "XX001": "it is damaged: restore it from a backup",  # data_corrupted
    "XX002": "it is damaged: restore it from a backup",  # index_corrupted
}
"""SQLSTATE -> what to do about it; waiting mends none of these."""


class PostgresDatabase(Database):
    """A database that exists; its tables are created if they are missing, unless ``create`` is False."""

    def __init__(self, url: URL, *, create: bool = True) -> None:
        by_default = {"connect_timeout": CONNECT_S, **STAYS_AWAKE}
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=8,
            max_overflow=-1,
            pool_pre_ping=True,
            connect_args={name: value for name, value in by_default.items() if name not in url.query},
        )
        super().__init__(engine, create=create)

    def insert(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Store the new ones; numbers of rows that are there already stay unused."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({LOCK})")
        if len(rows) < COPY_FROM:
            columns = tuple(map(list, zip(*rows, strict=True)))
            return connection.exec_driver_sql(INSERT.format(source=ARRAYS), columns).rowcount
        connection.exec_driver_sql(INCOMING)
        raw: Any = connection.connection.driver_connection
        with raw.cursor() as cursor, cursor.copy(f"COPY incoming ({NAMES}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        done = connection.exec_driver_sql(INSERT.format(source="incoming")).rowcount
        connection.exec_driver_sql("TRUNCATE incoming")  # a second call in one transaction starts empty
        return done

    def of_users(self, user_ids: Iterable[str]) -> ReadsUsers:
        """All of them in a few questions: each takes a journey to the server."""
        return ReadTogether(self, user_ids)

    def recent_of_each(self, user_ids: Sequence[str], n: int) -> list[Recent]:
        """In two questions for all."""
        keys = [user_key(user_id) for user_id in user_ids]
        of_each: list[Recent] = [Recent([], None) for _ in user_ids]
        with self.read() as connection:
            for place, *event in connection.exec_driver_sql(RECENT_OF_EACH, (list(user_ids), n)):
                of_each[place - 1].events.append(tuple(event))
            noted = connection.exec_driver_sql(DELETED_OF_EACH, (keys,))
            deleted = {bytes(key): Deletion(*deletion) for key, *deletion in noted}
        return [found._replace(deletion=deleted.get(key)) for found, key in zip(of_each, keys, strict=True)]

    def stamp_of_each(self, user_ids: Sequence[str], n: int) -> list[Stamp]:
        """In one question for all."""
        asked = (list(user_ids), [user_key(user_id) for user_id in user_ids], n)
        with self.read() as connection:
            rows = connection.exec_driver_sql(STAMP_OF_EACH, asked).all()
        return [Stamp(int(n_events), int(total), Deletion.noted(*noted)) for n_events, total, *noted in rows]

    def watermark(self) -> int:
        """Wait until the writers of now have committed, hold back new ones for that moment, and read the last number."""
        return self.write(self.hold_numbers)

    def hold_numbers(self, connection: Connection) -> int:
        """As the base class tells it; who has a number already commits first."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        found: int = connection.exec_driver_sql(
            "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_sequence"
        ).scalar_one()
        return found

    def _passes(self, error: DBAPIError) -> bool:
        # psycopg has no SQLSTATE for a connection that was cut off: SQLAlchemy asks it whether it is still open
        state = _sqlstate(error.orig)
        return state in CONFLICTS or state.startswith(CONNECTION_FAILED) or error.connection_invalidated

    def _remedy(self, cause: BaseException | None) -> str | None:
        return REMEDIES.get(_sqlstate(cause))

    @contextmanager
    def _writing(self, patience_s: float) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            wait_ms = max(1, round(patience_s * 1_000))  # 0 would be no limit
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{wait_ms}ms'")
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            one_state = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            with one_state.begin():
                yield one_state

    def _migrate(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        super()._migrate(connection)


def _sqlstate(error: BaseException | None) -> str:
    """The five letters by which the server names an error in every language; empty without."""
    return getattr(error, "sqlstate", None) or ""
