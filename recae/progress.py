"""Two ways to show that long work is moving: a bar on stderr where that is a terminal, and lines where it is none."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
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

TOLD_EVERY_S = 60.0
"""How long a part of the work may go on before a line says how far it is."""


def has_terminal() -> bool:
    """Whether a bar would show."""
    return sys.stderr.isatty()


class RowsTold:
    """Tells of parts with many rows in lines: about every minute how far one is, and that it is done.

    Args:
        say: takes a line; None for silence.
    """

    def __init__(self, say: Callable[[str], None] | None) -> None:
        self._say = say
        self.begin("")

    def begin(self, name: str) -> None:
        """Another part begins."""
        self._name = name
        self._n_rows = self._n_told = 0
        self._began = self._told = time.monotonic()

    def advance(self, n_rows: int) -> None:
        """So many rows more; the rate that is told is that since the line before."""
        self._n_rows += n_rows
        now = time.monotonic()
        if self._say is None or now - self._told < TOLD_EVERY_S:
            return
        rate = (self._n_rows - self._n_told) / max(now - self._told, 1e-9)
        self._say(f"{self._name}: {self._n_rows:,} rows so far, {rate:,.0f} rows/s")
        self._n_told, self._told = self._n_rows, now

    def end(self, figures: str) -> None:
        """The part is done; ``figures`` say what it brought."""
        if self._say is not None:
            self._say(f"{self._name}: {figures}; {time.monotonic() - self._began:.1f} s")


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
    if not show or not has_terminal():
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
