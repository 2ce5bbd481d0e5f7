"""`recae tune`: search a model's settings on validation."""

import os
import re
from dataclasses import asdict
from pathlib import Path

import click

from recae.cli.common import Context, as_json, pass_context, print_json

UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600}


@click.command(epilog="\b\nrecae tune evaluation/movielens-small.toml ease --trials 30 --output tuned")
@click.argument("protocol", type=click.Path(dir_okay=False))
@click.argument("model")
@click.option("--trials", type=click.IntRange(min=1), help="Finished trials at which the search ends.")
@click.option("--time", "budget", metavar="TIME", help="Time of this run, such as 90s, 30m or 2h.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--output", metavar="FOLDER", required=True, help="Folder of the study and of what was found.")
@as_json
@pass_context
def tune(
    context: Context,
    protocol: str,
    model: str,
    trials: int | None,
    budget: str | None,
    workers: int,
    output: str,
    as_json: bool,
) -> None:
    """Search the settings of MODEL of PROTOCOL on its validation part, and write a protocol with the best.

    The same command goes on where an earlier search stopped. The test part is not read: `recae evaluate
    FOLDER/tuned.toml` tests once what was chosen. Needs Optuna: pip install 'recae[tune]'.
    """
    from recae.evaluation import tuning_report
    from recae.evaluation.protocol import load_protocol
    from recae.evaluation.search import Search
    from recae.evaluation.tuning import tune as run

    if trials is None and budget is None:
        raise click.UsageError("give --trials or --time, or the search has no end")
    os.environ["RECAE_DATA"] = str(context.settings.data)
    loaded, folder = load_protocol(protocol), Path(output)
    seconds = None if budget is None else _seconds(budget)
    search = Search(loaded, model, folder, trials, seconds, workers, context.settings.threads)
    try:
        tuned = run(search)
    except KeyboardInterrupt:
        click.echo(f"the finished trials are kept in {folder}; the same command goes on from there", err=True)
        raise
    for path in tuning_report.write(tuned, loaded, folder):
        click.echo(f"wrote {path}", err=True)
    if as_json:
        print_json(asdict(tuned))
        return
    click.echo(f"{tuned.metric} on validation, the best of {len(tuned.attempts)} trials:")
    for attempt in tuning_report.best_first(tuned)[:5]:
        click.echo(f"  {attempt.value:.4f}  {tuning_report.shown(attempt.settings)}")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is no time; write 90s, 30m or 2h", param_hint="--time")
    return float(found[1]) * UNITS[found[2]]
