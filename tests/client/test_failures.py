"""Failures on a real socket: what is repeated, what is not, and what the caller is told."""

import asyncio
import inspect
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from recae.client import (
    AnswerError,
    AsyncClient,
    BadAnswerError,
    Client,
    ConflictError,
    InvalidRequestError,
    NoAnswerError,
    NotFoundError,
    NotPermittedError,
    RateLimitedError,
    Retries,
    UnavailableError,
)
from recae.client.answers import DeletedItem
from recae.client.calls import recommend
from recae.client.clients import time as clock
from recae.client.exchange import Exchange
from recae.client.retries import retry_after_s
from recae.errors import RecaeError
from tests.client.conftest import AT_ONCE
from tests.client.stub import elsewhere, error, page_of_a_proxy, silence, truncated, undecodable
from tests.servers import free_port

EVENT = {"user_id": "u1", "item_id": "i1"}


@pytest.fixture
def pauses(monkeypatch):
    """How long the client would have slept."""
    slept = []
    monkeypatch.setattr(clock, "sleep", slept.append)
    return slept


def test_a_server_that_is_not_ready_is_asked_again(client, stub):
    stub.failures.extend([error(503), error(503)])

    assert client.recommend("u1").item_ids == ["i9"]
    assert len(stub.asked) == 3


def test_an_asynchronous_client_asks_again_too(stub):
    stub.failures.extend([error(503), truncated])

    async def ask():
        async with AsyncClient(stub.address, retries=AT_ONCE) as client:
            return await client.recommend("u1")

    assert asyncio.run(ask()).item_ids == ["i9"]
    assert len(stub.asked) == 3


def test_after_all_tries_the_error_of_the_last_is_told(client, stub):
    stub.failures.extend([error(503, "not_ready", "no model is loaded")] * 3)

    with pytest.raises(UnavailableError, match="503 not_ready: no model is loaded") as raised:
        client.ready()
    assert len(stub.asked) == 3
    assert raised.value.request_id == "server-side"


def test_all_tries_of_one_call_carry_the_same_request_id(client, stub):
    stub.failures.append(error(503))
    client.ready()
    client.ready()

    first, second, other = (headers["X-Request-Id"] for *_, headers in stub.asked)
    assert first == second != other


def test_a_limited_client_waits_as_long_as_the_server_says(client, stub, pauses):
    stub.failures.append(error(429, Retry_After="7"))
    client.popular()

    assert pauses == [7.0]


def test_a_wait_longer_than_agreed_is_the_callers_business(client, stub, pauses):
    stub.failures.append(error(429, "too_many_requests", Retry_After="3600"))

    with pytest.raises(RateLimitedError) as raised:
        client.popular()
    assert raised.value.retry_after_s == 3600.0
    assert pauses == []


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("recommend", ("u1",)), ("send_events", ([EVENT],)), ("delete_user", ("u1",)), ("patch_item", ("i1",))],
)
@pytest.mark.parametrize("failure", [truncated, page_of_a_proxy(502), page_of_a_proxy(504)])
def test_what_does_no_harm_twice_is_repeated_after_a_broken_answer(client, stub, method, arguments, failure):
    stub.failures.append(failure)
    getattr(client, method)(*arguments)

    assert len(stub.asked) == 2


def test_repeated_events_are_the_same_events(client, stub):
    stub.failures.extend([truncated, error(503)])
    client.send_events([EVENT, EVENT])

    first, second, third = stub.bodies()
    assert first == second == third
    assert first[0]["event_id"] != first[1]["event_id"]


@pytest.mark.parametrize("method", ["rollback", "retrain"])
def test_what_would_happen_twice_is_not_repeated_once_it_was_sent(client, stub, method):
    stub.failures.append(truncated)

    with pytest.raises(NoAnswerError, match="not repeated, since the server may have done it"):
        getattr(client, method)()
    assert len(stub.asked) == 1


@pytest.mark.parametrize("method", ["rollback", "retrain"])
@pytest.mark.parametrize("failure", [error(503, "not_begun", "the run was started"), page_of_a_proxy(503)])
def test_what_would_happen_twice_is_not_repeated_after_503_either(client, stub, method, failure):
    stub.failures.append(failure)

    with pytest.raises(UnavailableError):
        getattr(client, method)()
    assert len(stub.asked) == 1, "the server may have begun"


@pytest.mark.parametrize("method", ["rollback", "retrain"])
def test_what_was_refused_by_a_limit_is_repeated_whatever_it_is(client, stub, method):
    stub.failures.append(error(429, Retry_After="0"))
    getattr(client, method)()

    assert len(stub.asked) == 2


@pytest.mark.parametrize("failure", [truncated, page_of_a_proxy(502), error(503, "event_log_unavailable")])
def test_an_item_that_is_gone_when_its_deletion_is_repeated_was_deleted(client, stub, failure):
    stub.failures.extend([failure, error(404, "unknown_item")])

    assert client.delete_item("i1") == DeletedItem("i1")
    assert len(stub.asked) == 2


@pytest.mark.parametrize(
    "failures",
    [
        [error(404, "unknown_item")],
        [error(429, Retry_After="0"), error(404, "unknown_item")],
        [truncated, page_of_a_proxy(404)],
    ],
    ids=["first try", "after a refusal", "another program"],
)
def test_an_item_that_nobody_can_have_deleted_is_not_found(client, stub, failures):
    stub.failures.extend(failures)

    with pytest.raises(NotFoundError):
        client.delete_item("i1")


