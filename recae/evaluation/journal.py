"""What an evaluation has tested so far, in a file: one that was stopped goes on after the last test, hours later the same.

    {"format": 1, "started": ..., "protocol": ..., "data": ..., "code": ..., ...}    what it is an evaluation of
    {"title": "ease", "seed": 1, "test": ..., "chosen": ...}                         a line for each test

A line is on the disk before the next model is fitted. Numbers are kept to the last digit, so the results are those of an
unbroken run. A file of another evaluation, or of other code, is begun anew: no table mixes two of them.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from pydantic import ConfigDict, ValidationError

from recae import durable
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


class Kept(Record):
    """A record of the file; it may hold NaN, the value of a user without targets in a group of items."""

    model_config = ConfigDict(ser_json_inf_nan="constants")


class Header(Kept):
    """What the file is an evaluation of: equal headers, equal numbers."""

    format: int = FORMAT
    protocol: dict[str, Any]
    data: str
    """Hash of the matrices."""
    code: str
    versions: dict[str, str]
    threads: int
    processor: str | None

    def unlike(self, other: Self) -> list[str]:
        """Names of the fields that differ."""
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]


class KeptTest(Kept):
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


class Chosen(Kept):
    """What the first seed chose."""

    config: Settings | None
    searched: Settings
    trials: tuple[Trial, ...]
    learning: Learning | None


class Entry(Kept):
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
        self._entries: dict[tuple[str, int], Entry] = {}
        self._held = ExitStack()
        self._clock = clock

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        self._path.touch()
        try:
            self._held.enter_context(durable.locked(self._path, wait=False))
        except BlockingIOError:
            raise EvaluationError(
                f"another process evaluates into {self._path.parent}; wait for its end, or name another folder"
            ) from None
        self._read(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

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
        if self._path is None:
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
        self._append(self._path, entry)

    def _append(self, path: Path, record: Kept) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, path: Path) -> None:
        """Take over what is there, if it is of this evaluation; a line that a crash cut off is cut away."""
        whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        try:
            header = Header.model_validate_json(whole[0]) if whole else None
            entries = [Entry.model_validate_json(line) for line in whole[1:]]
        except ValidationError:
            header, entries = None, []
        if header is None or header != self.header:
            if whole[1:]:
                unlike = "format" if header is None else ", ".join(header.unlike(self.header))
                self._say(f"{path} is of an evaluation with another {unlike}; beginning anew")
            path.write_bytes(b"")
            self._append(path, self.header)
            return
        os.truncate(path, sum(map(len, whole)))
        self._entries = {(entry.title, entry.seed): entry for entry in entries}
        if entries:
            self._clock -= entries[-1].spent
            self._say(
                f"going on with an evaluation that was stopped; tested already: {_named(self._entries)}"
            )


def _named(entries: Mapping[tuple[str, int], Entry]) -> str:
    return ", ".join(f"{title} with seed {seed}" for title, seed in entries)
