"""Models come and go under a server of two processes that is kept busy: no request fails, no answer is mixed."""

import http.client
import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from recae import in_service
from recae.artifacts import WEIGHTS, ModelStore
from recae.data.idmap import IdMap
from recae.in_service import InService
from tests.raw import connected, read_all, statuses
from tests.servers import PATIENCE_S, children, free_port, get, running, until
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

SERVE = [sys.executable, "-m", "recae", "serve"]
BACKWARDS = IdMap(reversed(list(ITEMS)))
"""The same columns under other names: where the one model says c, the other says x."""


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def store(home):
    return ModelStore(home / "models")


def save(store, items=ITEMS):
    return store.save(fitted_ease(), items, users=USERS, catalogue=CATALOGUE)


@contextmanager
def kept_busy(port, answers, n_threads=4):
    """Ask without a pause until the block ends; ``answers`` collects (status, version of the header, body)."""
    ended = threading.Event()

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not ended.is_set():
            try:
                connection.request("GET", "/v1/users/1/recommendations?n=1")
                response = connection.getresponse()
                body = json.loads(response.read())
            except (OSError, http.client.HTTPException) as error:
                answers.append((None, None, {"failed": repr(error)}))
                break
            answers.append((response.status, response.headers["X-Model-Version"], body))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def value(port, sample):
    """One value of /metrics, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    found = [float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample]
    return found[0] if found else None


def test_swaps_under_load_fail_no_request_and_mix_no_answer(home, store):
    best = {save(store): "c", save(store, BACKWARDS): "x"}
    versions = list(best)
    store.promote(versions[0])
    port, answers = free_port(), []
    with running(SERVE, home, port, RECAE_WORKERS="2", RECAE_LOG_FORMAT="off") as process:
        with kept_busy(port, answers):
            for number in range(1, 9):
                wanted = versions[number % 2]
                if number % 4 == 3:
                    store.rollback()
                else:
                    store.promote(wanted)
                current = store.current()
                until(
                    lambda current=current: value(port, f'recae_model_workers{{version="{current}"}}') == 2.0,
                    process,
                )
        failed = [answer for answer in answers if answer[0] != 200]
        seen = {version for _, version, _ in answers}

        assert failed == []
        assert seen == set(versions)
        for _, version, body in answers:
            assert body["model_version"] == version
            assert [item["item_id"] for item in body["items"]] == [best[version]]
        counted = value(
            port,
            'recae_request_seconds_count{method="GET",route="/v1/users/<id:user_id>/recommendations",status="200"}',
        )
        assert counted == len(answers), "both processes' counts are summed up"
        assert value(port, 'recae_recommendation_seconds_count{strategy="model"}') == len(answers)


def test_a_damaged_version_is_refused_and_told_of_and_the_old_one_serves_on(home, store):
    good, bad = save(store), save(store)
    store.promote(good)
    (store.root / bad / WEIGHTS).write_bytes(b"damaged")
    port, answers = free_port(), []
    with running(SERVE, home, port, RECAE_LOG_FORMAT="off") as process:
        with kept_busy(port, answers, n_threads=2):
            in_service.write(
                store.root, InService(version=bad, before=[good])
            )  # promote would have refused it
            until(lambda: get(port, "/health/ready")[2]["problem"] is not None, process)
        status, _, body = get(port, "/health/ready")

        assert (status, body["model_version"]) == (200, good)
        assert f"{WEIGHTS} is not what was saved" in body["problem"]
        assert value(port, "recae_model_load_failures_total") == 1.0
        assert value(port, f'recae_model_workers{{version="{good}"}}') == 1.0
        assert {(status, version) for status, version, _ in answers} == {(200, good)}

        store.rollback()
        until(lambda: get(port, "/health/ready")[2]["problem"] is None, process)


def test_a_process_that_dies_is_replaced_and_fails_nobody_but_who_it_was_answering(home, store):
    store.promote(save(store))
    port, answers = free_port(), []
    with running(SERVE, home, port, RECAE_WORKERS="2", RECAE_LOG_FORMAT="off") as process:
        workers = children(process.pid)
        with kept_busy(port, answers, n_threads=2):
            os.kill(workers[0], signal.SIGKILL)
            until(lambda: len(set(children(process.pid)) - set(workers)) == 1, process)
            version = store.current()
            until(lambda: value(port, f'recae_model_workers{{version="{version}"}}') == 2.0, process)

        assert {status for status, _, _ in answers} <= {200, None}, (
            "no 503 from a process that has no model yet"
        )
        assert get(port, "/v1/users/1/recommendations?n=1")[0] == 200


def test_a_server_told_to_stop_finishes_what_runs_and_takes_its_counts_away(home, store, tmp_path):
    store.promote(save(store))
    counts = tmp_path / "temporary"
    counts.mkdir()
    port = free_port()
    with running(SERVE, home, port, TMPDIR=str(counts)) as process, connected(port) as sock:
        assert len(list(counts.glob("recae-metrics-*"))) == 1
        head = b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        sock.sendall(head + b"Content-Length: 16\r\n\r\n" + b'{"items"')
        asked = get(port, "/health/live")[0]  # answered after the worker has seen the bytes above
        process.send_signal(signal.SIGTERM)
        until_refused(port)
        sock.sendall(b': ["a"]}')

        assert asked == 200
        assert statuses(read_all(sock)) == [200]
        assert process.wait(PATIENCE_S) == 0
    assert list(counts.glob("recae-metrics-*")) == []


def test_a_server_told_to_stop_refuses_whoever_comes_while_it_finishes(home, store):
    store.promote(save(store))
    port = free_port()
    with running(SERVE, home, port, RECAE_WORKERS="2") as process, connected(port) as sock:
        head = b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        sock.sendall(head + b"Content-Length: 16\r\n\r\n" + b'{"items"')
        assert get(port, "/health/live")[0] == 200
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 8  # the loop looks each second; the request above may take 15
        while is_taken(port):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert process.poll() is None, "it finishes what runs"
        sock.sendall(b': ["a"]}')

        assert statuses(read_all(sock)) == [200]
        assert process.wait(PATIENCE_S) == 0


def is_taken(port):
    """Whether a connection is made, by whomever."""
    try:
        with connected(port):
            return True
    except ConnectionRefusedError:
        return False


def until_refused(port):
    deadline = time.monotonic() + PATIENCE_S
    while get(port, "/health/live")[0] is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_a_killed_server_left_is_removed_by_the_next(home, store, tmp_path):
    store.promote(save(store))
    counts = tmp_path / "temporary"
    counts.mkdir()
    port = free_port()
    with running(SERVE, home, port, TMPDIR=str(counts)) as process:
        process.kill()
        process.wait(PATIENCE_S)
        assert len(list(counts.glob("recae-metrics-*"))) == 1
    second = free_port()
    with running(SERVE, home, second, TMPDIR=str(counts)) as process:
        left = [folder.name.split("-")[2] for folder in counts.glob("recae-metrics-*")]
        assert left == [str(process.pid)]
