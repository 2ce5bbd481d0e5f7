"""The client against `recae serve` in a process of its own, over a stored model of the two tastes."""

import asyncio
import sys

import pytest

from recae.artifacts import ModelStore
from recae.client import AsyncClient, Client, InvalidRequestError, NotFoundError
from tests.servers import free_port, running
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a server, and the version it serves."""
    home = tmp_path_factory.mktemp("served")
    store = ModelStore(home / "models")
    version = store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE)
    store.promote(version)
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], home, port):
        yield f"http://127.0.0.1:{port}", version


@pytest.fixture
def client(served):
    with Client(served[0]) as made:
        yield made


def test_a_user_of_the_log_gets_what_is_lacking_of_their_taste(client, served):
    answer = client.recommend("1", n=1)

    assert (answer.items[0].item_id, answer.items[0].title, answer.items[0].rank) == (
        "c",
        "Contact (1997)",
        1,
    )
    assert (answer.strategy, answer.user_id, answer.model_version) == ("model", "1", served[1])
    assert answer.recommendation_id.startswith("r_")


def test_a_history_is_folded_in_and_filters_hold(client):
    answer = client.recommend_for_history(["x", "never seen"], n=2, exclude_items=["y"])
    drama = client.recommend_for_history([{"item_id": "a", "weight": 1.0}], n=5, categories=["drama"])

    assert (answer.item_ids[0], answer.strategy, answer.unknown_items) == ("z", "fold_in", ("never seen",))
    assert "y" not in answer.item_ids
    assert set(drama.item_ids) == {"c", "x", "y", "z"}
    assert "4 items are left" in drama.short


def test_pages_follow_each_other(client):
    whole = client.recommend("1", n=4).item_ids
    first = client.recommend("1", n=2)
    second = client.recommend("1", n=2, offset=first.next_offset)

    assert first.item_ids + second.item_ids == whole
    assert second.next_offset is None


def test_similar_items_and_readiness(client, served):
    assert set(client.similar("a", n=2).item_ids) == {"b", "c"}
    assert client.ready().model_version == served[1]


def test_an_asynchronous_client_asks_many_at_once(served):
    async def ask():
        async with AsyncClient(served[0]) as client:
            return await asyncio.gather(*(client.recommend(str(user), n=1) for user in range(1, 7)))

    assert [answer.item_ids for answer in asyncio.run(ask())] == [["c"], ["a"], ["b"], ["z"], ["x"], ["y"]]


def test_errors_say_which_part_and_under_which_id(client):
    with pytest.raises(NotFoundError) as unknown:
        client.similar("nothing")
    with pytest.raises(NotFoundError) as stranger:
        client.recommend("nobody", strict=True)
    with pytest.raises(InvalidRequestError) as invalid:
        client.recommend("1", n=0)

    assert (unknown.value.code, unknown.value.field) == ("unknown_item", "item_id")
    assert (stranger.value.code, stranger.value.field) == ("unknown_user", "user_id")
    assert (invalid.value.status, invalid.value.field) == (422, "n")
    assert len(invalid.value.request_id) == 32


@pytest.mark.parametrize("user_id", ["a/b", "..", "50%", "ü", "a//b", "?"])
def test_an_id_of_any_letters_reaches_the_server(client, user_id):
    assert client.recommend(user_id).user_id == user_id


def test_more_events_than_a_body_may_hold_are_stored_and_counted_once(client):
    events = [{"user_id": "busy", "item_id": 7, "event_id": f"e{number}"} for number in range(12_000)]
    events[11_000]["item_id"] = 7.5
    first = client.send_events(iter(events))
    again = client.send_events(events)

    assert (first.accepted, first.duplicates, [one.index for one in first.rejected]) == (11_999, 0, [11_000])
    assert (again.accepted, again.duplicates) == (0, 11_999)
    assert client.delete_user("busy").deleted_events == 11_999
