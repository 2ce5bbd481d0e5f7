"""`recae experiment`: what users did with the answers of two models."""

from dataclasses import asdict

import click

from recae.cli.common import Context, as_json, pass_context, print_json


@click.group()
def experiment() -> None:
    """Compare models that served side by side; the setting `experiment` splits the users."""


@experiment.command()
@click.argument("name", required=False)
@click.option(
    "--event-type",
    "event_types",
    multiple=True,
    help="Count only events of this type. May be repeated. Default: all.",
)
@as_json
@pass_context
def report(context: Context, name: str | None, event_types: tuple[str, ...], as_json: bool) -> None:
    """Print the rates of experiment NAME, or of the one in the settings.

    A rate is the share of recommendations that an event names by its recommendation_id; the interval of 95 % is over
    users, and tells how large a rate may be that showed no event. Answers and events older than retention_days are gone together.
    """
    from recae.data.eventlog.served import ServedRecommendations
    from recae.errors import DataError, name_some
    from recae.evaluation.online import differences, rates_of

    configured = context.settings.experiment
    if name is None and configured is None:
        raise click.UsageError("name an experiment; the settings have none")
    wanted = name if name is not None else configured.name if configured else ""
    with context.event_log() as log:
        served = ServedRecommendations(log.database)
        rates = rates_of(served.outcomes(wanted, event_types, archive=log.archive))
        if not rates:
            known = served.experiments()
            there = f"there are: {name_some(known)}" if known else "no answer of any experiment was recorded"
            raise DataError(f"no answer of the experiment {wanted!r} was recorded; {there}")
    compared = differences(rates)
    if as_json:
        print_json(
            {
                "experiment": wanted,
                "event_types": list(event_types),
                "variants": [_finite(asdict(one)) for one in rates],
                "differences": [_finite(asdict(one)) for one in compared],
            }
        )
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(wanted), title_justify="left")
    for heading in ("variant", "users", "recommendations", "events", "value", "rate", "95 %"):
        table.add_column(heading, justify="left" if heading == "variant" else "right", overflow="fold")
    for one in rates:
        counts = (f"{one.n_users:,}", f"{one.n_recommendations:,}", f"{one.n_events:,}", f"{one.value:,.2f}")
        table.add_row(Text(one.variant), *counts, f"{one.rate:.4f}", _shown(one.interval))
    Console().print(table)
    for each in compared:
        click.echo(f"{each.variant} - {each.against}: {each.difference:+.4f}, 95 % {_shown(each.interval)}")


def _shown(interval: tuple[float, float]) -> str:
    return "of one user" if interval[0] != interval[0] else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _finite(found: dict[str, object]) -> dict[str, object]:
    """NaN, of a single user, as null: JSON has none."""

    def plain(value: object) -> object:
        if isinstance(value, tuple):
            return [plain(one) for one in value]
        return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN

    return {key: plain(value) for key, value in found.items()}
