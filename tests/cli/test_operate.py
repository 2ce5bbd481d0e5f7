"""`recae models` and `serve`."""

import json

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
    assert json.loads(run("models", "show"))["config"]["l2"] == 9.0
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


def test_a_damaged_pointer_hides_neither_versions_nor_history_and_promote_mends_it(store, version):
    (store.root / "current").write_text("")

    listed = CliRunner().invoke(cli, ["models", "list"])
    history = CliRunner().invoke(cli, ["models", "history"])

    assert (listed.exit_code, history.exit_code) == (0, 0)
    assert version in listed.stdout
    assert f"promoted {version}" in history.stdout
    for done in (listed, history):
        assert "current is damaged" in done.stderr
    assert "recae models promote VERSION" in one_line(run("models", "rollback", code=1))
    run("models", "promote", version)
    assert [row["current"] for row in json.loads(run("models", "list", "--json"))] == [True]


def test_pruning_leaves_models_that_the_settings_name(store, monkeypatch):
    versions = [store.save(fitted_ease(), ITEMS) for _ in range(5)]
    store.promote(versions[4])
    monkeypatch.setenv("RECAE_NAMED_MODELS", json.dumps({"challenger": versions[0]}))
    shares = {"current": 0.4, "challenger": 0.3, versions[1]: 0.3}
    monkeypatch.setenv("RECAE_EXPERIMENT", json.dumps({"name": "deeper", "shares": shares}))

    shown = run("models", "prune", "--keep", "1")

    assert shown.splitlines()[-1] == "2 version(s) removed, 3 left"
    assert store.versions() == [versions[0], versions[1], versions[4]]


def test_serve_refuses_a_host_that_others_can_reach(version):
    assert "no API keys" in one_line(run("serve", "--host", "0.0.0.0", code=1))


def test_serve_hands_its_options_to_the_server_and_says_if_there_is_no_model(monkeypatch):
    served = []
    monkeypatch.setattr(server, "serve", served.append)
    done = CliRunner().invoke(cli, ["serve", "--port", "8123", "--workers", "2"])

    assert "no model is in service" in done.stderr
    assert [(settings.port, settings.workers) for settings in served] == [(8123, 2)]
