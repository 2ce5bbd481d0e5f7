"""`recae recommend` and `recae similar`: answers at the console."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from recae.cli.common import (
    Context,
    as_json,
    item_ids,
    n_items,
    pass_context,
    print_json,
    print_ranking,
    version_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recae.histories import Row
    from recae.recommender import Told


@click.command(
    epilog='\b\nrecae recommend 42\nrecae recommend --items "Toy Story (1995)" --items 318\nrecae recommend 42 --explain 3 --diversity 0.3'
)
@click.argument("user_id", required=False)
@click.option(
    "--items",
    "named",
    multiple=True,
    metavar="ITEM",
    help="An item of the history, by id or title. May be repeated.",
)
@click.option("--category", "categories", multiple=True, help="Only items of any of these. May be repeated.")
@click.option("--include-seen", is_flag=True, help="Recommend items of the history too.")
@click.option(
    "--include-unavailable", is_flag=True, help="Recommend what the catalogue calls unavailable too."
)
@click.option(
    "--diversity",
    type=click.FloatRange(0.0, 1.0),
    default=0.0,
    show_default=True,
    help="From relevance alone, 0, to items as unlike each other as can be, 1.",
)
@click.option(
    "--explain",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Show so many items of the history that speak for each.",
)
@n_items
@version_option
@as_json
@pass_context
def recommend(
    context: Context,
    user_id: str | None,
    named: tuple[str, ...],
    categories: tuple[str, ...],
    include_seen: bool,
    include_unavailable: bool,
    diversity: float,
    explain: int,
    n: int,
    model_version: str,
    as_json: bool,
) -> None:
    """Recommend items to USER_ID, or for a history of items.

    Where there is an event log, a user's events count as they are now, as over HTTP, and so do the stored items.
    """
    if user_id is None and not named:
        raise click.UsageError("name a user, or items with --items")
    recommender = context.recommender(model_version)
    sent: dict[str, float | None] = dict.fromkeys(item_ids(recommender, named))
    history: Told | Row = sent
    seen: Sequence[str] = ()
    if user_id is not None and (log := context.event_log_if_any()) is not None:
        with log:
            known = log.recent(user_id, context.settings.max_history)
            history, seen = recommender.read_logged(user_id, known, log.now(), sent)
    found = recommender.recommend(
        history,
        n,
        user_id=user_id,
        seen=seen,
        exclude_seen=not include_seen,
        categories=categories,
        available_only=not include_unavailable,
        diversity=diversity,
        explain=explain,
    )
    if as_json:
        print_json({"model_version": recommender.version, "user_id": user_id, **asdict(found)})
        return
    whom = [f"user {user_id}"] if user_id is not None else []
    whom += [f"{len(named)} item(s)"] if named else []
    print_ranking(
        found.items, f"for {' and '.join(whom)} ({found.strategy}, {recommender.version})", found.short
    )


@click.command(epilog='\b\nrecae similar "Toy Story (1995)"')
@click.argument("item")
@n_items
@version_option
@as_json
@pass_context
def similar(context: Context, item: str, n: int, model_version: str, as_json: bool) -> None:
    """List the items most like ITEM, an id or a title."""
    recommender = context.recommender(model_version)
    (item_id,) = item_ids(recommender, [item])
    found = recommender.similar(item_id, n)
    if as_json:
        print_json({"model_version": recommender.version, "item_id": item_id, **asdict(found)})
        return
    shown = recommender.title(item_id) or item_id
    print_ranking(found.items, f"similar to {shown} ({recommender.version})", found.short)
