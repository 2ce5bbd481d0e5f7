"""The command line. Importing it imports click and nothing heavy: `recae --help` answers at once."""

from typing import Any

import click

from recae import __version__
from recae.cli.common import Context
from recae.errors import RecaeError


class ErrorsInOneLine(click.Group):
    """Turns expected errors into one line and an exit code: 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (RecaeError, OSError) as error:
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            raise click.ClickException(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(130)


@click.group(cls=ErrorsInOneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", metavar="FOLDER", help="Folder of all state. Default: RECAE_HOME, or .recae here.")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
@click.version_option(__version__, package_name="recae", message="recae %(version)s")
@click.pass_context
def cli(ctx: click.Context, home: str | None, debug: bool) -> None:  # noqa: ARG001 - debug is read where errors end
    """Recommend items from logs of what people used.

    `recae demo` shows all of it on a bundled sample.
    """
    ctx.obj = Context(home)


def main() -> None:
    """Entry point of the `recae` program."""
    cli(prog_name="recae")


def _add_commands() -> None:
    from recae.cli import (
        ask,
        batch,
        demo,
        doctor,
        evaluate,
        events,
        experiment,
        ingest,
        items,
        keys,
        learn,
        nightly,
        operate,
        simulate,
        tune,
    )

    for command in (
        demo.demo,
        ingest.ingest,
        events.events,
        items.items,
        learn.train,
        evaluate.evaluate,
        evaluate.compare,
        evaluate.split,
        tune.tune,
        ask.recommend,
        ask.similar,
        batch.recommend_batch,
        operate.serve,
        operate.models,
        nightly.retrain,
        nightly.schedule,
        nightly.runs,
        simulate.simulate,
        experiment.experiment,
        keys.keys,
        doctor.doctor,
    ):
        cli.add_command(command)


_add_commands()
