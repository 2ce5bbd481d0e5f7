"""What the commands share: settings, the store, and how answers are shown."""

import json
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from recae.artifacts import ModelStore
    from recae.config import Settings
    from recae.data.eventlog import EventLog
    from recae.recommender import RankedItem, Recommender


def forget_unwritten(stream: TextIO) -> None:
    """Let what could not be written to stdout or stderr go nowhere: else the end of the process fails by it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Context:
    """Settings and what follows from them, read when a command first asks."""

    def __init__(self, home: str | None) -> None:
        self._home = home

    def settings_with(self, **options: Any) -> "Settings":
        """The settings, with a command's own options over them."""
        from recae.config import load_settings

        return load_settings(home=self._home, **options)

    @cached_property
    def settings(self) -> "Settings":
        """The settings without further options."""
        return self.settings_with()

    @cached_property
    def store(self) -> "ModelStore":
        """Where models are."""
        from recae.artifacts import ModelStore

        return ModelStore(self.settings.models)

    def event_log(self, *, create: bool = False) -> "EventLog":
        """The event log, opened; it is created only for commands that bring something into it.

        Raises:
            EventLogError: if there is none, or it cannot be opened.
        """
        from recae.data.eventlog import EventLog

        return EventLog.open(self.settings, create=create)

    def event_log_if_any(self) -> "EventLog | None":
        """The event log, if there is one: opening it would create it.

        Raises:
            EventLogError: if it cannot be opened.
        """
        url = self.settings.events_url
        is_absent = url.startswith("sqlite:///") and not Path(url[10:]).exists()
        return None if is_absent else self.event_log()

    def limit_threads(self) -> None:
        """Keep to the thread budget from here on."""
        from recae.threads import limit_threads

        limit_threads(self.settings.threads)

    def recommender(self, version: str) -> "Recommender":
        """A stored version, ready to recommend what may be recommended now: stored items count over the model's own lines.

        Raises:
            ArtifactError: if there is no such version, or it is damaged.
            EventLogError: if there is an event log and it cannot be read: what was hidden must not show.
        """
        self.limit_threads()
        recommender = self.store.load(version).recommender()
        log = self.event_log_if_any()
        if log is None:
            return recommender
        from recae.data.eventlog.items import StoredItems

        with log:
            lines = StoredItems(log.database).changes().lines()
        return recommender.with_items(lines) if lines else recommender


pass_context = click.make_pass_decorator(Context)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
n_items = click.option(
    "-n", "n", type=click.IntRange(min=1), default=10, show_default=True, help="How many items."
)
version_option = click.option(
    "--model-version", default="current", show_default=True, metavar="VERSION", help="A stored version."
)
columns_option = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="OURS=THEIRS",
    help="The log's name of a column; OURS= leaves it out. May be repeated.",
)
max_bad_share_option = click.option(
    "--max-bad-share",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Stop if a larger share of the rows is unreadable.",
)


def assignments(given: tuple[str, ...], option: str, *, parse: bool = True) -> dict[str, Any]:
    """``("l2=200", "by=time")`` -> ``{"l2": 200, "by": "time"}``: a value that is JSON is read as such."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"{option} {text!r} is no assignment; write KEY=VALUE")
        try:
            found[key] = json.loads(value) if parse else value
        except json.JSONDecodeError:
            found[key] = value
    return found


def mapping_of(columns: tuple[str, ...]) -> dict[str, str | None]:
    """What ``--column`` says, as the readers take it: canonical name -> name in the log, None to leave it out."""
    return {ours: theirs or None for ours, theirs in assignments(columns, "--column", parse=False).items()}


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_ranking(items: Iterable["RankedItem"], heading: str, short: str | None) -> None:
    """A table of ranked items, with what speaks for them in a column of its own if any is explained."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(heading), title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("item", overflow="fold")
    table.add_column("title", overflow="fold")
    table.add_column("score", justify="right")
    listed = list(items)
    is_explained = any(item.explanation for item in listed)
    if is_explained:
        table.add_column("because of", overflow="fold")
    for item in listed:
        # Text: a title like "[REC] (2007)" is no markup
        cells: list[str | Text] = [
            str(item.rank),
            Text(item.item_id),
            Text(item.title or ""),
            f"{item.score:.4f}",
        ]
        reasons = [
            f"{reason.title or reason.item_id} {reason.contribution:+.4f}" for reason in item.explanation
        ]
        table.add_row(*cells, *([Text("\n".join(reasons))] if is_explained else []))
    Console().print(table)
    if short:
        click.echo(f"short: {short}")


def item_ids(recommender: "Recommender", named: Iterable[str]) -> list[str]:
    """Ids of items that are named by id or by title.

    Raises:
        DataError: for a name that no item has, or several have.
    """
    return [_item_id(recommender, name) for name in named]


def _item_id(recommender: "Recommender", name: str) -> str:
    from recae.errors import DataError

    catalogue = recommender.catalogue
    if name in recommender.items:
        return name
    found = catalogue.find_title(name) if catalogue else []
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(f"{item_id} ({recommender.title(item_id)})" for item_id in found)
        raise DataError(f"{name!r} is the title of {len(found)} items; name one by its id: {choices}")
    close = catalogue.suggest_titles(name) if catalogue else []
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise DataError(f"no item has the id or title {name!r}{hint}")
