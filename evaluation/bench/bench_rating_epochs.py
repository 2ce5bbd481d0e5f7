"""Rating autoencoders on MovieLens 1M: the cost of observed entries against that of the same network in dense form.

    make bench-rating                                           both forms in turn in one process, medians and their ratio
    make bench-rating ARGS="--output evaluation/results/bench"  write them there as rating_epochs.md too

The ratings are MovieLens 1M's where ``RECAE_DATA`` holds it, else as many made-up ones of as many users and items.
Both forms have the same weights, loss and optimiser; the dense one reads complete rows with zeros, computes all
outputs and masks those without a rating, as the published code does. float32.
"""

import statistics
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_array
from tables import cost_of, markdown_table, parser_of, provenance, publish
from torch import nn

from recae.data.benchmarks import load_benchmark
from recae.data.interactions import Interactions
from recae.errors import DataError
from recae.models.autorec import AutoRecNetwork
from recae.models.neural import SparseBatch
from recae.models.observed import Entries
from recae.models.sparsefc import SparseFCNetwork
from recae.threads import limit_threads

N_USERS, N_ITEMS, N_RATINGS = 6_040, 3_706, 1_000_000
N_HIDDEN = 500
BATCH_SIZE = 128
CPU = torch.device("cpu")

Work = Callable[[], object]


def item_rows() -> csr_array:
    """Ratings less 3, a row for each item: shape (n_items, n_users)."""
    try:
        found = load_benchmark("ml-1m")
        ratings = found.matrix if isinstance(found, Interactions) else found.train.matrix
    except DataError:
        ratings = made_up()
    rows = csr_array(ratings.T.tocsr())
    rows.data -= 3.0
    return rows


def made_up() -> csr_array:
    """Users and items with popularities as uneven as MovieLens has them, shape (n_users, n_items)."""
    rng = np.random.default_rng(0)
    activity, popularity = (np.exp(rng.normal(scale=1.2, size=n)) for n in (N_USERS, N_ITEMS))
    users = rng.choice(N_USERS, N_RATINGS, p=activity / activity.sum())
    items = rng.choice(N_ITEMS, N_RATINGS, p=popularity / popularity.sum())
    cells = np.unique(users.astype(np.int64) * N_ITEMS + items)
    values = rng.integers(1, 6, len(cells)).astype(np.float32)
    return csr_array((values, np.divmod(cells, N_ITEMS)), shape=(N_USERS, N_ITEMS))


def bench_epoch_autorec() -> Work:
    """AutoRec, one epoch over the items of MovieLens 1M"""
    return autorec_epoch(item_rows(), dense=False)


def bench_epoch_autorec_dense() -> Work:
    """the same network in dense form"""
    return autorec_epoch(item_rows(), dense=True)


def bench_evaluation_sparsefc() -> Work:
    """SparseFC, loss and gradient of all items of MovieLens 1M"""
    return sparsefc_evaluation(item_rows(), dense=False)


def bench_evaluation_sparsefc_dense() -> Work:
    """the same network in dense form"""
    return sparsefc_evaluation(item_rows(), dense=True)


def autorec_epoch(rows: csr_array, *, dense: bool) -> Work:
    """The work: steps of Adam over all rows, in batches drawn anew."""
    torch.manual_seed(0)
    network = AutoRecNetwork(rows.shape[1], N_HIDDEN)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    rng = np.random.default_rng(0)

    def loss_of(part: csr_array) -> torch.Tensor:
        if not dense:
            batch = SparseBatch.of(part, CPU)
            predicted = network.at(network.encode(batch, batch.values), batch)
            return (predicted - batch.values).square().sum() / max(1, part.nnz)
        wanted, observed = complete(part)
        hidden = torch.sigmoid(wanted @ network.input.weight + network.input.bias)
        return masked(network.decode(hidden), wanted, observed) / max(1, part.nnz)

    def epoch() -> None:
        order = rng.permutation(rows.shape[0])
        for start in range(0, len(order), BATCH_SIZE):
            optimiser.zero_grad()
            loss_of(rows[order[start : start + BATCH_SIZE]]).backward()
            optimiser.step()

    return epoch


def sparsefc_evaluation(rows: csr_array, *, dense: bool) -> Work:
    """The work: what L-BFGS asks for at each point."""
    torch.manual_seed(0)
    network = SparseFCNetwork(rows.shape[1], N_HIDDEN, n_embedding=5)
    layers = (network.entrance, network.hidden, network.exit)
    entries = Entries.of(rows, CPU)
    wanted, observed = complete(rows) if dense else (torch.empty(0), torch.empty(0))

    def dense_objective(l2: float, sparsity: float) -> torch.Tensor:
        kernels = [layer.kernel() for layer in layers]
        first, second, last = (layer.weight * kernel for layer, kernel in zip(layers, kernels, strict=True))
        hidden = torch.sigmoid(wanted @ first + network.entrance_bias)
        codes = torch.sigmoid(hidden @ second + network.hidden_bias)
        errors = masked(codes @ last.T + network.exit_bias, wanted, observed)
        weights = sum(layer.weight.square().sum() for layer in layers)
        return 0.5 * (errors + l2 * weights + sparsity * sum(kernel.square().sum() for kernel in kernels))

    def evaluation() -> None:
        nn.Module.zero_grad(network)
        objective = (
            dense_objective(60.0, 0.013) if dense else network.objective(entries, entries.values, 60.0, 0.013)
        )
        objective.backward()

    return evaluation


def complete(rows: csr_array) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows with zeros where nothing is observed, and where something is, as 1.0."""
    observed = csr_array((np.ones_like(rows.data), rows.indices, rows.indptr), shape=rows.shape)
    return torch.from_numpy(rows.toarray()), torch.from_numpy(observed.toarray())


def masked(predicted: torch.Tensor, wanted: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Sum of squared errors where something is observed."""
    return ((predicted - wanted) * observed).square().sum()


def main() -> None:
    """Print the median of each form and their ratio: runs of both take turns, so that other work disturbs both."""
    parser = parser_of("Rating autoencoders against their dense forms.", "rating_epochs.md", threads=True)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each form that count")
    options = parser.parse_args()
    threads = limit_threads(options.threads)
    rows, found = item_rows(), []
    for name, make in (
        ("AutoRec by item, an epoch", autorec_epoch),
        ("SparseFC, an evaluation of loss and gradient", sparsefc_evaluation),
    ):
        both = make(rows, dense=False), make(rows, dense=True)
        for work in both:
            work()  # to warm up
        times = [[cost_of(work)[0] for work in both] for _ in range(options.rounds)]
        ours, dense = (statistics.median(form) for form in zip(*times, strict=True))
        ratios = [slow / fast for fast, slow in times]
        found.append(
            [
                name,
                f"{ours:.2f}",
                f"{dense:.2f}",
                f"**{dense / ours:.1f}**",
                f"{min(ratios):.1f} to {max(ratios):.1f}",
            ]
        )
    headings = ("network", "observed entries, s", "dense, s", "ratio", "ratio of pairs")
    about = (
        f"Median of {options.rounds}, both forms in turn in one process, on MovieLens 1M ({rows.shape[1]:,} users, "
        f"{rows.shape[0]:,} items, {rows.nnz:,} ratings), {N_HIDDEN} units."
    )
    title = "# Rating autoencoders: observed entries against dense forms"
    command = f"make bench-rating ARGS='--rounds {options.rounds}'"
    publish(
        (title, about, markdown_table(headings, found), provenance(command, threads)),
        options.output,
        "rating_epochs.md",
    )


if __name__ == "__main__":
    main()
