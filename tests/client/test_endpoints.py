"""Every endpoint: what is sent, and what the answer is read as; in both clients."""

import asyncio
import inspect

import pytest

from recae.client import AsyncClient, BadAnswerError, Client, calls
from recae.client.endpoints import Endpoint, Endpoints

ENDPOINTS = [name for name, value in vars(Endpoints).items() if isinstance(value, Endpoint)]

# method, arguments -> method and path on the wire
ASKED = {
    "recommend": (("u1",), "GET", "/v1/users/u1/recommendations"),
    "recommend_for_history": ((["i1"],), "POST", "/v1/recommendations"),
    "batch": (([{"user_id": "u1"}],), "POST", "/v1/recommendations/batch"),
    "similar": (("i1",), "GET", "/v1/items/i1/similar"),
    "popular": ((), "GET", "/v1/popular"),
    "rank": ((["i1", "i2"],), "POST", "/v1/rank"),
    "user_events_page": (("u1",), "GET", "/v1/users/u1/events"),
    "delete_user": (("u1",), "DELETE", "/v1/users/u1"),
    "put_item": (("i1",), "PUT", "/v1/items/i1"),
    "patch_item": (("i1",), "PATCH", "/v1/items/i1"),
    "get_item": (("i1",), "GET", "/v1/items/i1"),
    "delete_item": (("i1",), "DELETE", "/v1/items/i1"),
    "search_items": (("matrix",), "GET", "/v1/items"),
    "models": ((), "GET", "/v1/models"),
    "promote": (("v1",), "POST", "/v1/models/v1/promote"),
    "rollback": ((), "POST", "/v1/models/rollback"),
    "retrain": ((), "POST", "/v1/admin/retrain"),
    "runs": ((), "GET", "/v1/admin/runs"),
    "run": (("run-1",), "GET", "/v1/admin/runs/run-1"),
    "evaluation": ((), "GET", "/v1/evaluation/latest"),
    "live": ((), "GET", "/health/live"),
    "ready": ((), "GET", "/health/ready"),
}


def test_every_endpoint_is_asked_here():
    assert set(ASKED) == set(ENDPOINTS)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_both_clients_ask_the_same_and_read_the_same(client, stub, name):
    arguments, method, path = ASKED[name]

    async def ask():
        async with AsyncClient(stub.address) as asynchronous:
            return await getattr(asynchronous, name)(*arguments)

    answer = getattr(client, name)(*arguments)

    assert asyncio.run(ask()) == answer
    assert stub.paths() == [(method, path)] * 2
    wanted = inspect.signature(getattr(calls, name)).return_annotation
    assert type(answer).__name__ in str(wanted)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_method_has_the_signature_and_the_words_of_its_endpoint(client, name):
    method = getattr(client, name)

    assert inspect.signature(method) == inspect.signature(getattr(calls, name))
    assert method.__doc__ == getattr(Client, name).__doc__ == getattr(calls, name).__doc__


def test_recommendations_come_as_typed_items_with_reasons(client):
    answer = client.recommend("u1", n=1, explain=1)

    assert answer.item_ids == ["i9"]
    assert (answer.strategy, answer.recommendation_id, answer.next_offset) == ("model", "r_1", 1)
    assert answer.items[0].score == 3.0
    assert isinstance(answer.items[0].score, float)
    assert [(reason.item_id, reason.contribution) for reason in answer.items[0].explanation] == [("i1", 0.42)]


def test_a_ranking_comes_with_its_recommendation_id_and_what_it_is_made_from(client, stub):
    answer = client.rank(["i9", "new"], user_id="u1", explain=1)

    assert (answer.recommendation_id, answer.strategy, answer.user_id) == ("r_1", "model", "u1")
    assert [reason.item_id for reason in answer.items[0].explanation] == ["i1"]
    assert stub.bodies() == [{"user_id": "u1", "candidates": ["i9", "new"], "explain": 1}]


@pytest.mark.parametrize("wrong", [True, 7.0, None, b"u"])
def test_an_id_in_a_path_is_a_string_or_an_integer(client, wrong):
    with pytest.raises(TypeError, match=f"an id is a string or an integer, found {type(wrong).__name__}"):
        client.recommend(wrong)


def test_an_integer_id_is_sent_as_its_decimal_digits_wherever_an_id_is_taken(client, stub):
    client.recommend(42)
    list(client.user_events(42, n_a_page=5))
    client.delete_user(42)
    client.similar(7)
    client.put_item(7, title="Seven")
    client.patch_item(7, year=1995)
    client.get_item(7)
    assert client.delete_item(7).item_id == "7"
    users = [path for _, path in stub.paths()[:3]]
    items = [path for _, path in stub.paths()[3:]]
    assert users == ["/v1/users/42/recommendations", "/v1/users/42/events", "/v1/users/42"]
    assert items == ["/v1/items/7/similar", *["/v1/items/7"] * 4]

    stub.asked.clear()
    client.recommend_for_history([7, "i1"], user_id=42, include_items=[8, "i2"], exclude_items=[9])
    client.rank([8, "i2"], user_id=42, items=[7])
    of_history, of_rank = stub.bodies()
    assert (of_history["user_id"], of_history["items"]) == ("42", ["7", "i1"])
    assert of_history["filter"] == {"include_items": ["8", "i2"], "exclude_items": ["9"]}
    assert of_rank == {"user_id": "42", "items": ["7"], "candidates": ["8", "i2"]}


