"""When runs happen: time zones, clocks that jump, missed runs, and a scheduler that ends when it is told to."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from recae.errors import ConfigError
from recae.retrain.schedule import is_missed, next_times, trigger
from recae.runs import RunTable
from tests.processes import wait_until

SCHEDULER = """
import sys
from pathlib import Path
from apscheduler.triggers.cron import CronTrigger
from recae.runs import RunTable
from recae.retrain.schedule import run_forever
run_forever(CronTrigger(second="*", timezone="UTC"), RunTable(Path(sys.argv[1])), sys.argv[2:])
"""


SIGNALLED_IN_A_LOCK = """
import os, signal, threading
leave = threading.Condition.__exit__
def leave_late(condition, *error):
    if threading.get_ident() == threading.main_thread().ident and Path("began").exists():
        os.kill(os.getpid(), signal.SIGTERM)
    return leave(condition, *error)
threading.Condition.__exit__ = leave_late
"""
"""Goes into the scheduler: the signal comes at the worst moment, while the main thread has a lock, if it ever has one."""


STEPPED = """
import sys, datetime as real
from pathlib import Path
import apscheduler.schedulers.base
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from recae.retrain import schedule
from recae.runs import RunTable
before, after = map(int, sys.argv[2:4])
class Clock(real.datetime):
    @classmethod
    def now(cls, tz=None):
        return real.datetime.now(tz) + real.timedelta(seconds=after if Path("stepped").exists() else before)
