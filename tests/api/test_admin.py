"""Nightly runs over HTTP: begun in a real process, read while and after they run."""

import http.client
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from recae.api import create_app
from recae.artifacts import ModelStore
from recae.config import Settings
from recae.runs import RunTable
from tests.retrain.nights import CONFIG, append, day, settings
from tests.servers import free_port, get, running

PATIENCE_S = 120


@pytest.fixture
def nightly_home(home):
    """A home with settings, eight days of events and a model in service."""
    from recae.retrain.nightly import retrain

    home.mkdir(parents=True, exist_ok=True)
    (home / "recae.toml").write_text(CONFIG)
    where = settings(home)
    for number in range(8):
        append(where, day(number))
    assert retrain(where, show_progress=False).status == "promoted"
    return home


def post(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("POST", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_run_is_begun_in_its_own_process_and_its_model_comes_into_service(nightly_home):
    append(settings(nightly_home), day(8))
    before, port = ModelStore(nightly_home / "models").current(), free_port()
    with running([sys.executable, "-m", "recae", "serve"], nightly_home, port):
        status, begun = post(port, "/v1/admin/retrain")
        deadline = time.monotonic() + PATIENCE_S
        if status == 503:  # a machine on which the imports alone take as long as a request may
            assert "it goes on, and GET /v1/admin/runs will show it" in begun["error"]["message"]
            while len(runs := get(port, "/v1/admin/runs")[2]["runs"]) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            begun = runs[0]
        else:
            assert status == 202, begun

        while (run := get(port, f"/v1/admin/runs/{begun['run_id']}")[2])["status"] == "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert run["status"] == "promoted", run["message"]
        assert run["version"] != before
        assert {"candidate", "live", "popularity"} == set(run["metrics"])
        assert all(verdict["passed"] for verdict in run["gate"])

        assert [each["run_id"] for each in get(port, "/v1/admin/runs?n=1")[2]["runs"]] == [begun["run_id"]]
        while get(port, "/health/ready")[2]["model_version"] != run["version"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_while_a_run_goes_on_another_is_a_conflict(client, home):
    with RunTable(home / "runs").claimed():
        response = client.post("/v1/admin/retrain")

    assert response.status_code == 409
    assert response.json["error"]["code"] == "busy"


@pytest.fixture
def slow_to_begin(tmp_path, monkeypatch):
    """What stands for `recae retrain` holds no claim for a minute; gives the processes that were started."""
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    started, popen = [], subprocess.Popen
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **more: started.append(popen(*args, **more)) or started[-1]
    )
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_of_requests_at_the_same_moment_one_begins_a_run_and_the_others_are_conflicts(
    recommender, home, slow_to_begin
):
    app = create_app(Settings(home=home, request_timeout_s=1), recommender)
    together = threading.Barrier(4)

    def ask(_number):
        client = app.test_client()
        together.wait()
        return client.post("/v1/admin/retrain").status_code

    with ThreadPoolExecutor(4) as threads:
        statuses = sorted(threads.map(ask, range(4)))

    assert statuses == [409, 409, 409, 503], "the one that began it tells that it is slow"
    assert len(slow_to_begin) == 1


def test_while_a_run_imports_another_is_a_conflict_and_after_its_death_no_longer(
    recommender, home, slow_to_begin
):
    client = create_app(Settings(home=home, request_timeout_s=0.2), recommender).test_client()
    assert client.post("/v1/admin/retrain").status_code == 503
    assert client.post("/v1/admin/retrain").status_code == 409
    assert len(slow_to_begin) == 1

    slow_to_begin[0].kill()
    slow_to_begin[0].wait()
    assert client.post("/v1/admin/retrain").status_code == 503
    assert len(slow_to_begin) == 2


def test_a_folder_of_runs_that_cannot_be_made_is_told_of(client, home):
    home.mkdir(parents=True, exist_ok=True)
    (home / "runs").write_text("no folder")
    response = client.post("/v1/admin/retrain")
    assert response.status_code == 503
    assert response.json["error"]["code"] == "not_begun"
    assert "runs" in response.json["error"]["message"]


def test_a_run_that_is_slow_to_begin_is_told_of_before_the_connection_is_cut(
    recommender, home, slow_to_begin
):
    client = create_app(Settings(home=home, request_timeout_s=1), recommender).test_client()

    began = time.monotonic()
    response = client.post("/v1/admin/retrain")

    assert len(slow_to_begin) == 1
    assert time.monotonic() - began < 30, "not the minute that the run takes"
    assert response.status_code == 503
    assert "within 0.95 s; it goes on" in response.json["error"]["message"]


def test_a_run_is_found_below_those_of_a_clock_that_was_ahead(client, home, monkeypatch):
    table, begun = RunTable(home / "runs"), []
    table.root.mkdir(parents=True)
    for year in (2999, 3000, 3001):
        table.begin(datetime(year, 1, 1, tzinfo=UTC))

    def begin(*_args, **_more):
        begun.append(table.begin(datetime.now(UTC)).run_id)
        return SimpleNamespace(poll=lambda: None, wait=lambda: 0)

    monkeypatch.setattr(subprocess, "Popen", begin)

    response = client.post("/v1/admin/retrain")

    assert response.status_code == 202
    assert response.json == {"run_id": begun[0]}


def test_a_run_that_is_not_there_is_404_and_none_is_an_empty_list(client):
    assert client.get("/v1/admin/runs").json == {"runs": []}
    for run_id in ("nine", "..", "%2e%2e"):
        assert client.get(f"/v1/admin/runs/{run_id}").status_code == 404
