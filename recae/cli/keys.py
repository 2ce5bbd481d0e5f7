"""`recae keys`: who may ask a server for what."""

import click

from recae.cli.common import Context, as_json, pass_context, print_json


@click.group()
def keys() -> None:
    """Create, list and revoke the keys of the HTTP API.

    Servers that run take notice within a second.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["read", "write", "admin"]),
    default="read",
    show_default=True,
    help="read: ask for recommendations. write: also events and items. admin: everything.",
)
@pass_context
def create(context: Context, name: str, role: str) -> None:
    """Make a key called NAME and print it, this once: only its hash is kept."""
    from recae.keys import KeyFile, Role

    key = KeyFile(context.settings.keys).create(name, Role.named(role))
    click.echo(
        f"a key with the role {role}, stored as a hash in {context.settings.keys}; it is not shown again:",
        err=True,
    )
    click.echo(key)


@keys.command("list")
@as_json
@pass_context
def list_keys(context: Context, as_json: bool) -> None:
    """List names, roles and ages of all keys, oldest first."""
    from recae.keys import KeyFile

    found = KeyFile(context.settings.keys).read()
    if as_json:
        print_json([{"name": key.name, "role": str(key.role), "created": key.created} for key in found])
        return
    if not found:
        click.echo(f"no keys in {context.settings.keys}; `recae keys create NAME` makes one")
    for key in found:
        click.echo(f"{key.name}  {key.role}  {key.created}")


@keys.command()
@click.argument("name")
@pass_context
def revoke(context: Context, name: str) -> None:
    """Refuse the key called NAME from now on."""
    from recae.keys import KeyFile

    KeyFile(context.settings.keys).revoke(name)
    click.echo(f"revoked {name}")
