"""The table of runs: one folder a run, whose record is true at any moment, a kill -9 included.

    <home>/runs/<run_id>/run.json      status, steps with times and figures, the gate's verdicts
                         report.html   the same to look at
                         candidate.safetensors, *.epochs, *.final   what an interrupted run goes on from

The process that runs holds a lock on the folder of runs. The kernel frees it with the process, so a record that says
"running" while nobody holds the lock is of a run that was interrupted. Whoever looks shares the lock for an instant:
lookers do not take each other for a run, and a run that begins waits for them.
"""

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from recae import durable
from recae.errors import RetrainError

RECORD: Final = "run.json"
REPORT: Final = "report.html"
TRACEBACK: Final = "traceback.txt"
BEGINNING: Final = ".beginning"
"""Held by a process that was begun over HTTP, for as long as it lives."""
KEPT: Final = frozenset({RECORD, REPORT, TRACEBACK})
"""What stays of a run that is over."""
FORMAT_VERSION: Final = 1
RUN_ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}", re.ASCII)

CLAIM_PATIENCE_S = 10.0
CLAIM_PAUSE_S = 0.01
"""Those who look hold the lock for less."""

RunStatus = Literal["running", "promoted", "refused", "unchanged", "failed", "interrupted"]


class Step(BaseModel):
    """One step of a run."""

    name: str
    status: Literal["running", "done", "failed"] = "running"
    started: AwareDatetime
    seconds: float = 0.0
    figures: dict[str, Any] = {}
    """What it found: counts, values, settings."""
    message: str | None = None
    """Why it failed."""


class Verdict(BaseModel):
    """What one rule of the gate says."""

    model_config = ConfigDict(frozen=True)

    rule: str
    passed: bool
    message: str
    """The numbers, in a sentence."""
    figures: dict[str, float | int | None] = {}
    forced: bool = False
    """Whether the candidate went on although the rule refused it."""


class Run(BaseModel):
    """The record of one run."""

    format_version: int = FORMAT_VERSION
    run_id: str
    status: RunStatus = "running"
    message: str = ""
    """How it ended, in a sentence."""
    started: AwareDatetime
    finished: AwareDatetime | None = None
    forced: bool = False
    """Whether `--force` was given."""
    interruptions: int = 0
    """How often it was killed and gone on with."""
    gone_on: AwareDatetime | None = None
    """When it was last gone on with."""
    plan: str = ""
    """Hash of the settings: an interrupted run is gone on with under the same ones only."""
    learning: dict[str, Any] = {}
    """The settings that its models follow from, by name: what a later night says has changed."""
    live_version: str | None = None
    """Version in service when it started."""
    version: str | None = None
    """Version it stored."""
    watermark: int | None = None
    """Number of the last event it reads."""
    steps: list[Step] = []
    gate: list[Verdict] = []
    values: dict[str, dict[str, float]] = {}
    """Contender -> metric -> value on the held-out events."""
    drift: dict[str, float | int | None] = {}
    """How the new events differ from those before."""

    @classmethod
    def new(cls, started: datetime, **fields: Any) -> Self:
        """A record with a name of its own; names sort by age."""
        return cls(run_id=f"{started:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}", started=started, **fields)

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end."""
        return self.status != "running"

    @property
    def last_begun(self) -> datetime:
        """When it began, or was last gone on with."""
        return self.gone_on or self.started

    @property
    def seconds(self) -> float:
        """Of all steps together."""
        return sum(step.seconds for step in self.steps)

    def figures_of(self, name: str) -> dict[str, Any]:
        """Figures of the step's last time, or nothing."""
        return next((step.figures for step in reversed(self.steps) if step.name == name), {})


