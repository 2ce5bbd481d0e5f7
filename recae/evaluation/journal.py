"""What an evaluation has tested so far, in a file: one that was stopped goes on after the last test, hours later the same.

    {"format": 1, "protocol": ..., "data": ..., "names": ..., "code": ..., ...}      what it is an evaluation of
    {"title": "ease", "seed": 1, "test": ..., "chosen": ...}                         a line for each test

A line is on the disk before the next model is fitted. Numbers are kept to the last digit, so the results are those of an
unbroken run. A file of another evaluation, or of other code, is begun anew: no table mixes two of them. A disk that takes no
more ends no evaluation: what is found is in memory, too.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from pydantic import ValidationError

from recae import durable
from recae.data.catalogue import Catalogue
from recae.data.holdout import Split
from recae.errors import EvaluationError
from recae.evaluation.records import Learning, Record, Trial
from recae.evaluation.rows import Row
from recae.evaluation.scoring import Score
from recae.evaluation.sections import ModelSection, Settings
from recae.evaluation.task import Tested
from recae.machine import peak_memory
from recae.models import registry

UNFINISHED: Final = "unfinished.jsonl"
"""Name of the file beside the results to come."""
FORMAT: Final = 1


class Header(Record):
    """What the file is an evaluation of: equal headers, equal numbers."""

    format: int = FORMAT
    protocol: dict[str, Any]
    data: str
    """Hash of the matrices."""
    names: str
    """Of their users and items, and of what the catalogue says of these."""
    code: str
    versions: dict[str, str]
    threads: int
    processor: str | None
    gpus: tuple[str, ...] = ()

    def unlike(self, other: Self) -> list[str]:
        """Names of the fields that differ."""
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]


class KeptTest(Record):
    """A `Tested` as JSON."""

    values: dict[str, float]
    per_user: dict[str, list[float]]
    by_group: dict[str, dict[str, list[float]]]
    curves: dict[str, dict[int, float]]
    lists: tuple[tuple[str, ...], ...]
    predicted: tuple[tuple[float, ...], ...]
    measured: dict[str, float]

    @classmethod
    def of(cls, test: Tested) -> Self:
        """From what was tested."""
        return cls(
            values={text: score.value for text, score in test.scores.items()},
            per_user={
                text: score.per_user.tolist()
                for text, score in test.scores.items()
                if score.per_user is not None
            },
            by_group={
                text: {group: values.tolist() for group, values in score.by_group.items()}
                for text, score in test.scores.items()
            },
            curves={name: dict(curve) for name, curve in test.curves.items()},
            lists=test.lists,
            predicted=test.predicted,
            measured=dict(test.measured),
        )

    def tested(self) -> Tested:
        """The same again."""
        scores = {
            text: Score(
                value,
                np.array(self.per_user[text], dtype=np.float64) if text in self.per_user else None,
                {group: np.array(values, dtype=np.float64) for group, values in self.by_group[text].items()},
            )
            for text, value in self.values.items()
        }
        return Tested(scores, self.curves, self.lists, self.predicted, self.measured)


class Chosen(Record):
    """What the first seed chose."""

    config: Settings | None
    searched: Settings
    trials: tuple[Trial, ...]
    learning: Learning | None


class Entry(Record):
    """A test of one model with one seed."""

    title: str
    seed: int
    test: KeptTest
    seconds: float
    """That the model has cost with this seed."""
    spent: float
    """Seconds of the evaluation until then, those before a stop included."""
    peak: int | None
    """Bytes that its process held at most."""
    chosen: Chosen | None = None
    """With the first seed."""


class Journal:
    """The file of one evaluation, held against other processes; without a path it keeps nothing.

    Args:
        path: made if it is not there; its folder must be.
        header: of the evaluation that begins.
        clock: monotonic time at which it began.
        say: told in a line what is gone on with, or why nothing is.
    """

    def __init__(self, path: Path | None, header: Header, clock: float, say: Callable[[str], None]) -> None:
        self.header = header
        self._path, self._say = path, say
        self._file: FileIO | None = None
        self._entries: dict[tuple[str, int], Entry] = {}
        self._clock = clock

    def __enter__(self) -> Self:
        if self._path is not None:
            self._file = _held(self._path, self._say)
            self._read(self._path, self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def seconds(self) -> float:
        """Of the evaluation until now, those before a stop included."""
        return time.perf_counter() - self._clock

    @property
    def peak(self) -> int | None:
        """Bytes that a process of it held at most."""
        known = [entry.peak for entry in self._entries.values()] + [peak_memory()]
        return max((peak for peak in known if peak is not None), default=None)

    def row(self, section: ModelSection, seed: int) -> Row | None:
        """A model that was tested with the first seed; None if it was not."""
        entry = self._entries.get((section.title, seed))
        if entry is None or entry.chosen is None:
            return None
        chosen = entry.chosen
        config = None if chosen.config is None else registry.config_class(section.name)(**chosen.config)
        return Row(
            section,
            config,
            chosen.searched,
            list(chosen.trials),
            [seed],
            [entry.test.tested()],
            entry.seconds,
            chosen.learning,
        )

    def take_again(self, row: Row, seed: int) -> bool:
        """Add the test with a further seed to its row, if there was one."""
        entry = self._entries.get((row.section.title, seed))
        if entry is None:
            return False
        row.seeds.append(seed)
        row.tests.append(entry.test.tested())
        row.seconds += entry.seconds
        return True

    def keep(self, row: Row, seconds: float) -> None:
        """Write the latest test of a row to the disk.

        Args:
            row: tested a moment ago.
            seconds: that this seed has cost.
        """
        if self._file is None:
            return
        first = len(row.tests) == 1
        chosen = Chosen(
            config=None if row.config is None else row.config.model_dump(mode="json"),
            searched=row.searched,
            trials=tuple(row.trials),
            learning=row.learning,
        )
        entry = Entry(
            title=row.section.title,
            seed=row.seeds[-1],
            test=KeptTest.of(row.tests[-1]),
            seconds=seconds,
            spent=self.seconds,
            peak=peak_memory(),
            chosen=chosen if first else None,
        )
        try:
            _append(self._file, entry)
        except OSError as error:
            self._say(
                f"{self._path} takes no more ({error.strerror or error}): the evaluation goes on, and is kept in memory alone"
            )
            self._file.close()
            self._file = None

    def _read(self, path: Path, file: FileIO) -> None:
        """Take over what is there, if it is of this evaluation; from a line that a crash left unreadable on it is cut away."""
        lines = file.readall().splitlines(keepends=True)
        header, entries, n_bytes = _read_lines(lines)
        if header is None or header != self.header:
            if lines[1:]:
                unlike = "format" if header is None else ", ".join(header.unlike(self.header))
                self._say(f"{path} is of an evaluation with another {unlike}; beginning anew")
            os.ftruncate(file.fileno(), 0)
            _append(file, self.header)
            return
        if len(entries) + 1 < len(lines):
            self._say(f"{path} is damaged after {len(entries)} test(s), which are taken over")
        os.ftruncate(file.fileno(), n_bytes)
        self._entries = {(entry.title, entry.seed): entry for entry in entries}
        if entries:
            self._clock -= entries[-1].spent
            self._say(
                f"going on with an evaluation that was stopped; tested already: {_named(self._entries)}"
            )


def names_of(split: Split, catalogue: Catalogue | None) -> str:
    """SHA-256 of the ids of a split's users and items, and of the catalogue's lines."""
    digest = hashlib.sha256()
    for ids in (split.train.items, split.train.users, split.test.users):
        digest.update(json.dumps(list(ids)).encode())
    digest.update(json.dumps(None if catalogue is None else list(catalogue)).encode())
    return digest.hexdigest()


def n_tests(path: Path) -> int:
    """How many tests a file holds; 0 if it is not there."""
    return len(_read_lines(path.read_bytes().splitlines(keepends=True))[1]) if path.exists() else 0


def discard(path: Path) -> None:
    """Remove the file of an evaluation whose results are written, unless another process has begun one since."""
    try:
        with path.open("ab") as file:
            durable.hold(file.fileno(), wait=False)
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return
    except OSError:
        path.unlink(missing_ok=True)


def _held(path: Path, say: Callable[[str], None]) -> FileIO:
    """The file, open for reading and appending, and locked as long as it is open.

    Raises:
        EvaluationError: if another process has it.
    """
    file = path.open("a+b", buffering=0)  # of what a full disk did not take nothing is left to be tried again
    try:
        durable.hold(file.fileno(), wait=False)
    except BlockingIOError:
        file.close()
        raise EvaluationError(
            f"another process evaluates into {path.parent}; wait for its end, or name another folder"
        ) from None
    except OSError as error:  # some file systems over a network
        say(
            f"{path} cannot be locked ({error.strerror or error}): let no other process evaluate into its folder"
        )
    file.seek(0)
    return file


def _append(file: FileIO, record: Record) -> None:
    """Write a line, or nothing of it.

    Raises:
        OSError: if the disk does not take it.
    """
    before = file.seek(0, os.SEEK_END)
    try:
        line = memoryview(json.dumps(record.model_dump()).encode() + b"\n")  # pydantic's JSON would lose NaN
        while line:
            line = line[file.write(line) :]
        os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), before)
        raise


def _read_lines(lines: Sequence[bytes]) -> tuple[Header | None, list[Entry], int]:
    """Header and entries up to the first line that cannot be read, and how many bytes these are."""
    header, entries, n_bytes = None, [], 0
    try:
        for number, line in enumerate(lines):
            if not line.endswith(b"\n"):
                break
            if number:
                entries.append(Entry.model_validate_json(line))
            else:
                header = Header.model_validate_json(line)
            n_bytes += len(line)
    except ValidationError:
        pass
    return header, entries, n_bytes


def _named(entries: Mapping[tuple[str, int], Entry]) -> str:
    return ", ".join(f"{title} with seed {seed}" for title, seed in entries)
