"""One way to show that long work is moving: a bar on stderr, and nothing at all when stderr is no terminal."""

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


class Bar:
    """A running bar: ``advance`` it, and ``note`` the figures that stand behind it."""

    def __init__(self, progress: Progress | None, description: str, total: float | None) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, note="") if progress else None

    def advance(self, steps: float = 1) -> None:
        """Move on by ``steps``."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, steps)

    def note(self, text: str) -> None:
        """Show ``text`` (a loss, a metric, a rate) behind the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, note=text)


@contextmanager
def bar(description: str, total: float | None = None, *, show: bool = True) -> Iterator[Bar]:
    """A progress bar with count, elapsed time and estimate; silent without a terminal or with ``show=False``.

    Args:
        description: what is going on, in a few words.
        total: number of steps, or None if unknown.
        show: False for silence.
    """
    if not show or not sys.stderr.isatty():
        yield Bar(None, description, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bar(progress, description, total)


def track(
    items: Iterable[T], description: str, total: float | None = None, *, show: bool = True
) -> Iterator[T]:
    """Iterate over ``items`` under a bar."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(description, total, show=show) as running:
        for item in items:
            yield item
            running.advance()
