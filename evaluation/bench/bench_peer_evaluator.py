"""Ranking and metrics alone against irspack's C++ evaluator, in one run.

    make bench-peer                                          install irspack in .venv-peer, compare, print
    make bench-peer ARGS="--output evaluation/results/bench"     write peer_evaluator.md there too

Both rank all 40,981 items of Gowalla for its 29,858 users, leave what is known out, and compute recall and NDCG of the
first 20, with the same scores: those of 64 factors, made batch by batch. irspack has an environment of its own, and the
two take turns. The floor is the scores themselves: 157 GFLOP, and 4.9 GB that are written and read once.
"""

import json
import statistics
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.sparse import csr_array
from tables import markdown_table, parser_of, provenance, publish

from recae.data.benchmarks import load_benchmark
from recae.data.holdout import Holdout
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.scoring import Serving, score_rankings
from recae.evaluation.specs import MetricSpec
from recae.models import create
from recae.progress import track
from recae.recommender import Recommender
from recae.threads import limit_threads

N_FACTORS, K = 64, 20

PEER = """
import json, sys, time
import numpy as np
from irspack import Evaluator
from scipy.sparse import csr_matrix

folder, k, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
stored = np.load(folder + "/data.npz")
def matrix(name):
    parts = (stored[name + "_data"], stored[name + "_indices"], stored[name + "_indptr"])
    return csr_matrix(parts, shape=tuple(stored["shape"]))
known, targets, factors = matrix("known"), matrix("targets"), stored["factors"]

class Model:
    X_train_all, n_users, n_items = known, *known.shape
    def get_score_block(self, begin, end):
        return np.asarray(known[begin:end] @ factors) @ factors.T

evaluator = Evaluator(targets, cutoff=k, masked_interactions=known, n_threads=threads)
for _ in sys.stdin:
    start = time.perf_counter()
    found = evaluator.get_score(Model())
    print(json.dumps({"seconds": time.perf_counter() - start, "recall": found["recall"], "ndcg": found["ndcg"]}), flush=True)
"""


def store(folder: Path, holdout: Holdout, factors: np.ndarray) -> None:
    """What both are to work on, for the other environment."""
    parts: dict[str, object] = {"shape": holdout.inputs.shape, "factors": factors}
    for name, matrix in (("known", holdout.inputs), ("targets", holdout.targets)):
        parts |= {f"{name}_{field}": getattr(matrix, field) for field in ("data", "indices", "indptr")}
    np.savez(folder / "data.npz", **parts)


def main() -> None:
    """Compare, print, and write if asked to."""
    parser = parser_of("Ranking and metrics against irspack's evaluator.", "peer_evaluator.md", threads=True)
    parser.add_argument(
        "--peer", type=Path, default=Path(".venv-peer/bin/python"), help="a Python with irspack"
    )
    parser.add_argument("--rounds", type=int, default=5, help="times each that count")
    options = parser.parse_args()
    threads = limit_threads(options.threads)

    split = load_benchmark("gowalla")
    train = csr_array(split.train.matrix)
    test = replace(
        split.test, seen=split.test.inputs
    )  # irspack leaves out what it is given, and nothing else
    model = create("pure_svd", n_factors=N_FACTORS).fit(train, show_progress=False)
    recommender = Recommender(model, split.train.items)
    specs = [MetricSpec.parse(f"recall@{K}"), MetricSpec.parse(f"ndcg@{K}")]
    facts = ItemFacts(train)

    seconds: dict[str, list[float]] = {"recae": [], "irspack": []}
    with tempfile.TemporaryDirectory() as folder:
        store(Path(folder), test, np.asarray(model.item_factors_))
        command = [options.peer, "-c", PEER, folder, str(K), str(threads)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            for _ in track(range(options.rounds + 1), "evaluators"):
                peer.stdin.write("\n")
                peer.stdin.flush()
                theirs = json.loads(peer.stdout.readline())
                started = perf_counter()
                ours = score_rankings(Serving(recommender), test, specs, facts)
                seconds["recae"].append(perf_counter() - started)
                seconds["irspack"].append(theirs["seconds"])
            peer.stdin.close()
    for name in ("recall", "ndcg"):  # the work is the same only if the result is
        if abs(ours[f"{name}@{K}"].value - theirs[name]) > 1e-6:
            raise RuntimeError(f"{name}: recae found {ours[f'{name}@{K}'].value}, irspack {theirs[name]}")

    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    ratios = [
        theirs / ours for ours, theirs in zip(seconds["recae"][1:], seconds["irspack"][1:], strict=True)
    ]
    rows = [
        ["recae", f"{medians['recae']:.2f}", f"**{medians['irspack'] / medians['recae']:.2f}**"],
        ["irspack", f"{medians['irspack']:.2f}", "1.00"],
    ]
    about = (
        f"Seconds to rank all {train.shape[1]:,} items for {test.targets.shape[0]:,} users of Gowalla, known ones left "
        f"out, and compute recall@{K} and ndcg@{K}; scores of {N_FACTORS} factors, made batch by batch. Both found the "
        f"same values. Median of {options.rounds} in turns; ratio of pairs {min(ratios):.2f} to {max(ratios):.2f}."
    )
    title = "# Ranking and metrics against irspack's C++ evaluator"
    ran = f"make bench-peer ARGS='--rounds {options.rounds}'"
    table = markdown_table(("", "s", "times as fast"), rows)
    publish((title, about, table, provenance(ran, threads)), options.output, "peer_evaluator.md")


if __name__ == "__main__":
    main()
