"""The event log as it was at a watermark: who is in it, and the live histories of many users at once."""

from collections.abc import Iterator, Sequence

from sqlalchemy import func, select

from recae.data.eventlog import schema
from recae.data.eventlog.events import StoredEvent, user_key
from recae.data.eventlog.log import EventLog
from recae.forgetting import Deletion

USERS_A_QUERY = 500
"""SQLite takes at most 999 parameters in older versions."""
CHUNK_ROWS = 10_000

FIELDS = [schema.events.c[name] for name in StoredEvent._fields]


class Snapshot:
    """Live events with numbers up to a watermark: what is appended later does not show, what is deleted does.

    Args:
        log: the event log.
        until: a watermark of it; None for that of now.
    """

    def __init__(self, log: EventLog, until: int | None = None) -> None:
        self._log = log
        self.until = log.watermark() if until is None else until

    def n_users(self) -> int:
        """Number of users with live events."""
        events = schema.events.c
        query = select(func.count(events.user_id.distinct())).where(events.sequence <= self.until)
        with self._log.database.read() as connection:
            found: int = connection.execute(query).scalar_one()
        return found

    def user_ids(self) -> Iterator[str]:
        """Users with live events, each once, in the order in which the database sorts their ids."""
        events = schema.events.c
        after: str | None = None
        while True:
            query = select(events.user_id).where(events.sequence <= self.until).distinct()
            if after is not None:
                query = query.where(events.user_id > after)
            with self._log.database.read() as connection:  # none stays open while the caller computes
                found = connection.execute(query.order_by(events.user_id).limit(CHUNK_ROWS)).scalars().all()
            yield from found
            if len(found) < CHUNK_ROWS:
                return
            after = found[-1]

    def deleted(self, user_ids: Sequence[str]) -> dict[str, Deletion]:
        """Those of the users whose events were deleted, and when: nothing learned before may be used for them."""
        table, found = schema.deleted_users.c, dict[str, Deletion]()
        log_id = select(schema.log_identity.c.id).scalar_subquery()
        with self._log.database.read() as connection:
            for start in range(0, len(user_ids), USERS_A_QUERY):
                by_key = {user_key(user_id): user_id for user_id in user_ids[start : start + USERS_A_QUERY]}
                query = select(table.user_key, log_id, table.last_sequence, table.deleted_at)
                rows = connection.execute(query.where(table.user_key.in_(by_key)))
                found |= {by_key[bytes(key)]: Deletion(*noted) for key, *noted in rows}
        return found

    def histories(self, user_ids: Sequence[str], n: int) -> dict[str, list[StoredEvent]]:
        """The newest ``n`` events of each user, newest first as in ``EventLog.history``; users without any are left out."""
        events = schema.events.c
        found: dict[str, list[StoredEvent]] = {}
        with self._log.database.read() as connection:
            for start in range(0, len(user_ids), USERS_A_QUERY):
                some = user_ids[start : start + USERS_A_QUERY]
                query = select(*FIELDS).where(events.user_id.in_(some), events.sequence <= self.until)
                query = query.order_by(events.user_id, events.timestamp.desc(), events.sequence.desc())
                for row in connection.execution_options(yield_per=CHUNK_ROWS).execute(query):
                    history = found.setdefault(row.user_id, [])
                    if len(history) < n:
                        history.append(StoredEvent(*row))
        return found
