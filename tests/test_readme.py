"""The README is true: its commands run, and its answers are what a server gives."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import free_port, running

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
LINES = [line.split(" #")[0].strip() for kind, block in BLOCKS if not kind for line in block.splitlines()]
CURLS = [line for line in LINES if line.startswith("curl ")]
ANSWERS = [json.loads(block) for kind, block in BLOCKS if kind == "json"]
COMMANDS = [line for line in LINES if line.startswith("recae ")]
RESULTS = json.loads((ROOT / "evaluation/results/movielens-small/results.json").read_text())
CHANGING = {"recommendation_id", "model_version", "took_ms"}
"""Fields of an answer that differ from one request, or one training, to the next."""
METRICS = {"Recall@": "recall@", "NDCG@": "ndcg@", "HR@": "hit_rate@", "RMSE": "rmse"}
"""How the table of benchmarks and the results call a metric."""

SERVE, EVALUATE = "recae serve", "recae evaluate evaluation/movielens-small.toml --output results"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder like the checkout, whose home holds what `make run` leaves: EASE with the settings the table chose."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("data", "evaluation"):
        (folder / name).symlink_to(ROOT / name)
    (chosen,) = (model["settings"] for model in RESULTS["models"] if model["name"] == "ease")
    recae(folder, "train", "--model", "ease", *(f"--set={key}={value}" for key, value in chosen.items()))
    return folder


def environment(folder, **more):
    hidden = {name: value for name, value in os.environ.items() if not name.startswith(("RECAE_", "COV_"))}
    return hidden | {"RECAE_HOME": str(folder / ".recae"), "COLUMNS": "120"} | more


def recae(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "recae", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_line_of_the_readme_is_a_command_that_a_test_here_runs():
    assert {line.split()[0] for line in LINES if line} == {"make", "curl", "recae"}
    assert CURLS
    assert len(CURLS) == len(ANSWERS)
    assert {SERVE, EVALUATE} <= set(COMMANDS)


def test_make_run_is_the_demo_that_the_wheel_is_tested_with():
    makes = [line for line in LINES if line.startswith("make ")]
    assert makes == ["make run", "make test"]
    recipe = subprocess.run(
        ["make", "--no-print-directory", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert recipe.splitlines()[-1].strip() == ".venv/bin/recae demo"


@pytest.fixture(scope="module")
def address(workplace):
    port = free_port()
    with running([sys.executable, "-m", *SERVE.split()], workplace / ".recae", port):
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize(("curl", "answer"), list(zip(CURLS, ANSWERS, strict=True)), ids=CURLS)
def test_the_curl_lines_get_the_answers_shown(curl, answer, address):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    line = curl.replace("127.0.0.1:8000", address)
    done = subprocess.run(
        line, shell=True, capture_output=True, text=True, check=True
    )  # as a reader types it
    assert lasting(json.loads(done.stdout)) == lasting(answer)


def lasting(answer):
    """What of an answer stays the same, scores to the digits shown."""
    if isinstance(answer, dict):
        return {key: lasting(value) for key, value in answer.items() if key not in CHANGING}
    if isinstance(answer, list):
        return [lasting(value) for value in answer]
    return pytest.approx(answer, abs=2e-4) if isinstance(answer, float) else answer


@pytest.fixture(scope="module")
def own_workplace(workplace, tmp_path_factory):
    """The commands train and roll back: what they change, the server's answers must not see."""
    folder = tmp_path_factory.mktemp("own") / "workplace"
    return shutil.copytree(workplace, folder, symlinks=True)


@pytest.mark.timeout(900)  # nineteen commands, each a process of its own: minutes on a slow machine
def test_the_command_lines_work_one_after_the_other(own_workplace):
    shown = {}
    for command in COMMANDS:
        if command not in {SERVE, EVALUATE}:
            words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)][1:]
            shown[command] = recae(own_workplace, *words)
    for command, text in shown.items():
        assert "(19" in text or not command.startswith(("recae recommend ", "recae similar")), (
            "titles are shown"
        )


@pytest.mark.timeout(900)  # a minute alone on two cores, many on a busy machine
def test_evaluating_the_sample_repeats_the_committed_numbers(own_workplace):
    recae(own_workplace, *EVALUATE.split()[1:])
    found = json.loads((own_workplace / "results" / "results.json").read_text())

    assert found["data"]["sha256"] == RESULTS["data"]["sha256"]
    for model, committed in zip(found["models"], RESULTS["models"], strict=True):
        # gradient steps round differently on another processor, or with another number of threads
        is_exact = model["name"] != "mult_vae"
        tolerance = 1e-3 if is_exact else 0.03
        assert model["chosen"] == committed["chosen"] or not is_exact
        for metric, measured in model["test"].items():
            wanted = pytest.approx(committed["test"][metric]["value"], abs=tolerance, rel=tolerance)
            assert measured["value"] == wanted, (model["name"], metric)


def test_the_table_of_the_readme_is_that_of_the_results():
    rows = {name: values for name, *values in table_of(README)}
    assert [model["title"] for model in RESULTS["models"]] == list(rows)
    for model in RESULTS["models"]:
        values = [f"{measured['value']:.4f}" for measured in model["test"].values()]
        assert rows[model["title"]] == values[: len(rows[model["title"]])]


def test_the_table_of_benchmarks_is_what_their_results_hold():
    rows, models = benchmarks_of(README), []
    assert len(rows) >= 10
    for claim, link in rows:
        found = json.loads((ROOT / link).with_name("results.json").read_text())["models"]
        claimed = dict(re.findall(r"([A-Z]\w+(?:@\d+)?) (\.\d{4})", claim))
        assert claimed, claim
        for shown, called in METRICS.items():
            claimed = {name.replace(shown, called): value for name, value in claimed.items()}
        models += [
            (claim, model)
            for model in found
            if claimed.items()
            <= {name: f"{of['value']:.4f}".lstrip("0") for name, of in model["test"].items()}.items()
        ]
    assert [claim for claim, _ in models] == [claim for claim, _ in rows], "one model of its results each"
    for claim, model in models:
        n_seeds = re.search(r"\((\d) (?:seeds|splits)\)", claim)
        assert int(n_seeds[1] if n_seeds else 1) == (len(model["seeds"]) or 1), claim


def benchmarks_of(markdown):
    """What the table of benchmarks claims, and the results that a row names, or the one before it."""
    rows, link = [], None
    lines = markdown.split("| made by |\n")[1].splitlines()[1:]
    for line in lines[: lines.index("")]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[4] != "the same":
            [link] = re.findall(r"\((evaluation/results/.+?)\)", cells[4])
        rows.append((cells[2], link))
    return rows


def test_both_autoencoders_beat_popularity_by_a_quarter():
    ndcg = {model["name"]: model["test"]["ndcg@100"]["value"] for model in RESULTS["models"]}
    assert min(ndcg["ease"], ndcg["mult_vae"]) >= 1.25 * ndcg["popularity"]


def table_of(markdown):
    """Rows of the table of numbers: the name of a model, then its values without marks."""
    rows = re.findall(r"^\| (\w+) \|((?: [*0-9.]+ \|)+)$", markdown, flags=re.MULTILINE)
    return [(name, *re.findall(r"[0-9.]+", values)) for name, values in rows]


def test_the_python_lines_print_titles(own_workplace):
    (program,) = (block for kind, block in BLOCKS if kind == "python")
    settings = environment(own_workplace)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=own_workplace,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(ast.literal_eval(done.stdout)) == 3
