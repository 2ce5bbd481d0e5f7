"""Open a log file by its suffix: CSV and JSON lines, also gzipped, and Parquet."""

import gzip
import io
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet

from recae.data.blocks import Block, Columns, LogFile, Row, errors_named
from recae.data.columns import Column
from recae.data.textlogs import CsvLog, JsonLog
from recae.errors import DataError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = [name + zipped for name in (*DELIMITERS, *JSON_LINES) for zipped in ("", ".gz")] + [".parquet"]
BUFFER_BYTES = 2**20


@contextmanager
def open_log(path: Path) -> Iterator[LogFile]:
    """Open a file by its suffix.

    Raises:
        DataError: for another suffix, an empty file, a broken one, or one that cannot be opened.
    """
    name = path.name.lower()
    suffix = next((known for known in SUFFIXES if name.endswith(known)), None)
    if suffix is None:
        raise DataError(f"{path} is of an unknown format; expected a name that ends in {', '.join(SUFFIXES)}")
    with ExitStack() as stack:
        with errors_named(path):
            raw = lines = stack.enter_context(path.open("rb"))
            if suffix.endswith(".gz"):
                unzipped = stack.enter_context(gzip.GzipFile(fileobj=raw))
                lines = io.BufferedReader(cast("io.RawIOBase", unzipped), BUFFER_BYTES)
            log = _log(path, suffix.removesuffix(".gz"), raw, lines)
        yield log


def _log(path: Path, suffix: str, raw: BinaryIO, lines: BinaryIO) -> LogFile:
    if suffix in DELIMITERS:
        return CsvLog(path, raw, lines, DELIMITERS[suffix])
    return JsonLog(path, raw, lines) if suffix in JSON_LINES else ParquetLog(path, raw)


class ParquetLog(LogFile):
    """A Parquet file; only the columns asked for are read."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self.path = path
        self._file = pyarrow.parquet.ParquetFile(raw)
        self._size = raw.seek(0, io.SEEK_END)
        self.names = self._file.schema_arrow.names

    def _blocks(self, columns: Columns, rows: int) -> Iterator[Block]:
        own, first, n_rows = list(columns.values()), 1, self._file.metadata.num_rows
        for batch in self._file.iter_batches(batch_size=rows, columns=own, use_threads=False):
            position = self._size * (first - 1 + batch.num_rows) // n_rows
            yield ParquetBlock(position, batch, first, columns)
            first += batch.num_rows


@dataclass
class ParquetBlock(Block):
    """Rows of a Parquet file."""

    position: int
    batch: pa.RecordBatch
    first: int
    own: Columns

    @property
    def size(self) -> int:
        return int(self.batch.num_rows)

    def part(self, start: int, stop: int) -> "ParquetBlock":
        return replace(self, batch=self.batch.slice(start, stop - start), first=self.first + start)

    def columns(self) -> Mapping[str, Column]:
        return {name: self.batch.column(own) for name, own in self.own.items()}

    def rows(self) -> Iterator[Row]:
        for place in range(self.batch.num_rows):
            raw = {own: self.batch.column(own)[place] for own in self.own.values()}
            try:
                values = {name: raw[own].as_py() for name, own in self.own.items()}
            except (ValueError, OverflowError):  # a time that Python has no type for, text that is no UTF-8
                shown = {own: str(cell.type) for own, cell in raw.items()}
                yield Row(self.first + place, shown, {}, "a value that cannot be read")
                continue
            shown = {own: _shown(values[name]) for name, own in self.own.items()}
            yield Row(self.first + place, shown, values)


def _shown(value: Any) -> Any:
    """What JSON can show of a value: NaN and infinity only as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
