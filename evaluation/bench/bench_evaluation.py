"""Evaluation of whole protocols: every metric at every cut-off with EASE on Gowalla, and six models on the sample.

    make bench-evaluation                                          print the table; EASE is fitted first, some minutes
    make bench-evaluation ARGS="--output evaluation/results/bench" write evaluation.md there too
    make bench-evaluation ARGS="--only sample"                     one of the two

What is counted on Gowalla is scoring, ranking and metrics, not the fit, and the memory above that of the fitted model.
"""

import tempfile
import threading
import time
from pathlib import Path

from tables import markdown_table, parser_of, provenance, publish

from recae.data.benchmarks import load_benchmark
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.protocol import load_protocol
from recae.evaluation.report import write
from recae.evaluation.runner import evaluate
from recae.evaluation.scoring import Serving, score_rankings
from recae.evaluation.specs import DEFINITIONS, MetricSpec
from recae.models import create
from recae.recommender import Recommender
from recae.threads import limit_threads

ROOT = Path(__file__).parents[2]
CUT_OFFS = (1, 2, 3, 5, 10, 20, 50, 100)
SIXTH = """
[[models]]
name = "recvae"
settings = { epochs = 30, n_hidden = 200, n_latent = 64, batch_size = 100 }
"""
PAGE = 4096

Row = tuple[str, str, str, str]


def gowalla() -> Row:
    """Every metric of accuracy at every cut-off, for 29,858 users over 40,981 items."""
    split = load_benchmark("gowalla")
    model = create("ease", l2=200.0).fit(split.train.matrix)
    specs = [
        MetricSpec(name, k)
        for name, definition in DEFINITIONS.items()
        if definition.scope == "hits"
        for k in (CUT_OFFS if definition.has_cut else (None,))
    ]
    before, highest, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            highest[0] = max(highest[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    facts = ItemFacts(split.train.matrix)
    score_rankings(Serving(Recommender(model, split.train.items)), split.test, specs, facts)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    extra = f"{(highest[0] - before) / 1e6:,.0f} MB"
    return (f"EASE on Gowalla, {len(specs)} metrics", "20 s, 1,000 MB", f"{seconds:.1f} s", extra)


def sample() -> Row:
    """The sample's protocol with a sixth model: prepare, tune, fit, score, report."""
    with tempfile.TemporaryDirectory() as folder:
        protocol = Path(folder) / "six.toml"
        protocol.write_text((ROOT / "evaluation" / "movielens-small.toml").read_text() + SIXTH)
        began = time.perf_counter()
        results = evaluate(load_protocol(protocol))
        write(results, Path(folder) / "results")
        seconds = time.perf_counter() - began
    return (f"{len(results.models)} models on the sample, report and all", "180 s", f"{seconds:.1f} s", "")


def resident() -> int:
    """Bytes of memory this process holds; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def main() -> None:
    """Print the table, and write it if asked."""
    parts = {"gowalla": gowalla, "sample": sample}
    parser = parser_of("Evaluation of whole protocols.", "evaluation.md")
    parser.add_argument("--only", choices=list(parts))
    options = parser.parse_args()
    threads = limit_threads()
    rows = [part() for name, part in parts.items() if options.only in (None, name)]
    table = markdown_table(("what", "at most", "time", "memory above the model"), rows)
    publish(
        ("# Evaluation", table, provenance("make bench-evaluation", threads)), options.output, "evaluation.md"
    )


if __name__ == "__main__":
    main()
