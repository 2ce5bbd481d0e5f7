"""A real gunicorn on a port of this machine: it answers, follows promotions, and ends when told to."""

import http.client
import itertools
import json
import signal
import socket
import sys
from pathlib import Path

import pytest

from recae.api.server import check_free, gunicorn_options
from recae.config import Settings
from recae.errors import ConfigError
from recae.models import create
from tests.servers import PATIENCE_S, free_port, get, running, until
from tests.tastes import ITEMS, LIKES, fitted_ease

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


def test_recae_serve_answers_follows_promotions_and_ends_on_a_signal(home, store):
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], home, port) as process:
        status, headers, body = get(port, "/v1/users/1/recommendations?n=1")
        assert (status, body["items"][0]["title"]) == (200, "Contact (1997)")
        assert headers["X-Model-Version"] == store.current()

        successor = store.save(fitted_ease(), ITEMS)
        store.promote(successor)
        until(lambda: get(port, "/health/ready")[2]["model_version"] == successor, process)

        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
        assert errors.count(f"on http://127.0.0.1:{port}; Ctrl-C ends it") == 1
    written = {path.name for path in home.iterdir()} - {"events.db-shm", "events.db-wal"}
    assert written == {"events.db", "models"}, "nothing else may be written"


def test_a_log_of_json_has_no_other_line_from_the_start_to_the_end(home, store):
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], home, port, RECAE_LOG_FORMAT="json") as process:
        get(port, "/v1/users/1/recommendations?n=1")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)

    messages = [json.loads(line)["message"] for line in errors.splitlines()]
    assert f"serving {store.current()} on http://127.0.0.1:{port}" in messages


def test_a_body_may_have_the_limit_and_not_a_byte_more_whichever_way_it_comes(home, store):
    """The first request of a connection goes through Flask, those after it do not."""
    port, limit = free_port(), 3_000
    cases = itertools.product([False, True], [(-1, 202), (0, 202), (1, 413), (2, 413)])
    with running([sys.executable, "-m", "recae", "serve"], home, port, RECAE_MAX_BODY_BYTES=str(limit)):
        for is_chunked, (over, status) in cases:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            for turn in range(2):
                event = f'[{{"user_id":"1","item_id":"a","event_id":"{is_chunked}-{over}-{turn}"}}]'
                body = event.ljust(limit + over).encode()
                connection.request(
                    "POST",
                    "/v1/events",
                    iter([body]) if is_chunked else body,
                    {"Content-Type": "application/json"},
                    encode_chunked=is_chunked,
                )
                response = connection.getresponse()
                answer = json.loads(response.read())
                assert response.status == status, answer
                if status == 413:
                    assert answer["error"]["message"] == "the body is over this server's limit of 3,000 bytes"
                else:
                    assert answer["accepted"] == 1
            connection.close()


def test_a_chunked_body_over_the_limit_is_refused_whole(home, store):
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], home, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        padded = b'{"items": ["a"]}' + b" " * 2**20  # the part within the limit is a whole object
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/recommendations", iter([padded]), headers, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "body_too_large")
        connection.close()


def test_who_is_refused_before_a_large_body_was_read_hears_that_the_connection_ends(home, store):
    refused = [
        ("POST", "/v1/recommendations", "text/plain", 415),
        ("POST", "/v1/recommendations", "application/json", 413),
        ("PUT", "/v1/recommendations", "application/json", 405),
        ("POST", "/v1/nowhere", "application/json", 404),
    ]
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], home, port, RECAE_MAX_BODY_BYTES="100000"):
        for (method, path, kind, status), size, is_chunked in itertools.product(
            refused, (200, 200_000), (False, True)
        ):
            ends = is_chunked or size == 200_000
            if status == 413 and size == 200:
                continue
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            body = b" " * size
            connection.request(
                method,
                path,
                iter([body]) if is_chunked else body,
                {"Content-Type": kind},
                encode_chunked=is_chunked,
            )
            response = connection.getresponse()
            response.read()
            assert (response.status, response.headers["Connection"]) == (
                status,
                "close" if ends else "keep-alive",
            )
            if not ends:
                before = connection.sock
                connection.request("GET", "/health/live")
                assert connection.getresponse().status == 200
                assert connection.sock is before
            connection.close()


SLOW_TO_READ = """
import sys
from pathlib import Path
import torch
from recae.__main__ import main
from recae.api import serving

read = serving._loaded

def slowly(store, version):
    if "mult_vae" in version:
        Path(sys.argv.pop()).touch()
        for _ in range(2_000):
            torch.rand(500, 500) @ torch.rand(500, 500)
    return read(store, version)

serving._loaded = slowly
main()
"""


def test_a_server_that_is_told_to_stop_while_it_reads_a_model_ends_in_peace(home, store, tmp_path):
    deep = create("mult_vae", n_hidden=4, n_latent=2, epochs=1).fit(LIKES, show_progress=False)
    version, port, begun = store.save(deep, ITEMS), free_port(), tmp_path / "begun"
    command = [sys.executable, "-c", SLOW_TO_READ.replace("sys.argv.pop()", repr(str(begun))), "serve"]
    with running(command, home, port) as process:
        store.promote(version)
        until(begun.exists, process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, "SIG" in errors) == (0, False), errors


def test_gunicorn_with_the_projects_configuration_serves_the_same(home, store):
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "api" / "gunicorn.conf.py")]
    with running(command, home, port):
        _, _, body = get(port, "/v1/items/a/similar?n=2")

    assert {item["item_id"] for item in body["items"]} == {"b", "c"}
    assert body["model_version"] == store.current()


def test_a_port_in_use_is_noticed_before_any_work():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot serve on 127.0.0.1 port {port}: .* --port"):
            check_free(Settings(port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org", "::"])
def test_a_host_that_others_can_reach_is_refused_as_there_are_no_keys_yet(host):
    with pytest.raises(ConfigError, match="no API keys"):
        gunicorn_options(Settings(host=host))


def test_workers_load_the_model_after_the_fork_and_nothing_is_written_home():
    options = gunicorn_options(Settings(host="::1", port=9000, workers=3))

    assert options["bind"] == ["[::1]:9000"]
    assert options["workers"] == 3
    assert options["preload_app"] is False
    assert options["control_socket_disable"] is True
