"""Plain requests are answered directly as they are through Flask; what only looks like one is left alone."""

import http.client
import json
import logging
import selectors
import socket
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from recae.api import create_app, tracing
from recae.api.at_once import Outgoing
from recae.api.direct import EXTENSION, plain_request
from recae.api.logs import REQUESTS
from recae.api.worker import REST_S, RequestWorker
from recae.config import Settings
from recae.errors import EventLogError
from tests.api.conftest import LIMITS
from tests.api.conftest import PLAIN_GET as GET
from tests.servers import free_port, get, running

CHANGING = {"recommendation_id", "took_ms", "request_id"}
OF_THE_SERVER = {"Server", "Date", "Connection", "X-Request-ID"}
KEY = "k" * 40


def request_of(path, headers, body=None):
    """The bytes of a request: one that brings events, if it has a body."""
    if body is not None:
        headers = {"Content-Type": "application/json", "Content-Length": len(body)} | headers
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def directly(app, path, headers, remote_addr="127.0.0.1", body=None):
    """Status, headers and JSON of the direct answer."""
    asked = plain_request(request_of(path, headers, body))
    assert asked is not None, "it is plain"
    head, _, body = app.extensions[EXTENSION].answer(asked, remote_addr, "server").partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    found = dict(line.split(": ", 1) for line in lines)
    assert int(found["Content-Length"]) == len(body)
    assert (found["Server"], found["Connection"]) == ("server", "keep-alive")
    return status, found, json.loads(body)


def through_flask(app, path, headers, remote_addr="127.0.0.1", body=None):
    """The same of the other way."""
    ask = app.test_client().get if body is None else app.test_client().post
    given = {} if body is None else {"data": body, "content_type": "application/json"}
    response = ask(path, headers=headers, environ_base={"REMOTE_ADDR": remote_addr}, **given)
    return f"HTTP/1.1 {response.status}", dict(response.headers), response.json


def lasting(answer):
    status, headers, body = answer
    kept = {name: value for name, value in headers.items() if name not in OF_THE_SERVER}
    del kept["Content-Length"]  # numbers of milliseconds differ in length
    return status, kept, {name: value for name, value in body.items() if name not in CHANGING}


PATHS = [
    "/v1/users/1/recommendations",
    "/v1/users/1/recommendations?n=2&offset=1",
    "/v1/users/1/recommendations?exclude_seen=false&available_only=false",
    "/v1/users/1/recommendations?category=none+such&category=other",
    "/v1/users/1/recommendations?explain=2",
    "/v1/users/nobody/recommendations",
    "/v1/users/nobody/recommendations?strict=true",
    "/v1/users/../recommendations",
    "/v1/users/1/recommendations?n=6",
    "/v1/users/1/recommendations?n=many",
    "/v1/users/1/recommendations?colour=red",
    "/v1/users/1/recommendations?n=1&n=2",
    "/v1/users/1/recommendations?model=none-such",
    "/v1/users/1/recommendations?",
    "/v1/users/" + "u" * 256 + "/recommendations",
]


@pytest.mark.parametrize("path", PATHS)
def test_the_answer_is_that_of_flask(app, path):
    asked = path, {"Host": "localhost", "User-Agent": "curl/8", "Accept": "*/*"}
    assert lasting(directly(app, *asked)) == lasting(through_flask(app, *asked))


EVENTS = "/v1/events"
BODIES = [
    b'[{"user_id":"1","item_id":"a","event_id":"e-1"}]',
    b'[{"user_id":"1","item_id":"a","timestamp":1700000000},{"user_id":"1","item_id":"a","timestamp":1700000000}]',
    b'{"events":[{"user_id":"1","item_id":7,"value":2.5},{"user_id":"1"},{"user_id":"","item_id":"a"},3]}',
    '[{"user_id":"\u00e9","item_id":"\\ud800"}]'.encode(),
    b'{"user_id":"1","item_id":"a"}',
    b'{"events":[]}',
    b'{"events":[],"events":[]}',
    b'{"events":[{"user_id":"1","item_id":"a"}],"more":1}',
    b"[]",
    b"[",
    b"",
    b"3",
    b"null",
    b"\xff\xfe[\x00]\x00",
    b"[" * 5_000,
    b"[" + b" " * 7_000 + b"]",
]


