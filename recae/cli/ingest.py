"""`recae ingest`: logs into the event log, from files, URLs, standard input and other databases."""

import hashlib
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recae.cli.common import (
    Context,
    as_json,
    columns_option,
    mapping_of,
    max_bad_share_option,
    pass_context,
    print_json,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recae.data.eventlog.ingest import Ingested
    from recae.data.places import Query
    from recae.errors import DataError


@click.command(
    epilog="\b\nrecae ingest clicks/ 'more/*.jsonl.gz' s3://bucket/logs --column item_id=product"
    "\nzcat clicks.gz | recae ingest - --format csv"
    "\nrecae ingest --sql 'SELECT user_id, item_id FROM orders' --database postgresql://reader@host/shop"
)
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--sql", metavar="SELECT", help="Rows of another database, with --database.")
@click.option(
    "--database", metavar="URL", help="Where --sql asks, as a URL that SQLAlchemy reads: sqlite:///shop.db."
)
@columns_option
@click.option("--format", "format_", metavar="FORMAT", help="csv, jsonl.gz, ...: whatever the names say.")
@click.option("--again", is_flag=True, help="Read files that were ingested before; known events add nothing.")
@click.option(
    "--quarantine",
    type=click.Path(file_okay=False),
    help="Folder that unreadable rows are written to, a file a source. Default: quarantine in the home folder.",
)
@max_bad_share_option
@as_json
@pass_context
def ingest(
    context: Context,
    sources: tuple[str, ...],
    sql: str | None,
    database: str | None,
    columns: tuple[str, ...],
    format_: str | None,
    again: bool,
    quarantine: str | None,
    max_bad_share: float,
    as_json: bool,
) -> None:
    """Append the events of each SOURCE to the event log, each event once.

    A SOURCE is a CSV, JSON lines or Parquet file, also compressed; a folder or a pattern of them; a URL of these; or
    "-" for standard input. The log remembers how far each file has come: after Ctrl-C or a crash, the same command
    goes on there, and files that were read before and have not changed are passed over. Where one cannot be read, the
    others are; all that failed are named at the end, the exit status is 1, and the same command tries them again.
    """
    wanted = _wanted(sources, sql, database)
    mapping = mapping_of(columns)
    from recae import progress
    from recae.data.eventlog import ingest as ingesting
    from recae.errors import DataError, UnlikeFilesError

    folder = Path(quarantine) if quarantine else context.settings.home / "quarantine"
    begun: dict[str, Ingested] = {}
    failed: list[DataError] = []
    with context.event_log(create=True) as log:
        try:
            for source in wanted:
                try:
                    done = ingesting.ingest(
                        log,
                        source,
                        columns=mapping,
                        max_bad_share=max_bad_share,
                        quarantine=folder / _file_name(str(source)),
                        format_=format_,
                        again=again,
                        show_progress=True,
                        committed=lambda so_far: begun.update({so_far.source: so_far}),
                        failed=failed.append,
                        say=None if progress.has_terminal() else lambda line: click.echo(line, err=True),
                    )
                except UnlikeFilesError:
                    raise
                except DataError as error:
                    failed.append(error)
                    continue
                begun[done.source] = done
                click.echo(str(done), err=True)
                if done.report.quarantine:
                    click.echo(f"bad rows are in {done.report.quarantine}", err=True)
            total = _total(list(begun.values()))
            if as_json:
                shown = [_shown(done) for done in begun.values()]
                print_json({**total, "sources": shown, "failed": [_in_a_line(error) for error in failed]})
            else:
                click.echo(
                    f"{total['accepted']:,} new events, {total['duplicates']:,} known already, {total['bad']:,} bad rows; "
                    f"the log holds {log.count():,}"
                )
        except KeyboardInterrupt:
            click.echo(
                "what was read until the last commit is kept; the same command goes on from there", err=True
            )
            raise
        finally:  # also before the error that ends all
            _tell(failed)
    if failed:
        raise click.exceptions.Exit(1)


def _tell(failed: "Sequence[DataError]") -> None:
    """Each as the one error of a command is told."""
    is_debugged = click.get_current_context().find_root().params.get("debug")
    for error in failed:
        if is_debugged:
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        click.echo(f"Error: {_in_a_line(error)}", err=True)


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _wanted(sources: tuple[str, ...], sql: str | None, database: str | None) -> "list[str | Query]":
    if (sql is None) != (database is None):
        raise click.UsageError("--sql and --database need each other: the query, and where to ask it")
    if sources.count("-") > 1:
        raise click.UsageError("standard input can be read once; name it once")
    wanted: list[str | Query] = list(dict.fromkeys(sources))
    if sql is not None and database is not None:
        from recae.data import places

        wanted.append(places.Query(sql, database))
    if not wanted:
        raise click.UsageError("name a SOURCE, or a query with --sql; `recae ingest -h` shows examples")
    return wanted


def _file_name(source: str) -> str:
    """One name for each source, that tells which one: its last part, and a hash of all of it."""
    last = re.sub(r"[^\w.-]+", "_", source.rstrip("/").rpartition("/")[2])[:60]
    named = "standard-input" if source == "-" else last
    return f"{named}-{hashlib.blake2b(source.encode(), digest_size=4).hexdigest()}.jsonl"


def _shown(done: "Ingested") -> dict[str, Any]:
    report = done.report
    return {
        "source": done.source,
        "read": report.read,
        "accepted": done.accepted,
        "duplicates": done.duplicates,
        "bad": report.bad,
        "reasons": dict(report.reasons),
        "quarantine": str(report.quarantine) if report.quarantine else None,
        "skipped_files": [str(path) for path in report.skipped_files],
        "passed_files": done.passed,
        "failed_files": done.failed,
        "unfinished_files": done.unfinished,
        "resumed": done.resumed,
        "seconds": round(done.seconds, 3),
    }


def _total(finished: "list[Ingested]") -> dict[str, int]:
    return {
        "read": sum(done.report.read for done in finished),
        "accepted": sum(done.accepted for done in finished),
        "duplicates": sum(done.duplicates for done in finished),
        "bad": sum(done.report.bad for done in finished),
    }
