"""`recae serve` and `recae models`: what an operator does with trained models."""

import click

from recae.cli.common import Context, as_json, pass_context, print_json


@click.command()
@click.option("--host", help="Address to serve on. Default: RECAE_HOST, or 127.0.0.1.")
@click.option("--port", type=int, help="TCP port. Default: RECAE_PORT, or 8000.")
@click.option("--workers", type=int, help="Processes, each with the model. Default: one per core.")
@pass_context
def serve(context: Context, host: str | None, port: int | None, workers: int | None) -> None:
    """Answer requests over HTTP until Ctrl-C.

    A model that is promoted later is picked up within a second, and so is a rollback.
    """
    from recae.api.server import serve as run

    settings = context.settings_with(host=host, port=port, workers=workers)
    if context.store.current() is None:
        click.echo(f"no model is in service in {context.store.root} yet; `recae train` makes one", err=True)
    run(settings)


@click.group()
def models() -> None:
    """List, inspect and switch stored models."""


@models.command("list")
@as_json
@pass_context
def list_versions(context: Context, as_json: bool) -> None:
    """List all versions, oldest first; the one in service is marked."""
    from recae.errors import ArtifactError

    current, manifests, damaged = None, [], []
    try:
        current = context.store.current()
    except ArtifactError as error:  # the versions are there all the same
        damaged.append(str(error))
    for version in context.store.versions():
        try:
            manifests.append(context.store.manifest(version))
        except ArtifactError as error:  # one damaged version must not hide the others
            damaged.append(str(error))
    for problem in damaged:
        click.echo(problem, err=True)
    if as_json:
        rows = [manifest.model_dump(mode="json") for manifest in manifests]
        print_json([{**row, "current": row["version"] == current} for row in rows])
        return
    if not manifests:
        click.echo(f"no models in {context.store.root}; run `recae train`")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("", "version", "model", "users", "items"):
        table.add_column(
            heading, justify="right" if heading in ("users", "items") else "left", overflow="fold"
        )
    for manifest in manifests:
        table.add_row(
            "*" if manifest.version == current else "",
            manifest.version,
            manifest.model,
            f"{manifest.n_users:,}",
            f"{manifest.n_items:,}",
        )
    Console().print(table)


@models.command()
@click.argument("version", required=False)
@pass_context
def show(context: Context, version: str | None) -> None:
    """Print the manifest of VERSION, or of the one in service, after checking its files."""
    from recae.errors import ArtifactError

    version = version or context.store.current()
    if version is None:
        raise ArtifactError(f"no model is in service in {context.store.root}; run `recae train`")
    print_json(context.store.check(version).model_dump(mode="json"))


@models.command()
@click.argument("version")
@pass_context
def promote(context: Context, version: str) -> None:
    """Serve VERSION from now on.

    Servers pick it up within a second; the model it replaces stays in the store, so `recae models rollback`
    brings it back. Where the file that names the version in service is damaged, this mends it.
    """
    replaced = context.store.promote(version)
    click.echo(f"promoted {version}" + (f" (was {replaced})" if replaced else ""))


@models.command()
@pass_context
def rollback(context: Context) -> None:
    """Serve the version again that was in service before the current one."""
    replaced = context.store.current()
    click.echo(f"serving {context.store.rollback()} again (was {replaced})")


@models.command()
@as_json
@pass_context
def history(context: Context, as_json: bool) -> None:
    """List every promotion and rollback, oldest first."""
    from recae.errors import ArtifactError

    changes = context.store.changes()
    try:
        context.store.current()
    except ArtifactError as error:
        click.echo(str(error), err=True)
    if as_json:
        print_json([change.model_dump(mode="json") for change in changes])
        return
    for change in changes:
        click.echo(f"{change.at:%Y-%m-%d %H:%M:%S} {change.how} {change.version}")


@models.command()
@click.option(
    "--keep", type=click.IntRange(min=1), default=10, show_default=True, help="Newest versions that stay."
)
@pass_context
def prune(context: Context, keep: int) -> None:
    """Remove old versions.

    The one in service stays, and the one before it, which a rollback brings back; so do those that the settings
    named_models and experiment name.
    """
    gone = context.store.prune(keep, spare=context.settings.named_versions)
    for version in gone:
        click.echo(f"removed {version}")
    click.echo(f"{len(gone)} version(s) removed, {len(context.store.versions())} left")


@models.command()
@click.argument("first")
@click.argument("second", default="current")
@as_json
@pass_context
def diff(context: Context, first: str, second: str, as_json: bool) -> None:
    """Show how SECOND (default: the version in service) differs from FIRST: settings, sizes, metrics, items."""
    from recae.comparison import compare_versions

    found = compare_versions(context.store, first, second)
    if as_json:
        print_json(found)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("", found["first"], found["second"]):
        table.add_column(heading, overflow="fold")
    for name, (before, after) in found["differences"].items():
        table.add_row(name, Text(str(before)), Text(str(after)))
    Console().print(table)
    added, removed = found["items_added"], found["items_removed"]
    click.echo(f"items: {added:,} added, {removed:,} removed")
    if found["shared_share"] is not None:
        click.echo(f"top 10 of the same {found['users']:,} histories: {found['shared_share']:.1%} in common")
