"""`recae retrain`, `runs`, `schedule` and the newer `recae models`: exit statuses, and what is printed."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from recae.artifacts import ModelStore
from recae.cli import cli
from recae.runs import RunTable
from tests.retrain.nights import CONFIG, append, day, eight_days, settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder with settings and eight days of events."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECAE_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "recae.toml").write_text(CONFIG)
    eight_days(settings(tmp_path / ".recae"))
    return tmp_path / ".recae"


def recae(*arguments):
    done = CliRunner().invoke(cli, arguments)
    return done.exit_code, done.output


def test_a_night_is_run_shown_and_listed(home):
    status, said = recae("retrain")

    assert status == 0, said
    (run,) = RunTable(home / "runs").newest_first()
    assert f"run {run.run_id}: promoted" in said
    assert "not_worse" in said
    assert (home / "runs" / run.run_id / "report.html").is_file()
    assert run.run_id in recae("runs", "list")[1]
    assert "beats_popularity" in recae("runs", "show", run.run_id)[1]
    assert json.loads(recae("runs", "show", "--json")[1])["status"] == "promoted"
    assert [each["run_id"] for each in json.loads(recae("runs", "list", "--json")[1])] == [run.run_id]


def test_a_refusal_has_an_exit_status_of_its_own_and_says_why(home):
    recae("retrain")
    append(settings(home), day(8))
    with (home.parent / "recae.toml").open("a") as file:
        file.write('metric = "ndcg@10"\n')
    text = (home.parent / "recae.toml").read_text()
    (home.parent / "recae.toml").write_text(text.replace("settings = { l2 = 10.0 }", 'model = "popularity"'))

    status, said = recae("retrain", "--json")

    run = json.loads(said[said.index("{") :])
    assert status == 3
    assert run["status"] == "refused"
    assert not next(each for each in run["gate"] if each["rule"] == "beats_popularity")["passed"]


def test_a_failure_is_1_and_a_second_run_is_4(home):
    with RunTable(home / "runs").claimed():
        status, said = recae("retrain")
    assert (status, "is going on" in said) == (4, True)

    (home / "events.db").write_bytes(b"no database" * 1_000)
    (home.parent / "recae.toml").write_text(CONFIG.replace("als_trials = 0", "retry_s = 0"))
    status, said = recae("retrain")
    assert status == 1
    assert "failed" in said


def test_a_wrong_setting_is_named_with_its_table(home):
    (home.parent / "recae.toml").write_text("[retrain.gate]\nmargni = 0.1\n")

    status, said = recae("retrain")

    assert status == 1
    assert "'retrain.gate.margni'; did you mean margin?" in said


def test_what_never_ran_is_said(home):
    assert "no runs in" in recae("runs", "list")[1]
    assert recae("runs", "show")[0] == 1
    assert "there is no run 'nine'" in recae("runs", "show", "nine")[1]


def test_a_run_of_a_clock_that_was_ahead_is_shown_only_by_its_name(home):
    table = RunTable(home / "runs")
    table.root.mkdir(parents=True)
    ahead, now = table.begin(datetime(2999, 1, 1, tzinfo=UTC)), table.begin(datetime.now(UTC))

    assert json.loads(recae("runs", "show", "--json")[1])["run_id"] == now.run_id
    assert json.loads(recae("runs", "show", ahead.run_id, "--json")[1])["run_id"] == ahead.run_id


def test_a_misspelt_model_is_refused_before_the_night_comes(home):
    (home.parent / "recae.toml").write_text('[retrain]\nmodel = "eese"\n')
    status, said = recae("schedule", "--at", "03:00")

    assert (status, "no model is named 'eese'" in said) == (1, True)


def test_the_next_times_are_shown_without_waiting(home):
    status, said = recae("schedule", "--at", "03:00", "--timezone", "Europe/Paris", "--dry-run")

    assert status == 0
    assert len(said.splitlines()) == 7
    assert all("T03:00:00+0" in line for line in said.splitlines())


def test_versions_are_compared_and_pruned(home):
    for number in (7, 8, 9):
        append(settings(home), day(number))
        recae("retrain")
    store = ModelStore(home / "models")
    oldest, *_ = store.versions()

    found = json.loads(recae("models", "diff", oldest, "--json")[1])
    assert found["first"] == oldest
    assert found["second"] == store.current()
    assert "watermark" in found["differences"]
    assert found["items_removed"] == 0
    assert 0.5 < found["shared_share"] <= 1.0
    assert "in common" in recae("models", "diff", oldest)[1]

    status, said = recae("models", "prune", "--keep", "1")
    assert status == 0
    assert f"removed {oldest}" in said
    assert len(store.versions()) == 2  # the one in service, and the one before it
