"""AutoRec's two kinds of step: an epoch of dense ones against one of lazy ones, on MovieLens 1M and over growing users.

    make bench-steps                                            print the table
    make bench-steps ARGS="--output evaluation/results/bench"   write it there as lazy_steps.md too

By item with the settings of the model, and by user with 100 units. The made-up logs have a million ratings each, at places as
uneven as MovieLens has them, so that only the number of users grows. Times are medians of the epochs after the first, in
seconds of the clock and of the processor: where other work runs, the second are the steadier.
"""

import statistics
import time

import numpy as np
from scipy.sparse import csr_array
from tables import markdown_table, parser_of, provenance, publish

from recae.data.benchmarks import load_benchmark
from recae.data.interactions import Interactions
from recae.errors import DataError
from recae.models import create
from recae.progress import track
from recae.threads import limit_threads

N_ITEMS, N_RATINGS = 40_000, 1_000_000
USERS = (10_000, 30_000, 100_000)
SETTINGS: dict[str, dict[str, object]] = {"by item": {}, "by user": {"by": "user", "n_hidden": 100}}


def movielens() -> csr_array | None:
    """Ratings of MovieLens 1M, shape (n_users, n_items), where ``RECAE_DATA`` holds it."""
    try:
        found = load_benchmark("ml-1m")
    except DataError:
        return None
    return found.matrix if isinstance(found, Interactions) else found.train.matrix


def made_up(n_users: int) -> csr_array:
    """Users and items of uneven activity and popularity, shape (n_users, N_ITEMS)."""
    rng = np.random.default_rng(0)
    ends = [np.cumsum(np.exp(rng.normal(scale=1.2, size=n))) for n in (n_users, N_ITEMS)]
    cells = np.empty(0, dtype=np.int64)
    while len(cells) < N_RATINGS:  # no two in one place
        users, items = (np.searchsorted(end, rng.random(N_RATINGS // 4) * end[-1]) for end in ends)
        cells = np.unique(np.concatenate([cells, users * N_ITEMS + items]))
    cells = np.sort(rng.permutation(cells)[:N_RATINGS])
    stars = rng.integers(1, 6, N_RATINGS).astype(np.float32)
    return csr_array((stars, np.divmod(cells, N_ITEMS)), shape=(n_users, N_ITEMS))


def epoch_times(ratings: csr_array, n_epochs: int, **settings: object) -> tuple[float, float]:
    """Medians over the epochs after the first: seconds of the clock, and of the processor."""
    seconds, of_processor = [], [time.process_time()]

    def note(_epoch: int, took: float, _loss: float | None) -> None:
        seconds.append(took)
        of_processor.append(time.process_time())

    create("autorec", epochs=n_epochs + 1, **settings).fit(ratings, show_progress=False, callback=note)
    return statistics.median(seconds[1:]), statistics.median(np.diff(of_processor)[1:])


def main() -> None:
    """Measure and print."""
    parser = parser_of("AutoRec's dense steps against lazy ones.", "lazy_steps.md", threads=True)
    parser.add_argument("--epochs", type=int, default=3, help="epochs that count, after one that does not")
    options = parser.parse_args()
    threads = limit_threads(options.threads)
    todo = [(kind, n_users) for kind in SETTINGS for n_users in (None, *USERS)]
    rows = []
    for kind, n_users in track(todo, "fits"):
        ratings = movielens() if n_users is None else made_up(n_users)
        if ratings is None:
            continue
        times = {
            adam: epoch_times(ratings, options.epochs, adam=adam, **SETTINGS[kind])
            for adam in ("dense", "lazy")
        }
        auto = create("autorec", **SETTINGS[kind])._kind_of_step(ratings)  # noqa: SLF001 - what it would take
        rows.append(
            [
                f"{kind}, {'MovieLens 1M' if n_users is None else 'made up'}",
                f"{ratings.shape[0]:,} x {ratings.shape[1]:,}",
                *(f"{value:.1f}" for adam in ("dense", "lazy") for value in times[adam]),
                auto,
            ]
        )
    headings = ("ratings", "users x items", "dense, s", "processor", "lazy, s", "processor", "`auto` takes")
    about = (__doc__ or "").split("\n\n")[-1].strip()
    command = f"make bench-steps ARGS='--epochs {options.epochs}'"
    publish(
        (
            "# AutoRec: dense and lazy steps",
            about,
            markdown_table(headings, rows),
            provenance(command, threads),
        ),
        options.output,
        "lazy_steps.md",
    )


if __name__ == "__main__":
    main()