@pytest.mark.parametrize("body", BODIES)
def test_events_are_taken_as_flask_takes_them(recommender, tmp_path, body):
    """In a log each, once new and once known already."""
    answers = []
    for way in (directly, through_flask):
        home = tmp_path / way.__name__
        app = create_app(Settings(**LIMITS | {"home": home, "max_body_bytes": 6_000}), recommender)
        asked = EVENTS, {"Host": "localhost"}
        answers.append([lasting(way(app, *asked, body=body)) for _ in range(2)])
        events = app.test_client().get("/v1/users/1/events").json["events"]
        for event in events:
            del event["timestamp"]  # some have the time of arrival
        answers[-1].append(events)

    assert answers[0] == answers[1]
    statuses = {"202", "400", "413", "422"}
    assert answers[0][0][0].split()[1] in statuses
    assert bool(answers[0][2]) == (
        b'"user_id":"1","item_id"' in body and answers[0][0][0].split()[1] == "202"
    )


@pytest.mark.parametrize(
    "key", ["none", "wrong", KEY, "w" * 40], ids=["no key", "wrong key", "reader", "writer"]
)
def test_events_need_a_key_that_may_write(recommender, tmp_path, key):
    keys = f"reader:read:{KEY},writer:write:{'w' * 40}"
    app = create_app(Settings(**LIMITS | {"home": tmp_path, "api_keys": keys}), recommender)
    asked = EVENTS, {"Host": "example.org"} | ({} if key == "none" else {"X-API-Key": key}), "192.0.2.1"
    answer = directly(app, *asked, body=BODIES[1])

    if key == "w" * 40:
        assert answer[2] == {"accepted": 1, "duplicates": 1, "rejected": []}
    else:
        assert answer[0].split()[1] == ("403" if key == KEY else "401")
        assert lasting(answer) == lasting(through_flask(app, *asked, body=BODIES[1]))


def test_a_log_that_fails_is_told_of_alike(app, monkeypatch):
    def fail(*_of):
        raise EventLogError("no disk")

    monkeypatch.setattr(app.extensions["recae"].storage.log, "append", fail)
    asked = EVENTS, {"Host": "localhost"}
    answer = directly(app, *asked, body=BODIES[0])

    assert (answer[0].split()[1], "Retry-After" in answer[1]) == ("503", True)
    assert lasting(answer) == lasting(through_flask(app, *asked, body=BODIES[0]))


@pytest.mark.parametrize(
    ("headers", "remote_addr"),
    [
        ({"X-API-Key": KEY}, "127.0.0.1"),
        ({"Authorization": f"Bearer {KEY}"}, "192.0.2.1"),
        ({"X-API-Key": "wrong"}, "127.0.0.1"),
        ({}, "127.0.0.1"),
    ],
)
def test_keys_are_asked_for_alike(recommender, headers, remote_addr):
    app = create_app(Settings(**LIMITS, api_keys=f"reader:read:{KEY}"), recommender)
    asked = PATHS[0], {"Host": "example.org"} | headers, remote_addr
    answer = directly(app, *asked)

    assert lasting(answer) == lasting(through_flask(app, *asked))
    assert answer[0].split()[1] == ("200" if KEY in str(headers) else "401")


@pytest.mark.parametrize(
    ("headers", "remote_addr"),
    [
        ({"Host": "evil.example"}, "127.0.0.1"),
        ({"Host": "localhost", "Origin": "https://evil.example"}, "127.0.0.1"),
        ({"Host": "localhost"}, "192.0.2.1"),
    ],
)
def test_strangers_are_refused_alike_where_there_are_no_keys(app, headers, remote_addr):
    answer = directly(app, PATHS[0], headers, remote_addr)
    assert answer[0] == "HTTP/1.1 403 FORBIDDEN"
    assert lasting(answer) == lasting(through_flask(app, PATHS[0], headers, remote_addr))


def test_both_ways_count_together_how_often_a_key_asks(recommender):
    app = create_app(Settings(**LIMITS, rate_limit_per_s=0.001, burst=2), recommender)
    asked = PATHS[0], {"Host": "localhost"}
    statuses = [way(app, *asked)[0].split()[1] for way in (directly, through_flask, directly, through_flask)]

    assert statuses == ["200", "200", "429", "429"]
    assert int(directly(app, *asked)[1]["Retry-After"]) > 0


def test_a_request_keeps_its_id_and_gets_one_if_it_has_none_that_is_sane(app):
    named = {"Host": "localhost", "X-Request-ID": "mine-1"}
    assert directly(app, PATHS[0], named)[1]["X-Request-ID"] == "mine-1"
    assert len(directly(app, PATHS[0], named | {"X-Request-ID": "a b"})[1]["X-Request-ID"]) == 32