def test_what_is_not_said_is_left_to_the_server_whose_limits_may_be_lower(client, stub):
    client.recommend("u1")
    client.similar("i1")
    client.popular()
    list(client.user_events("u1"))
    client.recommend_for_history(["i1"])

    assert [query for _, _, query, _, _ in stub.asked] == [{}] * 5
    assert stub.bodies()[-1] == {"items": ["i1"]}


def test_only_what_differs_from_the_defaults_is_sent(client, stub):
    client.recommend("u1")
    client.recommend(
        "u1",
        n=3,
        offset=4,
        exclude_seen=False,
        categories=["a", "b"],
        diversity=0.5,
        explain=2,
        strict=True,
        available_only=False,
        model="v0",
    )

    queries = [query for _, _, query, _, _ in stub.asked]
    assert queries[0] == {}
    assert queries[1] == {
        "n": ["3"],
        "offset": ["4"],
        "exclude_seen": ["false"],
        "category": ["a", "b"],
        "diversity": ["0.5"],
        "explain": ["2"],
        "strict": ["true"],
        "available_only": ["false"],
        "model": ["v0"],
    }


def test_filters_of_a_history_go_where_the_contract_has_them(client, stub):
    client.recommend_for_history(
        ["i1", {"item_id": "i2", "weight": 2.0}], include_items=[], available_only=False
    )

    assert stub.bodies() == [
        {
            "items": ["i1", {"item_id": "i2", "weight": 2.0}],
            "filter": {"include_items": [], "available_only": False},
        }
    ]


@pytest.mark.parametrize(
    "user_id", ["a/b", "a//b", ".", "..", "...", "ä ö", "50%", "a?b=c#d", "%2F", "../admin"]
)
def test_an_id_of_any_letters_arrives_as_it_is(client, stub, user_id):
    assert client.recommend(user_id).user_id == user_id
    assert stub.paths() == [("GET", f"/v1/users/{user_id}/recommendations")]


def test_an_empty_id_is_refused_before_anything_is_sent(client, stub):
    with pytest.raises(ValueError, match="an id is empty"):
        client.recommend("")
    assert stub.asked == []


def test_each_part_of_a_batch_has_its_body_or_its_error(client):
    fine, bad = client.batch([{"user_id": "u1"}, {"user_id": "u2", "strict": True}], n=3).results

    assert (fine.status, fine.body.user_id, fine.error) == (200, "u1", None)
    assert (bad.status, bad.body, bad.error.code, bad.error.field) == (404, None, "unknown_user", "user_id")


def test_events_get_ids_of_their_own_unless_they_have_one(client, stub):
    events = [{"user_id": "u1", "item_id": "i1"}, {"user_id": "u1", "item_id": "i2", "event_id": "mine"}]
    answer = client.send_events(
        [
            *events,
            {"user_id": "u1", "item_id": "i3", "event_id": None, "timestamp": "never"},
            {"user_id": "u1", "item_id": "i4", "event_id": ""},
        ]
    )

    (sent,) = stub.bodies()
    assert sent[1]["event_id"] == "mine"
    assert len({event["event_id"] for event in sent if event["event_id"]}) == 4
    assert "event_id" not in events[0], "the caller's own events stay as they are"
    assert (answer.accepted, answer.rejected[0].index, answer.rejected[0].code) == (3, 2, "bad_timestamp")


def test_user_events_go_over_all_pages(client, stub):
    assert [event.item_id for event in client.user_events("u1", n_a_page=2)] == ["i0", "i1", "i2", "i3", "i4"]
    assert [query.get("cursor") for _, _, query, _, _ in stub.asked] == [None, ["2"], ["4"]]


def test_user_events_go_over_all_pages_asynchronously_too(stub):
    async def collect():
        async with AsyncClient(stub.address) as client:
            return [event.item_id async for event in client.user_events("u1", n_a_page=3)]

    assert asyncio.run(collect()) == ["i0", "i1", "i2", "i3", "i4"]


def test_what_has_no_field_of_its_own_is_in_raw(client):
    assert client.models().versions[0].raw["config"] == {"l2": 1}
    assert client.run("run-7").raw["gate"] == {"passed": True}


def test_the_key_goes_along_and_a_path_before_v1_stays(stub):
    stub.failures.append(dict)
    address = f"{stub.address}/behind/a/proxy"
    with Client(address, api_key="secret") as client, pytest.raises(BadAnswerError):
        client.ready()

    ((_, path, _, _, headers),) = stub.asked
    assert path == "/behind/a/proxy/health/ready"
    assert headers["X-Api-Key"] == "secret"


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "", "ftp://host"])
def test_an_address_that_is_none_is_refused_at_once(address):
    with pytest.raises(ValueError, match="http://"):
        Client(address)
