"""Any number of events: in requests that a server takes, with one answer for all of them."""

import asyncio
import json

import pytest

from recae.client import AsyncClient, EventsAccepted, InvalidRequestError, UnavailableError
from tests.client.conftest import AT_ONCE
from tests.client.stub import error, truncated

DEFAULT_LIMIT = 2**20
"""Bytes of a body, of a server without further settings."""


def events(n, **more):
    return ({"user_id": "u", "item_id": f"i{number}", **more} for number in range(n))


@pytest.fixture(params=["sync", "async"])
def send(request, client, stub):
    """``send_events`` of either client."""
    if request.param == "sync":
        return client.send_events

    def send_asynchronously(sent):
        async def ask():
            async with AsyncClient(stub.address, retries=AT_ONCE) as asynchronous:
                return await asynchronous.send_events(sent)

        return asyncio.run(ask())

    return send_asynchronously


def test_many_events_go_in_requests_of_a_thousand_and_each_once(send, stub):
    answer = send(events(2_500))

    assert [len(body) for body in stub.bodies()] == [1_000, 1_000, 500]
    assert [event["item_id"] for body in stub.bodies() for event in body] == [f"i{n}" for n in range(2_500)]
    assert len({event["event_id"] for body in stub.bodies() for event in body}) == 2_500
    assert answer == EventsAccepted(accepted=2_500, duplicates=0)


def test_what_is_rejected_is_counted_over_all_that_was_sent(send, stub):
    sent = list(events(2_100))
    for bad in (7, 1_500, 2_099):
        sent[bad]["timestamp"] = "never"
    answer = send(sent)

    assert (answer.accepted, [one.index for one in answer.rejected]) == (2_097, [7, 1_500, 2_099])
    assert {one.code for one in answer.rejected} == {"bad_timestamp"}


def test_no_events_are_no_request(send, stub):
    assert send([]) == EventsAccepted(accepted=0, duplicates=0, rejected=())
    assert stub.asked == []


@pytest.mark.parametrize("letter", ["a", "\u00e4", "\U0001f3ac"])
def test_long_events_go_in_requests_that_a_server_takes(client, stub, letter):
    client.send_events(events(1_000, recommendation_id=letter * 1_000))

    sizes = [len(json.dumps(body).encode()) for body in stub.bodies()]
    assert len(sizes) > 1
    assert max(sizes) <= DEFAULT_LIMIT // 2
    assert sum(map(len, stub.bodies())) == 1_000


def test_an_event_that_is_too_long_for_any_request_is_the_servers_to_judge(client, stub):
    long = {"user_id": "u", "item_id": "i" * DEFAULT_LIMIT}
    client.send_events([*events(1), long, *events(1)])

    assert [len(body) for body in stub.bodies()] == [1, 1, 1]


def test_a_request_of_several_is_repeated_with_the_same_event_ids(send, stub):
    stub.failures.extend([lambda: ({"accepted": 1_000, "duplicates": 0, "rejected": []}, 202), truncated])
    answer = send(events(1_200))

    first, lost, repeated = stub.bodies()
    assert len(first) == 1_000
    assert lost == repeated
    assert answer.accepted == 1_200


def test_an_error_says_what_had_been_sent_before_it(send, stub):
    before = {
        "accepted": 990,
        "duplicates": 9,
        "rejected": [{"index": 3, "code": "bad_value", "message": "no"}],
    }
    stub.failures.extend([lambda: (before, 202), *[error(503, "event_log_unavailable")] * 3])

    with pytest.raises(UnavailableError) as raised:
        send(events(3_000))

    assert len(stub.asked) == 1 + 3, "nothing is sent after the request that failed"
    found = raised.value.sent_before
    assert (found.accepted, found.duplicates, found.rejected[0].index) == (990, 9, 3)
    assert raised.value.__notes__ == [
        "the first 1,000 events were sent before: 990 stored, 9 duplicates, 1 rejected"
    ]


def test_an_error_of_the_first_request_says_that_nothing_was_sent_before(send, stub):
    stub.failures.append(error(413, "body_too_large"))

    with pytest.raises(InvalidRequestError) as raised:
        send(events(3_000))

    assert raised.value.sent_before == EventsAccepted(accepted=0, duplicates=0)
    assert not hasattr(raised.value, "__notes__")


def test_events_that_break_off_say_what_was_sent_of_them(send, stub):
    def breaking():
        yield from events(1_001)
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone") as raised:
        send(breaking())

    assert len(stub.asked) == 1
    assert raised.value.__notes__ == [
        "the first 1,000 events were sent before: 1,000 stored, 0 duplicates, 0 rejected"
    ]
