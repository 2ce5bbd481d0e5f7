"""Nightly runs over HTTP: begun in a real process, read while and after they run."""

import http.client
import json
import sys
import time

import pytest

from recae.artifacts import ModelStore
from recae.runs import RunTable
from tests.retrain.nights import CONFIG, append, day, settings
from tests.servers import free_port, get, running

PATIENCE_S = 120


@pytest.fixture
def nightly_home(home):
    """A home with settings, eight days of events and a model in service."""
    from recae.retrain import retrain

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
        assert status == 202, begun

        deadline = time.monotonic() + PATIENCE_S
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


def test_a_run_that_is_not_there_is_404_and_none_is_an_empty_list(client):
    assert client.get("/v1/admin/runs").json == {"runs": []}
    for run_id in ("nine", "..", "%2e%2e"):
        assert client.get(f"/v1/admin/runs/{run_id}").status_code == 404
