"""One budget for the threads of numpy, scipy, torch and implicit: oversubscription costs 10 to 100 times.

Every BLAS and OpenMP pool counts for itself, and each takes all cores by default, so that two of them on one
machine, or one in each of several serving processes, mostly wait for each other.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

POOL_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What the pools read when their library is first loaded."""


def limit_threads(n_threads: int | None = None) -> int:
    """Give this process at most ``n_threads`` in each pool, and return that number.

    Args:
        n_threads: None for one per core this process may use.

    Raises:
        ValueError: if ``n_threads`` is below 1.
    """
    if n_threads is None:
        n_threads = available_cores()
    if n_threads < 1:
        raise ValueError(f"{n_threads} threads were asked for; the least is 1")
    for variable in POOL_VARIABLES:
        os.environ[variable] = str(n_threads)  # for libraries that are loaded later, and for child processes

    import threadpoolctl
    import torch

    torch.set_num_threads(n_threads)
    # Not a `with`: the budget holds for the rest of the process.
    threadpoolctl.threadpool_limits(n_threads)
    # implicit brings its own parallel loops and asks for a BLAS of one thread; its models set that around their fit.
    return n_threads


def spread(work: Callable[[Sequence[T]], Sequence[R]], given: Sequence[T], least: int) -> list[R]:
    """``work(given)`` with all cores, where each call in it has one thread, as those of a serving process have.

    Args:
        work: makes a result for each of what it is given, in their order. Called in several threads at once.
        given: what there is to do.
        least: how much of it is worth a core of its own.

    Raises:
        Exception: what the work raises.
    """
    import torch

    n_parts = max(1, min(available_cores() // torch.get_num_threads(), len(given) // least))
    ends = [len(given) * part // n_parts for part in range(n_parts + 1)]
    first, *others = [given[start:end] for start, end in pairwise(ends)]
    if not others:
        return list(work(first))
    with ThreadPoolExecutor(len(others)) as pool:
        waiting = [pool.submit(work, part) for part in others]
        return list(work(first)) + [result for one in waiting for result in one.result()]


def available_cores() -> int:
    """Cores this process may run on; a container's or `taskset`'s limit counts."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
