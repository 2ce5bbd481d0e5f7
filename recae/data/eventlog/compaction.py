"""What happens to old events: moved into Parquet partitions, deleted with their user, or expired.

A partition is written first and counted later: the transaction that records it also removes its events from the live
table. A kill before it leaves a file that does not count, which the next run removes; a kill after it leaves nothing to
do. One process at a time does any of this; it holds the folder, and the kernel frees it if the process dies. The folder
has to be the database's own, see ownership.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, bindparam, case, delete, func, insert, select

from recae.data.eventlog import partitions, schema
from recae.data.eventlog.database import Database
from recae.data.eventlog.events import user_key
from recae.data.eventlog.ownership import held
from recae.data.eventlog.partitions import STORED, Partition
from recae.errors import EventLogError

PARTITION_ROWS = 250_000
"""Most events of one partition, and of one transaction."""
TRIES = 5

COLUMNS = [schema.events.c[name] for name in STORED.names]
events, keys = schema.events.c, schema.archived_keys.c


def archive(database: Database, folder: Path, before: int, watermark: int) -> int:
    """Move live events with times before ``before`` and numbers up to ``watermark``; returns how many.

    Small partitions beside each other are merged then: each night would add a file, for ever.
    """
    moved = 0
    with held(database, folder) as log_id:
        while n := _archive_some(database, folder, log_id, before, watermark):
            moved += n
        for some in _small_neighbours(_listed(database)):
            _merge(database, folder, log_id, some)
    return moved


def delete_user(
    database: Database, folder: Path, user_id: str, now: int, *, wait: bool | float = True
) -> int:
    """Remove a user's events from the live table and all partitions in one transaction; returns how many.

    The same transaction removes which recommendations they got, and notes that models trained before know them no more:
    after which event. No event comes in until it ends, so a model that reads a later one finds none of those removed.
    ``wait`` and errors as of ``ownership.held``.
    """
    key = user_key(user_id)

    def forget(connection: Connection) -> int:
        last = database.hold_numbers(connection)
        connection.execute(delete(schema.recommendations).where(schema.recommendations.c.user_key == key))
        connection.execute(delete(schema.deleted_users).where(schema.deleted_users.c.user_key == key))
        connection.execute(
            insert(schema.deleted_users).values(user_key=key, deleted_at=now, last_sequence=last)
        )
        return connection.execute(delete(schema.events).where(events.user_id == user_id)).rowcount

    def others(table: pa.Table) -> Any:
        return pc.not_equal(table.column("user_id"), user_id)

    with held(database, folder, wait=wait) as log_id:
        affected = [part for part in _listed(database) if partitions.has_user(folder, part, user_id)]
        return _remove(database, folder, log_id, affected, others, forget)


class Aged(NamedTuple):
    """How much of a log is older than some moment."""

    n_old: int
    """Events; of those in a partition that reaches beyond the moment about as many as its times say."""
    n_events: int
    newest: int | None
    """Time of the newest, in seconds since 1970; None in an empty log."""


def aged(database: Database, before: int) -> Aged:
    """What ``expire`` would remove, and of how much; reads the whole live table."""
    old = func.coalesce(func.sum(case((events.timestamp < before, 1), else_=0)), 0)
    with database.read() as connection:
        n_live, n_old, newest = connection.execute(
            select(func.count(), old, func.max(events.timestamp))
        ).one()
        parts = partitions.listed(connection)
    for part in parts:
        length = part.last_timestamp - part.first_timestamp + 1
        n_old += part.n_events * min(max(before - part.first_timestamp, 0), length) / length
    times = [part.last_timestamp for part in parts] + ([] if newest is None else [int(newest)])
    return Aged(round(n_old), n_live + sum(part.n_events for part in parts), max(times, default=None))


def expire(database: Database, folder: Path, before: int) -> int:
    """Remove events with times before ``before``; returns how many.

    Partition by partition, so that memory and transactions stay small; the next run goes on where one was killed. The record
    of answers that were given before goes first, so that no rate is of answers whose events are gone.
    """

    def forget(connection: Connection) -> int:
        connection.execute(delete(schema.recommendations).where(schema.recommendations.c.served_at < before))
        return connection.execute(delete(schema.events).where(events.timestamp < before)).rowcount

    def later(table: pa.Table) -> Any:
        return pc.greater_equal(table.column("timestamp"), before)

    with held(database, folder) as log_id:
        n_removed = database.write(forget)
        for part in _listed(database):
            if part.first_timestamp < before:
                n_removed += _remove(database, folder, log_id, [part], later)
        return n_removed


def _listed(database: Database) -> list[Partition]:
    with database.read() as connection:
        return partitions.listed(connection)


def _archive_some(database: Database, folder: Path, log_id: str, before: int, watermark: int) -> int:
    old = select(*COLUMNS).where(events.timestamp < before, events.sequence <= watermark)
    for _ in range(TRIES):
        with database.read() as connection:
            rows = connection.execute(old.order_by(events.sequence).limit(PARTITION_ROWS)).all()
        if not rows:
            return 0
        columns = zip(*rows, strict=True)
        table = pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, STORED, strict=True)], STORED
        )
        partition = partitions.write(folder, table, log_id)
        if database.write(lambda connection: _exchange(connection, partition, before)):  # noqa: B023 - called at once
            return partition.n_events
        # somebody deleted events meanwhile: once more, without them
        (folder / partition.name).unlink()
    raise EventLogError(
        f"events were deleted from {database.url} each time they were to be archived, {TRIES} times; try again later"
    )


def _exchange(connection: Connection, partition: Partition, before: int) -> bool:
    """Let the partition count in place of the live events it was made of, unless these are no longer the same."""
    moved = (
        events.timestamp < before,
        events.sequence.between(partition.first_sequence, partition.last_sequence),
    )
    savepoint = connection.begin_nested()
    connection.execute(
        insert(schema.archived_keys).from_select(["event_key"], select(events.event_key).where(*moved))
    )
    n = connection.execute(delete(schema.events).where(*moved)).rowcount
    if n != partition.n_events:
        savepoint.rollback()
        return False
    savepoint.commit()
    partitions.record(connection, partition)
    return True


def _small_neighbours(listed: list[Partition]) -> list[list[Partition]]:
    """Partitions beside each other that fit into one, so that any two neighbours are more than one holds."""
    groups: list[list[Partition]] = [[]]
    for part in listed:
        if sum(other.n_events for other in groups[-1]) + part.n_events > PARTITION_ROWS:
            groups.append([])
        groups[-1].append(part)
    return [group for group in groups if len(group) > 1]


def _merge(database: Database, folder: Path, log_id: str, some: list[Partition]) -> None:
    """Exchange partitions for one with the same events, in one transaction; their keys stay archived."""
    tables = [partitions.read(folder, part) for part in some]
    merged = partitions.write(folder, pa.concat_tables(tables).sort_by("sequence"), log_id)

    def exchange(connection: Connection) -> None:
        for part in some:
            partitions.strike(connection, part.name)
        partitions.record(connection, merged)

    database.write(exchange)


def _remove(
    database: Database,
    folder: Path,
    log_id: str,
    affected: list[Partition],
    keep: Callable[[pa.Table], Any],
    also: Callable[[Connection], int] = lambda _connection: 0,
) -> int:
    """Write the affected partitions anew with what is kept, then exchange them in one transaction; returns how many events
    went, with those that ``also`` deletes in it.
    """
    removed_keys: list[bytes] = []
    replacements: list[tuple[Partition, Partition | None]] = []
    for part in affected:
        table = partitions.read(folder, part)
        mask = keep(table)
        kept = table.filter(mask)
        removed_keys += table.filter(pc.invert(mask)).column("event_key").to_pylist()
        replacements.append((part, partitions.write(folder, kept, log_id) if kept.num_rows else None))

    def work(connection: Connection) -> int:
        for old, new in replacements:
            partitions.strike(connection, old.name)
            if new is not None:
                partitions.record(connection, new)
        if removed_keys:
            connection.execute(
                delete(schema.archived_keys).where(keys.event_key == bindparam("removed_key")),
                [{"removed_key": key} for key in removed_keys],
            )
        return also(connection)

    return database.write(work) + len(removed_keys)
