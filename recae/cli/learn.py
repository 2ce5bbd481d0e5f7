"""`recae train`: from a log to a model in service."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recae.cli.common import (
    Context,
    as_json,
    assignments,
    columns_option,
    mapping_of,
    max_bad_share_option,
    pass_context,
    print_json,
)

if TYPE_CHECKING:
    from recae.data.catalogue import Catalogue
    from recae.data.interactions import Interactions
    from recae.history_rule import Duplicates
    from recae.models.warm import Earlier


@click.command(
    epilog="\b\nrecae train clicks.csv --column user_id=visitor --column item_id=product --model ease --set l2=200"
)
@click.argument("source", required=False)
@click.option("--model", "name", default="ease", show_default=True, help="Name of the model.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the model. May be repeated."
)
@columns_option
@click.option(
    "--min-value",
    type=float,
    help="Drop events with a lower value. Default: what is not above 0, but for models of ratings; for the sample, what is below 4 stars.",
)
@click.option(
    "--duplicates",
    type=click.Choice(["last", "sum", "max", "count"]),
    default="last",
    show_default=True,
    help="What several events of one user with one item become.",
)
@click.option(
    "--popular-days",
    type=click.FloatRange(0, min_open=True),
    help="Whom nothing is known of is recommended what most users had in so many days before the newest event. Default: in all.",
)
@click.option(
    "--catalogue",
    "catalogue_file",
    type=click.Path(dir_okay=False),
    help="Parquet file with item_id, title, year, categories.",
)
@click.option(
    "--quarantine",
    type=click.Path(dir_okay=False),
    help="File that unreadable rows are written to. Default: quarantine/SOURCE.jsonl in the home folder.",
)
@max_bad_share_option
@click.option(
    "--validation-share",
    type=click.FloatRange(0, 0.5),
    default=0.1,
    show_default=True,
    help="Part held out to find the best number of epochs, before the model learns from everything.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where an interrupted training of this model stopped; not for what is fitted in one step.",
)
@click.option(
    "--warm-start",
    is_flag=True,
    help="Train on from the model in service, if it is of this kind and size; else from the beginning.",
)
@click.option("--promote/--no-promote", default=True, show_default=True, help="Put the model into service.")
@as_json
@pass_context
def train(
    context: Context,
    source: str | None,
    name: str,
    settings: tuple[str, ...],
    columns: tuple[str, ...],
    min_value: float | None,
    duplicates: str,
    popular_days: float | None,
    catalogue_file: str | None,
    quarantine: str | None,
    max_bad_share: float,
    validation_share: float,
    resume: bool,
    warm_start: bool,
    promote: bool,
    as_json: bool,
) -> None:
    """Train a model on SOURCE and put it into service.

    SOURCE is a CSV, JSONL or Parquet file, or a folder of them, with the columns user_id and item_id, and
    optionally timestamp and value. Without it, the bundled sample is used.
    """
    from recae.models import registry

    context.limit_threads()
    chosen = assignments(settings, "--set")
    # a wrong name or setting shows now, not after a long log has been read
    model = registry.create(name, **chosen)
    model.check_device()
    catalogue = None
    if source is None:
        interactions, catalogue, sample_min_value = load_sample_log()
        min_value = sample_min_value if min_value is None else min_value
    else:
        import time

        from recae.data.acceptance import Acceptance
        from recae.data.interactions import Interactions
        from recae.data.readers import read_events
        from recae.errors import DataError

        quarantine = quarantine or str(context.settings.home / "quarantine" / f"{Path(source).name}.jsonl")
        events = read_events(
            source,
            columns=mapping_of(columns),
            max_bad_share=max_bad_share,
            quarantine=quarantine,
            # as for `recae ingest`: nightly runs wait for events newer than the newest one here
            acceptance=Acceptance(time.time() + context.settings.max_clock_skew_s),
        )
        if (
            model.feedback == "ratings"
            and "value" not in events.columns
            and duplicates not in {"sum", "count"}
        ):
            raise DataError(
                f"{name} learns from ratings, and {source} has no column value: it has {', '.join(events.names)}; "
                "map the one with the ratings by --column value=<its name in the log>"
            )
        interactions = Interactions.from_events(events, duplicates=duplicates)  # type: ignore[arg-type] # click checked it
        click.echo(str(events.report), err=True)
    if catalogue_file is not None:
        from recae.data.catalogue import Catalogue

        catalogue = Catalogue.read(catalogue_file)
    version = fit_and_store(
        context,
        interactions,
        catalogue,
        name,
        chosen,
        min_value=min_value,
        duplicates=duplicates,  # type: ignore[arg-type] # click checked it
        popular_days=popular_days,
        validation_share=validation_share,
        resume=resume,
        warm_start=warm_start,
    )
    replaced = context.store.promote(version) if promote else None
    if as_json:
        print_json(
            context.store.manifest(version).model_dump(mode="json")
            | {"promoted": promote, "replaced": replaced}
        )
        return
    click.echo(f"saved {version}")
    for measure, value in context.store.manifest(version).measured.items():
        click.echo(f"{measure}: {value:.4g}")
    if promote:
        click.echo(f"promoted {version}" + (f" (was {replaced})" if replaced else ""))


def fit_and_store(
    context: Context,
    interactions: "Interactions",
    catalogue: "Catalogue | None",
    name: str,
    settings: Mapping[str, Any],
    *,
    min_value: float | None,
    duplicates: "Duplicates" = "last",
    popular_days: float | None = None,
    metrics: Mapping[str, Any] | None = None,
    validation_share: float = 0.1,
    resume: bool = False,
    warm_start: bool = False,
) -> str:
    """Fit a model to what is left after ``min_value``, and return the name of the stored version."""
    from recae.data.filters import keep
    from recae.errors import WarmStartError
    from recae.history_rule import DAY_S, HistoryRule
    from recae.models import registry
    from recae.models.fitting import fit_to_everything

    model = registry.create(name, **settings)
    kept = keep(interactions, feedback=model.feedback, min_value=min_value)
    lately = None
    if popular_days is not None:
        newest = int(kept.times.max()) if kept.times is not None else 0
        lately = kept.users_since(round(newest - popular_days * DAY_S))
    if min_value is None and len(kept) < len(interactions):
        n_others = len(interactions) - len(kept)
        click.echo(f"{n_others:,} interactions are left out: a value of 0 or less is no liking", err=True)
    click.echo(
        f"training {model} on {len(kept):,} interactions of {kept.n_users:,} users with {kept.n_items:,} items",
        err=True,
    )
    if not model.supports_fold_in:
        click.echo(f"{name} knows only the users it is trained on: all others get popular items", err=True)
    checkpoint = context.settings.home / "checkpoints" / name
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if resume and not model.keeps_checkpoints:
        click.echo(f"{name} keeps no checkpoints: starting from the beginning", err=True)
    elif not resume:
        _remove_checkpoints(checkpoint)
    elif any(checkpoint.parent.glob(f"{checkpoint.name}.*")):
        click.echo(f"going on from the checkpoint in {checkpoint.parent}", err=True)
    else:
        click.echo(f"no checkpoint of {name} in {checkpoint.parent}: starting from the beginning", err=True)
    how: dict[str, Any] = {"validation_share": validation_share, "checkpoint": checkpoint}
    try:
        earlier = _in_service(context) if warm_start else None
        model = fit_to_everything(model, kept, warm_start_from=earlier, **how)
    except WarmStartError as error:
        click.echo(f"starting from the beginning: {error}", err=True)
        model = fit_to_everything(model, kept, **how)
    except KeyboardInterrupt:
        if any(checkpoint.parent.glob(f"{checkpoint.name}.*")):
            click.echo(
                f"the state after the last finished epoch is kept in {checkpoint.parent}; "
                "the same command with --resume goes on from there",
                err=True,
            )
        raise
    version = context.store.save(
        model,
        kept.items,
        users=kept.users,
        catalogue=catalogue,
        metrics=metrics,
        watermark=int(kept.times.max()) if kept.times is not None else None,
        history=HistoryRule(duplicates=duplicates, min_value=min_value),
        lately=lately,
    )
    _remove_checkpoints(checkpoint)
    return version


def _in_service(context: Context) -> "Earlier":
    """The model in service, to train on from."""
    from recae.errors import WarmStartError
    from recae.models.warm import Earlier

    version = context.store.current()
    if version is None:
        raise WarmStartError(f"no model is in service in {context.store.root}")
    stored = context.store.load(version)
    click.echo(f"training on from {version}", err=True)
    return Earlier(stored.model, stored.items, stored.users)


def _remove_checkpoints(checkpoint: Path) -> None:
    half_written = f".{checkpoint.name}.*.tmp"  # a killed process leaves it
    for pattern in (f"{checkpoint.name}.*", half_written):
        for file in checkpoint.parent.glob(pattern):
            file.unlink()


def load_sample_log() -> "tuple[Interactions, Catalogue, float | None]":
    """The bundled log and catalogue, and from which rating on its protocol counts a liking."""
    from recae.data.sample import load_sample
    from recae.evaluation.protocol import load_protocol, sample_protocol_path

    interactions, catalogue = load_sample()
    return interactions, catalogue, load_protocol(sample_protocol_path()).data.min_value
