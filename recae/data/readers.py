"""Read logs: files or folders in, one validated stream of events out, what is bad set aside and counted."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from recae.data.blocks import Block, Row
from recae.data.columns import DoubtfulError, clean_columns
from recae.data.formats import SUFFIXES, open_log
from recae.data.quarantine import Quarantine, ReadReport
from recae.data.rows import COLUMNS, BadRowError, clean_row
from recae.errors import ConfigError, DataError
from recae.progress import bar

CHUNK_ROWS = 65_536
FEW_ROWS = 128
"""So many are looked at one at a time; with 1 bad row in 1,000, half and double are no faster."""
REQUIRED = ("user_id", "item_id")


def read_events(
    source: str | Path,
    *,
    columns: Mapping[str, str | None] | None = None,
    max_bad_share: float = 0.01,
    quarantine: str | Path | None = None,
    chunk_rows: int = CHUNK_ROWS,
    show_progress: bool = False,
) -> "EventStream":
    """Stream the events of a log in bounded memory; data/README.md of the project describes the format.

    Args:
        source: a CSV, TSV, JSON lines or Parquet file, text also gzipped, or a folder of them, which is read in
            the order of the names, with its subfolders, without names that begin with "." or "_".
        columns: canonical name -> the name in the log, as in ``{"user_id": "userId"}``; None leaves an optional
            column out. What is not mapped goes by its canonical name.
        max_bad_share: share of bad rows, 0 to 1, up to which the reading goes on.
        quarantine: JSON lines file for the bad rows; None only counts them.
        chunk_rows: most rows of one chunk.
        show_progress: show a bar.

    Raises:
        DataError: if there is no such source or it has not the columns; while reading, if a file is broken.
        ConfigError: if ``columns`` names a column that recae does not know.
        TooManyBadRowsError: while reading.
    """
    return EventStream(
        source, columns or {}, max_bad_share, quarantine, chunk_rows, show_progress=show_progress
    )


class EventStream:
    """Events as tables of at most ``chunk_rows`` rows; each iteration reads the source anew.

    Columns, where the log has them: user_id, item_id, event_type, event_id (text), timestamp (int64 seconds
    since 1970), value (float64). All chunks have the same.
    """

    report: ReadReport
    """What the latest iteration read."""

    def __init__(
        self,
        source: str | Path,
        columns: Mapping[str, str | None],
        max_bad_share: float,
        quarantine: str | Path | None,
        chunk_rows: int,
        *,
        show_progress: bool,
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
        self._source = Path(source)
        self._mapping = dict(columns)
        self._max_bad_share = max_bad_share
        self._quarantine = None if quarantine is None else Path(quarantine)
        self._chunk_rows = chunk_rows
        self._show_progress = show_progress
        if self._quarantine is not None and self._quarantine.resolve().is_relative_to(self._source.resolve()):
            raise ConfigError(f"the quarantine {quarantine} lies in the log {source}; put it somewhere else")
        self._files, self._skipped = _files_of(self._source)
        with open_log(self._files[0]) as log:
            self.columns = self._columns_in(log.names, self._files[0])
        self.report = ReadReport()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        self.report = report = ReadReport(skipped_files=self._skipped)
        total = sum(file.stat().st_size for file in self._files)
        with (
            Quarantine(self._quarantine, report) as quarantine,
            bar(f"reading {self._source.name}", total, show=self._show_progress) as running,
        ):
            for file in self._files:
                done = 0
                with open_log(file) as log:
                    own = self._own_names(log.names, file)
                    for block in log.blocks(own, self._chunk_rows):
                        events = _cleaned(block, file, quarantine)
                        report.kept += events.num_rows
                        if events.num_rows:
                            yield events.to_pandas()
                        running.advance(block.position - done)
                        done = block.position
                        report.check(self._max_bad_share, self._source, self._quarantine, finished=False)
            report.check(self._max_bad_share, self._source, self._quarantine, finished=True)
            if not report.read:
                raise DataError(f"{self._source} has columns but no rows; expected events")

    def _own_names(self, names: list[str], file: Path) -> dict[str, str]:
        own = self._columns_in(names, file)
        if own.keys() != self.columns.keys():
            raise DataError(
                f"{file} has {', '.join(own)}, but {self._files[0]} has {', '.join(self.columns)}; files of one "
                "log must agree: map a column to None to leave it out of all"
            )
        return own

    def _columns_in(self, names: list[str], file: Path) -> dict[str, str]:
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
                f"{', '.join(str(needed[name]) for name in missing)}; name it by "
                f'columns={{"{missing[0]}": "<its name in the file>"}}'
            )
        return {name: called for name, called in own.items() if called is not None and called in names}


def _cleaned(block: Block, file: Path, quarantine: Quarantine) -> pa.Table:
    """The block's good rows: at once if all are plainly good, else in smaller and smaller parts."""
    try:
        return clean_columns(block.columns())
    except (DoubtfulError, pa.ArrowException):
        if block.size <= FEW_ROWS:
            return _cleaned_row_by_row(block, file, quarantine)
    step = max(FEW_ROWS, block.size // 16)
    parts = (block.part(start, start + step) for start in range(0, block.size, step))
    good = [table for part in parts if (table := _cleaned(part, file, quarantine)).num_rows]
    return pa.concat_tables(good) if good else pa.table({})


def _cleaned_row_by_row(block: Block, file: Path, quarantine: Quarantine) -> pa.Table:
    good = []
    names: list[str] = []
    for row in block.rows():
        try:
            good.append(_event_of(row))
            names = names or list(row.values)
        except BadRowError as bad:
            quarantine.add(file, row, str(bad))
    return pa.Table.from_pylist(good, schema=pa.schema([COLUMNS.field(name) for name in names]))


def _event_of(row: Row) -> dict[str, Any]:
    if row.reason is not None:
        raise BadRowError(row.reason)
    return clean_row(row.values)


def _files_of(source: Path) -> tuple[list[Path], list[Path]]:
    """Files to read, sorted, and those of a folder that are no logs."""
    if source.is_file():
        return [source], []
    if not source.is_dir():
        raise DataError(f"there is no file or folder {source}; expected a log ({', '.join(SUFFIXES)})")
    inside = sorted(file for file in source.rglob("*") if file.is_file())
    plain = [file for file in inside if not any(part[0] in "._" for part in file.relative_to(source).parts)]
    logs = [file for file in plain if file.name.lower().endswith(tuple(SUFFIXES))]
    if not logs:
        raise DataError(f"the folder {source} holds no log; expected files that end in {', '.join(SUFFIXES)}")
    return logs, [file for file in plain if file not in set(logs)]
