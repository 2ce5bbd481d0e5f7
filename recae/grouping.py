"""Work that many wait for at the same time is done once for all of them: a wait for the disk, a pass over the weights."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Seat(Generic[T, R]):
    def __init__(self, given: T) -> None:
        self.given = given
        self.result: R
        self.error: BaseException | None = None
        self.done = False


class Grouped(Generic[T, R]):
    """Calls from any number of threads. Whoever finds nobody at work does it for all who wait.

    Args:
        work: what is to be done with some at once; a result for each, in their order.
        most: largest size of a group, but for a single larger one.
        size_of: what counts as the size of one.
    """

    def __init__(
        self, work: Callable[[Sequence[T]], Sequence[R]], most: int, size_of: Callable[[T], int] = lambda _: 1
    ) -> None:
        self._work = work
        self._most = most
        self._size_of = size_of
        self._waiting: list[_Seat[T, R]] = []
        self._queue = threading.Lock()
        self._worker = threading.Lock()

    def __call__(self, given: T) -> R:
        """The result for one; what the work raises is raised for all of its group."""
        own = _Seat[T, R](given)
        with self._queue:
            self._waiting.append(own)
        with self._worker:  # the one before may have done ours as well
            while not own.done:
                self._do(self._next_group())
        if own.error is not None:
            raise own.error
        return own.result

    def _next_group(self) -> list[_Seat[T, R]]:
        with self._queue:
            size, group = 0, list[_Seat[T, R]]()
            while self._waiting and (not group or size + self._size_of(self._waiting[0].given) <= self._most):
                group.append(self._waiting.pop(0))
                size += self._size_of(group[-1].given)
        return group

    def _do(self, group: list[_Seat[T, R]]) -> None:
        try:
            for seat, result in zip(group, self._work([seat.given for seat in group]), strict=True):
                seat.result = result
        except BaseException as error:
            for seat in group:
                seat.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            for seat in group:
                seat.done = True
