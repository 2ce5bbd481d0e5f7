"""Two real gunicorn workers: what one is told, the other knows; and what was acknowledged survives a kill."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from recae.config import Settings
from recae.data.eventlog import EventLog
from tests.servers import children, free_port, get, n_sockets, until
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

FOLLOWED_WITHIN_S = 5.0
"""Promised is a second and the time to read the model; the rest is for a machine that is busy with other tests."""
ROUNDS = 24
"""Connections in a row that meet both workers in all likelihood."""


@pytest.fixture
def server(home, store):
    """Port and process of a server with two workers."""
    port = free_port()
    settings = {"RECAE_HOME": str(home), "RECAE_PORT": str(port), "RECAE_WORKERS": "2", "HOME": str(home)}
    process = subprocess.Popen(
        [sys.executable, "-m", "recae", "serve"],
        cwd=home,
        env=os.environ | settings,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until(lambda: all(get(port, "/health/ready")[0] == 200 for _ in range(ROUNDS)), process)
        yield port, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextlib.contextmanager
def eight_connections(port, process):
    """Connections of one client, and a function that tells how many of them each worker has."""
    workers = children(process.pid)
    time.sleep(1)  # the connections that asked whether it is ready are gone
    before = [n_sockets(worker) for worker in workers]

    def taken():
        return [n_sockets(worker) - earlier for worker, earlier in zip(workers, before, strict=True)]

    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(8)]
    try:
        yield connections, taken, [int(worker) for worker in workers]
    finally:
        for connection in connections:
            connection.close()


def send(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def ids(port, path):
    return {item["item_id"] for item in get(port, path)[2]["items"]}


def n_workers_with(port, version):
    """How many processes have a version in service, as `/metrics` counts them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found = re.search(rf'^recae_model_workers{{version="{version}"}} (\S+)$', text, flags=re.MULTILINE)
    return float(found[1]) if found else 0


def test_a_worker_looks_for_a_new_version_at_least_once_a_second():
    assert Settings().reload_s <= 1.0


def test_both_workers_know_at_once_what_an_event_says(server):
    port, _ = server
    for place, item_id in enumerate(["x", "y", "a", "b"]):
        status, body = send(port, "POST", "/v1/events", [{"user_id": "new", "item_id": item_id}])
        assert (status, body["accepted"]) == (202, 1)
        for _ in range(ROUNDS):
            seen = ids(port, "/v1/users/new/recommendations?n=6")
            assert len(seen) == 5 - place, "an acknowledged event counts in every worker"


def test_a_change_of_an_item_and_a_promotion_reach_both_workers(server, store):
    port, process = server
    everything = "/v1/users/1/recommendations?n=4"
    assert send(port, "PATCH", "/v1/items/c", {"hidden": True})[0] == 200
    until(lambda: all("c" not in ids(port, everything) for _ in range(ROUNDS)), process)

    successor = store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE)
    assert send(port, "POST", f"/v1/models/{successor}/promote")[0] == 200
    promoted = time.monotonic()
    until(lambda: n_workers_with(port, successor) == 2, process)
    assert time.monotonic() - promoted < FOLLOWED_WITHIN_S
    assert all(get(port, "/health/ready")[2]["model_version"] == successor for _ in range(ROUNDS))
    assert all("c" not in ids(port, everything) for _ in range(ROUNDS)), (
        "what is hidden stays so in a new model"
    )


def test_what_was_acknowledged_survives_a_kill(server, home):
    port, process = server
    for number in range(20):
        event = {"user_id": "u", "item_id": str(number), "event_id": f"e{number}"}
        assert send(port, "POST", "/v1/events", {"events": [event]})[1]["accepted"] == 1
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    with EventLog.open(Settings(home=home)) as log:
        assert {event.event_id for event in log.history("u").events} == {f"e{n}" for n in range(20)}


def test_connections_are_shared_out_between_the_processes(server):
    """One client's connections, made at once: the first process to wake up must not take them all."""
    with eight_connections(*server) as (connections, taken, _workers):
        for connection in connections:
            connection.connect()
        use(connections)
        found = taken()

    assert sum(found) == 8
    assert min(found) >= 2


def test_connections_that_one_process_took_alone_are_shared_out_while_they_are_used(server):
    """As when a client connects while the other process loads its model: it may keep its connections for days."""
    with eight_connections(*server) as (connections, taken, workers):
        os.kill(workers[0], signal.SIGSTOP)
        try:
            use(connections)
            assert taken()[0] == 0
        finally:
            os.kill(workers[0], signal.SIGCONT)

        until(lambda: use(connections) or taken() == [4, 4], server[1])
        kept = [connection.sock for connection in connections]
        until_then = time.monotonic() + 3.5
        while time.monotonic() < until_then:
            use(connections)
        assert [connection.sock for connection in connections] == kept, "of an even share nobody is sent away"


def use(connections):
    for connection in connections:
        connection.request("GET", "/v1/users/1/recommendations")
        response = connection.getresponse()
        response.read()
        assert response.status == 200
