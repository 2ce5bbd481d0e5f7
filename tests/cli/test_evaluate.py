"""`recae evaluate` and `demo`."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from recae.api import server
from recae.artifacts import ModelStore
from recae.cli import cli
from recae.data import sample
from recae.data.interactions import Interactions
from recae.evaluation import protocol as protocols
from recae.evaluation import report, runner
from recae.models.baselines import Popularity
from recae.models.linear import EASE
from tests.cli.conftest import one_line, run
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS

PROTOCOL = """
name = "two-tastes"
[data]
path = "log.csv"
[split]
kind = "held_out_users"
validation_users = 2
test_users = 2
fold_in = 0.5
[metrics]
report = ["ndcg@3"]
select = "ndcg@3"
[[models]]
name = "popularity"
[[models]]
name = "ease"
search = { l2 = [1.0, 5.0] }
"""


@pytest.fixture
def protocol(tmp_path):
    """Twelve users who like all of one taste: enough to hold some out."""
    tastes = [("abc", range(6)), ("xyz", range(6, 12))]
    lines = [f"{user},{item}" for taste, users in tastes for user in users for item in taste]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id", *lines]) + "\n")
    path = tmp_path / "two-tastes.toml"
    path.write_text(PROTOCOL)
    return path


def test_evaluate_prints_the_table_with_what_it_means_and_writes_the_results(protocol, tmp_path):
    shown = run("evaluate", protocol, "--output", tmp_path / "results")

    for words in ("popularity", "ease", "ndcg", "@3", "ndcg: gain"):
        assert words in shown
    assert json.loads((tmp_path / "results" / "results.json").read_text())["protocol"]["name"] == "two-tastes"


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("afile", "afile is a file, and the results need a folder; name another one"),
        (
            "afile/within",
            "the results cannot be written to afile/within (Not a directory); name another folder",
        ),
        ("", "the folder of the results has no name"),
    ],
)
def test_a_folder_that_cannot_be_written_to_shows_before_any_work(
    protocol, tmp_path, monkeypatch, output, complaint
):
    monkeypatch.setattr(runner, "evaluate", lambda *_, **__: pytest.fail("evaluated"))
    monkeypatch.chdir(tmp_path)
    Path("afile").touch()

    assert complaint in one_line(run("evaluate", protocol, "--output", output, code=1))


def test_a_stopped_evaluation_is_gone_on_with_by_the_same_command(protocol, tmp_path, monkeypatch):
    command = ("evaluate", protocol, "--output", tmp_path / "results")
    fit = EASE._fit

    def stop(*_of):
        raise KeyboardInterrupt

    monkeypatch.setattr(EASE, "_fit", stop)
    stopped = run(*command, code=130)
    monkeypatch.setattr(EASE, "_fit", fit)
    monkeypatch.setattr(Popularity, "_fit", lambda *_of: pytest.fail("fitted again"))
    finished = CliRunner().invoke(cli, [str(word) for word in command]).stderr

    assert (
        "unfinished.jsonl keeps 1 test(s); the same command, nothing changed, goes on after them" in stopped
    )
    assert "going on with an evaluation that was stopped; tested already: popularity with seed 0" in finished
    assert "ease: tested after" in finished
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "per_user.parquet",
        "results.html",
        "results.json",
        "results.md",
    ]


def test_results_that_cannot_be_written_are_printed_all_the_same(protocol, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write", full)
    done = CliRunner().invoke(cli, ["evaluate", str(protocol), "--output", str(tmp_path / "mine")])

    assert done.exit_code == 1
    assert "popularity" in done.stdout
    assert f"not written to {tmp_path / 'mine'}, or not all of them (No space left on device)" in done.stderr


def test_evaluate_for_programs_is_json(protocol):
    assert [model["name"] for model in json.loads(run("evaluate", protocol, "--json"))["models"]] == [
        "popularity",
        "ease",
    ]


def test_a_missing_protocol_is_one_line():
    assert "nowhere.toml" in one_line(run("evaluate", "nowhere.toml", code=1))


@pytest.fixture
def small_demo(protocol, monkeypatch):
    """The demo on the two tastes, and a list of what would have been executed at its end."""
    executed = []
    monkeypatch.setattr(sample, "load_sample", lambda: (Interactions(LIKES, USERS, ITEMS), CATALOGUE))
    monkeypatch.setattr(protocols, "sample_protocol_path", lambda: protocol)
    monkeypatch.setattr(server, "check_free", lambda _settings: None)
    monkeypatch.setattr(os, "execv", lambda _program, arguments: executed.append(arguments))
    return executed


def test_the_demo_evaluates_trains_what_validation_chose_and_serves(small_demo, store, home):
    shown = run("demo", "--port", "8123")
    manifest = store.manifest(store.current())

    assert "popularity" in shown
    assert manifest.model == "ease"
    assert manifest.config["l2"] in {1.0, 5.0}
    assert set(manifest.metrics) == {"ndcg@3"}
    ((program, *arguments),) = small_demo
    assert Path(program).name.startswith("python")
    assert arguments[-7:] == ["-m", "recae", "--home", str(home), "serve", "--port", "8123"]


def test_a_second_demo_shows_the_same_table_without_computing_anything(small_demo, store, monkeypatch):
    first = run("demo", "--no-serve")
    monkeypatch.setattr(runner, "evaluate", lambda *_, **__: pytest.fail("evaluated again"))
    monkeypatch.setattr(ModelStore, "save", lambda *_, **__: pytest.fail("trained again"))

    assert run("demo", "--no-serve") == first
    assert small_demo == [], "--no-serve must not serve"


def test_retrain_computes_anew_and_promotes_the_new_model(small_demo, store):
    run("demo", "--no-serve")
    before = store.current()
    run("demo", "--no-serve", "--retrain")

    assert store.current() != before
    assert store.rollback() == before


def test_the_demo_keeps_a_model_that_is_in_service(small_demo, store, version):
    assert f"model in service: {version}" in run("demo", "--no-serve")
    assert store.versions() == [version]
