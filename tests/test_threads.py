"""The thread budget reaches every pool there is."""

import subprocess
import sys
import threading

import pytest

from recae import threads
from recae.threads import available_cores, limit_threads, spread

LIMITED = """
import numpy, scipy.linalg, torch
from recae.threads import limit_threads
assert limit_threads({n}) == {n}
import threadpoolctl
print(torch.get_num_threads(), *(pool["num_threads"] for pool in threadpoolctl.threadpool_info()))
"""


@pytest.mark.parametrize("n", [1, 3])
def test_every_pool_of_the_process_gets_the_budget(n):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(n=n)], capture_output=True, text=True, check=True
    )
    pools = done.stdout.split()

    assert len(pools) > 2
    assert set(pools) == {str(n)}


def test_no_threads_at_all_is_refused():
    with pytest.raises(ValueError, match="the least is 1"):
        limit_threads(0)


def test_there_is_at_least_one_core():
    assert available_cores() >= 1


@pytest.fixture
def three_cores_of_one_thread(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 3)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)


def test_work_is_spread_over_the_cores_and_comes_back_in_order(three_cores_of_one_thread):
    together, asked = threading.Barrier(3, timeout=30), []

    def work(part):
        asked.append(list(part))
        together.wait()  # passes only if all three are at work at once
        return [10 * number for number in part]

    assert spread(work, range(8), 2) == [10 * number for number in range(8)]
    assert sorted(asked) == [[0, 1], [2, 3, 4], [5, 6, 7]]


@pytest.mark.parametrize("given", [[], [1], [1, 2, 3]])
def test_little_work_stays_where_it_is(three_cores_of_one_thread, given):
    callers = []

    def work(part):
        callers.append(threading.current_thread())
        return part

    assert spread(work, given, 2) == given
    assert callers == [threading.current_thread()]


def test_work_that_has_the_cores_already_is_not_spread(three_cores_of_one_thread, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)

    assert spread(lambda part: [len(part)], [1, 2, 3, 4], 1) == [4]


def test_what_goes_wrong_on_another_core_is_raised_here(three_cores_of_one_thread):
    def work(part):
        if 7 in part:
            raise OSError("seven")
        return part

    with pytest.raises(OSError, match="seven"):
        spread(work, range(8), 2)
