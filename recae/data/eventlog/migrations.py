"""The tables of the event log, as steps from one version of the schema to the next.

A step is never changed once it was released; what changes is added as a new one. All steps of an upgrade and the new
version number are one transaction, in which others wait.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, text

from recae.errors import LastingLogError

SQLITE: Final[Mapping[str, str]] = {
    "bytes": "BLOB",
    "double": "REAL",
    "sequence": "INTEGER",  # the row's own number, which every index ends in
    "by_user": "user_id, timestamp",
    "compact": "WITHOUT ROWID",
    "counter": "CREATE TABLE event_sequence (last INTEGER NOT NULL)",
    "counter_start": "INSERT INTO event_sequence (last) VALUES (0)",
    "last_number": "SELECT last FROM event_sequence",
}
POSTGRESQL: Final[Mapping[str, str]] = {
    "bytes": "BYTEA",
    "double": "DOUBLE PRECISION",
    "sequence": "BIGINT",
    "by_user": "user_id, timestamp, sequence",
    "compact": "",
    "counter": "CREATE SEQUENCE event_sequence",
    "counter_start": "SELECT 1",
    "last_number": "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_sequence",
}

MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    (
        "{counter}",
        "{counter_start}",
        """CREATE TABLE events (
            sequence {sequence} PRIMARY KEY,
            event_key {bytes} NOT NULL,
            user_id TEXT NOT NULL,
            item_id TEXT NOT NULL,
            event_type TEXT NOT NULL,
            value {double} NOT NULL,
            timestamp BIGINT NOT NULL,
            event_id TEXT,
            recommendation_id TEXT
        )""",
        "CREATE UNIQUE INDEX events_by_key ON events (event_key)",
        "CREATE INDEX events_by_user ON events ({by_user})",
        """CREATE TABLE partitions (
            name TEXT PRIMARY KEY,
            first_sequence BIGINT NOT NULL,
            last_sequence BIGINT NOT NULL,
            n_events BIGINT NOT NULL,
            first_timestamp BIGINT NOT NULL,
            last_timestamp BIGINT NOT NULL
        )""",
        "CREATE TABLE archived_keys (event_key {bytes} PRIMARY KEY) {compact}",
        """CREATE TABLE ingests (
            source TEXT PRIMARY KEY,
            fingerprint TEXT NOT NULL,
            line BIGINT NOT NULL,
            finished INTEGER NOT NULL,
            updated_at BIGINT NOT NULL
        )""",
        """CREATE TABLE items (
            item_id TEXT PRIMARY KEY,
            title TEXT,
            year INTEGER,
            categories TEXT NOT NULL,
            available BOOLEAN NOT NULL,
            hidden BOOLEAN NOT NULL,
            extra TEXT NOT NULL,
            updated_at BIGINT NOT NULL
        )""",
    ),
    (
        """CREATE TABLE intakes (
            source TEXT NOT NULL,
            at BIGINT NOT NULL,
            rows_read BIGINT NOT NULL,
            rows_bad BIGINT NOT NULL
        )""",
    ),
    (
        # a digest: who asked to be forgotten is not written down again
        "CREATE TABLE deleted_users (user_key {bytes} PRIMARY KEY, deleted_at BIGINT NOT NULL) {compact}",
        "CREATE TABLE item_version (last BIGINT NOT NULL)",
        "INSERT INTO item_version (last) VALUES (0)",
        "CREATE TABLE item_changes (item_id TEXT PRIMARY KEY, version BIGINT NOT NULL)",
        "CREATE INDEX item_changes_by_version ON item_changes (version)",
        """CREATE TABLE recommendations (
            recommendation_id TEXT PRIMARY KEY,
            user_key {bytes},
            model_version TEXT NOT NULL,
            strategy TEXT NOT NULL,
            experiment TEXT,
            variant TEXT,
            served_at BIGINT NOT NULL
        )""",
        "CREATE INDEX recommendations_by_user ON recommendations (user_key)",
        "CREATE INDEX recommendations_by_experiment ON recommendations (experiment, variant)",
        "CREATE INDEX events_by_recommendation ON events (recommendation_id) WHERE recommendation_id IS NOT NULL",
    ),
    (
        # made once and never changed: a copy of the database is the same log
        "CREATE TABLE log_identity (id TEXT NOT NULL)",
        "INSERT INTO log_identity (id) VALUES ('{new_id}')",
        "CREATE TABLE replaced_partitions (name TEXT PRIMARY KEY)",
    ),
    (
        # null from a process of an older recae that still runs: its deletions count for every model
        "ALTER TABLE deleted_users ADD COLUMN last_sequence BIGINT",
        # no later than now, so models that read beyond know nothing of what was deleted
        "UPDATE deleted_users SET last_sequence = ({last_number})",
    ),
)
"""Step by step; the schema's version is the number of steps taken."""


def version_of(connection: Connection) -> int:
    """The version of the schema; 0 for an empty database."""
    if not connection.dialect.has_table(connection, "schema_version"):
        return 0
    found: int = connection.exec_driver_sql("SELECT version FROM schema_version").scalar_one()
    return found


def is_current(connection: Connection) -> bool:
    """Whether no step is missing."""
    return version_of(connection) == len(MIGRATIONS)


def migrate(connection: Connection) -> None:
    """Take the steps that are missing. The caller holds the database against others that migrate.

    Raises:
        LastingLogError: if a newer recae has written the schema.
    """
    found = version_of(connection)
    if found > len(MIGRATIONS):
        raise LastingLogError(
            f"the event log has schema version {found}, and this recae knows versions up to {len(MIGRATIONS)}; "
            "upgrade recae, or name another database"
        )
    if found == len(MIGRATIONS):
        return
    words = dict(SQLITE if connection.dialect.name == "sqlite" else POSTGRESQL, new_id=uuid.uuid4().hex)
    if found == 0:
        connection.exec_driver_sql("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.exec_driver_sql("INSERT INTO schema_version (version) VALUES (0)")
    for statements in MIGRATIONS[found:]:
        for statement in statements:
            connection.exec_driver_sql(statement.format_map(words))
    connection.execute(text("UPDATE schema_version SET version = :version"), {"version": len(MIGRATIONS)})
