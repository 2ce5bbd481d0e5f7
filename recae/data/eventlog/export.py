"""The whole log as one file, which the readers read again: streamed, and complete before it has its name."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from recae.data.eventlog.events import TIME_BYTES, TIME_OFFSET, UNTIMED
from recae.data.eventlog.log import EventLog
from recae.data.formats import COMPRESSIONS, DELIMITERS, JSON_LINES, SUFFIXES
from recae.data.rows import COLUMNS
from recae.durable import new_file
from recae.errors import ConfigError, DataError
from recae.progress import bar

Write: TypeAlias = Callable[[pa.Table], None]


def export(log: EventLog, path: Path, *, show_progress: bool = False) -> int:
    """Write all events in the order of their arrival, with the columns of ``recae.data.rows.COLUMNS``.

    An event that came without a time has that of its arrival, and an id that says so (``events.UNTIMED``): read again, it
    is the same event.

    Args:
        log: what to write; events that arrive meanwhile are left out.
        path: .parquet, .csv, .tsv, .jsonl or .ndjson, the last four also compressed. An older file is replaced.
        show_progress: show a bar.

    Returns:
        The number of events.

    Raises:
        ConfigError: for another ending.
        DataError: for an id with a line break, which a CSV file that is read line by line cannot hold.
    """
    suffix = next((known for known in SUFFIXES if path.name.lower().endswith(known)), None)
    if suffix is None:
        raise ConfigError(
            f"{path} is of an unknown format; expected a name that ends in {', '.join(SUFFIXES)}"
        )
    n = 0
    with (
        new_file(path) as temporary,
        _writer(temporary, suffix) as write,
        bar(f"writing {path.name}", log.count(), show=show_progress) as running,
    ):
        for table in log.stream(with_keys=True):
            write(_marked(table).select(COLUMNS.names).cast(COLUMNS))
            n += table.num_rows
            running.advance(table.num_rows)
    return n


def _marked(table: pa.Table) -> pa.Table:
    """The table with an id for each event whose key leaves the time out: else the time would make it another event."""
    keys, ids = table.column("event_key"), table.column("event_id")
    without_time = pa.scalar(TIME_OFFSET.to_bytes(TIME_BYTES, "big"), pa.binary())
    starts = pc.binary_slice(keys.cast(pa.binary()), 0, TIME_BYTES)
    is_untimed = pc.and_(pc.equal(starts, without_time), pc.is_null(ids))
    if not pc.any(is_untimed).as_py():
        return table
    marks = [f"{UNTIMED}{key.hex()}" for key in keys.to_pylist()]
    place = table.column_names.index("event_id")
    return table.set_column(place, "event_id", pc.if_else(is_untimed, pa.array(marks), ids))


@contextmanager
def _writer(path: Path, suffix: str) -> Iterator[Write]:
    if suffix == ".parquet":
        with pyarrow.parquet.ParquetWriter(path, COLUMNS, compression="zstd") as parquet:
            yield parquet.write_table
        return
    zipped = next((ending for ending in COMPRESSIONS if suffix.endswith(ending)), "")
    plain = suffix.removesuffix(zipped)
    with _opened(path, zipped) as file:
        if plain in JSON_LINES:
            yield lambda table: _write_objects(file, table)
        else:
            options = pyarrow.csv.WriteOptions(delimiter=DELIMITERS[plain])
            with pyarrow.csv.CSVWriter(file, COLUMNS, write_options=options) as lines:
                yield lambda table: lines.write_table(_without_line_breaks(table))


def _opened(path: Path, zipped: str) -> AbstractContextManager[Any]:
    match zipped:
        case ".gz":
            return gzip.open(path, "wb", compresslevel=6)
        case ".bz2":
            return bz2.open(path, "wb")
        case ".xz":
            return lzma.open(path, "wb")
        case ".zst":
            stream: AbstractContextManager[Any] = pa.CompressedOutputStream(str(path), "zstd")
            return stream
        case _:
            return path.open("wb")


def _write_objects(file: Any, table: pa.Table) -> None:
    names = table.column_names
    columns = [table.column(name).to_numpy(zero_copy_only=False).tolist() for name in names]
    lines = [
        json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)
        for row in zip(*columns, strict=True)
    ]
    file.write(("\n".join(lines) + "\n").encode())


def _without_line_breaks(table: pa.Table) -> pa.Table:
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_string(column.type) and pc.any(pc.match_substring_regex(column, "[\r\n]")).as_py():
            raise DataError(
                f"a {name} of the log holds a line break, which a CSV file cannot; write Parquet or JSON lines"
            )
    return table
