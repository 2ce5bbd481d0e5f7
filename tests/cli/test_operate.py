"""`recae models`, `serve` and `doctor`."""

import json
from importlib.metadata import version as version_of

from click.testing import CliRunner

from recae.api import server
from recae.cli import cli
from tests.cli.conftest import one_line, run
from tests.tastes import ITEMS, fitted_ease


def test_models_are_listed_promoted_and_rolled_back(store, version):
    successor = store.save(fitted_ease(l2=9.0), ITEMS)

    assert run("models", "promote", successor) == f"promoted {successor} (was {version})\n"
    listed = json.loads(run("models", "list", "--json"))
    assert {row["version"]: row["current"] for row in listed} == {version: False, successor: True}
    assert version in run("models", "list")
    assert json.loads(run("models", "show"))["config"] == {"l2": 9.0}
    assert run("models", "rollback") == f"serving {version} again (was {successor})\n"
    assert store.current() == version


def test_an_empty_store_says_so():
    assert "no models in" in run("models", "list")
    assert json.loads(run("models", "list", "--json")) == []
    assert "run `recae train`" in one_line(run("models", "show", code=1))


def test_a_damaged_version_does_not_hide_the_others(store, version):
    other = store.save(fitted_ease(), ITEMS)
    (store.root / other / "manifest.json").write_text("{")

    done = CliRunner().invoke(cli, ["models", "list"])

    assert done.exit_code == 0
    assert version in done.stdout
    assert f"{other}/manifest.json cannot be read" in done.stderr


def test_serve_refuses_a_host_that_others_can_reach(version):
    assert "no API keys" in one_line(run("serve", "--host", "0.0.0.0", code=1))


def test_serve_hands_its_options_to_the_server_and_says_if_there_is_no_model(monkeypatch):
    served = []
    monkeypatch.setattr(server, "serve", served.append)
    done = CliRunner().invoke(cli, ["serve", "--port", "8123", "--workers", "2"])

    assert "no model is in service" in done.stderr
    assert [(settings.port, settings.workers) for settings in served] == [(8123, 2)]


def test_doctor_for_programs_tells_what_is_there_and_what_was_chosen(home):
    found = json.loads(run("doctor", "--json"))

    assert found["processor"]["cores"] >= 1
    assert found["versions"]["torch"] == version_of("torch")
    assert found["memory"]["total"] > 2**28
    assert found["chosen"]["threads"] == 1
    assert found["chosen"]["precision"] in {"float32", "bfloat16"}
    assert {pool["threads"] for pool in found["pools"]} == {1}
    assert found["home"] == {"path": str(home.absolute()), "exists": home.exists(), "writable": True}


def test_doctor_for_people_says_the_same_in_words(home):
    shown = run("doctor")

    for word in ("processor", "memory", "GiB", "precision", "1 threads", "writable"):
        assert word in shown
    assert not home.exists(), "looking changes nothing"


def test_doctor_says_when_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()

    assert "NOT writable" in run("--home", tmp_path / "file" / "home", "doctor")
