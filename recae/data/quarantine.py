"""Rows that could not be used: how many, why, and where they are kept."""

import json
import os
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeAlias

from recae.data.blocks import Row
from recae.data.places import Place
from recae.errors import TooManyBadRowsError

EXAMPLES = 3
EARLY_AFTER = 1_000
"""Rows to read before a log may be given up for bad half-way."""


@dataclass
class ReadReport:
    """What was read so far; complete once the stream is exhausted."""

    kept: int = 0
    """Rows that became events."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Reason -> rows that were bad for it; each row counts once."""
    examples: list[str] = field(default_factory=list)
    """The first bad rows: file, line and reason."""
    skipped_files: list[Path | str] = field(default_factory=list)
    """Files of the folder that are no log, by their suffix."""
    quarantine: Path | None = None
    """Where the bad rows are; None if there are none, or nobody asked for the file."""

    @property
    def bad(self) -> int:
        """Rows that were left out."""
        return self.reasons.total()

    @property
    def read(self) -> int:
        """All rows."""
        return self.kept + self.bad

    def __str__(self) -> str:
        reasons = "; ".join(f"{reason}: {count:,}" for reason, count in self.reasons.most_common())
        return f"{self.read:,} rows read, {self.kept:,} kept, {self.bad:,} bad" + (
            f" ({reasons})" if reasons else ""
        )

    def check(self, max_bad_share: float, source: object, quarantine: Path | None, *, finished: bool) -> None:
        """Give up if more is bad than allowed; before the end only if it is hopeless.

        Bad rows come in clumps, so before the end the share must be ten times the allowed one, or over a half.

        Raises:
            TooManyBadRowsError: with count, share, first reasons and where to look.
        """
        limit = max_bad_share if finished else max(max_bad_share, min(0.5, 10 * max_bad_share))
        if self.bad <= limit * self.read or not (finished or self.read >= EARLY_AFTER):
            return
        where = f"all of them are in {quarantine}" if quarantine else "name a quarantine file to keep them"
        raise TooManyBadRowsError(
            f"{self.bad:,} of {self.read:,} rows of {source} are bad ({self.bad / self.read:.1%}, allowed are "
            f"{max_bad_share:.1%}); the first: {'; '.join(self.examples)}; {where}; "
            "mend the source, map its columns, or allow more"
        )


Done: TypeAlias = Callable[[str], int]
"""Name of a place -> number of the last row that an earlier, interrupted reading has dealt with."""


class Quarantine:
    """Counts bad rows and keeps them as JSON lines: source, line, reason, row.

    The file appears under its name when the reading ends, well or with too many bad rows; on any other error
    nothing is left. An older file of the name is replaced, or removed if no row was bad this time.

    With ``done``, the reading goes on where another one stopped: an error leaves the lines so far in a file that ends in
    ``.partial``, and lines of an earlier reading about rows that are not read again stay.
    """

    def __init__(self, path: Path | None, report: ReadReport, done: Done | None = None) -> None:
        self._path = path
        self._report = report
        self._done = done
        self._temporary: Path | None = None
        self._file: IO[str] | None = None

    def add(self, source: Place, row: Row, reason: str) -> None:
        """Count one bad row, and keep it."""
        self._report.reasons[reason] += 1
        if len(self._report.examples) < EXAMPLES:
            self._report.examples.append(f"{source.name} line {row.line}: {reason}")
        line = {"source": str(source), "line": row.line, "reason": reason, "row": row.raw}
        self._write(json.dumps(line, default=str) + "\n")

    def flush(self) -> None:
        """Wait until the lines so far are on the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def _write(self, line: str) -> None:
        if self._path is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary = self._partial or self._path.with_name(f".tmp-{uuid.uuid4().hex}")
            self._file = self._temporary.open("w", encoding="utf-8")
        self._file.write(line)

    @property
    def _partial(self) -> Path | None:
        if self._done is None or self._path is None:
            return None
        return self._path.with_name(f"{self._path.name}.partial")

    def _earlier(self, done: Done) -> list[str]:
        """Lines that stay true."""
        files = [path for path in (self._path, self._partial) if path is not None and path.is_file()]
        lines = dict.fromkeys(
            line for path in files for line in path.read_text(encoding="utf-8").splitlines()
        )
        return [line for line in lines if _is_about_rows_done(line, done)]

    def __enter__(self) -> Self:
        if self._done is not None:
            for line in self._earlier(self._done):
                self._write(line + "\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        complete = kind is None or issubclass(kind, TooManyBadRowsError)
        if self._file is not None and self._temporary is not None and self._path is not None:
            with self._file:
                self.flush()
            if complete:
                self._temporary.replace(self._path)
                self._report.quarantine = self._path
            elif self._done is None:
                self._temporary.unlink()
        elif complete and self._path is not None:
            self._path.unlink(missing_ok=True)
            if self._partial is not None:
                self._partial.unlink(missing_ok=True)


def _is_about_rows_done(line: str, done: Done) -> bool:
    try:
        found = json.loads(line)
        return bool(found["line"] <= done(found["source"]))
    except (ValueError, KeyError, TypeError):  # torn by a kill
        return False
