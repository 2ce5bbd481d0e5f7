"""A real gunicorn against clients that send garbage, break off, lie about lengths or never finish.

Whatever they do: no 500, no HTML, no worker that is stuck, and others go on being answered.
"""

import contextlib
import json
import logging
import os
import re
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.http.errors import InvalidHeader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recae.api.worker import RequestWorker
from recae.artifacts import ModelStore
from tests.raw import connected, exchange, read_all, statuses
from tests.servers import children, free_port, get, running
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

REQUEST_TIMEOUT_S = "2"
THREADS = 32
N_CONNECTIONS = 1_000
POST = b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /v1/users/1/recommendations?n=1 HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Port and process."""
    home = tmp_path_factory.mktemp("served")
    store = ModelStore(home / "models")
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE))
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECAE_HOME", str(home))
        patch.setenv("RECAE_REQUEST_TIMEOUT_S", REQUEST_TIMEOUT_S)
        patch.setenv("RECAE_LOG_FORMAT", "off")
        with running([sys.executable, "-m", "recae", "serve"], home, port) as process:
            yield port, process


@pytest.fixture(scope="module")
def server(served):
    return served[0]


@pytest.fixture
def port(server):
    yield server
    assert get(server, "/v1/users/1/recommendations?n=1")[0] == 200, "others must still be answered"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60 + b"\r\n\r\n", 400),  # TLS
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"\xff\xfe\xfd\r\n\r\n", 400),
        (GET + b"bad header\r\n\r\n", 400),
        (GET + b"X-API-Key secret\r\n\r\n", 400),
        (GET + b"X-API-Key : secret\r\n\r\n", 400),
        (GET + b"X-API-Key: a\x00b\r\n\r\n", 400),
        (GET + b"A b: c\r\n\r\n", 400),
        (GET + b"X: " + b"y" * 9_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", 414),
        (POST + b"Content-Length: -5\r\n\r\n{}", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", 400),
        (POST + b"Content-Length: two\r\n\r\n{}", 400),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n{}", 400),
    ],
)
def test_what_is_no_http_is_refused_as_json(port, sent, status):
    received = exchange(port, sent)
    head, _, body = received.partition(b"\r\n\r\n")

    assert statuses(received) == [status]
    assert b"Content-Type: application/json" in head
    error = json.loads(body)
    assert error["error"]["code"] == "bad_request"
    assert f"X-Request-ID: {error['request_id']}".encode() in head
    assert re.search(rb"X-Model-Version: \S+-ease-", head)
    assert b"secret" not in received


def test_what_is_no_http_leaves_its_kind_in_the_log_and_none_of_its_text(caplog):
    ours, theirs = socket.socketpair()
    worker = SimpleNamespace(
        log=logging.getLogger("test"), _state=SimpleNamespace(served=SimpleNamespace(version="v1"))
    )
    with ours, theirs:
        error = InvalidHeader("X-API-Key secret")
        RequestWorker.handle_error(worker, None, ours, ("127.0.0.1", 1), error)
        received = theirs.recv(10_000)

    assert statuses(received) == [400]
    assert "invalid header" in caplog.text
    assert "secret" not in caplog.text + received.decode()


@pytest.mark.parametrize(
    ("sent", "first"),
    [
        (POST + b'Content-Length: 100\r\n\r\n{"items": ["a"', [400]),
        (POST + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"ite', [400]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", [400]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}garbage", [400]),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\n{}", [413]),
        (POST + b"Content-Length: 1\r\n\r\n{}", [400]),  # the rest counts as the next request
        (b"GET /v1/us", []),
        (GET, []),
        (b"", []),
    ],
)
def test_what_breaks_off_or_lies_about_its_length_gets_an_error_or_nothing(port, sent, first):
    received = exchange(port, sent)

    assert statuses(received)[:1] == first
    assert all(400 <= status < 500 for status in statuses(received)), received
    assert b"<html" not in received


def test_two_requests_in_one_packet_are_two_answers(port):
    received = exchange(port, GET + b"\r\n" + GET + CLOSE)

    assert statuses(received) == [200, 200]


@pytest.mark.parametrize(
    "start",
    [b"GET /v1", GET, POST + b"Content-Length: 10\r\n\r\n{", POST + b"Transfer-Encoding: chunked\r\n\r\n"],
)
def test_more_clients_than_threads_that_never_finish_are_cut_off_and_others_served(port, start):
    with contextlib.ExitStack() as stack:
        stuck = [stack.enter_context(connected(port)) for _ in range(THREADS + 8)]
        for sock in stuck:
            sock.sendall(start)
        assert get(port, "/health/live")[0] == 200
        for sock in stuck:
            assert read_all(sock) == b""


def test_a_client_that_drips_is_cut_off_however_often_it_sends(port):
    with connected(port) as sock:
        sock.settimeout(0.1)
        sock.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        sent, received = 0, None
        while received is None:
            assert sent < 600, "it went on for a minute"
            try:
                sock.sendall(b" ")
                sent += 1
                received = sock.recv(1_000)
            except TimeoutError:
                continue
            except OSError:
                received = b""
        assert received == b""


def test_connections_that_send_nothing_stand_in_nobodys_way(port):
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connected(port))
        assert get(port, "/health/live")[0] == 200


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.booleans())
def test_whatever_bytes_arrive_nothing_is_a_bug(server, data, in_body):
    length = str(len(data)).encode()
    received = exchange(
        server, POST + b"Content-Length: " + length + b"\r\n" + CLOSE + data if in_body else data
    )

    assert statuses(received) or not in_body, "a request that is whole gets an answer"
    assert all(status == 200 or 400 <= status < 500 for status in statuses(received)), received
    assert b"<html" not in received


SPEC = json.loads((Path(__file__).parents[2] / "api" / "openapi.json").read_text(encoding="utf-8"))
ROUTES = [
    (method.upper(), re.sub(r"{\w+}", "nobody", path))
    for path, operations in SPEC["paths"].items()
    for method in operations
    if path != "/v1/admin/retrain"  # would start a process
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_on_every_route_no_body_however_broken_is_a_bug(port, method, path):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    for body in (b"", b"\xff\xfe", b"{", b"null", b'["\\ud800"]', b'{"n": 1e999}', b"[" * 5_000):
        received = exchange(port, head + b"Content-Length: %d\r\n" % len(body) + CLOSE + body)
        (status,) = statuses(received)
        assert status < 500, received
    for broken in (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"):
        assert all(status < 500 for status in statuses(exchange(port, head + broken)))


def test_slashes_that_are_encoded_belong_to_the_id(port):
    def status(method, path, body=b""):
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        if body:
            head += "Content-Type: application/json\r\n"
        return statuses(exchange(port, head.encode() + CLOSE + body))

    for path in ("/v1/items/%2Fa", "/v1/items/b%2fevents", "/v1/items/c%2Fsimilar"):
        assert status("PUT", path, b'{"title": "It"}') == [200]
        assert status("GET", path) == [200]
        assert status("DELETE", path) == [200]
        assert status("GET", path) == [404]
    assert status("DELETE", "/v1/users/u%2Fevents") == [200]
    assert status("DELETE", "/v1/users/u/events") == [405], "these are the events of u"
    assert status("GET", "/v1/users/u%2Frecommendations/recommendations") == [200], "in the loop, too"


TARGET = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=60).map(
    lambda t: t.encode("latin-1")
)
HEADER = st.binary(max_size=60).filter(lambda value: not re.search(rb"[\r\n]", value))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TARGET, HEADER, st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"BREW"]))
def test_whatever_target_method_and_headers_arrive_nothing_is_a_bug(server, target, value, method):
    head = method + b" /v1/users/" + target + b" HTTP/1.1\r\nHost: localhost\r\n"
    received = exchange(
        server, head + b"X-Request-ID: " + value + b"\r\nX-API-Key: " + value + b"\r\n" + CLOSE
    )

    assert statuses(received), received
    assert all(status == 200 or 400 <= status < 500 for status in statuses(received)), received
    assert b"<html" not in received


def test_a_client_that_takes_no_answers_holds_up_nobody(port):
    """Its requests are short work, which the loop answers itself, until their answers fill all buffers."""
    request = GET.replace(b"n=1", b"n=5") + b"\r\n"
    with connected(port, timeout=1) as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sent = 0
        with contextlib.suppress(TimeoutError):
            for _ in range(200_000):
                greedy.sendall(request)
                sent += 1
                if sent % 200 == 0:
                    started = time.monotonic()
                    assert get(port, "/v1/users/1/recommendations?n=1")[0] == 200
                    assert time.monotonic() - started < 1.0
        assert sent < 200_000, "the server must have stopped reading"


def test_a_client_may_send_requests_before_it_has_read_the_answers(port):
    with connected(port) as sock:
        sock.sendall(GET + b"\r\n")  # in the loop
        time.sleep(0.2)
        sock.sendall(GET + b"\r\n" + GET + b"\r\n")  # in a thread: two at once
        time.sleep(0.2)
        sock.sendall(GET + b"\r\n")
        time.sleep(0.2)
        sock.sendall(GET + CLOSE)
        received = read_all(sock)

    assert statuses(received) == [200] * 5
    assert received.count(b'"items":[{') == 5


def test_events_of_many_connections_are_all_stored(port):
    """Each is answered when it is on the disk; they share commits."""
    n_connections, n_turns = 20, 15
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connected(port)) for _ in range(n_connections)]
        for turn in range(n_turns):
            for number, sock in enumerate(socks):
                body = json.dumps(
                    [{"user_id": "many", "item_id": "x", "event_id": f"{number}-{turn}"}]
                ).encode()
                head = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            for sock in socks:
                answer = sock.recv(65_536)
                while not answer.endswith(b"}"):
                    answer += sock.recv(65_536)
                assert statuses(answer) == [202]
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["accepted"] == 1

    assert len(get(port, "/v1/users/many/events?n=5")[2]["events"]) == 5
    page, n_events = get(port, "/v1/users/many/events?n=100")[2], 0
    while True:
        n_events += len(page["events"])
        if page["next_cursor"] is None:
            break
        page = get(port, f"/v1/users/many/events?n=100&cursor={page['next_cursor']}")[2]
    assert n_events == n_connections * n_turns


def test_a_body_that_comes_after_its_head_is_waited_for(port):
    """As Python's own client sends a longer one: the head says that it comes, and how long it is."""
    body = json.dumps(
        [{"user_id": "late", "item_id": "x", "event_id": f"late-{n}"} for n in range(200)]
    ).encode()
    assert len(body) > 9_999
    with connected(port) as sock:
        sock.sendall(GET + b"\r\n")  # the connection is known by now
        time.sleep(0.2)
        sock.recv(65_536)
        sock.sendall(POST.replace(b"recommendations", b"events") + b"Content-Length: %d\r\n\r\n" % len(body))
        time.sleep(0.2)
        sock.sendall(body + GET + CLOSE)
        received = read_all(sock)

    assert statuses(received) == [202, 200]
    assert b'"accepted":200' in received


def test_a_client_that_keeps_its_side_open_holds_up_nobody(port):
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            sock = stack.enter_context(connected(port))
            sock.sendall(GET + b"\r\n")
            time.sleep(0.05)
            sock.sendall(GET + CLOSE)
        time.sleep(0.2)
        started = time.monotonic()
        assert get(port, "/v1/users/1/recommendations?n=1")[0] == 200
        assert time.monotonic() - started < 1.5, "closing a connection waits for its client, two seconds each"


def test_a_process_that_is_full_sleeps(port, served):
    """Idle connections, as many as a process takes."""
    with contextlib.ExitStack() as stack:
        for _ in range(N_CONNECTIONS + 10):
            stack.enter_context(connected(port))
        time.sleep(1.0)
        before = cpu_s(served[1].pid)
        time.sleep(2.0)
        assert cpu_s(served[1].pid) - before < 0.5
    until(lambda: get(port, "/v1/users/1/recommendations?n=1")[0] == 200, time.monotonic() + 30)


def cpu_s(pid):
    """Seconds of processor time that the children of a process have had."""
    ticks = 0
    for child in children(pid):
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def until(holds, deadline):
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
