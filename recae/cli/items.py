"""`recae items`: the catalogue that is kept beside the events."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from recae.cli.common import Context, as_json, pass_context, print_json

if TYPE_CHECKING:
    from recae.data.eventlog.items import StoredItem


@click.group()
def items() -> None:
    """Import and look up what is known about items."""


@items.command("import", epilog="\b\nrecae items import movies.csv")
@click.argument("file")
@pass_context
def import_items(context: Context, file: str) -> None:
    """Store the items of FILE: all of them, or none if one is bad.

    FILE is CSV, JSON lines or Parquet, or the URL of one, with the column item_id and optionally title, year,
    categories ("|" between them), available and hidden; further columns are kept as they are. An item that is there
    already is replaced; the others stay.
    """
    from recae.data.eventlog.items import StoredItem, StoredItems
    from recae.data.itemfiles import read_items
    from recae.progress import track

    with context.event_log(create=True) as log:
        stored = StoredItems(log.database)
        n = stored.put(StoredItem(**fields._asdict()) for fields in track(read_items(file), "reading items"))
        click.echo(f"imported {n:,} items; there are {len(stored):,}")


@items.command("list")
@click.option(
    "-n", "n", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many items."
)
@click.option("--after", default="", metavar="ITEM", help="Begin with the id after this one.")
@click.option("--available", is_flag=True, help="Only what is available and not hidden.")
@as_json
@pass_context
def list_items(context: Context, n: int, after: str, available: bool, as_json: bool) -> None:
    """List items in the order of their ids."""
    from recae.data.eventlog.items import StoredItems

    with context.event_log() as log:
        stored = StoredItems(log.database)
        found, total = stored.page(n, after, available_only=available), len(stored)
    if as_json:
        print_json([asdict(item) for item in found])
        return
    if not total:
        click.echo("no items are stored; `recae items import FILE` stores some")
        return
    _print_table(found)
    click.echo(
        f"{len(found):,} of {total:,} items"
        + (f"; next: --after {found[-1].item_id}" if len(found) == n else "")
    )


@items.command("show")
@click.argument("item_id")
@pass_context
def show_item(context: Context, item_id: str) -> None:
    """Print all that is known about ITEM_ID, as JSON."""
    from recae.data.eventlog.items import StoredItems

    with context.event_log() as log:
        print_json(asdict(StoredItems(log.database).get(item_id)))


def _print_table(found: "list[StoredItem]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("item", "title", "year", "categories", ""):
        table.add_column(heading, overflow="fold")
    for item in found:
        states = ["hidden"] * item.hidden + ["unavailable"] * (not item.available)
        cells = (item.item_id, item.title or "", str(item.year or ""), ", ".join(item.categories))
        table.add_row(*map(Text, cells), ", ".join(states))  # Text: a title may look like markup
    Console().print(table)
