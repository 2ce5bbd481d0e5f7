"""Parquet files of older events, sorted by sequence. Which of them count stands in the database, never in the folder."""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Connection, delete, insert, select

from recae.data.eventlog import schema
from recae.durable import TEMPORARY, sync
from recae.errors import EventLogError

ARROW = pa.schema(
    [
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
        pa.field("event_id", pa.string()),
        pa.field("recommendation_id", pa.string()),
    ]
)
"""What a stream gives."""
KEY = pa.field("event_key", pa.binary(16), nullable=False)
STORED = pa.schema([*ARROW, KEY])
"""What a partition holds: with keys, since deleting events frees their keys."""

ROW_GROUP = 65_536


class Partition(NamedTuple):
    """One file, as the database knows it."""

    name: str
    first_sequence: int
    last_sequence: int
    n_events: int
    first_timestamp: int
    last_timestamp: int


def listed(connection: Connection) -> list[Partition]:
    """The partitions that count, by their first number."""
    query = select(schema.partitions).order_by(schema.partitions.c.first_sequence)
    return [Partition(*row) for row in connection.execute(query)]


def record(connection: Connection, partition: Partition) -> None:
    """From this commit on the partition counts."""
    connection.execute(insert(schema.partitions).values(partition._asdict()))


def strike(connection: Connection, name: str) -> None:
    """From this commit on the partition counts no more."""
    connection.execute(delete(schema.partitions).where(schema.partitions.c.name == name))


def write(folder: Path, table: pa.Table) -> Partition:
    """Write a file that is complete and on the disk, and does not count yet.

    Args:
        folder: where the partitions lie.
        table: of the schema ``STORED``, sorted by sequence, not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sequences = pc.min_max(table.column("sequence")).as_py()
    times = pc.min_max(table.column("timestamp")).as_py()
    name = f"{sequences['min']:012d}-{sequences['max']:012d}-{uuid.uuid4().hex[:8]}.parquet"
    temporary = folder / f"{TEMPORARY}{name}"
    pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP)
    sync(temporary)
    temporary.rename(folder / name)
    sync(folder)
    return Partition(name, sequences["min"], sequences["max"], table.num_rows, times["min"], times["max"])


def read(folder: Path, partition: Partition) -> pa.Table:
    """All of a partition, keys included.

    Raises:
        EventLogError: if the file is missing or damaged.
    """
    path = folder / partition.name
    try:
        table = pq.read_table(path, schema=STORED)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from error
    if table.num_rows != partition.n_events:
        raise damaged(path, f"it holds {table.num_rows:,} events, not {partition.n_events:,}")
    return table


def users_in(folder: Path, partition: Partition) -> Any:
    """The column of users, chunked."""
    try:
        return pq.read_table(folder / partition.name, columns=["user_id"]).column("user_id")
    except (OSError, pa.ArrowException) as error:
        raise damaged(folder / partition.name, error) from error


def sweep(folder: Path, counted: Sequence[Partition]) -> None:
    """Remove files that do not count; the caller holds the folder, so nobody is writing one."""
    names = {partition.name for partition in counted}
    for path in folder.glob("*.parquet"):
        if path.name not in names:
            path.unlink(missing_ok=True)
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)
    if folder.is_dir():
        sync(folder)


def damaged(path: Path, cause: object) -> EventLogError:
    """The error for a partition that cannot be read."""
    return EventLogError(
        f"{path}, a part of the event log, cannot be read: {cause}; restore the file from a backup of the home folder"
    )


class PartitionReader:
    """Reads one partition from its beginning, in steps of the caller's choice.

    The file is open from the start: whoever replaces it meanwhile, by deleting a user, does not disturb the reading.
    """

    def __init__(self, folder: Path, partition: Partition, after: int) -> None:
        self._path = folder / partition.name
        self._after = after
        self._descriptor = os.open(self._path, os.O_RDONLY)
        self._batches: Any = None
        self._rest: pa.Table | None = None
        self.next = max(partition.first_sequence, after + 1)
        """No event that is left has a lower number."""

    def take(self, up_to: int) -> pa.Table:
        """The next events with numbers up to ``up_to``."""
        taken = []
        try:
            while self._fill():
                sequences = self._rest.column("sequence")  # type: ignore[union-attr] # _fill saw to it
                n = pc.sum(pc.less_equal(sequences, up_to)).as_py() or 0
                taken.append(self._rest.slice(0, n))  # type: ignore[union-attr]
                self._rest = self._rest.slice(n)  # type: ignore[union-attr]
                if self._rest.num_rows:
                    self.next = self._rest.column("sequence")[0].as_py()
                    break
        except (OSError, pa.ArrowException) as error:
            raise damaged(self._path, error) from error
        return pa.concat_tables(taken) if taken else ARROW.empty_table()

    def _fill(self) -> bool:
        """Have a rest with events in it, and know the next number; False at the end of the file."""
        if self._batches is None:
            self._batches = self._open()
        while self._rest is None or not self._rest.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                self.next = 2**63 - 1
                return False
            table = pa.Table.from_batches([batch]).cast(ARROW)
            self._rest = table.filter(pc.greater(table.column("sequence"), self._after))
        self.next = self._rest.column("sequence")[0].as_py()
        return True

    def _open(self) -> Any:
        file = pq.ParquetFile(os.fdopen(self._descriptor, "rb", closefd=False))
        names = ARROW.names
        return file.iter_batches(batch_size=ROW_GROUP, columns=names, use_threads=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._batches = self._rest = None
        os.close(self._descriptor)
