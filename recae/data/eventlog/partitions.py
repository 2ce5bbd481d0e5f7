"""Parquet files of older events, sorted by sequence. Which of them count stands in the database, never in the folder."""

import errno
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
from recae.errors import EventLogError, LastingLogError

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
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
LOG_ID = b"recae.log_id"
"""Key of a file's metadata; files of older versions have none."""


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
    """From this commit on the partition counts no more, and its file is to go."""
    connection.execute(delete(schema.partitions).where(schema.partitions.c.name == name))
    connection.execute(insert(schema.replaced_partitions).values(name=name))


def write(folder: Path, table: pa.Table, log_id: str) -> Partition:
    """Write a file that is complete and on the disk, and does not count yet.

    Args:
        folder: where the partitions lie.
        table: of the schema ``STORED``, sorted by sequence, not empty.
        log_id: of the log that writes it, which the file says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata({LOG_ID: log_id})
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
        LastingLogError: if the file is missing or damaged.
    """
    path = folder / partition.name
    try:
        table = pq.read_table(path, schema=STORED)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from error
    if table.num_rows != partition.n_events:
        raise damaged(path, f"it holds {table.num_rows:,} events, not {partition.n_events:,}")
    return table


def has_user(folder: Path, partition: Partition, user_id: str) -> bool:
    """Whether a partition holds events of a user; of groups of rows whose smallest and largest id leave them out nothing
    is read.

    Raises:
        LastingLogError: if the file is missing or damaged.
    """
    path = folder / partition.name
    wanted = pc.field("user_id") == user_id
    try:
        found = pq.read_table(path, columns=["user_id"], filters=wanted, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from error
    return bool(found.num_rows)


def owner(path: Path) -> str | None:
    """Id of the log that wrote a file; None if the file does not say, or cannot be read."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    found = metadata.get(LOG_ID)
    return None if found is None else found.decode(errors="replace")


def keys_in(path: Path) -> list[bytes]:
    """The keys of a file's events."""
    try:
        keys: list[bytes] = pq.read_table(path, columns=[KEY.name]).column(KEY.name).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from error
    return keys


def problem(folder: Path, partition: Partition) -> str | None:
    """What is wrong with a partition's file, as far as its own description tells; None if nothing is."""
    path = folder / partition.name
    try:
        n_events = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        return str(damaged(path, error))
    if n_events != partition.n_events:
        return str(damaged(path, f"it holds {n_events:,} events, not {partition.n_events:,}"))
    return None


def sweep(folder: Path, names: Sequence[str]) -> None:
    """Remove these partitions, and what was not finished; the caller holds the folder, so nobody is writing there."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)
    sync(folder)


def damaged(path: Path, cause: object) -> LastingLogError:
    """The error for a partition that cannot be read."""
    return LastingLogError(
        f"{path}, a part of the event log, cannot be read: {cause}; restore the file from a backup of the home folder"
    )


class PartitionReader:
    """Reads one partition from its beginning, in steps of the caller's choice.

    The file is open from the first events taken to the last. Whoever replaces it meanwhile, by deleting a user, does not
    disturb the reading, as long as ``ownership.being_read`` holds.

    Raises:
        FileNotFoundError: if there is no such file.
    """

    def __init__(self, folder: Path, partition: Partition, after: int, fields: pa.Schema = ARROW) -> None:
        self._path = folder / partition.name
        self._fields = fields
        self._after = after
        self._path.stat()  # better now than after hours of reading
        self._file: Any = None
        self._batches: Any = None
        self._rest: pa.Table | None = None
        self.next = max(partition.first_sequence, after + 1)
        """No event that is left has a lower number."""

    def take(self, up_to: int) -> pa.Table:
        """The next events with numbers up to ``up_to``.

        Raises:
            EventLogError: if this process may not open more files.
            LastingLogError: if the file is damaged.
        """
        taken = []
        try:
            while self._fill():
                sequences = self._rest.column("sequence")  # type: ignore[union-attr] # _fill saw to it
                n = pc.sum(pc.less_equal(sequences, up_to)).as_py() or 0
                taken.append(self._rest.slice(0, n))  # type: ignore[union-attr] # the same
                self._rest = self._rest.slice(n)  # type: ignore[union-attr] # the same
                if self._rest.num_rows:
                    self.next = self._rest.column("sequence")[0].as_py()
                    break
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno in TOO_MANY_FILES:
                raise EventLogError(
                    f"{self._path}, a part of the event log, cannot be opened: {error.strerror}; let this process open "
                    "more (ulimit -n, or LimitNOFILE of its systemd unit)"
                ) from error
            raise damaged(self._path, error) from error
        return pa.concat_tables(taken) if taken else self._fields.empty_table()

    def _fill(self) -> bool:
        """Have a rest with events in it, and know the next number; False at the end of the file."""
        if self._batches is None:
            self._batches = self._open()
        while self._rest is None or not self._rest.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                self.next = 2**63 - 1
                self._close()
                return False
            table = pa.Table.from_batches([batch]).cast(self._fields)
            self._rest = table.filter(pc.greater(table.column("sequence"), self._after))
        self.next = self._rest.column("sequence")[0].as_py()
        return True

    def _open(self) -> Any:
        self._file = self._path.open("rb")
        names = self._fields.names
        return pq.ParquetFile(self._file).iter_batches(batch_size=ROW_GROUP, columns=names, use_threads=False)

    def _close(self) -> None:
        self._batches = iter(())
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._rest = None
        self._close()
