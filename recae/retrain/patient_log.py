"""An event log whose database may be away for a while: it is opened late, and asked again with growing pauses."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from recae.config import Settings
from recae.data.eventlog import EventLog
from recae.errors import EventLogError, LastingLogError

T = TypeVar("T")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class PatientLog:
    """The event log of a run.

    Args:
        settings: name the log, and say how long to try again.
        say: told about each failure.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._log: EventLog | None = None

    def ask(self, question: Callable[[EventLog], T], figures: dict[str, Any] | None = None) -> T:
        """The answer of the log.

        Args:
            question: asked again as a whole after a failure.
            figures: gets ``retries``, if there were any.

        Raises:
            EventLogError: if the database stays away for ``retry_s``; at once if waiting does not mend what is wrong.
        """
        deadline, pause = time.monotonic() + self._settings.retrain.retry_s, FIRST_PAUSE_S
        while True:
            try:
                if self._log is None:
                    self._log = EventLog.open(self._settings, create=False)
                return question(self._log)
            except LastingLogError:
                raise
            except EventLogError as error:
                if time.monotonic() + pause > deadline:
                    raise
                if figures is not None:
                    figures["retries"] = figures.get("retries", 0) + 1
                self._say(f"{error}; trying again in {pause:.0f} s")
                self.close()
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def close(self) -> None:
        """Give up the connections."""
        if self._log is not None:
            self._log.close()
            self._log = None
