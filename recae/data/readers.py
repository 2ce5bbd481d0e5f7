"""Read logs: files or folders in, one validated stream of events out, what is bad set aside and counted."""

import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import NamedTuple, TypeAlias

import pandas as pd
import pyarrow as pa

from recae.data.acceptance import Acceptance
from recae.data.blocks import Block, LogFile
from recae.data.cleaning import Cleaner
from recae.data.formats import SUFFIXES, open_log
from recae.data.places import LocalFile, Place, Query, find
from recae.data.quarantine import Done, Quarantine, ReadReport
from recae.data.rows import COLUMNS
from recae.errors import ConfigError, DataError, TooManyBadRowsError, UnlikeFilesError
from recae.progress import RowsTold, bar

CHUNK_ROWS = 65_536
REQUIRED = ("user_id", "item_id")

Failed: TypeAlias = Callable[[Place, DataError], None]
"""Told of a file that cannot be read, or not to its end, and why."""


def read_events(
    source: str | Path | Query,
    *,
    columns: Mapping[str, str | None] | None = None,
    max_bad_share: float = 0.01,
    quarantine: str | Path | None = None,
    chunk_rows: int = CHUNK_ROWS,
    show_progress: bool = False,
    format_: str | None = None,
    acceptance: Acceptance | None = None,
    failed: Failed | None = None,
    say: Callable[[str], None] | None = None,
    leave_unfinished: bool = False,
) -> "EventStream":
    """Stream the events of a log in bounded memory; data/README.md of the project describes the format.

    Args:
        source: a CSV, TSV, JSON lines or Parquet file, text also compressed, or a folder of them, which is read in
            the order of the names, with its subfolders, without names that begin with "." or "_"; a pattern such as
            ``logs/*.csv``; the URL of any of these, as ``s3://bucket/logs``; "-" for standard input; a ``Query``.
        columns: canonical name -> the name in the log, as in ``{"user_id": "userId"}``; None leaves an optional
            column out. What is not mapped goes by its canonical name.
        max_bad_share: share of bad rows, 0 to 1, up to which the reading goes on.
        quarantine: JSON lines file for the bad rows; None only counts them.
        chunk_rows: most rows of one chunk.
        show_progress: show a bar.
        format_: the format of all files, as ``csv`` or ``jsonl.gz``, in place of what their names say.
        acceptance: what an event must meet besides being readable.
        failed: told of each file that cannot be read, and the reading goes on with the next; None ends it there.
        say: told in a line which file is done, and about every minute how far a long one is; None for silence.
        leave_unfinished: leave out the last line of a text file of this machine that has no end yet and was written to
            within a minute, for a reading that comes back for it. Compressed files have all that they will.

    Raises:
        DataError: if there is no such source or it has not the columns; while reading, if a file is broken, and if there
            are no rows.
        UnlikeFilesError: while reading, if files have not the same columns, whatever ``failed`` is.
        ConfigError: if ``columns`` names a column that recae does not know.
        TooManyBadRowsError: while reading.
    """
    return EventStream(
        source,
        columns or {},
        max_bad_share,
        quarantine,
        chunk_rows,
        show_progress=show_progress,
        format_=format_,
        acceptance=acceptance,
        failed=failed,
        say=say,
        leave_unfinished=leave_unfinished,
    )


class Chunk(NamedTuple):
    """Some events, and how far the reading has come."""

    place: Place
    events: pa.Table
    """Canonical columns; without any if the chunk has no good row."""
    line: int
    """Number of the last row read of the place, as the quarantine counts them."""
    is_last: bool
    """Whether the place has come to its end; then ``events`` is empty."""
    is_unfinished: bool = False
    """Whether a last line was left out there that is still being written."""


