"""`recae simulate`: a year of nights in minutes."""

from pathlib import Path

import click

from recae.cli.common import Context, as_json, pass_context, print_json


@click.command(epilog="\b\nrecae simulate --days 365 --poison 200 --output year")
@click.argument("source", required=False)
@click.option(
    "--days", type=click.IntRange(min=16), default=90, show_default=True, help="How many days to make."
)
@click.option("--users", type=click.IntRange(min=20), default=400, show_default=True, help="Users to make.")
@click.option(
    "--items", type=click.IntRange(min=20), default=200, show_default=True, help="Items of the first day."
)
@click.option(
    "--events", type=click.IntRange(min=20), default=400, show_default=True, help="Events of each day."
)
@click.option(
    "--drift",
    type=click.FloatRange(0, 1),
    default=0.03,
    show_default=True,
    help="How far tastes go in a day.",
)
@click.option(
    "--new-items",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Items that appear each day.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed: same days."
)
@click.option(
    "--poison", type=int, multiple=True, metavar="DAY", help="A day on which garbage comes. May be repeated."
)
@click.option(
    "--poison-times",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many times as many events come then.",
)
@click.option("--output", metavar="FOLDER", required=True, help="Write year.html and year.json there.")
@as_json
@pass_context
def simulate(
    context: Context,
    source: str | None,
    days: int,
    users: int,
    items: int,
    events: int,
    drift: float,
    new_items: float,
    seed: int,
    poison: tuple[int, ...],
    poison_times: int,
    output: str,
    as_json: bool,
) -> None:
    """Live through days of a generated world, or of the log SOURCE, and compare habits of retraining.

    Nightly, weekly, never, and refitting from scratch without a gate. The table [retrain] of recae.toml applies.
    """
    import json
    import tempfile

    from recae import durable
    from recae.data.readers import read_events
    from recae.simulation import World, WorldSettings, replayed
    from recae.simulation import simulate as live
    from recae.simulation.page import html

    context.limit_threads()
    if source is None:
        how = WorldSettings(
            n_users=users, n_items=items, n_new_items=new_items, events_a_day=events, drift=drift, seed=seed
        )
        every = list(World(how).days(days))
    else:
        every = replayed(read_events(source))[:days]
    with tempfile.TemporaryDirectory(prefix="recae-year-") as folder:
        year = live(
            every, Path(folder) / "homes", context.settings, poisoned=poison, poison_times=poison_times
        )
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    durable.write_file(target / "year.json", json.dumps(year.as_dict(), indent=2) + "\n")
    durable.write_file(target / "year.html", html(year))
    if as_json:
        print_json(year.as_dict())
        return
    for habit, values in year.values.items():
        click.echo(f"{habit:8} {year.metric} {year.mean(habit):.4f} over {len(values):,} days")
    for number, message in year.messages.items():
        click.echo(f"refused after day {number}: {message}")
    click.echo(f"wrote {target / 'year.html'}", err=True)
