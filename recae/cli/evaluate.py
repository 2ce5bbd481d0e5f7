"""`recae evaluate`, `compare` and `split`: from protocols to numbers, and tests of their differences."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recae.cli.common import Context, as_json, pass_context, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from recae.evaluation.results import Results


@click.command(
    epilog="\b\nrecae evaluate evaluation/movielens-small.toml --output evaluation/results/movielens-small"
)
@click.argument("protocol", type=click.Path(dir_okay=False))
@click.option("--output", metavar="FOLDER", help="Write results.json and results.md there.")
@as_json
@pass_context
def evaluate(context: Context, protocol: str, output: str | None, as_json: bool) -> None:
    """Fit, choose and test the models of PROTOCOL, a TOML file, and print the table.

    With --output each test is kept there from the moment it is done: the same command goes on after the last one if it is
    stopped, by Ctrl-C or a crash, as long as protocol, data, code and machine are the same.
    """
    from recae.evaluation.journal import UNFINISHED, discard, n_tests
    from recae.evaluation.report import make_writable, write

    unfinished = None
    if output is not None:
        make_writable(output)  # now, not after hours of fitting
        unfinished = Path(output) / UNFINISHED
    try:
        results = run_protocol(context, Path(protocol), unfinished, lambda line: click.echo(line, err=True))
    except KeyboardInterrupt:
        if unfinished is not None and (n := n_tests(unfinished)):
            click.echo(
                f"{unfinished} keeps {n} test(s); the same command, nothing changed, goes on after them",
                err=True,
            )
        raise
    if as_json:
        print_json(results.model_dump(mode="json"))
    else:
        print_results(results)
    if output is not None:
        try:
            written = write(results, output)
        except OSError as error:
            raise click.ClickException(
                f"the results were not written to {output}, or not all of them ({error.strerror or error}); what is printed "
                "above is complete, --json prints all that results.json would hold"
            ) from error
        for path in written:
            click.echo(f"wrote {path}", err=True)
        discard(Path(output) / UNFINISHED)


@click.command(epilog="\b\nrecae split evaluation/movielens-small.toml --output split")
@click.argument("protocol", type=click.Path(dir_okay=False))
@click.option("--output", metavar="FOLDER", required=True, help="Folder for the Parquet files.")
@pass_context
def split(context: Context, protocol: str, output: str) -> None:
    """Write the split of PROTOCOL as Parquet files, to fit a model elsewhere.

    Its scores for the test users, as Parquet with user_id, item_id and score, then stand in the protocol as
    `scores = "mine.parquet"` under [[models]].
    """
    from recae.evaluation.datasets import load_split
    from recae.evaluation.exports import write_split
    from recae.evaluation.protocol import load_protocol

    os.environ["RECAE_DATA"] = str(context.settings.data)
    for path in write_split(load_split(load_protocol(protocol)), output):
        click.echo(f"wrote {path}", err=True)


@click.command(
    epilog="\b\nrecae compare evaluation/results/ml-1m-bars_m1 evaluation/results/ml-1m-bars_m1-deep"
)
@click.argument("results", nargs=-1, type=click.Path(exists=True))
@click.option(
    "--leaderboard",
    type=click.Path(exists=True, file_okay=False),
    metavar="FOLDER",
    help="Write FOLDER/README.md: a table for each split of all results below it.",
)
def compare(results: tuple[str, ...], leaderboard: str | None) -> None:
    """Compare RESULTS, folders that `recae evaluate` wrote, and test whether the differences are real.

    Numbers of different data or splits are shown in tables of their own. The tests need per_user.parquet, which
    `recae evaluate` writes beside the results.
    """
    from recae import durable
    from recae.evaluation import compare as comparison
    from recae.evaluation.results import Results

    if bool(results) == bool(leaderboard):
        raise click.UsageError("name results to compare, or a folder with --leaderboard")
    if leaderboard is not None:
        page = Path(leaderboard) / "README.md"
        comparison.refuse_other_page(page)
        durable.write_file(page, comparison.leaderboard(Path(leaderboard)))
        click.echo(f"wrote {page}", err=True)
        return
    read = [Results.read(path) for path in results]
    again = len(read) - len({each.run for each in read})
    if again:
        click.echo(f"a run that is named again is taken once: {again} of {len(read)} left out", err=True)
    click.echo(comparison.markdown(comparison.blocks(read)), nl=False)


def run_protocol(
    context: Context,
    protocol: Path,
    unfinished: Path | None = None,
    say: "Callable[[str], None]" = lambda _line: None,
) -> "Results":
    """Evaluate within the thread budget, with the benchmark data where the settings say.

    Args:
        context: has the settings.
        protocol: its file.
        unfinished: keeps each test.
        say: told what is done.
    """
    from recae.evaluation.runner import evaluate as run

    context.limit_threads()
    os.environ["RECAE_DATA"] = str(
        context.settings.data
    )  # where a protocol's public data sets are looked for
    return run(protocol, unfinished=unfinished, say=say)


def print_results(results: "Results") -> None:
    """The table, and what its numbers mean."""
    from rich.console import Console

    from recae.evaluation.console import tables
    from recae.evaluation.report import legend

    console = Console()
    for table in tables(results, width=console.width):
        console.print(table)
    for line in legend(results):
        click.echo(line)
