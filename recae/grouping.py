"""Work that many wait for at the same time is done once for all of them: a wait for the disk, a pass over the weights."""

import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Final, Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Parking(Protocol):
    """Where callers wait that must not hold their thread: the tasks of an event loop."""

    def start(self, work: Callable[[], None], attempt: Callable[[], bool] | None) -> None:
        """Have work done that tasks wait for.

        Args:
            work: for a thread.
            attempt: does it at once, if that takes but a moment; tells whether it did.
        """

    def sleep(self) -> None:
        """Let the others go on, until somebody wakes this task."""

    def waker(self) -> Callable[[], None]:
        """What wakes the current task, once, from any thread."""


PARKING: Final[ContextVar[Parking | None]] = ContextVar("parking", default=None)
"""Where the current caller waits; None for a thread that may wait itself."""


class _Seat(Generic[T, R]):
    def __init__(self, given: T) -> None:
        self.given = given
        self.result: R
        self.error: BaseException | None = None
        self.wake: Callable[[], None] | None = None
        self.done = False

    def settle(self) -> None:
        """Let its caller go on."""
        self.done = True
        if self.wake is not None:
            self.wake()


class Grouped(Generic[T, R]):
    """Calls from any number of threads and tasks. Whoever finds nobody at work does it for all who wait; tasks have it done.

    Args:
        work: what is to be done with some at once; a result for each, in their order.
        most: largest size of a group, but for a single larger one.
        size_of: what counts as the size of one.
        briefly: does the work if it takes but a moment, for tasks that would wait longer for a thread; None if not.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        most: int,
        size_of: Callable[[T], int] = lambda _: 1,
        *,
        briefly: Callable[[Sequence[T]], Sequence[R] | None] | None = None,
    ) -> None:
        self._work = work
        self._briefly = briefly
        self._most = most
        self._size_of = size_of
        self._waiting: list[_Seat[T, R]] = []
        self._queue = threading.Lock()
        self._worker = threading.Lock()
        self._serves_tasks = False  # the work was asked for, and is not at its end; behind _queue

    def __call__(self, given: T) -> R:
        """The result for one; what the work raises is raised for all of its group."""
        own, parking = _Seat[T, R](given), PARKING.get()
        if parking is None:
            with self._queue:
                self._waiting.append(own)
            with self._worker:  # the one before may have done ours as well
                while not own.done:
                    self._do(self._next_group(), self._work)
        else:
            self._wait_parked(own, parking)
        if own.error is not None:
            raise own.error
        return own.result

    def _wait_parked(self, own: _Seat[T, R], parking: Parking) -> None:
        own.wake = parking.waker()
        with self._queue:
            self._waiting.append(own)
            is_first, self._serves_tasks = not self._serves_tasks, True
        if is_first:
            parking.start(self._serve_tasks, self._serve_briefly if self._briefly else None)
        while not own.done:
            parking.sleep()

    def _serve_tasks(self) -> None:
        """Group after group, until nobody waits."""
        try:
            while self._waiting:
                with self._worker:
                    self._do(self._next_group(), self._work)
        finally:
            with self._queue:
                goes_on = self._serves_tasks = bool(self._waiting)
            if goes_on:  # one came between the last look and now, and has found a thread at work
                self._serve_tasks()

    def _serve_briefly(self) -> bool:
        """The same in the loop itself; False if it would take longer."""
        if self._briefly is None or not self._worker.acquire(blocking=False):
            return False
        try:
            while self._waiting:
                group = self._next_group()
                if not self._do(group, self._briefly):
                    with self._queue:
                        self._waiting[:0] = group
                    return False
            with self._queue:
                self._serves_tasks = False
        finally:
            self._worker.release()
        return True

    def _next_group(self) -> list[_Seat[T, R]]:
        with self._queue:
            size, group = 0, list[_Seat[T, R]]()
            while self._waiting and (not group or size + self._size_of(self._waiting[0].given) <= self._most):
                group.append(self._waiting.pop(0))
                size += self._size_of(group[-1].given)
        return group

    @staticmethod
    def _do(group: list[_Seat[T, R]], work: Callable[[Sequence[T]], Sequence[R] | None]) -> bool:
        """Give each of a group its result or the error; False if the work cannot be done now."""
        try:
            results = work([seat.given for seat in group])
            if results is None:
                return False
            for seat, result in zip(group, results, strict=True):
                seat.result = result
        except BaseException as error:
            for seat in group:
                seat.error = error
            if not isinstance(error, Exception):
                for seat in group:
                    seat.settle()
                raise
        for seat in group:
            seat.settle()
        return True
