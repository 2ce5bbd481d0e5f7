"""Finding items by their titles: `GET /v1/items`, and the index behind it."""

import pytest

from recae.api.titles import TitleIndex
from recae.data.catalogue import Catalogue, Item
from recae.recommender import Recommender
from tests.tastes import ITEMS, USERS, fitted_ease


def found(client, query):
    return [item["item_id"] for item in client.get("/v1/items", query_string={"query": query}).json["items"]]


def test_words_or_their_beginnings_find_a_title_the_most_popular_first(client):
    assert found(client, "ham") == ["x", "y"]
    assert found(client, "HAMLET 1990") == ["y"]
    assert found(client, "let") == []
    assert found(client, "1979 al") == ["a"]


def test_an_id_is_found_before_titles(client):
    assert found(client, "b") == ["b"]
    assert found(client, "z") == ["z"], "without a title"


def test_what_is_shown_is_the_title_with_its_year(client):
    answer = client.get("/v1/items?query=alien").json

    assert answer == {"items": [{"item_id": "a", "title": "Alien (1979)"}]}


def test_no_more_are_found_than_asked_for(client):
    assert len(client.get("/v1/items?query=ham&n=1").json["items"]) == 1


@pytest.mark.parametrize(
    "query", ["", "query=", "query=a&n=0", "query=a&n=101", "query=a&m=1", f"query={'x' * 257}"]
)
def test_a_query_that_says_nothing_useful_is_refused(client, query):
    answer = client.get(f"/v1/items?{query}")

    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_field")


@pytest.mark.parametrize("query", ["???", " ", "'"])
def test_a_query_without_words_finds_nothing(client, query):
    assert found(client, query) == []


def index_of(*items):
    known = {item.item_id: item for item in items}
    catalogue = Catalogue(known.get(item_id, Item(item_id)) for item_id in ITEMS)
    return TitleIndex(Recommender(fitted_ease(), ITEMS, users=USERS, catalogue=catalogue))


def ids(index, query):
    return [item.item_id for item in index.search(query, 10)]


def test_titles_that_begin_with_the_query_come_first():
    index = index_of(Item("a", "My Star"), Item("x", "Star Wars"), Item("y", "Wars of the Star"))

    assert ids(index, "star") == ["x", "a", "y"]
    assert ids(index, "star wa") == ["x", "y"]


def test_punctuation_and_apostrophes_do_not_matter():
    index = index_of(Item("a", "Don't Look Up"), Item("b", "Spider-Man: Far"))

    assert ids(index, "dont look") == ids(index, "DON'T") == ["a"]
    assert ids(index, "spider man") == ids(index, "spider-man:") == ["b"]


def test_what_is_hidden_is_not_found_and_what_is_unavailable_is():
    index = index_of(Item("a", "Star", hidden=True), Item("b", "Star", available=False))

    assert ids(index, "star") == ["b"]
