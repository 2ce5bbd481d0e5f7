"""Servers of which something is wanted that is not there: the log that another writer holds, or room for a connection."""

import contextlib
import json
import resource
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from recae.api.server import CONNECTIONS
from recae.api.sharing import FILES_KEPT
from recae.data.eventlog import EventLog
from tests.api.conftest import PLAIN_GET as GET
from tests.raw import connected, exchange, statuses
from tests.servers import children, free_port, get, n_sockets, running, until

SERVE = [sys.executable, "-m", "recae", "serve"]
TIMEOUT_S = 2


@pytest.fixture
def served(home, store):
    """The port of a server with one worker, that worker's process id, and the server."""
    EventLog(f"sqlite:///{home / 'events.db'}", home / "events").close()
    port = free_port()
    with running(SERVE, home, port, RECAE_REQUEST_TIMEOUT_S=str(TIMEOUT_S)) as process:
        yield port, children(process.pid)[0], process


@contextlib.contextmanager
def held(home):
    """Another writer has the log; a function gives it back."""
    with contextlib.closing(sqlite3.connect(home / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield lambda: other.execute("ROLLBACK")


def event(name):
    """A request that brings one event."""
    body = json.dumps([{"user_id": "waiting", "item_id": "a", "event_id": name}]).encode()
    head = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def answer(sock):
    """Status, headers and JSON of the next answer; None if there is none any more."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = sock.recv(65_536)
        if not part:
            return None
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    while len(body) < int(headers["Content-Length"]):
        body += sock.recv(65_536)
    return int(head.split()[1]), headers, json.loads(body)


def n_files(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def known(port, user="waiting"):
    return {event["event_id"] for event in get(port, f"/v1/users/{user}/events")[2]["events"]}


def test_who_waits_too_long_for_the_log_is_told_and_holds_no_place_meanwhile(served, home):
    """Where the places of connections that are over stayed taken, probes would hear nothing any more."""
    port, worker, _ = served
    with contextlib.ExitStack() as stack, held(home) as give_back:
        socks = [stack.enter_context(connected(port)) for _ in range(12)]
        for sock in socks:
            sock.sendall(GET)  # it is a connection that is kept now
            assert answer(sock)[0] == 200
        with_all = n_sockets(worker)
        for place, sock in enumerate(socks):
            sock.sendall(event(f"e-{place}"))
        assert get(port, GET.split()[1].decode())[0] == 200, "suggestions wait for no writer"
        for sock in socks:
            status, headers, body = answer(sock)
            assert (status, body["error"]["code"]) == (503, "event_log_unavailable")
            assert (headers["Connection"], headers["Retry-After"]) == ("close", "5")
            assert "event_id" in body["error"]["message"]
            assert answer(sock) is None
        deadline = time.monotonic() + 20
        while n_sockets(worker) > with_all - 12:
            assert time.monotonic() < deadline, "connections that were refused are still open"
            time.sleep(0.1)
        give_back()
        with connected(port) as sock:
            sock.sendall(event("after"))
            assert answer(sock)[0] == 202

    while len(known(port)) < 13:  # they were not lost either, and none is there twice
        assert time.monotonic() < deadline + 60
        time.sleep(0.1)
    assert known(port) == {"after", *(f"e-{place}" for place in range(12))}


def test_who_waited_while_the_server_was_told_to_stop_may_still_ask_once(served, home):
    port, _, process = served
    with held(home) as give_back, connected(port) as sock:
        sock.sendall(GET)
        assert answer(sock)[0] == 200
        sock.sendall(event("first"))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        give_back()
        assert answer(sock)[:2][0] == 202
        sock.sendall(event("second"))
        status, headers, _ = answer(sock)

        assert (status, headers["Connection"]) == (202, "close")
        assert process.wait(30) == 0
    with EventLog(f"sqlite:///{home / 'events.db'}", home / "events") as log:
        assert {event.event_id for event in log.history("waiting").events} == {"first", "second"}


def test_a_server_starts_while_another_writes(home, store):
    EventLog(f"sqlite:///{home / 'events.db'}", home / "events").close()
    port = free_port()
    with held(home), running(SERVE, home, port):
        assert get(port, GET.split()[1].decode())[0] == 200


def test_more_clients_than_files_may_be_open_end_no_process(served):
    port, worker, _ = served
    for _ in range(3):  # what threads open once is open
        assert get(port, "/health/ready")[0] == 200
    most = n_files(worker) + 10
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connected(port))
        deadline = time.monotonic() + 20
        while n_files(worker) < most:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)

    status = None
    while status != 200:
        status = get(port, GET.split()[1].decode())[0]
        assert time.monotonic() < deadline + 20
    assert Path(f"/proc/{worker}").exists(), "the same process goes on"


def limited(soft, hard):
    """The command of a server that is started with limits of the files it may open."""
    return ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh", *SERVE]


def test_a_process_may_open_files_for_all_its_connections(home, store):
    port = free_port()
    with running(limited(256, 4_096), home, port) as process:
        limits = resource.prlimit(children(process.pid)[0], resource.RLIMIT_NOFILE)

    assert limits == (CONNECTIONS + FILES_KEPT, 4_096)


def test_where_few_files_may_be_open_few_connections_are_kept(home, store):
    n_connections = 20
    port = free_port()
    with (
        running(limited(64, n_connections + FILES_KEPT), home, port) as process,
        contextlib.ExitStack() as stack,
    ):
        worker = children(process.pid)[0]
        assert resource.prlimit(worker, resource.RLIMIT_NOFILE)[0] == n_connections + FILES_KEPT
        before = n_sockets(worker)
        for _ in range(3 * n_connections):  # none is closed by its client
            sock = stack.enter_context(connected(port))
            sock.sendall(GET)
            assert answer(sock)[0] == 200
        # Of the 60 that are open at the other end; threads are still closing the last ones.
        until(lambda: n_sockets(worker) <= before + n_connections, process)


def test_a_length_of_thousands_of_digits_ends_no_process(served):
    port, worker, _ = served
    for digits in (b"1" * 9, b"1" * 10, b"1" * 5_000):
        sent = GET.replace(b"\r\n\r\n", b"\r\nContent-Length: " + digits + b"\r\n\r\n")
        for asked in (sent, event("e").replace(b"Content-Length: ", b"Content-Length: " + digits)):
            received = exchange(port, GET, asked)
            assert statuses(received)[0] == 200
            assert set(statuses(received)[1:]) <= {200, 400, 413}

    assert get(port, GET.split()[1].decode())[0] == 200
    assert Path(f"/proc/{worker}").exists(), "the same process goes on"
