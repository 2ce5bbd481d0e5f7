"""EASE on the whole of Gowalla against the bare LAPACK calls on one matrix of that size, in one run.

    make bench-solver                                         both, one after the other: ten minutes, 10 GB
    make bench-solver ARGS="--output evaluation/results/bench"    write full_solver.md there too

The floor by items is cubic: potrf and potri take n_items^3 operations, 6.9e13 here. LAPACK with 32-bit indices cannot be
called on 41,000 rows at once, so it gets the two halves of the matrix, and level 3 BLAS what lies between them. It does
nothing else: neither the Gram matrix, nor the ridge, nor the weights are in its time. A process for each, in turns.
"""

import multiprocessing
import statistics
from collections.abc import Callable
from time import perf_counter

import numpy as np
from bench_deep_epochs import training_rows
from scipy.linalg.blas import sgemm, ssymm
from scipy.linalg.lapack import spotrf, spotri
from scipy.sparse import csr_array
from tables import markdown_table, parser_of, peak_memory_mib, provenance, publish

from recae.models import create, gram
from recae.progress import track
from recae.threads import limit_threads

L2 = 500.0


def ease(histories: csr_array) -> Callable[[], object]:
    """A whole fit."""
    return lambda: create("ease", l2=L2).fit(histories, show_progress=False)


def lapack(histories: csr_array) -> Callable[[], object]:
    """potrf and potri of both halves, and the products between them; only lower triangles are made."""
    whole = gram.gram_matrix(histories).numpy()
    whole[np.diag_indices(len(whole))] += L2
    half = len(whole) // 2
    a11, a21, a22 = (
        np.asfortranarray(whole[rows, columns])
        for rows, columns in (
            (slice(half), slice(half)),
            (slice(half, None), slice(half)),
            (slice(half, None), slice(half, None)),
        )
    )
    del whole

    def work() -> object:
        _invert(a11)
        v = ssymm(1.0, a11, a21, side=1, lower=1)  # A21 A11^-1
        sgemm(-1.0, v, a21, beta=1.0, c=a22, trans_b=1, overwrite_c=1)
        _invert(a22)
        ssymm(-1.0, a22, v, lower=1, c=a21, overwrite_c=1)
        sgemm(-1.0, v, a21, beta=1.0, c=a11, trans_a=1, overwrite_c=1)
        return a11, a21, a22

    return work


def _invert(block: np.ndarray) -> None:
    factor, failed = spotrf(block, lower=1, overwrite_a=1, clean=0)
    inverse, failed_too = spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise RuntimeError(f"LAPACK gave up at row {failed or failed_too}")
    if inverse is not block and not np.shares_memory(inverse, block):
        raise RuntimeError("LAPACK worked on a copy: the time would hold the copying")


def measure(form: str, threads: int) -> tuple[float, float, int]:
    """Seconds, peak MiB and number of items, in this process."""
    limit_threads(threads)
    histories = training_rows()[0]
    work = FORMS[form](histories)
    started = perf_counter()
    work()
    return perf_counter() - started, peak_memory_mib(), histories.shape[1]


FORMS = {"recae's EASE, whole fit": ease, "LAPACK by halves, inverse alone": lapack}


def main() -> None:
    """Compare, print, and write if asked to."""
    parser = parser_of("EASE on Gowalla against the bare LAPACK calls.", "full_solver.md", threads=True)
    parser.add_argument("--rounds", type=int, default=1, help="times each is run")
    options = parser.parse_args()
    threads = limit_threads(options.threads)
    data = training_rows()[1]

    measured: dict[str, list[tuple[float, float, int]]] = {form: [] for form in FORMS}
    spawn = multiprocessing.get_context("spawn")
    for form in track([form for _ in range(options.rounds) for form in FORMS], "solvers"):
        with spawn.Pool(1) as pool:
            measured[form].append(pool.apply(measure, (form, threads)))

    medians = {form: statistics.median(seconds for seconds, _, _ in runs) for form, runs in measured.items()}
    floor = medians["LAPACK by halves, inverse alone"]
    rows = []
    for form, runs in measured.items():
        peak, n_items = max(peak for _, peak, _ in runs), runs[0][2]
        in_matrices = peak * 2**20 / (4 * n_items**2)
        rows.append(
            [
                form,
                f"{medians[form]:.0f}",
                f"**{medians[form] / floor:.2f}**",
                f"{peak:,.0f}",
                f"{in_matrices:.2f}",
            ]
        )
    headings = ("", "s", "ratio", "peak MiB", "peak in matrices")
    about = (
        f"{data}, train part, {n_items:,} items: one float32 matrix of {4 * n_items**2 / 2**20:,.0f} MiB. Peaks are of "
        "the whole process; LAPACK's holds the making of its matrix, which is not in its time. "
        f"Median of {options.rounds} run(s) each, in turns."
    )
    title = "# EASE on Gowalla against the bare LAPACK calls"
    command = f"make bench-solver ARGS='--rounds {options.rounds}'"
    publish(
        (title, about, markdown_table(headings, rows), provenance(command, threads)),
        options.output,
        "full_solver.md",
    )


if __name__ == "__main__":
    main()
