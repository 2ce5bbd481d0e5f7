"""Cost against size: time and peak memory over users, items and interactions, three decades of each.

    make bench-cost                                         print the table
    make bench-cost ARGS="--output evaluation/results/bench"    write cost_curves.md and cost_curves.svg there too

On made-up histories with the popularity curve of real ones; one quantity grows, the others stay. Each point has a
process of its own, in which the same work has been done at a tiny size, so that what loads at first use is loaded; peak
memory is what the process grew by at most during the work. The slope is that of a line through the upper three points
on logarithmic axes: 1 is proportional, 2 is quadratic.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_ranking import histories
from scipy.sparse import csr_array
from tables import cost_of, markdown_table, parser_of, provenance, publish

from recae.models import create
from recae.models.ranking import rank
from recae.progress import track
from recae.threads import limit_threads

USERS, ITEMS, PER_USER = 3_000, 3_000, 30
"""Sizes of what does not grow."""
STEPS = (1, 10, 100, 1_000)
TINY = (50, 50, 5)
Work = Callable[[], object]


def fitting(model_name: str, training: csr_array, **settings: object) -> Work:
    """A whole fit."""
    return lambda: create(model_name, **settings).fit(training, show_progress=False)


def ranking(training: csr_array) -> Work:
    """The best 20 unseen items of every user, by a model that is there."""
    model = create("ease").fit(training, show_progress=False)
    return lambda: rank(model.score, training, 20, exclude=training)


def rated(training: csr_array) -> csr_array:
    """The same cells with ratings from 1 to 5."""
    values = np.random.default_rng(2).integers(1, 6, training.nnz).astype(np.float32)
    return csr_array((values, training.indices, training.indptr), shape=training.shape)


WORKS: dict[str, Callable[[csr_array], Work]] = {
    "EASE, fit": lambda training: fitting("ease", training),
    "Mult-VAE, one epoch": lambda training: fitting("mult_vae", training, epochs=1),
    "AutoRec by user, one epoch": lambda training: fitting("autorec", rated(training), by="user", epochs=1),
    "EASE, top 20 for all users": ranking,
}
COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#009E73")
MARKERS = "osvD"


@dataclass(frozen=True)
class Point:
    """One size of one quantity."""

    growing: str
    users: int
    items: int
    per_user: int

    @property
    def size(self) -> int:
        """Of the quantity that grows."""
        sizes = {"users": self.users, "items": self.items, "interactions": self.users * self.per_user}
        return sizes[self.growing]


@dataclass(frozen=True)
class Cost:
    """What a work took at a point."""

    seconds: float
    peak_mib: float


def points() -> list[Point]:
    """Three decades of each quantity."""
    return [
        *(Point("users", 300 * step, ITEMS, PER_USER) for step in STEPS),
        *(Point("items", USERS, 30 * step, 10) for step in STEPS),
        *(Point("interactions", USERS, ITEMS, step) for step in STEPS),
    ]


def cost(work: str, point: Point) -> Cost:
    """Time one work in this process, of which nothing else is asked."""
    limit_threads()
    make = WORKS[work]
    make(histories(*TINY))()
    return Cost(*cost_of(make(histories(point.users, point.items, point.per_user))))


def slope(sizes: list[int], values: list[float]) -> str:
    """Of the upper three points on logarithmic axes; a dash where the process had held more before the work."""
    if min(values[-3:]) <= 0:
        return "-"
    return f"{np.polyfit(np.log(sizes[-3:]), np.log(values[-3:]), 1)[0]:.1f}"


def table(measured: dict[tuple[str, Point], Cost]) -> str:
    """A line for each work and quantity."""
    rows = []
    for work in WORKS:
        for growing in ("users", "items", "interactions"):
            chosen = [
                (point, found)
                for (name, point), found in measured.items()
                if (name, point.growing) == (work, growing)
            ]
            sizes = [point.size for point, _ in chosen]
            seconds = [found.seconds for _, found in chosen]
            memory = [found.peak_mib for _, found in chosen]
            rows.append(
                [
                    work,
                    growing,
                    " / ".join(f"{size:,}" for size in sizes),
                    " / ".join(f"{value:.2g}" for value in seconds),
                    slope(sizes, seconds),
                    " / ".join(f"{value:,.0f}" for value in memory),
                    slope(sizes, memory),
                ]
            )
    return markdown_table(("work", "grows", "sizes", "seconds", "slope", "peak MiB", "slope"), rows)


def plot(measured: dict[tuple[str, Point], Cost], file: Path) -> None:
    """Time above, memory below, a column for each quantity; needs the extra ``report``."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recae"  # the same numbers give the same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 6), sharey="row", layout="constrained")
    for column, growing in enumerate(("users", "items", "interactions")):
        for work, marker, colour in zip(WORKS, MARKERS, COLOURS, strict=True):
            chosen = [
                (point.size, found)
                for (name, point), found in measured.items()
                if (name, point.growing) == (work, growing)
            ]
            sizes = [size for size, _ in chosen]
            axes[0, column].loglog(
                sizes, [found.seconds for _, found in chosen], marker=marker, color=colour, label=work
            )
            axes[1, column].loglog(
                sizes, [found.peak_mib or np.nan for _, found in chosen], marker=marker, color=colour
            )
        axes[1, column].set_xlabel(growing)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, MiB")
    axes[0, 0].legend()
    for axis in axes.flat:
        axis.grid(visible=True, alpha=0.3)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measure every point, print the table, and write it where asked."""
    parser = parser_of("Time and memory against size.", "cost_curves.md")
    options = parser.parse_args()
    todo = [(work, point) for work in WORKS for point in points()]
    measured = {}
    spawn = multiprocessing.get_context("spawn")
    for work, point in track(todo, "points"):
        with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as process:
            measured[work, point] = process.submit(cost, work, point).result()
    paragraphs = (
        "# Cost against size",
        provenance("make bench-cost", limit_threads()),
        (__doc__ or "").split("\n\n")[-1].strip(),
        table(measured),
        "![cost curves](cost_curves.svg)",
    )
    publish(paragraphs, options.output, "cost_curves.md")
    if options.output:
        plot(measured, options.output / "cost_curves.svg")


if __name__ == "__main__":
    main()