@pytest.mark.parametrize("error", [EventLogError("no disk"), RuntimeError("a bug")])
def test_errors_are_answered_alike(app, recommender, monkeypatch, error):
    def fail(*_of, **_more):
        raise error

    monkeypatch.setattr(recommender, "recommend", fail)
    asked = PATHS[0], {"Host": "localhost"}
    answer = directly(app, *asked)

    assert answer[0].split()[1] == ("503" if isinstance(error, EventLogError) else "500")
    assert lasting(answer) == lasting(through_flask(app, *asked))
    assert ("Retry-After" in answer[1]) == isinstance(error, EventLogError)


def test_without_a_model_it_is_not_ready(home):
    app = create_app(Settings(home=home, reload_s=0.01))
    app.extensions["recae"].served.close()
    app.extensions["recae"].served.refresh()
    asked = PATHS[0], {"Host": "localhost"}

    assert directly(app, *asked)[2]["error"]["code"] == "not_ready"
    assert lasting(directly(app, *asked)) == lasting(through_flask(app, *asked))


def test_it_is_counted_and_has_its_line_as_ever(app, caplog):
    caplog.set_level(logging.INFO, REQUESTS)
    for way in (directly, through_flask):
        way(app, PATHS[0], {"Host": "localhost"})
        way(app, PATHS[-1], {"Host": "localhost"})

    lines = [record.facts for record in caplog.records if record.name == REQUESTS]
    once = [{name: line[name] for name in line if name not in {"request_id", "ms"}} for line in lines]
    assert once[:2] == once[2:]
    assert once[0]["strategy"] == "model"
    counted = app.test_client().get("/metrics").text
    assert (
        'recae_request_seconds_count{method="GET",route="/v1/users/<id:user_id>/recommendations",status="200"} 4.0'
        in (counted)
    )
    assert 'recae_recommendation_seconds_count{strategy="model"} 2.0' in counted


def test_where_spans_are_wanted_nothing_goes_past_them(recommender, monkeypatch):
    monkeypatch.setattr(tracing, "register", lambda _app: None)
    assert EXTENSION not in create_app(Settings(tracing=True), recommender).extensions


