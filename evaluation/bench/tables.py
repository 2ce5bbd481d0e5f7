"""What the reports of this folder share: the machine they were made on, and Markdown."""

import argparse
import platform
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from recae.machine import peak_memory, processor, versions


def peak_memory_mib() -> float:
    """The most memory this process ever held."""
    return peak_memory() / 2**20


def cost_of(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that a work takes, and by how many MiB the process grows at most meanwhile.

    Where the system can forget a peak (Linux), an earlier one does not hide the work's; elsewhere it may.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
        peak = _high_water_mib
    except OSError:
        peak = peak_memory_mib
    before, started = peak(), perf_counter()
    work()
    return perf_counter() - started, peak() - before


def _high_water_mib() -> float:
    """Since the system was told to forget; `getrusage` remembers what was before, and what the parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


def provenance(command: str, threads: int) -> str:
    """A paragraph: when, where and how the numbers below it were made."""
    cpu, installed = processor(), versions()
    libraries = ", ".join(
        f"{name} {installed[name]}" for name in ("python", "recae", "torch", "numpy", "scipy")
    )
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, {threads} thread{'s' if threads != 1 else ''} on {cpu['cores']} cores of {cpu['name']} "
        f"({', '.join(cpu['features']) or 'features unknown'}), {platform.system()}; {libraries}."
    )


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def parser_of(description: str, report: str, *, threads: bool = False) -> argparse.ArgumentParser:
    """A parser with the options that reports share.

    Args:
        description: of the program.
        report: the file that ``--output`` writes.
        threads: whether there is ``--threads``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=f"write {report} there")
    if threads:
        parser.add_argument("--threads", type=int, help="default: one per core")
    return parser


def publish(paragraphs: Iterable[str], folder: Path | None, report: str) -> None:
    """Print a report in Markdown, and write it to ``folder/report`` where there is a folder."""
    text = "\n\n".join(paragraphs)
    print(text)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / report).write_text(text + "\n")
