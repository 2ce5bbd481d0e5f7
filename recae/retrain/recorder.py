"""Writes a run's record at every step and at its end, whatever happens in between."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from recae.errors import RecaeError
from recae.evaluation.specs import MetricSpec
from recae.retrain import report
from recae.retrain.notify import notify
from recae.retrain_settings import NotifySettings, Status
from recae.runs import RECORD, TRACEBACK, Run, RunTable, Step

EXPECTED = (RecaeError, OSError, MemoryError)
"""What says all in a sentence; anything else is a mistake, whose place in the code helps whoever mends it."""


class Recorder:
    """The record of one run while it goes on.

    Args:
        run: the record.
        table: where it is kept.
        metric: what the gate compares, for the page.
        say: told about each step.
        between: called with a step's name before it begins.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        run: Run,
        table: RunTable,
        metric: MetricSpec,
        say: Callable[[str], None],
        between: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.run = run
        self._table = table
        self._metric = metric
        self._listener = say
        self._between = between
        self._clock = clock
        self._remarks: list[str] = []

    def say(self, line: str) -> None:
        """Tell whoever listens; that nobody does any more (a full disk, a pipe that ended) is no reason to stop."""
        try:
            self._listener(line)
        except OSError as error:
            problem = f"what it said could not be written: {in_a_line(error)}"
            if problem not in self._remarks:
                self._remarks.append(problem)

    def remark(self, text: str) -> None:
        """Something to be said beside how the run ends; it stands in its message."""
        if text and text not in self._remarks:
            self._remarks.append(text)
            self.say(f"warning: {text}")

    def reason(self, error: Exception) -> str:
        """An error in a sentence; where a mistake in the code lies is kept beside the record."""
        said = in_a_line(error)
        if isinstance(error, EXPECTED):
            return said
        path = self._table.folder(self.run.run_id) / TRACEBACK
        try:
            path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        except OSError:
            return said
        return f"{said}, see {path}"

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """One step; what it puts into the dictionary are its figures."""
        self._between(name)
        self.say(name)
        step = Step(name=name, started=self._now())
        self.run.steps.append(step)
        self._table.write(self.run)
        began = time.monotonic()
        try:
            yield step.figures
        except Exception as error:
            step.status, step.message = "failed", f"{type(error).__name__}: {error}"
            step.seconds = time.monotonic() - began
            raise
        step.status, step.seconds = "done", time.monotonic() - began
        self._table.write(self.run)

    def end(self, status: Status, message: str, told: NotifySettings) -> None:
        """Write how the run ended, remove what only an unfinished run needs, make the page, and tell who wants to know.

        What goes wrong with any of that is a remark: how the run ended stands already.
        """
        run = self.run
        run.status, run.finished = status, self._now()
        self._write(message)
        try:
            self._table.clean(run)
            report.write(run, list(self._table.newest_first()), self._table.folder(run.run_id), self._metric)
        except Exception as error:  # noqa: BLE001 - how the run ended stands already
            self.remark(f"no report: {in_a_line(error)}")
        self._write(message)
        self.say(f"{status}: {run.message}")
        problem = notify(run, told)
        if problem:
            self.remark(problem)
            self._write(message)

    def _write(self, message: str) -> None:
        """The record with all remarks."""
        try:
            self.run.message = with_remarks(message, self._remarks)
            self._table.write(self.run)
        except OSError as error:
            path = self._table.folder(self.run.run_id) / RECORD
            self.remark(
                f"the record {path} cannot be written, and the next run takes this one for killed: {error}"
            )
            self.run.message = with_remarks(message, self._remarks)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def in_a_line(error: BaseException) -> str:
    """What went wrong, without line breaks."""
    said = str(error) if isinstance(error, RecaeError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())


def with_remarks(message: str, remarks: Sequence[str]) -> str:
    """How a run ended, and what else is to be said."""
    return "".join([message, *(f" ({remark})" for remark in remarks)])
