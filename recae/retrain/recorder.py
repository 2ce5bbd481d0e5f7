"""Writes a run's record at every step and at its end, whatever happens in between."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from recae.errors import RecaeError
from recae.evaluation.specs import MetricSpec
from recae.retrain import report
from recae.retrain.notify import notify
from recae.retrain_settings import NotifySettings, Status
from recae.runs import Run, RunTable, Step


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
        self._say = say
        self._between = between
        self._clock = clock

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """One step; what it puts into the dictionary are its figures."""
        self._between(name)
        self._say(name)
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
        """Write how the run ended, remove what only an unfinished run needs, make the page, and tell who wants to know."""
        run = self.run
        run.status, run.message, run.finished = status, message, self._now()
        self._table.write(run)
        try:
            self._table.clean(run)
            report.write(run, list(self._table.newest_first()), self._table.folder(run.run_id), self._metric)
        except (OSError, RecaeError) as error:
            run.message += f" (no report: {error})"
        self._table.write(run)
        self._say(f"{status}: {message}")
        problem = notify(run, told)
        if problem:
            run.message += f" ({problem})"
            self._table.write(run)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
