"""`recae doctor`: what recae finds on this machine and in its home, and what it makes of it."""

from typing import TYPE_CHECKING, Any

import click

from recae.cli.common import Context, as_json, pass_context, print_json

if TYPE_CHECKING:
    from recae.cli.checks import Finding


@click.command(epilog="Exit status: 0 if all is well, 1 if something is broken.")
@as_json
@pass_context
def doctor(context: Context, as_json: bool) -> None:
    """Show processor, memory, libraries, GPU and the choices that follow from them; and whether the home is in order.

    That is the model in service with its hashes, models that the settings name, the event log and its archive, the last
    nightly run, and the room for the next. Nothing is made or mended; what it prints belongs into a report of a problem.
    """
    from recae import machine
    from recae.cli.checks import findings, state_of
    from recae.models.devices import device_of
    from recae.models.precision import product_type
    from recae.threads import limit_threads

    n_threads = limit_threads(context.settings.threads)
    device = device_of("auto")
    state, budget = list(findings(context.settings)), machine.memory_budget()
    found = {
        "versions": machine.versions(),
        "processor": machine.processor(),
        "memory": machine.memory() | {"budget": budget and budget._asdict()},
        "gpus": machine.gpus(),
        "chosen": {
            "device": str(device),
            "precision": str(product_type("auto", device)).removeprefix("torch."),
            "threads": n_threads,
        },
        "pools": machine.pools(),
        "home": state_of(context.settings.home),
        "state": [finding._asdict() for finding in state],
    }
    if as_json:
        print_json(found)
    else:
        _print(found, state)
    if not all(finding.ok for finding in state):
        raise click.exceptions.Exit(1)


def _print(found: dict[str, Any], state: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cpu, chosen = found["processor"], found["chosen"]
    rows = [
        (
            "versions",
            ", ".join(f"{name} {number or 'missing'}" for name, number in found["versions"].items()),
        ),
        ("processor", f"{cpu['name']} ({cpu['architecture']}), {cpu['cores']} cores for this process"),
        ("features", ", ".join(cpu["features"]) or "none of those that matter, or the system does not tell"),
        ("memory", _memory(found["memory"])),
        ("budget", _budget(found["memory"]["budget"])),
        ("gpu", ", ".join(f"{gpu['name']} ({_gib(gpu['memory'])})" for gpu in found["gpus"]) or "none"),
        ("device", chosen["device"]),
        ("precision", f"{chosen['precision']} for large products in training; float32 for all else"),
        ("threads", str(chosen["threads"])),
        *(("pool", _pool(pool)) for pool in found["pools"]),
        *((finding.name, finding.says if finding.ok else f"BROKEN: {finding.says}") for finding in state),
    ]
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    Console().print(table)


def _budget(budget: dict[str, Any] | None) -> str:
    if budget is None:
        return "unknown: nothing is refused for its size"
    return f"{_gib(budget['size'])} more for this process, by {budget['bound_by']}; linear models that need more are refused"


def _memory(sizes: dict[str, Any]) -> str:
    limit = sizes["limit"]
    group = "no limit" if limit is None else f"a limit of {_gib(limit)}"
    return f"{_gib(sizes['total'])}, {_gib(sizes['available'])} available, {group} of the control group"


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"


def _pool(pool: dict[str, Any]) -> str:
    parts = (pool["library"], pool["version"], pool["architecture"])
    return f"{' '.join(part for part in parts if part)}, {pool['threads']} threads ({pool['file']})"