class EventStream:
    """Events as tables of at most ``chunk_rows`` rows; each iteration reads the source anew.

    Columns, where the log has them: user_id, item_id, event_type, event_id (text), timestamp (int64 seconds
    since 1970), value (float64). All chunks have the same.
    """

    names: tuple[str, ...]
    """All columns of the first place that can be opened, as they are called there."""
    columns: Mapping[str, str]
    """Canonical name -> name in the log, of those that are read."""
    report: ReadReport
    """What the latest iteration read."""

    def __init__(
        self,
        source: str | Path | Query,
        columns: Mapping[str, str | None],
        max_bad_share: float,
        quarantine: str | Path | None,
        chunk_rows: int,
        *,
        show_progress: bool,
        format_: str | None = None,
        acceptance: Acceptance | None = None,
        failed: Failed | None = None,
        say: Callable[[str], None] | None = None,
        leave_unfinished: bool = False,
    ) -> None:
        unknown = sorted(set(columns) - set(COLUMNS.names))
        if unknown:
            raise ConfigError(
                f"there is no column {', '.join(unknown)} to map; there are "
                f"{', '.join(COLUMNS.names)}, each mapped to the name it has in the log"
            )
        if not 0 <= max_bad_share <= 1 or chunk_rows < 1:
            raise ValueError(
                f"expected 0 <= max_bad_share <= 1 and chunk_rows >= 1, found {max_bad_share} and {chunk_rows}"
            )
        self._name = str(source)
        self._mapping = dict(columns)
        self._max_bad_share = max_bad_share
        self._quarantine = None if quarantine is None else Path(quarantine)
        self._chunk_rows = chunk_rows
        self._show_progress = show_progress
        self._acceptance = acceptance
        self._failed = failed
        self._leave_unfinished = leave_unfinished
        self._told = RowsTold(say)
        self.places, self._skipped = (
            ([source], []) if isinstance(source, Query) else find(source, SUFFIXES, format_)
        )
        self._refuse_quarantine_inside(source)
        self.names, self.columns = (), {}
        self._unreadable: dict[Place, DataError] = {}  # why, of those before the first that can be opened
        self._example = next((place for place in self.places if self._sets_columns(place)), None)
        self.report = ReadReport()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for chunk in self.chunks():
            if chunk.events.num_rows:
                yield chunk.events.to_pandas()
        if not self.report.read:
            raise DataError(f"{self._name} has columns but no rows; expected events")

    def chunks(self, done: Done | None = None) -> Iterator[Chunk]:
        """The events with the place of each chunk; bad rows up to there are on the disk by then.

        Args:
            done: rows of a place to pass over, for a reading that goes on where an earlier one stopped.
        """
        self.report = report = ReadReport(skipped_files=self._skipped)
        total = sum(place.size for place in self.places)
        with (
            Quarantine(self._quarantine, report, done) as quarantine,
            bar(f"reading {self._name}", total or None, show=self._show_progress) as running,
        ):
            cleaner, start = Cleaner(quarantine, self._acceptance), time.monotonic()
            for place in self.places:
                position, last, skip = 0, 0, 0 if done is None else done(str(place))
                n_read, n_bad = report.read, report.bad
                self._told.begin(str(place))
                try:
                    with self._open(place) as log:
                        own = self._own_names(log.names, place)
                        for block in log.blocks(own, self._chunk_rows):
                            last = block.last
                            rest = _after(block, skip)
                            if rest is not None:
                                events = cleaner.clean(rest, place)
                                report.kept += events.num_rows
                                if done is not None:
                                    quarantine.flush()
                                yield Chunk(place, events, last, is_last=False)
                            running.advance(block.position - position)
                            running.note(f"{report.read / max(time.monotonic() - start, 1e-9):,.0f} rows/s")
                            self._told.advance(block.size)
                            position = block.position
                            report.check(self._max_bad_share, self._name, self._quarantine, finished=False)
                except (TooManyBadRowsError, UnlikeFilesError):  # about the source, not about this file
                    raise
                except DataError as error:
                    self._tell_failed(place, error)
                    continue
                yield Chunk(place, pa.table({}), last, is_last=True, is_unfinished=log.is_unfinished)
                if not self._is_all(place):  # else whoever reads the source tells of it
                    self._told.end(f"{report.read - n_read:,} rows read, {report.bad - n_bad:,} bad")
            report.check(self._max_bad_share, self._name, self._quarantine, finished=True)

    def pass_over(self, names: AbstractSet[str]) -> None:
        """Leave out the places of these names."""
        self.places = [place for place in self.places if str(place) not in names]

    def _sets_columns(self, place: Place) -> bool:
        """Take over the columns of a place; False if it cannot be opened and the reading may go on without it."""
        with ExitStack() as stack:
            try:
                log = stack.enter_context(open_log(place))
            except DataError as error:
                if self._failed is None:
                    raise
                self._unreadable[place] = error
                return False
            self.names = tuple(log.names)
            try:
                self.columns = self._columns_in(log.names, place)
            except DataError:
                for other, why in self._unreadable.items():  # nobody will come to them
                    self._tell_failed(other, why)
                raise
            self._first_log, self._first = log, None if place.can_be_reopened else stack.pop_all()
        return True

    def _tell_failed(self, place: Place, error: DataError) -> None:
        """Whoever wants to go on hears of it; else it is raised."""
        if self._failed is None:
            raise error
        self._failed(place, error)

    def _is_all(self, place: Place) -> bool:
        """Whether a place is the source itself, not a part of it."""
        return not place.can_be_reopened or place.name == PurePath(self._name).name

    @contextmanager
    def _open(self, place: Place) -> Iterator[LogFile]:
        if place in self._unreadable:
            raise self._unreadable[place]
        if place.can_be_reopened:
            with open_log(place, leave_unfinished=self._leave_unfinished) as log:
                yield log
            return
        if self._first is None:
            raise DataError(f"{place} can be read once, and was; read it into a file to go through it again")
        first, self._first = self._first, None
        with first:
            yield self._first_log

    def _refuse_quarantine_inside(self, source: str | Path | Query) -> None:
        if self._quarantine is None or not all(isinstance(place, LocalFile) for place in self.places):
            return
        inside = self._quarantine.resolve()
        if isinstance(source, str | Path) and inside.is_relative_to(Path(source).resolve()):
            raise ConfigError(
                f"the quarantine {self._quarantine} lies in the log {source}; put it somewhere else"
            )

    def _own_names(self, names: list[str], file: Place) -> dict[str, str]:
        try:
            own = self._columns_in(names, file)
        except DataError as error:  # the first that was opened has them
            raise UnlikeFilesError(str(error)) from error
        if own.keys() != self.columns.keys():
            raise UnlikeFilesError(
                f"{file} has {', '.join(own)}, but {self._example} has {', '.join(self.columns)}; files of one "
                "log must agree: leave a column out of all by --column COLUMN=, from Python by mapping it to None"
            )
        return own

    def _columns_in(self, names: list[str], file: Place) -> dict[str, str]:
        """Canonical name -> own name, of the columns that the file has."""
        own = {name: self._mapping.get(name, name) for name in COLUMNS.names}
        needed = {
            name: own[name]
            for name in (*REQUIRED, *self._mapping)
            if own[name] is not None or name in REQUIRED
        }
        missing = [name for name, called in needed.items() if called not in names]
        if missing:
            raise DataError(
                f"{file} has no column for {', '.join(missing)}: found {', '.join(names)}, expected "
                f"{', '.join(str(needed[name]) for name in missing)}; {_hint(names, missing[0])}"
            )
        return {name: called for name, called in own.items() if called is not None and called in names}


def _hint(names: list[str], missing: str) -> str:
    """What to do about a column that is missing."""
    if len(names) == 1:
        for separator in (";", "|", "\t"):
            if separator in names[0]:
                return f"its fields seem to be separated by {separator!r}: write them with commas (or tabs, as .tsv)"
    return (
        f'name it: columns = {{ {missing} = "<its name in the file>" }} in a protocol, --column {missing}=<its name> on the '
        f'command line, columns={{"{missing}": "<its name>"}} in Python'
    )


def _after(block: Block, line: int) -> Block | None:
    """The rows of a block that come after number ``line``; the block itself if that is all of it."""
    if block.first > line:
        return block
    return block.part(line - block.first + 1, block.size) if block.last > line else None
