"""Whether Mult-VAE, RecVAE and DAE in recae's fast form learn as well as in plain dense float32 form.

    make bench-quality                                          on MovieLens 1M
    make bench-quality ARGS="--benchmark gowalla --users 6000 --models mult_vae --seeds 1"
    make bench-quality ARGS="--output evaluation/results/bench"     write it there as deep_quality.md too

All forms get the same settings, epochs and training rows, and each seed draws its own weights, order and dropout. The
same validation users are ranked by the function that serves. No test part is looked at.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from dense_forms import DenseTraining
from tables import markdown_table, parser_of, provenance, publish

from recae.data.benchmarks import load_benchmark
from recae.data.holdout import Split
from recae.evaluation import judge
from recae.models import create
from recae.progress import track
from recae.threads import limit_threads

MODELS = ("mult_vae", "recvae", "dae")
PRECISIONS = ("float32", "bfloat16")
"""Of recae's products: with both, what is measured holds for processors with and without bfloat16. Those without take many times
as long for it."""
METRIC = "ndcg@20"


def validation_of(benchmark: str) -> Split:
    """A benchmark's train part, with its validation part in the place of the test."""
    split = load_benchmark(benchmark)
    if not isinstance(split, Split) or split.validation is None:
        raise SystemExit(f"{benchmark} has no validation part of its own; ml-1m-bars_m1 and gowalla have one")
    return replace(split, test=split.validation, validation=None)


def values(
    model_name: str, split: Split, n_users: int | None, epochs: int, seed: int, precisions: Sequence[str]
) -> dict[str, float]:
    """Validation NDCG of each form after the same epochs."""
    training = split.train.matrix[:n_users]
    dense = DenseTraining(model_name, training, seed=seed)
    for _ in track(range(epochs), f"{model_name} dense, seed {seed}"):
        dense.run_epoch()
    fast = {
        precision: create(model_name, epochs=epochs, seed=seed, precision=precision).fit(training)
        for precision in precisions
    }
    results = judge({"dense": dense.score, **fast}, split, [METRIC])
    return {found.title: found.test[METRIC].value for found in results.models}


def main() -> None:
    """Train, judge, print, and write if asked to."""
    parser = parser_of(
        "Validation NDCG against plain dense float32 PyTorch.", "deep_quality.md", threads=True
    )
    parser.add_argument("--benchmark", default="ml-1m-bars_m1")
    parser.add_argument("--users", type=int, help="train on the first so many users; default: all")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    options = parser.parse_args()
    threads = limit_threads(options.threads)
    split = validation_of(options.benchmark)

    rows = []
    for name in options.models:
        found = [
            values(name, split, options.users, options.epochs, seed, options.precisions)
            for seed in options.seeds
        ]
        for form in found[0]:
            each = [one[form] for one in found]
            spread = f"{statistics.stdev(each):.4f}" if len(each) > 1 else "-"
            rows.append(
                [
                    f"{name}, {'dense' if form == 'dense' else f'recae in {form}'}",
                    " / ".join(f"{value:.4f}" for value in each),
                    f"**{statistics.fmean(each):.4f}**",
                    spread,
                ]
            )
    headings = ("model and form", f"{METRIC} of each seed", "mean", "deviation")
    users = f"the first {options.users:,} users" if options.users else "all users"
    about = (
        f"{METRIC} of the validation part of {options.benchmark} after {options.epochs} epochs over {users} of its train "
        f"part, default settings of the models, seeds {', '.join(map(str, options.seeds))}. The dense form is "
        "`evaluation/bench/dense_forms.py`."
    )
    settings = " ".join(
        (
            f"--benchmark {options.benchmark}",
            *([f"--users {options.users}"] if options.users else []),
            f"--models {' '.join(options.models)} --epochs {options.epochs}",
            f"--seeds {' '.join(map(str, options.seeds))} --precisions {' '.join(options.precisions)}",
        )
    )
    title = "# Validation NDCG against plain dense float32 PyTorch"
    command = f"make bench-quality ARGS='{settings}'"
    publish(
        (title, about, markdown_table(headings, rows), provenance(command, threads)),
        options.output,
        "deep_quality.md",
    )


if __name__ == "__main__":
    main()
