"""What the reports of this folder share: the machine they were made on, and Markdown."""

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from recae.machine import peak_memory, processor, versions


def peak_memory_mib() -> float:
    """The most memory this process ever held."""
    return (peak_memory() or 0) / 2**20


def provenance(command: str, threads: int) -> str:
    """A paragraph: when, where and how the numbers below it were made."""
    cpu, installed = processor(), versions()
    libraries = ", ".join(
        f"{name} {installed[name]}" for name in ("python", "recae", "torch", "numpy", "scipy")
    )
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, {threads} threads on {cpu['cores']} cores of {cpu['name']} "
        f"({', '.join(cpu['features']) or 'features unknown'}), {platform.system()}; {libraries}."
    )


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
