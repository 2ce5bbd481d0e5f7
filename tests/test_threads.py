"""The thread budget reaches every pool there is."""

import subprocess
import sys

import pytest

from recae.threads import available_cores, limit_threads

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
