"""All events up to a watermark in the order of their numbers, from the live table and the partitions together."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Connection, func, select

from recae.data.eventlog import ownership, partitions, schema
from recae.data.eventlog.database import Database
from recae.data.eventlog.partitions import ARROW, PartitionReader

TRIES = 5


def stream(
    database: Database, folder: Path, after: int, until: int, chunk_rows: int, fields: pa.Schema = ARROW
) -> Iterator[pa.Table]:
    """Tables of at most ``chunk_rows`` events with ``after`` < sequence <= ``until``, of one state of the log.

    ``fields`` are the columns: ``partitions.ARROW``, or with the keys ``partitions.STORED``.

    Raises:
        EventLogError: if the database fails, or more files have to be open at the same time than this process may open.
        LastingLogError: if a partition is missing or damaged.
    """
    with ExitStack() as stack:
        connection, readers = opened(stack, database, folder, after, until, fields)
        position = after
        while position < until:
            starts = [reader.next for reader in readers]
            live = _first_live(connection, position)
            start = min([*starts, *([] if live is None else [live])], default=until + 1)
            if start > until:
                break
            end = min(start + chunk_rows - 1, until)  # numbers differ, so this many rows at most
            parts = [reader.take(end) for reader in readers if reader.next <= end]
            if live is not None and live <= end:
                parts.append(_live(connection, start, end, fields))
            position = end
            table = pa.concat_tables(parts) if parts else fields.empty_table()
            if table.num_rows:
                yield table if len(parts) == 1 else table.sort_by("sequence")
    ownership.remove_replaced(database, folder)


def opened(
    stack: ExitStack, database: Database, folder: Path, after: int, until: int, fields: pa.Schema
) -> tuple[Connection, list[PartitionReader]]:
    """One state of the log, with the files of its partitions kept until the stack unwinds; errors as of `stream`.

    A file is open only from its first event to its last: there may be more of them than a process may open. Tried again if
    a file was replaced between the two.
    """
    stack.enter_context(ownership.being_read(folder))
    for attempt in range(1, TRIES + 1):
        with ExitStack() as opening:
            connection = opening.enter_context(database.read())
            wanted = [
                part
                for part in partitions.listed(connection)
                if part.last_sequence > after and part.first_sequence <= until
            ]
            try:
                readers = [
                    opening.enter_context(PartitionReader(folder, part, after, fields)) for part in wanted
                ]
            except FileNotFoundError as error:
                if attempt == TRIES:
                    raise partitions.damaged(Path(str(error.filename)), "there is no such file") from error
                continue
            stack.push(opening.pop_all())
            return connection, readers
    raise AssertionError("the last try returns or raises")


def _first_live(connection: Connection, after: int) -> int | None:
    query = select(func.min(schema.events.c.sequence)).where(schema.events.c.sequence > after)
    found: int | None = connection.execute(query).scalar_one()
    return found


def _live(connection: Connection, start: int, end: int, fields: pa.Schema) -> pa.Table:
    query = select(*(schema.events.c[name] for name in fields.names)).where(
        schema.events.c.sequence.between(start, end)
    )
    rows = connection.execute(query.order_by(schema.events.c.sequence)).all()
    columns = zip(*rows, strict=True) if rows else ((),) * len(fields)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)], fields
    )