def test_a_server_that_says_nothing_is_given_up_after_all_tries(stub):
    stub.failures.extend([silence(stub)] * 2)

    with (
        Client(stub.address, timeout_s=0.1, retries=Retries(tries=2, first_pause_s=0)) as client,
        pytest.raises(NoAnswerError, match=r"no answer to GET /health/ready after 2 tries \(ReadTimeout"),
    ):
        client.ready()


def test_nobody_listening_is_told_with_the_address_in_doubt():
    with (
        Client(f"http://127.0.0.1:{free_port()}", retries=AT_ONCE) as client,
        pytest.raises(NoAnswerError, match=r"after 3 tries \(ConnectError.*is the server up") as raised,
    ):
        client.rollback()  # repeated: it never left
    assert re.fullmatch(r"[0-9a-f]{32}", raised.value.request_id)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, NotPermittedError),
        (403, NotPermittedError),
        (404, NotFoundError),
        (405, AnswerError),
        (409, ConflictError),
        (413, InvalidRequestError),
        (415, InvalidRequestError),
        (422, InvalidRequestError),
        (500, AnswerError),
    ],
)
def test_every_error_has_its_class_and_is_told_at_once(client, stub, status, kind):
    stub.failures.append(error(status, "a_code", "found x, expected y", "n"))

    with pytest.raises(RecaeError) as raised:
        client.recommend("u1")
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.code, raised.value.field) == (status, "a_code", "n")
    assert raised.value.message == "found x, expected y"
    assert len(stub.asked) == 1


def test_an_error_page_of_another_program_is_an_error_too(client, stub):
    stub.failures.append(page_of_a_proxy(404))

    with pytest.raises(NotFoundError, match="http_404: answered with 404, 24 bytes of text/html"):
        client.recommend("u1")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "answer has no items"),
        ({"items": 3}, r"answer\.items is of the type int, expected a list"),
        ({"items": [{"item_id": 7}]}, r"answer\.items\[0\]\.item_id is of the type int, expected str"),
        ({"items": [{"item_id": "a", "score": True}]}, r"score is of the type bool, expected float"),
        ({"items": [], "model_version": None}, r"answer\.model_version is of the type NoneType"),
        ([], "answer is of the type list, expected an object"),
    ],
)
def test_an_answer_of_another_shape_is_named_by_its_place(client, stub, body, message):
    stub.failures.append(lambda: body)

    with pytest.raises(BadAnswerError, match=message) as raised:
        client.popular()
    assert raised.value.request_id


def test_an_answer_that_is_no_json_is_told(client, stub):
    stub.failures.append(page_of_a_proxy(200))

    with pytest.raises(BadAnswerError, match=r"200, 24 bytes of text/html.*expected JSON"):
        client.popular()


def test_pauses_double_up_to_a_bound_and_end_with_the_tries():
    retries = Retries(tries=5, first_pause_s=1.0, longest_pause_s=3.0)
    for tried, bound in [(1, 1.0), (2, 2.0), (3, 3.0), (4, 3.0)]:
        drawn = [retries.pause_s(tried) for _ in range(200)]
        assert max(drawn) <= bound
        assert min(drawn) < 0.2 * bound < 0.8 * bound < max(drawn), "drawn from all of it"
    assert retries.pause_s(5) is None
    assert 2.0 <= retries.pause_s(1, retry_after_s=2.0) <= 3.0


@pytest.mark.parametrize("wrong", [{"tries": 0}, {"first_pause_s": -1.0}])
def test_retries_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="expected tries >= 1 and pauses >= 0"):
        Retries(**wrong)


def test_retry_after_is_a_number_or_a_date_and_anything_else_is_ignored():
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1))

    assert retry_after_s("3") == 3.0
    assert 3000 < retry_after_s(in_an_hour) <= 3600
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert [retry_after_s(value) for value in (None, "soon", "-1", "")] == [None] * 4


def test_importing_the_client_imports_no_model_and_no_library():
    program = "import recae.client, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()

    heavy = {
        "flask",
        "httpx",
        "implicit",
        "numpy",
        "pandas",
        "pyarrow",
        "pydantic",
        "scipy",
        "sqlalchemy",
        "torch",
    }
    assert heavy.isdisjoint(loaded)
    ours = {name for name in loaded if name.startswith("recae")}
    assert {name for name in ours if not name.startswith("recae.client")} == {"recae", "recae.errors"}


def test_without_httpx_the_client_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)

    with pytest.raises(RecaeError, match=r"pip install 'recae\[client\]'"):
        Client()


@pytest.mark.parametrize(
    ("failure", "said"), [(undecodable, "DecodingError"), (elsewhere, "TooManyRedirects")]
)
def test_an_answer_that_httpx_cannot_read_is_a_client_error_too(stub, failure, said):
    stub.failures.extend([failure] * 60)
    options = {"retries": AT_ONCE, "follow_redirects": True}

    async def ask():
        async with AsyncClient(stub.address, **options) as client:
            await client.recommend("u1")

    with Client(stub.address, **options) as client:
        for asking in (lambda: client.recommend("u1"), lambda: asyncio.run(ask())):
            with pytest.raises(BadAnswerError, match=f"GET /v1/users/u1/recommendations .*{said}") as raised:
                asking()
            assert raised.value.request_id


def test_looking_at_an_exchange_is_no_try():
    exchange = Exchange(recommend("u1"), Retries(tries=2, first_pause_s=0.0))
    for _ in range(2):
        inspect.getmembers(exchange)  # as a debugger does

    exchange.next_try()
    assert exchange.after(httpx.Response(503, json={})) == 0.0  # there is a second one
    exchange.next_try()
    with pytest.raises(UnavailableError):
        exchange.after(httpx.Response(503, json={}))
