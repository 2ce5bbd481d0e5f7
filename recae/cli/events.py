"""`recae events`: what the event log holds, and what becomes of it."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from recae.cli.common import Context, as_json, pass_context, print_json

if TYPE_CHECKING:
    from recae.data.eventlog import Stats


DAYS = {"h": 1 / 24, "d": 1, "w": 7, "y": 365}


def _days(_context: click.Context, _parameter: click.Parameter, age: str | None) -> float | None:
    """An age such as 90d, 12w or 2y, in days."""
    if age is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdwy])", age.strip())
    if not found or not float(found[1]):
        raise click.BadParameter(f"{age!r} is no age; write 36h, 90d, 12w or 2y")
    return float(found[1]) * DAYS[found[2]]


@click.group()
def events() -> None:
    """Look into the event log, export it, and remove from it."""


@events.command()
@as_json
@pass_context
def stats(context: Context, as_json: bool) -> None:
    """Count events, users and items. It reads the whole live log."""
    with context.event_log() as log:
        found, where = log.stats(), log.database.url
    if as_json:
        print_json({"database": where, **found._asdict()})
        return
    if not found.n_events:
        click.echo(f"no events in {where}; run `recae ingest`")
        return
    _print_stats(found, where)


@events.command(epilog="\b\nrecae events export events.parquet")
@click.argument("file", type=click.Path(dir_okay=False))
@pass_context
def export(context: Context, file: str) -> None:
    """Write all events to FILE: Parquet, CSV or JSON lines by its name, also compressed as events.csv.gz.

    The file appears when it is complete, and replaces an older one of the name. `recae ingest` and `recae train`
    read it.
    """
    from pathlib import Path

    from recae.data.eventlog.export import export as write

    with context.event_log() as log:
        n = write(log, Path(file), show_progress=True)
    click.echo(f"wrote {n:,} events to {file}")


@events.command(epilog="\b\nrecae events compact --older-than 90d --expire 2y")
@click.option(
    "--older-than",
    metavar="AGE",
    callback=_days,
    help="Move events of this age into Parquet files. Default: the setting compact_after_days.",
)
@click.option(
    "--expire",
    metavar="AGE",
    callback=_days,
    help="Delete events of this age, the moved ones too. Default: the setting retention_days.",
)
@as_json
@pass_context
def compact(context: Context, older_than: float | None, expire: float | None, as_json: bool) -> None:
    """Move old events out of the database into Parquet files, and delete what is too old to keep.

    Moved events stay in the log: trainings and exports read them. Ages are 36h, 90d, 12w or 2y, counted from an event's
    own time.
    """
    settings = context.settings
    older_than = settings.compact_after_days if older_than is None else older_than
    expire = settings.retention_days if expire is None else expire
    if older_than is None and expire is None:
        raise click.UsageError(
            "give --older-than or --expire, or the settings compact_after_days or retention_days"
        )
    with context.event_log() as log:
        done = log.tidy(compact_after_days=older_than, retention_days=expire)
    if as_json:
        print_json(done._asdict())
        return
    click.echo(f"deleted {done.expired:,} events, moved {done.archived:,} to {settings.events_archive}")


@events.command("delete-user")
@click.argument("user_id")
@as_json
@pass_context
def delete_user(context: Context, user_id: str, as_json: bool) -> None:
    """Delete all events of USER_ID, from the database and the Parquet files."""
    with context.event_log() as log:
        n = log.delete_user(user_id)
    if as_json:
        print_json({"user_id": user_id, "deleted": n})
        return
    click.echo(f"deleted {n:,} events of user {user_id}")
    if n:
        click.echo(
            "models in the store have learned from them, and their lists of users may name the user, until they are "
            "removed: the next `recae retrain` that promotes a model, or `recae train`, makes one without them, and "
            "`recae models prune` removes old ones; quarantined rows, exported files and backups are yours to remove",
            err=True,
        )


def _print_stats(found: "Stats", where: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(where), title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("number", justify="right", overflow="fold")
    counts = {
        "events": found.n_events,
        "in the database": found.n_live,
        "in Parquet files": found.n_archived,
        "Parquet files": found.n_partitions,
        "users with events in the database": found.n_users,
        "items with events in the database": found.n_items,
    }
    for name, number in counts.items():
        table.add_row(name, f"{number:,}")
    table.add_row("earliest", _moment(found.first_timestamp))
    table.add_row("latest", _moment(found.last_timestamp))
    for kind, number in found.event_types.items():
        table.add_row(Text(f"type {kind}, in the database"), f"{number:,}")
    Console().print(table)


def _moment(timestamp: int | None) -> str:
    return "" if timestamp is None else f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
