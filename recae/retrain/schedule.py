"""When the nightly run happens: a clock that waits, and starts each run in a process of its own.

A run in another process gives its memory back, and one that dies takes nothing with it. What was missed while the
machine was off is made up for once, at the start.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import FrameType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger

from recae.errors import ConfigError
from recae.runs import RunTable

logger = logging.getLogger(__name__)

LATE_S = 12 * 3600
"""A run that could not start on time (the machine slept) still starts within so many seconds."""


TWICE = timedelta(hours=2)
"""After the second of two equal times, no clock is between them any more: they lie an hour apart at most."""


class OncePerDay(CronTrigger):  # type: ignore[misc] # apscheduler has no types
    """A time of day that comes once, also on the day on which the clocks show it twice."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """As the base class, without the second of two equal times."""
        found: datetime | None = super().get_next_fire_time(previous_fire_time, now)
        while found is not None and found.fold:
            found = super().get_next_fire_time(None, found.astimezone(UTC) + TWICE)
        return found


def trigger(at: str, timezone: str) -> CronTrigger:
    """Every day at a time of the clock on the wall there.

    Where clocks go forward over that time, the run comes as much later as they go forward; where they go back over it,
    it comes once, at the first of the two.

    Args:
        at: ``HH:MM``.
        timezone: name in the IANA database, such as ``Europe/Paris``.

    Raises:
        ConfigError: for a time or a zone that does not exist.
    """
    try:
        time = datetime.strptime(at, "%H:%M")  # noqa: DTZ007 - a time of day, its zone comes below
    except ValueError:
        raise ConfigError(f"--at is {at!r}; expected a time of day such as 03:00") from None
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(
            f"there is no time zone {timezone!r}; expected a name such as Europe/Paris"
        ) from None
    return OncePerDay(hour=time.hour, minute=time.minute, second=0, timezone=zone)


def is_missed(table: RunTable, when: CronTrigger, now: datetime) -> bool:
    """Whether a run was due since the last one began; not so before the first run of all."""
    last = next(table.newest_first(), None)
    if last is None:
        return False
    due = when.get_next_fire_time(None, last.started + timedelta(seconds=1))
    return due is not None and due <= now


def next_times(when: CronTrigger, start: datetime, n: int) -> list[datetime]:
    """The next n times, for whoever wants to see them."""
    times: list[datetime] = []
    previous: datetime | None = None
    while len(times) < n:
        found = when.get_next_fire_time(
            previous, start if previous is None else previous + timedelta(seconds=1)
        )
        if found is None:
            break
        times.append(found)
        previous = found
    return times


def run_forever(when: CronTrigger, table: RunTable, command: Sequence[str] | None = None) -> None:
    """Wait, and start a run each time; ends on SIGTERM and Ctrl-C, after the run that goes on has been told to end.

    Args:
        when: the times.
        table: of runs, to see what was missed.
        command: what to start; None for ``recae retrain``.
    """
    scheduler = BlockingScheduler(timezone=UTC)
    nightly = _Nightly(command or [sys.executable, "-m", "recae", "retrain"])
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_, lambda *_: _stop(scheduler, nightly))
    scheduler.add_job(nightly.start, when, coalesce=True, max_instances=1, misfire_grace_time=LATE_S)
    if is_missed(table, when, datetime.now(UTC)):
        logger.info("a run was missed; it starts now")
        scheduler.add_job(nightly.start, misfire_grace_time=None)
    scheduler.start()


class _Nightly:
    """The process of the run that goes on."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_over = False

    def start(self) -> None:
        with self._lock:
            if self._is_over:
                return
            self._process = subprocess.Popen(self._command, env=os.environ)  # noqa: S603 - recae itself
        status = self._process.wait()
        logger.info("the run ended with exit status %d", status)

    def stop(self) -> None:
        """Let the run end as Ctrl-C would: its checkpoint stays, and the next run goes on from it."""
        with self._lock:
            self._is_over = True
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)


def _stop(scheduler: BlockingScheduler, nightly: _Nightly, *_: FrameType | int | None) -> None:
    nightly.stop()
    scheduler.shutdown(wait=False)
