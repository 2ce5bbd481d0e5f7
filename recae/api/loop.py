"""Requests as tasks of the loop that waits for connections: where one would wait, it gives way to the others.

A thread for each request costs as much as a short answer, and where several share an interpreter each wait of one is a
race for it. Tasks change places only where they wait for each other's work: for a commit, or a pass through the weights,
which a thread does for all that wait for it.
"""

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
        self._works: list[Callable[[], None]] = []

    def run(self, function: Callable[..., None], *arguments: Any) -> bool:
        """Run a function as a task, as far as it goes without waiting; returns whether it came to its end."""
        task = greenlet(partial(self._run, function))
        task.switch(*arguments)
        return bool(task.dead)

    def begin_works(self) -> None:
        """Let threads begin; called when all that has come in was looked at, so that they do it for all of them."""
        works, self._works = self._works, []
        for work in works:
            self._threads.submit(work)

    def close(self) -> None:
        """Begin nothing any more."""
        self._threads.shutdown(wait=False)

    def _run(self, function: Callable[..., None], *arguments: Any) -> None:
        PARKING.set(self)  # a task has a context of its own
        function(*arguments)

    # ------------------------------------------------------------ recae.grouping.Parking

    def start(self, work: Callable[[], None]) -> None:
        """See `recae.grouping.Parking`."""
        self._works.append(work)

    def sleep(self) -> None:
        """See `recae.grouping.Parking`."""
        getcurrent().parent.switch()

    def waker(self) -> Callable[[], None]:
        """See `recae.grouping.Parking`."""
        return partial(self._call_soon, getcurrent().switch)
