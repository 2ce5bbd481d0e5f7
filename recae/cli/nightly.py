"""`recae retrain`, `schedule` and `runs`: the nightly run, its clock and its records."""

import os
import sys
from typing import TYPE_CHECKING

import click

from recae.cli.common import Context, as_json, forget_unwritten, pass_context, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from recae.runs import Run

EXIT_STATUS = {"promoted": 0, "unchanged": 0, "failed": 1, "refused": 3}
BUSY = 4


@click.command(
    epilog="Exit status: 0 promoted or nothing new, 1 failed, 3 refused by the gate, 4 another run goes on."
)
@click.option(
    "--force", is_flag=True, help="Put the new model into service whatever the gate says; it is recorded."
)
@as_json
@pass_context
def retrain(context: Context, force: bool, as_json: bool) -> None:
    """Learn from the event log, and serve the result if it is no worse than the live model.

    The table [retrain] of recae.toml says what is learned, from which events, and how it is judged. A run that was
    killed is gone on with by the next one, by force if that has --force. With --force the log is learned though no event is
    new.
    """
    from recae.errors import RetrainError
    from recae.retrain.nightly import retrain as run_once

    context.limit_threads()
    try:
        run = run_once(context.settings, forced=force, say=_tell)
    except RetrainError as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(BUSY) from error
    try:
        if as_json:
            print_json(run.model_dump(mode="json"))
        else:
            _show(run)
            _name_report(context.settings.runs / run.run_id)
        sys.stdout.flush()
    except (OSError, SystemExit):
        # The run is on record, whoever reads of it or not; at a broken pipe rich would end the process.
        forget_unwritten(sys.stdout)
    raise click.exceptions.Exit(EXIT_STATUS[run.status])


@click.command(epilog="\b\nrecae schedule --at 03:00 --timezone Europe/Paris")
@click.option("--at", required=True, metavar="HH:MM", help="Time of day.")
@click.option("--timezone", default="UTC", show_default=True, help="Whose clock, such as Europe/Paris.")
@click.option("--dry-run", is_flag=True, help="Print the next seven times, and wait for none.")
@pass_context
def schedule(context: Context, at: str, timezone: str, dry_run: bool) -> None:
    """Run `recae retrain` every day at a time of the clock on the wall, until Ctrl-C or SIGTERM.

    What was missed while the machine was off is made up for once, at the start.
    """
    import logging
    from datetime import UTC, datetime

    from recae.models.registry import check_name
    from recae.retrain.schedule import next_times, run_forever, trigger
    from recae.runs import RunTable

    check_name(context.settings.retrain.model)  # the first night would tell of a wrong one, hours later
    when = trigger(at, timezone)
    coming = next_times(when, datetime.now(UTC), 7)
    if dry_run:
        for time in coming:
            click.echo(time.isoformat())
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    click.echo(f"the next run is at {coming[0].isoformat()}", err=True)
    os.environ["RECAE_HOME"] = str(context.settings.home)  # for the process of each run
    run_forever(when, RunTable(context.settings.runs))


@click.group()
def runs() -> None:
    """List and inspect nightly runs."""


@runs.command("list")
@click.option(
    "-n", "n", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first."
)
@as_json
@pass_context
def list_runs(context: Context, n: int, as_json: bool) -> None:
    """List runs, the newest first."""
    from itertools import islice

    from recae.runs import RunTable

    table = RunTable(context.settings.runs)
    found = list(islice(table.newest_first(), n))
    if as_json:
        print_json([run.model_dump(mode="json") for run in found])
        return
    if not found:
        click.echo(f"no runs in {table.root}; `recae retrain` makes one")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table()
    for heading in ("run", "status", "seconds", "how it ended"):
        shown.add_column(heading, justify="right" if heading == "seconds" else "left", overflow="fold")
    for run in found:
        shown.add_row(run.run_id, run.status, f"{run.seconds:.1f}", Text(run.message))
    Console().print(shown)


@runs.command("show")
@click.argument("run_id", required=False)
@as_json
@pass_context
def show_run(context: Context, run_id: str | None, as_json: bool) -> None:
    """Print one run, or the newest; one that began in the future, by a clock that was ahead, if there is no other."""
    from datetime import UTC, datetime

    from recae.errors import RetrainError
    from recae.runs import RunTable

    table = RunTable(context.settings.runs)
    if run_id is None:
        known = list(table.newest_first())
        run = next((each for each in known if each.started <= datetime.now(UTC)), next(iter(known), None))
    else:
        run = table.read(run_id)
    if run is None:
        raise RetrainError(f"there are no runs in {table.root}; `recae retrain` makes one")
    if as_json:
        print_json(run.model_dump(mode="json"))
        return
    _show(run)
    _name_report(table.folder(run.run_id))


def _tell(line: str) -> None:
    try:
        click.echo(line, err=True)
    except OSError:
        forget_unwritten(sys.stderr)
        raise


def _name_report(folder: "Path") -> None:
    """Where the page of a run is, if it has one."""
    from recae.runs import REPORT

    if (folder / REPORT).is_file():
        click.echo(f"report: {folder / REPORT}")


def _show(run: "Run") -> None:
    """The verdicts and values of a run as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text(f"run {run.run_id}: {run.status}. {run.message}"))
    if run.gate:
        gate = Table(title="gate", title_justify="left")
        for heading in ("rule", "verdict", "numbers"):
            gate.add_column(heading, overflow="fold")
        for verdict in run.gate:
            word = "passed" if verdict.passed else "overruled" if verdict.forced else "refused"
            gate.add_row(verdict.rule, word, Text(verdict.message))
        console.print(gate)
    if run.values:
        names = sorted({name for values in run.values.values() for name in values})
        values = Table(title="on the new events", title_justify="left")
        values.add_column("contender")
        for name in names:
            values.add_column(name, justify="right")
        for contender, reached in run.values.items():
            values.add_row(contender, *(f"{reached[name]:.4f}" if name in reached else "-" for name in names))
        console.print(values)
    steps = Table(title="steps", title_justify="left")
    for heading in ("step", "status", "seconds", "message"):
        steps.add_column(heading, justify="right" if heading == "seconds" else "left", overflow="fold")
    for step in run.steps:
        steps.add_row(step.name, step.status, f"{step.seconds:.2f}", Text(step.message or ""))
    console.print(steps)