@pytest.mark.parametrize(
    ("before", "unread", "holds"),
    [
        (GET, 0, True),
        (b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 70\r\n\r\n", 70, False),
        (b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 0, False),
    ],
)
def test_the_rest_of_a_body_is_no_request(before, unread, holds):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parser = RequestParser(Config(), ours, ("127.0.0.1", 1))
        theirs.sendall(before)
        next(parser)
        conn = SimpleNamespace(parser=parser, client=("127.0.0.1", 1))
        worker = SimpleNamespace(_direct=object(), _n_to_give=0, max_requests=sys.maxsize)

        assert RequestWorker._may_answer_directly(worker, conn) is holds
        assert getattr(parser.mesg.body.reader, "length", 0) == unread
        for changed in ({"_direct": None}, {"_n_to_give": 1}, {"max_requests": 9}):
            other = SimpleNamespace(**(vars(worker) | changed))
            assert RequestWorker._may_answer_directly(other, conn) is False


@pytest.mark.parametrize("is_gone", [False, True])
def test_what_goes_wrong_outside_of_the_application_ends_one_connection_and_not_the_loop(is_gone):
    def fail(*_of):
        raise RuntimeError("no metrics")

    ours, theirs = socket.socketpair()
    log = SimpleNamespace(error=lambda *_of, **_more: None, warning=lambda *_of: None)
    served = SimpleNamespace(version="v1")
    worker = SimpleNamespace(alive=True, log=log, _state=SimpleNamespace(served=served))
    worker.handle_error = lambda *of: RequestWorker.handle_error(worker, *of)
    with ours, theirs:
        theirs.sendall(GET)
        if is_gone:
            ours.close()
        conn, outgoing = SimpleNamespace(sock=ours, client=("127.0.0.1", 1)), Outgoing(ours)
        asked = plain_request(GET)

        assert not RequestWorker._answer_directly(
            worker, SimpleNamespace(answer=fail), conn, outgoing, asked, len(GET)
        )
        if not is_gone:
            ours.setblocking(False)
            assert outgoing.send() == b""
            assert theirs.recv(9_999).startswith(b"HTTP/1.1 500 Internal Server Error")


@pytest.mark.parametrize("is_parked", [False, True])
def test_a_mistake_of_ours_in_the_loop_closes_its_connection_alone(monkeypatch, is_parked):
    def fail(*_of):
        raise RuntimeError("a bug")

    monkeypatch.setattr("recae.api.worker.short_request", fail)
    noted, closed = [], []
    ours, theirs = socket.socketpair()
    worker = object.__new__(RequestWorker)  # gunicorn's own begins a process
    worker.log = SimpleNamespace(error=lambda *of, **more: noted.append((of, more)))
    worker.poller, worker.nr_conns = selectors.DefaultSelector(), 2
    worker._used, worker._began, worker._given_up = set(), {}, set()
    worker._notified = time.monotonic() + 60
    worker._state = SimpleNamespace(takes_long=fail)
    worker.tpool = SimpleNamespace(submit=lambda work, **_how: closed.append(work))
    worker._may_answer_at_once = lambda _conn: True
    with ours, theirs, worker.poller:
        conn = Mock(sock=ours, close="close")
        worker.poller.register(ours, selectors.EVENT_READ)
        worker.keepalived_conns = deque([conn])
        worker._parked = {conn: ours} if is_parked else {}
        worker._deadlines = {conn: 1.0} if is_parked else {}
        worker.on_client_socket_readable(conn, ours)

        assert (worker.nr_conns, closed) == (1, ["close"])
        left = [*worker.poller.get_map(), *worker.keepalived_conns, *worker._parked, *worker._deadlines]
        assert left == []
        assert str(noted[0][1]["exc_info"]) == "a bug"


def test_a_request_whose_body_follows_its_head_is_waited_for_in_the_loop_and_not_for_long():
    ours, theirs = socket.socketpair()
    worker = object.__new__(RequestWorker)
    worker._used, worker._began = set(), {}
    worker._notified = time.monotonic() + 60
    worker._state = SimpleNamespace(takes_long=lambda _user_id: False)
    worker._may_answer_at_once = lambda _conn: True
    answered, threads = [], []
    worker._answer_at_once = lambda _conn, asked: answered.append(asked)
    worker.enqueue_req = threads.append
    sent = request_of(EVENTS, {"Host": "localhost"}, BODIES[0])
    with ours, theirs, selectors.DefaultSelector() as worker.poller:
        conn = Mock(sock=ours)
        worker.poller.register(ours, selectors.EVENT_READ)
        worker.keepalived_conns = deque([conn])
        theirs.sendall(sent[:-5])
        worker.on_client_socket_readable(conn, ours)
        assert (answered, threads, list(worker._began)) == ([], [], [conn])
        theirs.sendall(sent[-5:])
        worker.on_client_socket_readable(conn, ours)
        assert (answered, threads, worker._began) == ([sent], [], {})

        ours.recv(len(sent))
        theirs.sendall(sent[:-5])
        worker.on_client_socket_readable(conn, ours)
        time.sleep(2 * REST_S)
        worker.on_client_socket_readable(conn, ours)
        assert (answered, threads, worker._began) == ([sent], [conn], {})


@pytest.mark.usefixtures("store")
def test_a_body_that_looks_like_a_request_is_not_answered_as_one(home):
    """A refused request whose body nobody read: what follows on its connection is that body, not somebody's request."""
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], home, port):
        assert get(port, PATHS[0])[0] == 200
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            reader = connection.makefile("rb")

            def answer():
                status = int(reader.readline().split()[1])
                headers = dict(iter(lambda: tuple(reader.readline().strip().split(b": ", 1)), (b"",)))
                return status, json.loads(reader.read(int(headers[b"Content-Length"])))

            asked = GET.replace(b"localhost", b"127.0.0.1")
            for _ in range(3):
                connection.sendall(asked)
                assert answer()[1]["user_id"] == "1"
            inner = asked.replace(b"/1/", b"/2/")
            connection.sendall(
                b"POST /none-such HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(inner)
            )
            assert answer()[0] == 404
            connection.sendall(inner)
            connection.sendall(asked.replace(b"/1/", b"/3/"))
            assert answer()[1]["user_id"] == "3"


@pytest.mark.usefixtures("store")
def test_on_kept_connections_each_event_counts_in_the_next_answer(home):
    """Eight clients at once, each with a user of its own: in turns an event, and what is suggested after it."""
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], home, port):

        def ask(connection, *asked):
            connection.request(*asked)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        def turns(client):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            suggestions = f"/v1/users/new-{client}/recommendations?n=5"
            items = [item["item_id"] for item in ask(connection, "GET", suggestions)[1]["items"]]
            for item_id in items:
                body = json.dumps([{"user_id": f"new-{client}", "item_id": item_id}])
                sent = ask(connection, "POST", EVENTS, body, {"Content-Type": "application/json"})
                assert sent == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
                status, answer = ask(connection, "GET", suggestions)
                assert status == 200
                assert item_id not in {item["item_id"] for item in answer["items"]}
            connection.close()
            return len(items)

        with ThreadPoolExecutor(8) as pool:
            assert all(n_items > 1 for n_items in pool.map(turns, range(8)))
