"""From sources to the log, resumable: how far a file has come is committed together with its events."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from recae.data.eventlog import schema
from recae.data.eventlog.intake import record_intake
from recae.data.eventlog.log import EventLog
from recae.data.places import Place, Query
from recae.data.quarantine import ReadReport
from recae.data.readers import read_events
from recae.errors import DataError, EmptyFolderError, TooManyBadRowsError

CHUNK_ROWS = 65_536
"""Events of one transaction: what a kill loses is read again."""


@dataclass
class Ingested:
    """What one source brought."""

    source: str
    accepted: int = 0
    duplicates: int = 0
    passed: int = 0
    """Files that an earlier ingest had finished, and which have not changed since."""
    failed: list[str] = field(default_factory=list)
    """Files that could not be read, or not to their end."""
    unfinished: list[str] = field(default_factory=list)
    """Files whose last line is still being written, and was left out."""
    is_empty_folder: bool = False
    """Whether there is nothing to read yet."""
    resumed: dict[str, int] = field(default_factory=dict)
    """File -> row after which this ingest went on, where an earlier one was interrupted."""
    report: ReadReport = field(default_factory=ReadReport)
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.is_empty_folder:
            return f"{self.source}: no files yet"
        rate = self.report.read / self.seconds if self.seconds else 0.0
        notes = [f"{self.report}; {self.accepted:,} new events, {self.duplicates:,} known already"]
        if self.resumed:
            notes.append(
                f"went on in {', '.join(f'{name} after row {line:,}' for name, line in self.resumed.items())}"
            )
        if self.passed:
            notes.append(f"{self.passed:,} files were ingested before and have not changed")
        if self.failed:
            notes.append(f"{len(self.failed):,} files could not be read")
        if self.unfinished:
            n = len(self.unfinished)
            notes.append(
                f"the last line of {n:,} file{'s' if n > 1 else ''} has no end yet and is left to the next ingest"
            )
        notes.append(f"{self.seconds:.1f} s, {rate:,.0f} rows/s")
        return f"{self.source}: {'; '.join(notes)}"


def ingest(
    log: EventLog,
    source: str | Path | Query,
    *,
    columns: Mapping[str, str | None] | None = None,
    max_bad_share: float = 0.01,
    quarantine: Path | None = None,
    format_: str | None = None,
    again: bool = False,
    show_progress: bool = False,
    committed: Callable[[Ingested], None] = lambda _: None,
    failed: Callable[[DataError], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Ingested:
    """Append all events of a source; a folder without files and a log without rows have none.

    Files that were ingested to their end and have not changed are passed over; where one was interrupted, it goes on.
    A file has changed if its size or time has, or if its columns are mapped in another way; then it is read anew, and what
    is known already adds nothing. Standard input and queries are always read anew. Of a text file that is being written the
    last line is left to the next ingest until it has an end; after a minute in which nothing came it is taken as it is.

    Args:
        log: where to.
        source: as ``read_events`` takes it.
        columns: canonical name -> the name in the source.
        max_bad_share: share of bad rows up to which it goes on.
        quarantine: JSON lines file for the bad rows.
        format_: the format of the files, in place of what their names say.
        again: read all, whatever was read before.
        show_progress: show a bar.
        committed: called after each transaction.
        failed: told of each file that cannot be read, and the others are read nonetheless; None ends at the first. The next
            ingest tries again what failed.
        say: told in a line which file is done, and about every minute how far a long one is; None for silence.

    Raises:
        DataError: if the source cannot be read; what was committed until then stays.
        UnlikeFilesError: if files of the source have not the same columns, whatever ``failed`` is.
        EventLogError: if the log cannot be written.
    """
    start = time.monotonic()
    ingested = Ingested(str(source))

    def note(place: Place, error: DataError, tell: Callable[[DataError], None]) -> None:
        ingested.failed.append(str(place))
        tell(error)

    try:
        stream = read_events(
            source,
            columns=columns,
            max_bad_share=max_bad_share,
            quarantine=quarantine,
            chunk_rows=CHUNK_ROWS,
            show_progress=show_progress,
            format_=format_,
            acceptance=log.acceptance,
            failed=None if failed is None else partial(note, tell=failed),
            say=say,
            leave_unfinished=True,
        )
    except EmptyFolderError:
        ingested.is_empty_folder = True
        return ingested
    progress = _Progress(log, columns or {})
    done = {} if again else {str(place): progress.of(place) for place in stream.places}
    finished = [name for name, (_, is_finished) in done.items() if is_finished]
    ingested.passed = len(finished)
    ingested.resumed = {name: line for name, (line, is_finished) in done.items() if line and not is_finished}
    stream.pass_over(set(finished))
    log.database.begin_load()
    try:
        for chunk in stream.chunks(lambda name: done.get(name, (0, False))[0]):
            appended = log.append_table(
                chunk.events,
                also=lambda connection, chunk=chunk: progress.record(  # type: ignore[misc] # binds this chunk
                    connection, chunk.place, chunk.line, is_finished=chunk.is_last and not chunk.is_unfinished
                ),
            )
            if chunk.is_unfinished:
                ingested.unfinished.append(str(chunk.place))
            ingested.accepted += appended.accepted
            ingested.duplicates += appended.duplicates
            ingested.report, ingested.seconds = stream.report, time.monotonic() - start
            committed(ingested)
    except TooManyBadRowsError:
        log.database.write(lambda connection: progress.forget(connection, stream.places))
        raise  # and whoever tries again, with more allowed or the source mended, reads all of it
    finally:
        log.database.end_load()
    ingested.report, ingested.seconds = stream.report, time.monotonic() - start
    if ingested.accepted:  # else it has changed nothing that a training reads
        record_intake(log.database, str(source), ingested.report.read, ingested.report.bad, at=log.now())
    return ingested


class _Progress:
    """The table of files and how far each has come."""

    def __init__(self, log: EventLog, columns: Mapping[str, str | None]) -> None:
        self._log = log
        self._mapping = json.dumps(columns, sort_keys=True)
        self._fingerprints: dict[str, str | None] = {}

    def of(self, place: Place) -> tuple[int, bool]:
        """Last row done of a file as it is now, and whether that is all of it."""
        fingerprint = self._fingerprint(place)
        if fingerprint is None:
            return 0, False
        table = schema.ingests.c
        query = select(table.line, table.finished).where(
            table.source == str(place), table.fingerprint == fingerprint
        )
        with self._log.database.read() as connection:
            found = connection.execute(query).one_or_none()
        return (0, False) if found is None else (found.line, bool(found.finished))

    def record(self, connection: Connection, place: Place, line: int, *, is_finished: bool) -> None:
        """Note how far a file has come, in the transaction of its events."""
        fingerprint = self._fingerprint(place)
        if fingerprint is None:
            return
        connection.execute(delete(schema.ingests).where(schema.ingests.c.source == str(place)))
        connection.execute(
            insert(schema.ingests).values(
                source=str(place),
                fingerprint=fingerprint,
                line=line,
                finished=int(is_finished),
                updated_at=int(time.time()),
            )
        )

    def forget(self, connection: Connection, places: Iterable[Place]) -> None:
        """Let the next ingest read these from their beginning."""
        names = [str(place) for place in places]
        connection.execute(delete(schema.ingests).where(schema.ingests.c.source.in_(names)))

    def _fingerprint(self, place: Place) -> str | None:
        """Of the file as it was when this ingest first looked: one that grows meanwhile has changed for the next."""
        name = str(place)
        if name not in self._fingerprints:
            found = place.fingerprint
            self._fingerprints[name] = found and sha256(f"{found} {self._mapping}".encode()).hexdigest()
        return self._fingerprints[name]
