"""A night over a million events: the whole of `recae retrain`, gate, baselines and refit included.

    make bench-retrain                                          print the table
    make bench-retrain ARGS="--output evaluation/results/bench" write retrain.md there too

The log is MovieLens 1M (6,040 users, 3,706 items), every rating an event at a random time of a year, since the file at hand
has none. A first night
learns from all but the newest events and puts a model into service; the night that is measured then meets the rest. The
command runs in a process of its own, as a scheduler starts it; each number is the median of several nights.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tables import markdown_table, parser_of, provenance, publish

from recae.data.benchmarks import load_benchmark
from recae.progress import track
from recae.threads import limit_threads

ROOT = Path(__file__).parents[2]
NEWEST = 0.01
"""Share of the events that come after the first night."""
NIGHTS = 3
ABOUT = """The whole of `recae retrain` over MovieLens 1M: read, fit, judge beside the live model, popularity and tuned ALS,
gate, refit, store, promote."""
START, YEAR_S = 1_700_000_000, 365 * 86_400
BARS_S = {"ease": 90, "mult_vae": 300}
MODELS = {
    "ease": "settings = { l2 = 500.0 }",
    "mult_vae": "settings = { epochs = 100, patience = 10, batch_size = 500 }",
}


def recae(home: Path, *arguments: str) -> str:
    """Run a command in a home; its standard output."""
    environment = os.environ | {"RECAE_HOME": str(home), "RECAE_CONFIG": str(home / "recae.toml")}
    done = subprocess.run(
        [sys.executable, "-m", "recae", *arguments],
        env=environment,
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"recae {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


def prepared(folder: Path, model: str, parts: tuple[Path, Path]) -> Path:
    """A home after its first night, with the newest events in its log."""
    home = folder / model
    home.mkdir()
    (home / "recae.toml").write_text(f'[retrain]\nmodel = "{model}"\nwarm_start = false\n{MODELS[model]}\n')
    recae(home, "ingest", str(parts[0]))
    recae(home, "retrain", "--json")
    recae(home, "ingest", str(parts[1]))
    return home


def main() -> None:
    """Print the table, and write it if asked."""
    parser = parser_of("recae retrain over a million events.", "retrain.md")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--nights", type=int, default=NIGHTS)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="recae-retrain-") as name:
        folder = Path(name)
        log = load_benchmark("ml-1m").to_frame()
        log["timestamp"] = START + np.random.default_rng(0).integers(YEAR_S, size=len(log))
        log = log.sort_values("timestamp", kind="stable")
        cut = int(len(log) * (1 - NEWEST))
        parts = (folder / "before.parquet", folder / "new.parquet")
        for part, path in zip((log[:cut], log[cut:]), parts, strict=True):
            pd.DataFrame(part).to_parquet(path)
        for model in options.models:
            home = prepared(folder, model, parts)
            shutil.copytree(home, folder / "evening")
            seconds, run = [], {}
            for _ in track(range(options.nights), f"nights of {model}"):
                shutil.rmtree(home)
                shutil.copytree(folder / "evening", home)
                began = time.perf_counter()
                run = json.loads(recae(home, "retrain", "--json"))
                seconds.append(time.perf_counter() - began)
            shutil.rmtree(folder / "evening")
            steps = ", ".join(
                f"{step['name']} {step['seconds']:.1f}" for step in run["steps"] if step["seconds"] >= 0.1
            )
            rows.append(
                [
                    model,
                    f"< {BARS_S[model]} s",
                    f"{statistics.median(seconds):.1f} s",
                    " ".join(f"{each:.1f}" for each in seconds),
                    f"{run['status']}: {steps}",
                ]
            )
    headings = ["model", "bar", "median", "nights", "how the last one ended, and its steps in seconds"]
    paragraphs = (
        "# A night over a million events",
        ABOUT,
        markdown_table(headings, rows),
        provenance("make bench-retrain", limit_threads()),
    )
    publish(paragraphs, options.output, "retrain.md")


if __name__ == "__main__":
    main()
