"""Open a log by its format: CSV and JSON lines, also compressed, Parquet, and rows of a database."""

import bz2
import gzip
import io
import lzma
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet

from recae.data.blocks import Block, Columns, LogFile, Row, errors_named
from recae.data.columns import Column
from recae.data.places import BUFFER_BYTES, BinaryPlace, Place, Query
from recae.data.textlogs import CsvLog, JsonLog
from recae.errors import DataError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
SUFFIXES = (
    *(name + zipped for name in (*DELIMITERS, *JSON_LINES) for zipped in ("", *COMPRESSIONS)),
    ".parquet",
)


@contextmanager
def open_log(place: Place, *, leave_unfinished: bool = False) -> Iterator[LogFile]:
    """Open a place by its format.

    Args:
        place: what to open.
        leave_unfinished: leave out a last line of plain text that is still being written. What is compressed tells its
            own end.

    Raises:
        DataError: for an unknown format, an empty file, a broken one, or one that cannot be opened.
    """
    if isinstance(place, Query):
        from recae.data.queries import open_query

        with open_query(place) as answer:
            yield answer
        return
    suffix = next((known for known in SUFFIXES if place.named_format.endswith(known)), None)
    if suffix is None or not isinstance(place, BinaryPlace):
        raise DataError(
            f"{place} is of an unknown format; expected a name that ends in {', '.join(SUFFIXES)}"
        )
    with ExitStack() as stack:
        with errors_named(place):
            raw = stack.enter_context(place.open())
            zipped = next((ending for ending in COMPRESSIONS if suffix.endswith(ending)), "")
            lines = stack.enter_context(_unzipped(raw, zipped)) if zipped else raw
            log = _log(
                place,
                suffix.removesuffix(zipped),
                raw,
                lines,
                leave_unfinished=leave_unfinished and not zipped,
            )
        yield log


def _unzipped(raw: BinaryIO, ending: str) -> BinaryIO:
    match ending:
        case ".gz":
            plain: Any = gzip.GzipFile(fileobj=raw)
        case ".bz2":
            plain = bz2.BZ2File(raw)
        case ".xz":
            plain = lzma.LZMAFile(raw)  # noqa: SIM115 - the caller closes it
        case _:
            plain = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
    return io.BufferedReader(cast("io.RawIOBase", plain), BUFFER_BYTES)


def _log(path: Place, suffix: str, raw: BinaryIO, lines: BinaryIO, *, leave_unfinished: bool) -> LogFile:
    if suffix in DELIMITERS:
        return CsvLog(path, raw, lines, DELIMITERS[suffix], leave_unfinished=leave_unfinished)
    if suffix in JSON_LINES:
        return JsonLog(path, raw, lines, leave_unfinished=leave_unfinished)
    return ParquetLog(path, raw)


class ParquetLog(LogFile):
    """A Parquet file; only the columns asked for are read."""

    def __init__(self, path: Place, raw: BinaryIO) -> None:
        self.path = path
        if not raw.seekable():
            raw = io.BytesIO(raw.read())  # its index is at the end
        self._file = pyarrow.parquet.ParquetFile(raw)
        self._size = raw.seek(0, io.SEEK_END)
        self.names = self._file.schema_arrow.names

    def _blocks(self, columns: Columns, rows: int) -> Iterator[Block]:
        own, first, n_rows = list(columns.values()), 1, self._file.metadata.num_rows
        for batch in self._file.iter_batches(batch_size=rows, columns=own, use_threads=False):
            position = self._size * (first - 1 + batch.num_rows) // n_rows
            yield ColumnsBlock(position, batch, first, columns)
            first += batch.num_rows


@dataclass
class ColumnsBlock(Block):
    """Rows that come in columns, as from a Parquet file."""

    position: int
    batch: pa.RecordBatch
    first: int
    own: Columns

    @property
    def size(self) -> int:
        return int(self.batch.num_rows)

    def part(self, start: int, stop: int) -> "ColumnsBlock":
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
