"""Time and memory of recae's hot paths.

    make bench                                  all of them, then all comparisons: hours
    make bench ARGS="rank fit"                  those with "rank" or "fit" in their name, and no comparison
    make bench ARGS="--alone"                   all of them, and no comparison: minutes
    make bench ARGS="--json measured.json"      for a program, too
    make bench ARGS="--output measured"         the comparisons' reports as files of that folder, too

A comparison is a program of its own that sets recae against something else in one run: a dense form, LAPACK, a bare
route. `COMPARISONS` lists them; each has a target of its own with more options (`make bench-deep`).

A benchmark is a function ``bench_*`` in a file ``bench_*.py`` of this folder. It prepares its data and returns the work
to measure, a function without arguments; the first line of its docstring says what is done, with sizes. Each runs in a
process of its own, so that its peak memory is its own.
"""

import argparse
import importlib
import inspect
import json
import multiprocessing
import platform
import statistics
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tables import cost_of

from recae.progress import track
from recae.threads import available_cores, limit_threads

FOLDER = Path(__file__).parent
MIN_RUNS = 3
MIN_TOTAL_S = 2.0
COMPARISONS = (
    "bench_deep_epochs",
    "bench_deep_quality",
    "bench_rating_epochs",
    "bench_lazy_steps",
    "bench_full_solver",
    "bench_cost_curves",
    "bench_evaluation",
    "bench_eventlog",
    "bench_retrain",
    "bench_serving",
    "soak_serving",
)
"""In the order they run. Only the peer's evaluator is not among them: it needs an environment of its own, `make bench-peer`."""


@dataclass(frozen=True)
class Measured:
    """Wall time in seconds of the runs after the first, and by how many MiB the process grew in the hungriest of them."""

    name: str
    what: str
    runs: int
    best_s: float
    median_s: float
    peak_mib: float


def find() -> dict[str, str]:
    """Name of each benchmark, without ``bench_``, and the module it stands in."""
    return {
        name.removeprefix("bench_"): path.stem
        for path in sorted(FOLDER.glob("bench_*.py"))
        for name, value in vars(importlib.import_module(path.stem)).items()
        if name.startswith("bench_") and inspect.isfunction(value)
    }


def measure(name: str, module: str) -> Measured:
    """Prepare and run one benchmark in this process: once to warm up, then ``MIN_RUNS`` times or ``MIN_TOTAL_S``."""
    limit_threads()
    prepare = getattr(importlib.import_module(module), f"bench_{name}")
    work = prepare()

    costs = [cost_of(work)]
    times: list[float] = []
    while len(times) < MIN_RUNS or sum(times) < MIN_TOTAL_S:
        costs.append(cost_of(work))
        times.append(costs[-1][0])
    what = (inspect.getdoc(prepare) or "").partition("\n")[0]
    peak = max(grown for _, grown in costs)
    return Measured(name, what, len(times), min(times), statistics.median(times), peak)


def machine() -> dict[str, str | int]:
    """What the numbers depend on."""
    libraries = {library: version(library) for library in ("recae", "numpy", "scipy", "torch")}
    return {
        "cores": available_cores(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **libraries,
    }


def show(results: list[Measured]) -> None:
    """Print the machine and a table; compare best times, which other work on the machine disturbs least."""
    table = Table("benchmark", "what")
    for heading in ("runs", "best ms", "median ms", "peak MiB"):
        table.add_column(heading, justify="right")
    for result in results:
        times = (f"{1000 * seconds:,.1f}" for seconds in (result.best_s, result.median_s))
        table.add_row(result.name, result.what, str(result.runs), *times, f"{result.peak_mib:,.0f}")
    console = Console()
    console.print(" ".join(f"{key} {value}" for key, value in machine().items()))
    console.print(table)


def main() -> None:
    """Run what was asked for, each in a fresh process."""
    parser = argparse.ArgumentParser(description="Time and memory of recae's hot paths.")
    parser.add_argument("parts", nargs="*", help="run benchmarks whose name holds one of these; all without")
    parser.add_argument("--alone", action="store_true", help="no comparisons")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="comparisons write their reports there")
    options = parser.parse_args()
    known = find()
    chosen = [name for name in known if not options.parts or any(part in name for part in options.parts)]
    if not chosen:
        parser.error(
            f"no benchmark has {' or '.join(options.parts)} in its name; there are {', '.join(known)}"
        )

    results = []
    spawn = multiprocessing.get_context("spawn")
    for name in track(chosen, "benchmarks"):
        with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as process:
            results.append(process.submit(measure, name, known[name]).result())
    show(results)
    if options.json:
        report = {"machine": machine(), "benchmarks": [asdict(result) for result in results]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if not options.parts and not options.alone:
        compare(options.output)


def compare(output: Path | None) -> None:
    """Run every comparison in a process of its own; one that fails does not keep the next from running.

    Raises:
        SystemExit: after the last, with the names of those that failed.
    """
    failed = []
    for name in COMPARISONS:
        arguments = ["--output", str(output)] if output else []
        print(f"\n{name}", flush=True)
        ended = subprocess.run([sys.executable, FOLDER / f"{name}.py", *arguments], check=False)
        if ended.returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
