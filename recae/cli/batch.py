"""`recae recommend-batch`: recommendations for many users into a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from recae.cli.common import Context, as_json, n_items, pass_context, print_json, version_option

if TYPE_CHECKING:
    from recae.batch import Finished


@click.command(
    name="recommend-batch",
    epilog="\b\nrecae recommend-batch everybody.parquet\n"
    "recae recommend-batch some.jsonl --users some.txt --category Animation -n 20\n"
    "recae recommend-batch everybody.json.out --format personalize --resume",
)
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--users",
    "users_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Who to recommend to, each once: one id a line, JSONL or Parquet. Default: all users of the model and the event log.",
)
@click.option("--category", "categories", multiple=True, help="Only items of any of these. May be repeated.")
@click.option(
    "--exclude-seen/--include-seen",
    default=True,
    show_default=True,
    help="Leave out what is in the user's history.",
)
@click.option(
    "--available-only/--include-unavailable",
    default=True,
    show_default=True,
    help="Leave out what the catalogue calls unavailable.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["jsonl", "parquet", "personalize"]),
    help="Default: what the name of OUTPUT says. personalize: the lines of Amazon Personalize.",
)
@click.option("--resume", is_flag=True, help="Go on where an earlier run was stopped, if one was.")
@n_items
@version_option
@as_json
@pass_context
def recommend_batch(
    context: Context,
    output: Path,
    users_file: Path | None,
    categories: tuple[str, ...],
    exclude_seen: bool,
    available_only: bool,
    format_name: str | None,
    resume: bool,
    n: int,
    model_version: str,
    as_json: bool,
) -> None:
    """Recommend items to many users, into the file OUTPUT.

    OUTPUT appears when it is complete. Until then its parts lie in a folder beside it, and after a kill the same command
    with --resume goes on from there, with the model and the events of the run that was stopped.

    Each user has N items, or `short` says why there are fewer; Personalize's form has no place for it.
    """
    import time
    from contextlib import ExitStack
    from dataclasses import asdict

    from recae.batch import AllUsers, Batch, Filters, Scorer, UsersFile
    from recae.batch.formats import format_of
    from recae.data.eventlog.snapshot import Snapshot

    written_as, batch = format_of(output, format_name), Batch(output)
    stopped = batch.progress() if resume else None
    if resume and stopped is None:
        click.echo(f"no stopped run of {output}: starting from the beginning", err=True)
    before = stopped.identity if stopped else {}
    filters = Filters(n, categories, exclude_seen, available_only)
    with ExitStack() as stack:
        recommender = context.recommender(str(before.get("model_version", model_version)))
        log = context.event_log_if_any()
        snapshot = None if log is None else Snapshot(stack.enter_context(log), before.get("watermark"))
        users = UsersFile(users_file) if users_file else AllUsers(recommender.users, snapshot)
        now = float(before.get("now", time.time()))  # events have faded for all users alike
        scorer = Scorer(recommender, filters, snapshot, context.settings.max_history, now)
        identity = {
            **asdict(filters),
            "categories": list(categories),  # as JSON has them
            "asked_version": model_version,
            "model_version": recommender.version,
            "watermark": snapshot.until if snapshot else None,
            "now": now,
        }
        try:
            done = batch.run(scorer, users, written_as, identity, resume=resume)
        except KeyboardInterrupt:
            click.echo(
                f"what is complete is kept in {batch.parts}; the same command with --resume goes on from there",
                err=True,
            )
            raise
    _show(done, output, recommender.version, as_json=as_json)


def _show(done: "Finished", output: Path, version: str, *, as_json: bool) -> None:
    if as_json:
        figures = {
            "output": str(output),
            "model_version": version,
            "n_users": done.n_users,
            "counts": dict(done.counts),
            "n_resumed": done.n_resumed,
            "seconds": round(done.seconds, 3),
        }
        print_json(figures)
        return
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(done.counts.items()))
    resumed = f"; {done.n_resumed:,} of them were there already" if done.n_resumed else ""
    click.echo(f"wrote {done.n_users:,} users ({kinds}) to {output}, by {version}{resumed}")
    click.echo(f"{done.seconds:.1f} s, {done.users_per_s:,.0f} users/s", err=True)
