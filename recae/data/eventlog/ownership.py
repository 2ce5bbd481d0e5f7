"""Whose a folder of partitions is: no database may write to another one's archive, or tidy it up.

A database has an id, which a file of the folder and each partition carry. Settings name the folder and the database apart
from each other, so one that is new, empty or copied may meet an archive that it knows nothing of: then it leaves it alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select

from recae.data.eventlog import partitions, schema
from recae.data.eventlog.database import Database
from recae.durable import locked, write_file
from recae.errors import BusyLogError, EventLogError, LastingLogError, name_some

OWNER: Final = "log-id"
"""File of the folder with the id of its log."""
KEYS_A_QUERY = 500
"""SQLite takes at most 999 parameters in older versions."""


@contextmanager
def held(database: Database, folder: Path, *, wait: bool | float = True) -> Iterator[str]:
    """Hold the folder for this log, whose id is given, and remove what does not count: first what a killed process left,
    then what was replaced.

    Args:
        database: of the log.
        folder: where the partitions lie.
        wait: until nobody else holds it; a number for so many seconds at most.

    Raises:
        BusyLogError: if somebody else still holds it then.
        LastingLogError: if the folder is another log's, or holds events that this log does not know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as holding:
        try:
            holding.enter_context(locked(folder, wait=wait))
        except BlockingIOError:
            raise BusyLogError(
                "old events are being compacted or expired, or another user deleted, which holds the event log's archive; "
                "nothing was changed, try again later"
            ) from None
        log_id = identity(database)
        _claim(database, folder, log_id)
        _tidy(database, folder, log_id)
        yield log_id
        _tidy(database, folder, log_id)


@contextmanager
def being_read(folder: Path) -> Iterator[None]:
    """Let files that are replaced meanwhile stay: a reader may still come to them, in the state of the log that it reads.

    Maintenance goes on beside it, but for an archive without an id, which an older recae has left.
    """
    owner = folder / OWNER
    with ExitStack() as holding:
        with suppress(FileNotFoundError):  # where there is no folder, there are no files
            holding.enter_context(locked(owner if owner.exists() else folder, shared=True))
        yield


def remove_replaced(database: Database, folder: Path) -> None:
    """Remove what was replaced while it was read; what cannot be removed now is left to the next run of maintenance."""
    with suppress(EventLogError, OSError):
        with database.read() as connection:
            is_any = bool(_replaced(connection))
        if is_any:
            with held(database, folder, wait=False):
                pass


def check(database: Database, folder: Path) -> None:
    """Look whether the folder is this log's, or nobody's yet, and write nothing.

    Raises:
        LastingLogError: as for :func:`held`.
    """
    if folder.is_dir():
        _may_claim(database, folder, identity(database))


def _claim(database: Database, folder: Path, log_id: str) -> None:
    if not _may_claim(database, folder, log_id):
        write_file(folder / OWNER, log_id + "\n")


def _may_claim(database: Database, folder: Path, log_id: str) -> bool:
    """Whether the folder is this log's already; False if it may become that."""
    try:
        owner = (folder / OWNER).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        _refuse_strange_files(database, folder, log_id)
        return False
    if owner != log_id:
        raise LastingLogError(
            f"{folder} is the archive of another event log: its id is {owner}, that of {database.url} is {log_id}; "
            "nothing was changed. Name the database that it belongs to by the setting events (RECAE_EVENTS), or another "
            "home folder; if you have moved to a new database, move the old archive out of the home folder"
        )
    return True


def _refuse_strange_files(database: Database, folder: Path, log_id: str) -> None:
    """An archive of an older recae says by its partitions alone whose it is."""
    with database.read() as connection:
        listed = {partition.name for partition in partitions.listed(connection)}
        known = listed | _replaced(connection)
    there = sorted(path.name for path in folder.glob("*.parquet"))
    strange = [name for name in there if name not in known and partitions.owner(folder / name) != log_id]
    if strange:
        raise LastingLogError(
            f"{folder} holds {len(strange):,} partition(s) that {database.url} does not know: {name_some(strange)}; "
            "nothing was changed. Name the database that they belong to by the setting events (RECAE_EVENTS), or another "
            "home folder; if no database knows them any more, move them out of the folder"
        )
    missing = sorted(listed - set(there))
    if missing:
        raise LastingLogError(
            f"{database.url} has {len(listed):,} partition(s), of which {folder} lacks {name_some(missing)}; nothing was "
            "changed. Name the home folder with the archive of this database, or restore the files from a backup"
        )


def _tidy(database: Database, folder: Path, log_id: str) -> None:
    """Remove what was replaced, and what a killed process had not finished or not counted yet."""
    with database.read() as connection:
        listed, replaced = partitions.listed(connection), _replaced(connection)
    names = {partition.name for partition in listed}
    uncounted = [
        path.name
        for path in sorted(folder.glob("*.parquet"))
        if path.name not in names | replaced and partitions.owner(path) == log_id
    ]
    for name in uncounted:
        _refuse_unknown_events(database, folder / name)
    with ExitStack() as holding:
        try:
            holding.enter_context(locked(folder / OWNER, wait=False))
        except BlockingIOError:  # see `being_read`
            replaced = set()
        partitions.sweep(folder, [*replaced, *uncounted])
    if replaced:
        gone = delete(schema.replaced_partitions).where(
            schema.replaced_partitions.c.name == bindparam("gone")
        )
        database.write(lambda connection: connection.execute(gone, [{"gone": name} for name in replaced]))


def _refuse_unknown_events(database: Database, path: Path) -> None:
    """A partition that does not count holds what is elsewhere in the log; if not, the database is older than the file."""
    keys = partitions.keys_in(path)
    n_known = 0
    with database.read() as connection:
        for start in range(0, len(keys), KEYS_A_QUERY):
            some = keys[start : start + KEYS_A_QUERY]
            found: set[bytes] = set()
            for column in (schema.events.c.event_key, schema.archived_keys.c.event_key):
                found |= {
                    bytes(key) for key in connection.execute(select(column).where(column.in_(some))).scalars()
                }
            n_known += len(found)
    if n_known < len(keys):
        raise LastingLogError(
            f"{path} holds {len(keys) - n_known:,} events that {database.url} does not know: the database is an older copy "
            "than the archive; nothing was changed. Restore the two from one backup, or move the file elsewhere and "
            "`recae ingest` it"
        )


def identity(database: Database) -> str:
    """The id of a log, which every copy of it has too."""
    with database.read() as connection:
        found: str = connection.execute(select(schema.log_identity.c.id)).scalar_one()
    return found


def _replaced(connection: Connection) -> set[str]:
    return set(connection.execute(select(schema.replaced_partitions.c.name)).scalars())