class RunTable:
    """All runs under one folder, which the first one makes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only one that runs.

        Raises:
            RetrainError: if another process is.
            OSError: if the folder cannot be made or opened.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            self._claim(held)
            yield

    def _claim(self, held: ExitStack) -> None:
        deadline = time.monotonic() + CLAIM_PATIENCE_S
        while True:
            try:
                held.enter_context(durable.locked(self.root, wait=False))
            except BlockingIOError:
                if self.is_claimed or time.monotonic() > deadline:
                    raise self._busy() from None
                time.sleep(CLAIM_PAUSE_S)
            else:
                return

    def _busy(self) -> RetrainError:
        current = next((run.run_id for run in self.newest_first() if not run.is_over), "another run")
        return RetrainError(f"{current} is going on in {self.root}; wait for its end, or end its process")

    @property
    def is_claimed(self) -> bool:
        """Whether a process is running. Asking disturbs neither it nor others that ask."""
        if not self.root.is_dir():
            return False
        try:
            with durable.locked(self.root, wait=False, shared=True):
                return False
        except BlockingIOError:
            return True

    @contextmanager
    def beginning(self) -> Iterator[int]:
        """Be the only one that begins a process, which is to inherit the descriptor given and so holds on until it ends.

        The claim alone would let several be begun: each process imports for seconds before it asks for that.

        Raises:
            RetrainError: if a process so begun has not ended.
            OSError: if the folder cannot be made or opened.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        guard = self.root / BEGINNING
        guard.touch()
        with ExitStack() as held:
            try:
                descriptor = held.enter_context(durable.locked(guard, wait=False))
            except BlockingIOError:
                raise self._busy() from None
            yield descriptor

    def begin(self, started: datetime, **fields: Any) -> Run:
        """A new record, on the disk.

        Raises:
            OSError: if it cannot be written; then nothing of it is left.
        """
        run = Run.new(started, **fields)
        folder = self.folder(run.run_id)
        folder.mkdir()
        try:
            self.write(run)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return run

    def write(self, run: Run) -> None:
        """Replace the record in one step."""
        durable.write_file(self.folder(run.run_id) / RECORD, run.model_dump_json(indent=2) + "\n")

    def read(self, run_id: str) -> Run:
        """One record; a run whose process is gone is "interrupted", whatever it could write last.

        Raises:
            RetrainError: if there is none of this name, or it is damaged.
        """
        path = self.folder(run_id) / RECORD
        if not re.fullmatch(r"[\w-]+", run_id, re.ASCII) or not path.is_file():
            raise RetrainError(f"there is no run {run_id!r} in {self.root}; see `recae runs list`")
        try:
            run = Run.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise RetrainError(f"the record {path} cannot be read; remove its folder: {error}") from error
        if not run.is_over and not self.is_claimed:
            run.status, run.message = "interrupted", "its process was killed; the next run goes on with it"
        return run

    def newest_first(self, *, until: datetime | None = None) -> Iterator[Run]:
        """All records that can be read.

        Args:
            until: leave out runs that began later, by a clock that was ahead.
        """
        for folder in sorted(self.root.glob(f"*/{RECORD}"), reverse=True):
            try:
                run = self.read(folder.parent.name)
            except RetrainError:
                continue  # one damaged record must not hide the others
            if until is None or run.started <= until:
                yield run

    def as_written(self) -> Iterator[Run]:
        """As `newest_first`, for whoever holds the claim: what says "running" was killed."""
        for path in sorted(self.root.glob(f"*/{RECORD}"), reverse=True):
            try:
                yield Run.model_validate_json(path.read_text(encoding="utf-8"))
            except (OSError, ValidationError):
                continue

    def folder(self, run_id: str) -> Path:
        """Where a run keeps its files."""
        return self.root / run_id

    def clean(self, run: Run) -> None:
        """Remove what only an unfinished run needs: its weights and checkpoints."""
        for file in self.folder(run.run_id).iterdir():
            if file.name not in KEPT:
                if file.is_dir():
                    shutil.rmtree(file, ignore_errors=True)
                else:
                    file.unlink(missing_ok=True)

    def prune(self, keep: int) -> None:
        """Remove the oldest records beyond ``keep``, and folders of runs that could not write one; for the claim's holder."""
        folders = sorted(path.parent for path in self.root.glob(f"*/{RECORD}"))
        empty = [
            folder
            for folder in self.root.iterdir()
            if RUN_ID.fullmatch(folder.name) and folder.is_dir() and not (folder / RECORD).exists()
        ]
        for folder in [*folders[: max(0, len(folders) - keep)], *empty]:
            shutil.rmtree(folder, ignore_errors=True)
