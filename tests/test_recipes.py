"""The recipes are true: every line of api/recipes.md runs against a real server on the bundled sample, in their order."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import PATIENCE_S, free_port, running

ROOT = Path(__file__).parents[1]
RECIPES = (ROOT / "api" / "recipes.md").read_text()
SECTIONS = dict(re.findall(r"^## \d+\. (.*?)\n(.*?)(?=^## |\Z)", RECIPES, flags=re.MULTILINE | re.DOTALL))
MATRIX = "2571"


def environment(folder):
    hidden = {name: value for name, value in os.environ.items() if not name.startswith(("RECAE_", "COV_"))}
    return hidden | {"RECAE_HOME": str(folder / ".recae"), "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    train, serve = (line.split()[1:] for line in blocks(RECIPES, "")[0].splitlines())
    command = [sys.executable, "-m", "recae", *train]
    subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, check=True)
    port = free_port()
    with running([sys.executable, "-m", "recae", *serve], folder / ".recae", port):
        yield f"127.0.0.1:{port}"


def blocks(text, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def curls(section, address):
    """The answers to the section's lines, one after the other."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = blocks(SECTIONS[section], "")[0].splitlines()
    assert all(line.startswith("curl -s ") for line in lines)
    return [curl(line, address) for line in lines]


def curl(line, address):
    typed = line.replace("127.0.0.1:8000", address)  # as a reader types it
    return json.loads(subprocess.run(typed, shell=True, capture_output=True, text=True, check=True).stdout)


def python(section, address):
    (program,) = blocks(SECTIONS[section], "python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace("127.0.0.1:8000", address)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ids(answer):
    assert "items" in answer, answer
    return [item["item_id"] for item in answer["items"]]


def test_there_are_ten_recipes_and_each_is_run_here():
    run_here = set(re.findall(r'"([^"\n]+)"', Path(__file__).read_text()))

    assert len(SECTIONS) == 10
    assert set(SECTIONS) <= run_here


def test_readiness(address):
    (answer,) = curls("Is the server ready?", address)

    assert answer["status"] == "ready"
    assert python("Is the server ready?", address) == f"serves {answer['model_version']}\n"


def test_a_user(address):
    (answer,) = curls("Recommend for a user", address)

    assert ids(answer)[0] == MATRIX
    assert python("Recommend for a user", address).splitlines()[0] == "1 Matrix, The (1999)"


def test_a_history(address):
    (answer,) = curls("Recommend for a history", address)

    assert (answer["strategy"], len(ids(answer))) == ("fold_in", 3)
    assert python("Recommend for a history", address).startswith("fold_in ['")


def test_filters(address):
    by_query, by_body = curls("Only some of the items", address)

    assert len(ids(by_query)) == len(ids(by_body)) == 3
    assert not {"1", "588"} & set(ids(by_body))
    assert python("Only some of the items", address).endswith("] None\n")


def test_explanations(address):
    (answer,) = curls("Say why", address)

    assert [len(item["explanation"]) for item in answer["items"]] == [2, 2]
    assert python("Say why", address).startswith("Matrix, The (1999) because of ['")


def test_a_batch(address):
    (answer,) = curls("Many users in one request", address)

    assert [part["status"] for part in answer["results"]] == [200, 200, 404]
    assert python("Many users in one request", address).startswith(f"200 ['{MATRIX}'")


def test_an_event_changes_the_answer(address):
    section = "Send an event, and see the answer change"
    before, sent, after = curls(section, address)

    assert (before["strategy"], after["strategy"]) == ("fallback", "fold_in")
    assert (sent["accepted"], sent["rejected"]) == (1, [])
    assert ids(before) != ids(after)
    said = python(section, address).splitlines()
    assert said[0].startswith("fallback -> fold_in ['")
    assert said[1] == "['1']"


def test_a_hidden_item_is_gone_and_comes_back(address):
    lines = blocks(SECTIONS["Hide an item"], "")[0].splitlines()
    hide, look, show = lines

    assert curl(hide, address)["hidden"] is True
    until(lambda: MATRIX not in ids(curl(look, address)))
    assert curl(show, address)["hidden"] is False
    until(lambda: MATRIX in ids(curl(look, address)))
    assert python("Hide an item", address) == "True\n"


def until(holds):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "the workers did not follow"
        time.sleep(0.05)


def test_similar_items(address):
    (answer,) = curls("Similar items", address)

    assert answer["items"][0]["title"] == "Toy Story 2 (1999)"
    assert python("Similar items", address).startswith("['Toy Story 2 (1999)', ")


def test_pages(address):
    first, second = curls("Page through", address)

    assert first["next_offset"] == 2
    assert not set(ids(first)) & set(ids(second))
    assert python("Page through", address).splitlines() == [str(ids(first)), str(ids(second))]
