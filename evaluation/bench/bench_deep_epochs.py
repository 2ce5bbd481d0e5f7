"""Epochs of Mult-VAE, RecVAE and DAE against their plain dense float32 forms, in one run.

    make bench-deep                                         compare, and print the table
    make bench-deep ARGS="--output evaluation/results/bench"    write it there as deep_epochs.md too

On the first users of Gowalla's training part, with all its items; made-up histories of the same size take its place
where RECAE_DATA does not have it. Each form has a process of its own, so that its peak memory is its own and the one's
way to allocate is not the other's. They take turns epoch by epoch, so that whatever else the machine does meets both.
An epoch of all users takes as many times longer as it has more steps; every step has the same sizes.

The floor of Mult-VAE, batch 500, 40,981 items, 600 units: three products of 24.6 GFLOP a step, which are 217 ms at the
340 GFLOP/s that two cores with avx512_bf16 reach in bfloat16, and 13 s in an epoch of 60 steps. Adam over 49 million
weights moves 1.4 GB a step more. In the dense form the products are five, in float32, and new memory is touched at
each step.
"""

import multiprocessing
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter

from bench_ranking import histories
from dense_forms import DenseTraining
from scipy.sparse import csr_array
from tables import markdown_table, parser_of, peak_memory_mib, provenance, publish

from recae.data.benchmarks import load_benchmark
from recae.errors import DataError
from recae.models import create
from recae.progress import track
from recae.threads import limit_threads

N_USERS, N_ITEMS, PER_USER = 29_858, 40_981, 27
"""Gowalla's size."""
BATCH_SIZE = 500
MODELS = ("mult_vae", "recvae", "dae")
FORMS = ("dense", "recae")


@dataclass(frozen=True)
class Epochs:
    """What one form of one model measured."""

    seconds: list[float]
    peak_mib: float


def training_rows() -> tuple[csr_array, str]:
    """Gowalla's training part and its name, or histories of its size."""
    try:
        split = load_benchmark("gowalla")
    except DataError:
        return histories(N_USERS, N_ITEMS, PER_USER), "made-up histories of Gowalla's size"
    return split.train.matrix, "Gowalla"


def serve(pipe: Connection, form: str, model_name: str, n_users: int, rounds: int, threads: int) -> None:
    """Run an epoch whenever the other end asks, and answer with its seconds; at the end, with the peak memory."""
    limit_threads(threads)
    training = training_rows()[0][:n_users]

    def answer(_epoch: int, seconds: float, _loss: float) -> None:
        pipe.send(seconds)
        pipe.recv()

    pipe.recv()
    run = epochs_of_recae if form == "recae" else epochs_of_dense
    run(model_name, training, rounds, answer)
    pipe.send(peak_memory_mib())


def epochs_of_recae(
    model_name: str, training: csr_array, rounds: int, answer: Callable[[int, float, float], None]
) -> None:
    """As anybody trains: one `fit`."""
    model = create(model_name, epochs=rounds, batch_size=BATCH_SIZE)
    model.fit(training, show_progress=False, callback=answer)


def epochs_of_dense(
    model_name: str, training: csr_array, rounds: int, answer: Callable[[int, float, float], None]
) -> None:
    """The same schedule on dense rows."""
    dense = DenseTraining(model_name, training, batch_size=BATCH_SIZE)
    for epoch in range(rounds):
        started = perf_counter()
        loss = dense.run_epoch()
        answer(epoch, perf_counter() - started, loss)


def compare(model_name: str, n_users: int, rounds: int, threads: int) -> dict[str, Epochs]:
    """Epochs of both forms in turns; the first of each warms up and does not count."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes, seconds = {}, [], {form: [] for form in FORMS}
    for form in FORMS:
        pipes[form], far = spawn.Pipe()
        arguments = (far, form, model_name, n_users, rounds + 1, threads)
        processes.append(spawn.Process(target=serve, args=arguments))
        processes[-1].start()
        far.close()
    for _ in track(range(rounds + 1), model_name):
        for form in FORMS:
            pipes[form].send("go on")
            seconds[form].append(pipes[form].recv())
    for form in FORMS:
        pipes[form].send("end")
    measured = {form: Epochs(seconds[form][1:], pipes[form].recv()) for form in FORMS}
    for process in processes:
        process.join()
    return measured


def row(model_name: str, measured: dict[str, Epochs], n_steps: int, n_all: int) -> list[str]:
    """One line of the table."""
    medians = {form: statistics.median(epochs.seconds) * n_all / n_steps for form, epochs in measured.items()}
    pairs = zip(measured["dense"].seconds, measured["recae"].seconds, strict=True)
    ratios = [dense / recae for dense, recae in pairs]
    return [
        model_name,
        *(f"{medians[form]:.1f}" for form in FORMS),
        f"**{medians['dense'] / medians['recae']:.1f}**",
        f"{min(ratios):.1f} to {max(ratios):.1f}",
        *(f"{measured[form].peak_mib:,.0f}" for form in FORMS),
    ]


def main() -> None:
    """Compare, print, and write if asked to."""
    parser = parser_of("Training epochs against plain dense float32 PyTorch.", "deep_epochs.md", threads=True)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--steps", type=int, default=6, help="steps in a pass of a measured epoch")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each form that count")
    options = parser.parse_args()
    threads = limit_threads(options.threads)
    data = training_rows()[1]
    n_all = -(-N_USERS // BATCH_SIZE)

    rows = [
        row(name, compare(name, options.steps * BATCH_SIZE, options.rounds, threads), options.steps, n_all)
        for name in options.models
    ]
    headings = ("model", "dense s", "recae s", "ratio", "ratio of pairs", "dense peak MiB", "recae peak MiB")
    command = f"make bench-deep ARGS='--models {' '.join(options.models)} --steps {options.steps} --rounds {options.rounds}'"
    about = (
        f"Seconds for one epoch of {N_USERS:,} users and {N_ITEMS:,} items ({data}), batch {BATCH_SIZE}, 600 "
        "hidden units and 200 dimensions of the code, of DAE 200 hidden units; an epoch of RecVAE is three passes for the "
        f"encoder and one for the decoder. Median of {options.rounds} epochs of {options.steps} steps a pass, scaled to {n_all} "
        "steps; the two forms took turns. The dense form is `evaluation/bench/dense_forms.py`."
    )
    title = "# Training epochs against plain dense float32 PyTorch"
    publish(
        (title, about, markdown_table(headings, rows), provenance(command, threads)),
        options.output,
        "deep_epochs.md",
    )


if __name__ == "__main__":
    main()
