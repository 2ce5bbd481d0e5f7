"""Group commit: appends that wait at the same time share one transaction, and so one wait for the disk."""

import threading
from collections.abc import Sequence

from sqlalchemy import Connection

from recae.data.eventlog.database import Database
from recae.data.eventlog.events import Row

GROUP_ROWS = 10_000
"""Most rows of one shared transaction, but for a single larger append."""


class _Append:
    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.accepted = 0
        self.error: BaseException | None = None
        self.done = False


class GroupCommit:
    """Appends from any number of threads. Whoever finds nobody writing writes for all who wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Append] = []
        self._queue = threading.Lock()
        self._writer = threading.Lock()

    def insert(self, rows: Sequence[Row]) -> int:
        """Store rows; returns how many are new, once they are on the disk."""
        own = _Append(rows)
        with self._queue:
            self._waiting.append(own)
        with self._writer:  # the one before may have written ours as well
            while not own.done:
                self._write(self._next_group())
        if own.error is not None:
            raise own.error
        return own.accepted

    def _next_group(self) -> list[_Append]:
        with self._queue:
            n_rows, group = 0, list[_Append]()
            while self._waiting and (not group or n_rows + len(self._waiting[0].rows) <= GROUP_ROWS):
                group.append(self._waiting.pop(0))
                n_rows += len(group[-1].rows)
        return group

    def _write(self, group: list[_Append]) -> None:
        def insert(connection: Connection) -> list[int]:
            return [self._database.insert(connection, append.rows) for append in group]

        try:
            for append, accepted in zip(group, self._database.write(insert), strict=True):
                append.accepted = accepted
        except BaseException as error:
            for append in group:
                append.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            for append in group:
                append.done = True
