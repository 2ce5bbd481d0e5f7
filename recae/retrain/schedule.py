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
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from queue import Empty, SimpleQueue
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from recae.errors import ConfigError
from recae.runs import RunTable

logger = logging.getLogger(__name__)

LATE_S = 12 * 3600
"""A run that could not start on time (the machine slept) still starts within so many seconds."""
LOOK_S = 60.0
"""How often the clock is looked at, in seconds: a wait is not cut short, and not prolonged, when somebody sets it."""
A_DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


class OncePerDay(BaseTrigger):  # type: ignore[misc] # apscheduler has no types
    """A time of day of the clock on the wall, once on each day.

    Python's own rule for ``fold=0`` is the one wanted: a time that the clocks skip is counted from before they go forward,
    so it comes as much later; of one that they show twice the first is meant.

    Args:
        at: time of day.
        zone: whose clock.
    """

    def __init__(self, at: time, zone: ZoneInfo) -> None:
        self._at = at
        self._zone = zone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The first time from ``now`` on, or after the previous one if that is earlier."""
        earliest = now.astimezone(UTC)
        if previous_fire_time is not None:
            earliest = min(earliest, previous_fire_time.astimezone(UTC) + INSTANT)
        day = (
            earliest.astimezone(self._zone).date() - A_DAY
        )  # a skipped time belongs to the day before, after midnight
        while (found := datetime.combine(day, self._at, self._zone)).astimezone(UTC) < earliest:
            day += A_DAY
        return found


def trigger(at: str, timezone: str) -> OncePerDay:
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
        time_of_day = datetime.strptime(at, "%H:%M").time()  # noqa: DTZ007 - its zone comes below
    except ValueError:
        raise ConfigError(f"--at is {at!r}; expected a time of day such as 03:00") from None
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
        raise ConfigError(
            f"there is no time zone {timezone!r}; expected a name such as Europe/Paris"
        ) from None
    return OncePerDay(time_of_day, zone)


def is_missed(table: RunTable, when: BaseTrigger, now: datetime) -> bool:
    """Whether a run was due since one last began or was gone on with; not so before the first run of all.

    A run that began in the future did so by a clock that was ahead, and says nothing.
    """
    last = max(
        (run.last_begun for run in table.newest_first(until=now) if run.last_begun <= now), default=None
    )
    if last is None:
        return False
    due = when.get_next_fire_time(None, last + timedelta(seconds=1))
    return due is not None and due <= now


def next_times(when: BaseTrigger, start: datetime, n: int) -> list[datetime]:
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


def run_forever(when: BaseTrigger, table: RunTable, command: Sequence[str] | None = None) -> None:
    """Wait, and start a run each time; ends on SIGTERM and Ctrl-C, after the run that goes on has been told to end.

    Args:
        when: the times.
        table: of runs, to see what was missed.
        command: what to start; None for ``recae retrain``.
    """
    # A signal's handler runs inside whatever the main thread was doing, so it must want no lock that thread may hold.
    # The scheduler has a thread of its own, and the handler calls the one thing that Python promises it may.
    told_to_end: SimpleQueue[int] = SimpleQueue()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_, lambda number, _: told_to_end.put(number))
    nightly = _Nightly(command or [sys.executable, "-m", "recae", "retrain"])
    scheduler = BackgroundScheduler(timezone=UTC)
    now, first = datetime.now(UTC), {}
    if is_missed(table, when, now):
        logger.info("a run was missed; it starts now")
        first = {"next_run_time": now}
    # One job, of which one run goes on at a time: a missed run that lasts until the daily time takes that one's place.
    job = scheduler.add_job(
        nightly.start, when, coalesce=True, max_instances=1, misfire_grace_time=LATE_S, **first
    )
    scheduler.start()
    while True:
        with suppress(Empty):
            told_to_end.get(timeout=LOOK_S)
            break
        _follow_clock(job, when)
        scheduler.wakeup()  # the clock may have been set forward, over the time
    nightly.stop()
    scheduler.shutdown()


def _follow_clock(job: Job, when: BaseTrigger) -> None:
    """Plan anew where the clock was set back: by the one before, the next run might be due in a year."""
    planned = job.next_run_time  # before the clock: what runs meanwhile is planned by a later one
    due = when.get_next_fire_time(None, datetime.now(UTC))
    if planned is not None and due is not None and due < planned:
        logger.info("the clock was set back; the next run is due at %s", due)
        job.modify(next_run_time=due)


class _Nightly:
    """The process of the run that goes on; of one run at a time."""

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
