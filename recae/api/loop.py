"""Requests as tasks of the loop that waits for connections: where one would wait, it gives way to the others.

A thread for each request costs as much as a short answer, and where several share an interpreter each wait of one is a
race for it. Tasks change places only where they wait for each other's work: for a commit, or a pass through the weights,
which a thread does for all that wait for it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from greenlet import getcurrent, greenlet

from recae.grouping import PARKING

WORKS: Final = 4
"""Kinds of work at a time that tasks wait for; the log's is one, each model's one more."""


class Loop:
    """Starts tasks, and has the work done that they wait for.

    Args:
        call_soon: has the loop call a function; from any thread.
    """

    def __init__(self, call_soon: Callable[[Callable[[], Any]], None]) -> None:
        self._call_soon = call_soon
        self._threads = ThreadPoolExecutor(WORKS, thread_name_prefix="recae-work")
        self._works: list[tuple[Callable[[], None], Callable[[], bool] | None]] = []
        self._thread = 0
        self._woken: list[greenlet] = []

    def run(self, function: Callable[..., None], *arguments: Any) -> bool:
        """Run a function as a task, as far as it goes without waiting; returns whether it came to its end."""
        self._thread = threading.get_ident()
        task = greenlet(partial(self._run, function))
        task.switch(*arguments)
        return bool(task.dead)

    def begin_works(self) -> None:
        """Begin the work that tasks wait for; called when all that has come in was looked at, so that it is for all of them."""
        while self._works:
            works, self._works = self._works, []
            for work, attempt in works:
                if attempt is None or not attempt():
                    self._threads.submit(work)
            while self._woken:
                self._woken.pop(0).switch()

    def close(self) -> None:
        """Begin nothing any more."""
        self._threads.shutdown(wait=False)

    def _run(self, function: Callable[..., None], *arguments: Any) -> None:
        PARKING.set(self)  # a task has a context of its own
        function(*arguments)

    # ------------------------------------------------------------ recae.grouping.Parking

    def start(self, work: Callable[[], None], attempt: Callable[[], bool] | None) -> None:
        """See `recae.grouping.Parking`."""
        self._works.append((work, attempt))

    def sleep(self) -> None:
        """See `recae.grouping.Parking`."""
        getcurrent().parent.switch()

    def waker(self) -> Callable[[], None]:
        """See `recae.grouping.Parking`."""
        return partial(self._wake, getcurrent())

    def _wake(self, task: greenlet) -> None:
        if threading.get_ident() == self._thread:
            self._woken.append(task)
        else:
            self._call_soon(task.switch)