apscheduler.schedulers.base.datetime = schedule.datetime = Clock
schedule.LOOK_S = 0.2
when = CronTrigger(second="*", timezone="UTC") if before else IntervalTrigger(minutes=30, timezone="UTC")
schedule.run_forever(when, RunTable(Path(sys.argv[1])), sys.argv[4:])
"""
"""A scheduler whose clock is set while it waits; the clock shows so many seconds more than the real one, before and after."""


def times(at, timezone, start, n=3):
    return [time.isoformat() for time in next_times(trigger(at, timezone), start, n)]


def test_the_time_is_that_of_the_wall_there():
    assert times("03:00", "Asia/Tokyo", datetime(2026, 1, 1, tzinfo=UTC), 2) == [
        "2026-01-02T03:00:00+09:00",
        "2026-01-03T03:00:00+09:00",
    ]


def test_a_time_that_the_clocks_skip_comes_later_that_day():
    assert times("02:30", "Europe/Paris", datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == [
        "2026-03-29T02:30:00+01:00",  # 03:30 by the clocks that have gone forward
        "2026-03-30T02:30:00+02:00",
    ]


@pytest.mark.parametrize(
    ("at", "timezone", "start", "expected"),
    [
        (
            "00:00",
            "America/Havana",
            datetime(2027, 3, 13, 12, tzinfo=UTC),
            ["2027-03-14T05:00:00+00:00", "2027-03-15T04:00:00+00:00"],  # at 01:00 there, then at midnight
        ),
        (
            "00:30",
            "Asia/Beirut",
            datetime(2027, 3, 27, 12, tzinfo=UTC),
            ["2027-03-27T22:30:00+00:00", "2027-03-28T21:30:00+00:00"],  # at 01:30 there, then at 00:30
        ),
    ],
    ids=["Havana", "Beirut"],
)
def test_a_night_is_not_left_out_where_the_clocks_go_forward_at_midnight(at, timezone, start, expected):
    found = next_times(trigger(at, timezone), start, 2)

    assert [time.astimezone(UTC).isoformat() for time in found] == expected


def test_a_day_that_a_zone_left_out_has_no_run():
    assert times("03:00", "Pacific/Apia", datetime(2011, 12, 28, 12, tzinfo=UTC)) == [
        "2011-12-28T03:00:00-10:00",
        "2011-12-29T03:00:00-10:00",
        "2011-12-30T03:00:00-10:00",  # the same instant as 03:00 of the 31st, when the day was left out
    ]


def test_a_time_that_the_clocks_show_twice_comes_once():
    assert times("02:30", "Europe/Paris", datetime(2026, 10, 24, 12, tzinfo=UTC)) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
        "2026-10-27T02:30:00+01:00",
    ]


@pytest.mark.parametrize(
    ("at", "timezone", "said"),
    [
        ("25:00", "UTC", "expected a time of day"),
        ("3am", "UTC", "time of day"),
        ("03:00", "Mars/Base", "no time zone"),
        ("03:00", "Europe", "no time zone 'Europe'; expected a name such as Europe/Paris"),
        ("03:00", "", "no time zone"),
    ],
)
def test_times_and_zones_that_do_not_exist_are_refused(at, timezone, said):
    with pytest.raises(ConfigError, match=said):
        trigger(at, timezone)


def test_a_run_that_was_due_while_nobody_watched_is_missed(tmp_path):
    table, when = RunTable(tmp_path / "runs"), trigger("03:00", "UTC")
    assert not is_missed(table, when, datetime(2026, 1, 9, tzinfo=UTC))  # nothing has ever run
    with table.claimed():
        run = table.begin(datetime(2026, 1, 5, 3, 0, 0, 500, tzinfo=UTC))
        run.status = "promoted"
        table.write(run)

    assert not is_missed(table, when, datetime(2026, 1, 6, 2, 59, tzinfo=UTC))
    assert is_missed(table, when, datetime(2026, 1, 6, 3, 1, tzinfo=UTC))


def test_a_run_that_was_gone_on_with_last_night_is_not_missed_this_morning(tmp_path):
    table, when = RunTable(tmp_path / "runs"), trigger("03:00", "UTC")
    with table.claimed():
        run = table.begin(datetime(2026, 1, 5, 3, tzinfo=UTC))
        run.status, run.gone_on = "promoted", datetime(2026, 1, 6, 3, tzinfo=UTC)
        table.write(run)

    assert not is_missed(table, when, datetime(2026, 1, 6, 10, tzinfo=UTC))
    assert is_missed(table, when, datetime(2026, 1, 7, 3, 1, tzinfo=UTC))


def test_a_run_of_a_clock_that_was_ahead_does_not_hide_a_missed_one(tmp_path):
    table, when = RunTable(tmp_path / "runs"), trigger("03:00", "UTC")
    with table.claimed():
        table.begin(datetime(2026, 1, 5, 3, tzinfo=UTC))
        table.begin(datetime(2026, 3, 1, 3, tzinfo=UTC))

    assert is_missed(table, when, datetime(2026, 1, 6, 3, 1, tzinfo=UTC))


def test_it_starts_a_run_each_time_and_ends_on_sigterm(tmp_path):
    mark = "import pathlib, time; pathlib.Path(f'{time.time()}.ran').touch()"
    command = [sys.executable, "-c", SCHEDULER, str(tmp_path / "runs"), sys.executable, "-c", mark]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.ran"))) >= 2, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("before", "after"), [(86_400, 0), (0, 3_600)], ids=["back", "forward"])
def test_a_clock_that_is_set_while_it_waits_is_followed(tmp_path, before, after):
    mark = "import pathlib, time; pathlib.Path(f'{time.time()}.ran').touch()"
    command = [sys.executable, "-c", STEPPED, str(tmp_path / "runs"), str(before), str(after)]
    process = subprocess.Popen(
        [*command, sys.executable, "-c", mark], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        if before:  # each second, a day ahead
            wait_until(lambda: list(tmp_path.glob("*.ran")), process)
        else:  # in half an hour
            time.sleep(3)
        (tmp_path / "stepped").touch()
        stepped = time.time() + (2 if before else 0)  # what had begun is over
        wait_until(lambda: any(float(path.stem) > stepped for path in tmp_path.glob("*.ran")), process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("meanwhile", ["", SIGNALLED_IN_A_LOCK], ids=["waiting", "in-a-lock"])
def test_the_run_that_goes_on_is_told_to_end(tmp_path, meanwhile):
    wait = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (pathlib.Path('told').touch(), sys.exit()))\n"
        "pathlib.Path('began').touch()\n"
        "time.sleep(60)\n"
    )
    scheduler = SCHEDULER.replace("run_forever(", meanwhile + "run_forever(")
    command = [sys.executable, "-c", scheduler, str(tmp_path / "runs"), sys.executable, "-c", wait]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        wait_until((tmp_path / "began").exists, process)
        time.sleep(1.5)  # past the next second, when the scheduler looks again
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, process.stderr.read()
        assert (tmp_path / "told").exists()
    finally:
        process.kill()
        process.communicate()


def test_a_missed_run_that_goes_on_at_the_daily_time_is_the_only_one_and_is_told_to_end(tmp_path):
    table = RunTable(tmp_path / "runs")
    with table.claimed():
        run = table.begin(datetime(2026, 1, 5, 3, tzinfo=UTC))  # every second since then was missed
        run.status = "promoted"
        table.write(run)
    wait = (
        "import os, pathlib, signal, sys, time\n"
        "mine = str(os.getpid())\n"
        "signal.signal(signal.SIGINT, lambda *_: (pathlib.Path(mine + '.told').touch(), sys.exit()))\n"
        "pathlib.Path(mine + '.began').touch()\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", SCHEDULER, str(tmp_path / "runs"), sys.executable, "-c", wait]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: list(tmp_path.glob("*.began")), process)
        time.sleep(2.5)  # past the daily time, which comes each second here, and the start of a process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, process.stderr.read()
        began, told = ({path.stem for path in tmp_path.glob(kind)} for kind in ("*.began", "*.told"))
        assert len(began) == 1
        assert told == began
    finally:
        process.kill()
        process.communicate()
        for path in tmp_path.glob("*.began"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.stem), signal.SIGKILL)
