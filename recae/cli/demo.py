"""`recae demo`: the whole way on the bundled sample, from ratings to answers over HTTP."""

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import recae
from recae.cli.common import Context, pass_context
from recae.cli.evaluate import print_results, run_protocol
from recae.cli.learn import fit_and_store, load_sample_log

if TYPE_CHECKING:
    from recae.evaluation.results import Results

MODEL = "ease"
"""What the demo serves: its weights follow from the data in one step, in seconds."""


@click.command()
@click.option("--port", type=int, help="TCP port. Default: RECAE_PORT, or 8000.")
@click.option("--no-serve", is_flag=True, help="Stop after the table.")
@click.option("--retrain", is_flag=True, help="Evaluate and train anew, although it was done before.")
@pass_context
def demo(context: Context, port: int | None, no_serve: bool, retrain: bool) -> None:
    """Evaluate and train on the bundled sample, print the table, and serve.

    A second start uses what the first one found. A model that is in service already is kept.
    """
    settings = context.settings_with(port=port)
    if not no_serve:
        from recae.api.server import check_free

        check_free(settings)  # now, not after minutes of work
    results = _results(context, retrain=retrain)
    print_results(results)
    version = context.store.current()
    if version is None or retrain:
        version = _train(context, results)
    click.echo(f"model in service: {version}")
    if not no_serve:
        _replace_process("--home", str(settings.home), "serve", "--port", str(settings.port))


def _results(context: Context, *, retrain: bool) -> "Results":
    """What the sample's protocol gave, computed once for each version of the protocol and of recae."""
    from recae.evaluation import report
    from recae.evaluation.protocol import sample_protocol_path
    from recae.evaluation.results import Results

    protocol = sample_protocol_path()
    key = hashlib.sha256(protocol.read_bytes() + recae.__version__.encode()).hexdigest()[:12]
    folder = context.settings.home / "evaluations" / f"{protocol.stem}-{key}"
    if not retrain and (folder / "results.json").is_file():
        return Results.read(folder / "results.json")
    click.echo(
        f"evaluating {protocol.stem}: every model is tuned on validation users, then tested on others",
        err=True,
    )
    results = run_protocol(context, protocol)
    report.write(results, folder)
    return results


def _train(context: Context, results: "Results") -> str:
    """Fit the demo's model to the whole sample with the settings that validation chose, and promote it."""
    interactions, catalogue, min_value = load_sample_log()
    settings: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for result in results.models:
        if result.name == MODEL:
            settings = dict(result.settings)
            metrics = {metric: measured.value for metric, measured in result.test.items()}
    context.limit_threads()
    version = fit_and_store(
        context, interactions, catalogue, MODEL, settings, min_value=min_value, metrics=metrics
    )
    context.store.promote(version)
    return version


def _replace_process(*arguments: str) -> None:
    """Go on as a fresh `recae`: a server must not be forked from a process that has used torch."""
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: the working folder may hold a data.py or a click.py of the user's own. A checkout that is not installed
    # can only be found there, though.
    not_installed = Path(recae.__file__).parents[1] == Path.cwd()
    flags = [] if not_installed else ["-P"]
    os.execv(sys.executable, [sys.executable, *flags, "-m", "recae", *arguments])  # noqa: S606 - our own program
