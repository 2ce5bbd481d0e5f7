"""What ingests read and could not read: whether a log looks sane shows in the share of bad rows.

Only those count that came to their end and stored something: an ingest that gave up is repeated once its source or its
columns are mended, and reads all of it again.
"""

import time

from sqlalchemy import func, insert, select

from recae.data.eventlog import schema
from recae.data.eventlog.database import Database


def record_intake(
    database: Database, source: str, n_read: int, n_bad: int, *, at: float | None = None
) -> None:
    """Note what one ingest met.

    Args:
        database: of the event log.
        source: what was read.
        n_read: rows, bad ones too.
        n_bad: rows that went into quarantine.
        at: seconds since 1970; None for now.
    """
    row = {
        "source": source,
        "at": int(time.time() if at is None else at),
        "rows_read": n_read,
        "rows_bad": n_bad,
    }
    database.write(lambda connection: connection.execute(insert(schema.intakes).values(**row)))


def unreadable_share(database: Database, since: float, until: float | None = None) -> float | None:
    """Share of bad rows among those ingested from ``since`` on, to ``until``; None if there were none."""
    table = schema.intakes.c
    query = select(func.sum(table.rows_read), func.sum(table.rows_bad)).where(table.at >= int(since))
    if until is not None:
        query = query.where(table.at <= until)
    with database.read() as connection:
        n_read, n_bad = connection.execute(query).one()
    return float(n_bad) / float(n_read) if n_read else None
