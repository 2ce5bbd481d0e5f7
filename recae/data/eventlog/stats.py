"""What a log holds: numbers of events, users and items, and their times."""

from typing import NamedTuple

from sqlalchemy import func, select

from recae.data.eventlog import partitions, schema
from recae.data.eventlog.database import Database


class Stats(NamedTuple):
    """What the log holds."""

    n_events: int
    """Live and archived."""
    n_live: int
    n_archived: int
    n_partitions: int
    n_users: int
    """Users with live events."""
    n_items: int
    """Items with live events."""
    first_timestamp: int | None
    last_timestamp: int | None
    watermark: int
    event_types: dict[str, int]
    """Type -> live events."""


def stats_of(database: Database) -> Stats:
    """Of one state of the log; reads the whole live table."""
    events = schema.events.c
    watermark = database.watermark()
    with database.read() as connection:
        archived = partitions.listed(connection)
        n_live, n_users, n_items, first, last = connection.execute(
            select(
                func.count(),
                func.count(events.user_id.distinct()),
                func.count(events.item_id.distinct()),
                func.min(events.timestamp),
                func.max(events.timestamp),
            )
        ).one()
        types = select(events.event_type, func.count()).group_by(events.event_type)
        by_type = {str(kind): int(n) for kind, n in connection.execute(types.order_by(events.event_type))}
    n_archived = sum(part.n_events for part in archived)
    earliest = [part.first_timestamp for part in archived] + ([] if first is None else [first])
    latest = [part.last_timestamp for part in archived] + ([] if last is None else [last])
    return Stats(
        n_events=n_live + n_archived,
        n_live=n_live,
        n_archived=n_archived,
        n_partitions=len(archived),
        n_users=n_users,
        n_items=n_items,
        first_timestamp=min(earliest, default=None),
        last_timestamp=max(latest, default=None),
        watermark=watermark,
        event_types=by_type,
    )


def newest_of(database: Database, n: int) -> int | None:
    """Time of the newest among the last ``n`` live events that arrived; there is no index by time alone."""
    events = schema.events.c
    last = select(events.timestamp).order_by(events.sequence.desc()).limit(n).subquery()
    with database.read() as connection:
        found: int | None = connection.execute(select(func.max(last.c.timestamp))).scalar_one()
    return found
