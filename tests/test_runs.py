"""The table of runs: who looks disturbs nobody, and no folder is left of a run that could not begin."""

import errno
import threading
from datetime import UTC, datetime

import pytest

from recae import durable, runs
from recae.errors import RetrainError
from recae.runs import RECORD, RunTable

AT = datetime(2026, 1, 5, 3, tzinfo=UTC)


@pytest.fixture
def table(tmp_path):
    found = RunTable(tmp_path / "runs")
    found.root.mkdir()
    return found


def test_a_claim_waits_for_those_who_look(table, monkeypatch):
    looking = threading.Event()
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        looking.set()  # the one who looks goes away
        looker.join()

    def look():
        with durable.locked(table.root, shared=True):
            held.set()
            assert looking.wait(30)

    held = threading.Event()
    looker = threading.Thread(target=look)
    looker.start()
    assert held.wait(30)
    monkeypatch.setattr(runs.time, "sleep", pause)

    with table.claimed():
        assert table.is_claimed
    assert pauses


def test_many_who_look_never_take_each_other_for_a_run_nor_keep_a_run_from_beginning(table):
    table.begin(AT)  # of a process that is gone
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            seen.append(next(table.newest_first()).status)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    while len(seen) < 400:
        stop.wait(0.001)
    assert set(seen) == {"interrupted"}
    for _ in range(100):
        with table.claimed():
            pass
    stop.set()
    for looker in lookers:
        looker.join()


def test_a_run_that_goes_on_is_busy_at_once(table, monkeypatch):
    monkeypatch.setattr(runs, "CLAIM_PATIENCE_S", 1e9)
    with table.claimed(), pytest.raises(RetrainError, match="is going on"), table.claimed():
        pass


def test_an_error_inside_a_claim_is_not_taken_for_a_claim_of_others(table):
    with pytest.raises(BlockingIOError), table.claimed():
        raise BlockingIOError


def test_nothing_is_left_of_a_record_that_cannot_be_written(table, monkeypatch):
    def full(*_args, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "write_file", full)

    with pytest.raises(OSError, match="No space"):
        table.begin(AT)
    assert list(table.root.iterdir()) == []


def test_pruning_takes_the_oldest_records_and_folders_without_one(table):
    kept = [table.begin(AT.replace(hour=hour)).run_id for hour in (3, 4, 5)]
    table.folder("20260105-020000-abcd").mkdir()
    (table.root / "mine").mkdir()

    table.prune(2)

    assert {path.name for path in table.root.iterdir()} == {*kept[1:], "mine"}
    assert all((table.folder(name) / RECORD).is_file() for name in kept[1:])


def test_runs_of_a_clock_that_was_ahead_can_be_left_out(table):
    now = table.begin(AT).run_id
    ahead = table.begin(AT.replace(year=2027)).run_id

    assert [run.run_id for run in table.newest_first()] == [ahead, now]
    assert [run.run_id for run in table.newest_first(until=AT)] == [now]
