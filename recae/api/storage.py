"""The event log and the stored items of a serving process, opened when a request first needs them."""

import threading
import time

from recae.config import Settings
from recae.data.eventlog import EventLog
from recae.data.eventlog.items import StoredItems
from recae.data.eventlog.served import ServedRecommendations
from recae.errors import EventLogError

RETRY_S = 2.0
"""After a failure to open the database, requests are refused for so long without another attempt."""


class Storage:
    """Opened late: a worker opens its connections after the fork, and describing the API needs none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.is_local = settings.events_url.startswith("sqlite:")
        """Whether the database is a file here, whose readers wait for nobody."""
        self._opening = threading.Lock()
        self._log: EventLog | None = None
        self._failed: tuple[EventLogError, float] | None = None

    @property
    def log(self) -> EventLog:
        """The event log.

        Raises:
            EventLogError: if the database cannot be opened.
        """
        return self._log or self._open()

    @property
    def items(self) -> StoredItems:
        """The stored items, in the same database."""
        return StoredItems(self.log.database)

    @property
    def served(self) -> ServedRecommendations:
        """The recommendations that were given, in the same database."""
        return ServedRecommendations(self.log.database)

    def close(self) -> None:
        """Give up the connections."""
        with self._opening:
            if self._log is not None:
                self._log.close()
                self._log = None

    def _open(self) -> EventLog:
        with self._opening:
            if self._log is None:
                if self._failed and time.monotonic() - self._failed[1] < RETRY_S:
                    raise EventLogError(str(self._failed[0]))
                try:
                    self._log = EventLog.open(self._settings)
                except (EventLogError, OSError) as error:
                    failure = EventLogError(f"the event log cannot be opened: {error}")
                    self._failed = failure, time.monotonic()
                    raise failure from error
            return self._log
