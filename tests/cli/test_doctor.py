"""`recae doctor`: what the machine has, and what in the home is broken."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as version_of
from types import SimpleNamespace

from click.testing import CliRunner

from recae.cli import cli
from recae.data.eventlog import Event
from recae.runs import RunTable
from tests.cli.conftest import run
from tests.tastes import ITEMS, fitted_ease


def test_doctor_for_programs_tells_what_is_there_and_what_was_chosen(home):
    found = json.loads(run("doctor", "--json"))

    assert found["processor"]["cores"] >= 1
    assert found["versions"]["torch"] == version_of("torch")
    assert found["memory"]["total"] > 2**28
    assert 0 < found["memory"]["budget"]["size"] <= found["memory"]["total"]
    assert found["chosen"]["threads"] == 1
    assert found["chosen"]["precision"] in {"float32", "bfloat16"}
    assert {pool["threads"] for pool in found["pools"]} == {1}
    assert found["home"] == {"path": str(home.absolute()), "exists": home.exists(), "writable": True}


def test_doctor_for_people_says_the_same_in_words(home):
    shown = run("doctor")

    for word in (
        "processor",
        "memory",
        "GiB more for this process",
        "gpu",
        "openblas",
        "precision",
        "1 threads",
        "writable",
    ):
        assert word in shown
    assert not home.exists(), "looking changes nothing"


def test_doctor_says_when_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()

    done = CliRunner().invoke(cli, ["--home", str(tmp_path / "file" / "home"), "doctor"])

    assert done.exit_code == 1
    assert "BROKEN" in done.stdout
    assert "NOT writable" in done.stdout


def state(code=0):
    """What doctor says of each part, by its name."""
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    assert done.exit_code == code, done.output
    return {found["name"]: (found["ok"], found["says"]) for found in json.loads(done.stdout)["state"]}


def broken():
    """What is broken, by its name; the command ends with 1."""
    return {name: says for name, (ok, says) in state(code=1).items() if not ok}


def test_a_new_home_is_in_order_and_each_part_says_what_makes_it():
    found = state()

    assert all(ok for ok, _ in found.values())
    for name, command in (
        ("model", "recae train"),
        ("event log", "recae ingest"),
        ("last run", "recae retrain"),
    ):
        assert command in found[name][1]


def test_a_home_in_order_says_what_is_in_it(version, log, home):
    log.append([Event("u", "i", timestamp=100), Event("u", "j")])
    log.compact(1_000)
    a_run(home, status="refused", message="too few")

    found = state()

    assert all(ok for ok, _ in found.values())
    assert version in found["model"][1]
    assert found["event log"][1].startswith("2 events in sqlite:///")
    assert "3.0 hours ago: refused, too few" in found["last run"][1]


def a_run(home, *, hours=3, **fields):
    table = RunTable(home / "runs")
    table.root.mkdir(exist_ok=True, parents=True)
    return table.begin(started=datetime.now(UTC) - timedelta(hours=hours), **fields)


def test_a_damaged_model_is_named(store, version):
    path = store.root / version / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])

    assert "weights.safetensors is not what was saved" in broken()["model"]


def test_a_damaged_pointer_is_named(store, version):
    (store.root / "current").write_text("{")

    assert "recae models promote VERSION" in broken()["model"]


def test_a_model_that_the_settings_name_and_that_is_gone_is_named(store, version, monkeypatch):
    other = store.save(fitted_ease(), ITEMS)
    monkeypatch.setenv("RECAE_NAMED_MODELS", json.dumps({"old": other}))
    assert state()["named model"] == (True, f"{other}, all files as they were saved")

    shutil.rmtree(store.root / other)

    assert f"the settings name {other}" in broken()["named model"]


def test_a_log_whose_archive_is_not_complete_is_broken(log, home):
    log.append([Event("u", "i", timestamp=100)])
    log.compact(1_000)
    (partition,) = (home / "events").glob("*.parquet")
    partition.unlink()

    assert f"{partition.name}, a part of the event log, cannot be read" in broken()["event log"]


def test_an_archive_without_its_database_is_broken_and_none_is_made(log, home):
    log.append([Event("u", "i", timestamp=100)])
    log.compact(1_000)
    log.close()
    for file in home.glob("events.db*"):
        file.unlink()

    assert "there is no event log in" in broken()["event log"]
    assert not (home / "events.db").exists()


def test_a_run_that_failed_is_broken_and_the_last_good_one_is_told(home):
    a_run(home, hours=90, status="promoted")
    a_run(home, status="failed", message="no space left")

    said = broken()["last run"]

    assert "3.0 hours ago: failed, no space left" in said
    assert "the last one that promoted a model began 4 days ago" in said


def test_too_little_room_is_broken(version, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))

    assert "1 MB free" in broken()["space"]
    assert "make room" in broken()["space"]


def test_pruning_is_advised_only_where_a_model_would_go(store, version, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert "prune" not in broken()["space"], "the one in service stays"

    other = store.save(fitted_ease(), ITEMS)
    store.promote(other)
    assert "prune" not in broken()["space"], "the one before it stays for a rollback"

    store.promote(store.save(fitted_ease(), ITEMS))
    assert "`recae models prune --keep N` makes some" in broken()["space"]

    monkeypatch.setenv("RECAE_NAMED_MODELS", json.dumps({"old": version}))
    assert "prune" not in broken()["space"], "the settings name it"

    monkeypatch.delenv("RECAE_NAMED_MODELS")
    (store.root / "current").write_text("{")
    assert "prune" not in broken()["space"], "it refuses while nothing tells which one serves"
