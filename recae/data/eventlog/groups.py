"""Group commit: appends that wait at the same time share one transaction, and so one wait for the disk."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from recae.data.eventlog.database import Database
from recae.data.eventlog.events import Row
from recae.grouping import Grouped

GROUP_ROWS = 10_000
"""Most rows of one shared transaction, but for a single larger append."""

BRIEF_ROWS = 200
"""Most rows that are no more than a moment's work."""


class GroupCommit:
    """Appends from any number of threads and tasks: whoever finds nobody writing writes for all who wait; see `Grouped`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._grouped = Grouped[Sequence[Row], int](self._write, GROUP_ROWS, len, briefly=self._write_briefly)

    def insert(self, rows: Sequence[Row]) -> int:
        """Store rows; returns how many are new, once they are on the disk."""
        return self._grouped(rows)

    def _write(self, appends: Sequence[Sequence[Row]]) -> list[int]:
        return self._database.write(partial(self._insert, appends))

    def _write_briefly(self, appends: Sequence[Sequence[Row]]) -> list[int] | None:
        if sum(map(len, appends)) > BRIEF_ROWS:
            return None
        return self._database.write_briefly(partial(self._insert, appends))

    def _insert(self, appends: Sequence[Sequence[Row]], connection: Connection) -> list[int]:
        return [self._database.insert(connection, rows) for rows in appends]
