"""The catalogue over HTTP: a change shows in the next answer."""

import json
import os
from urllib.parse import quote

import pytest

from recae.api import create_app
from recae.api.item_changes import ItemChanges
from recae.config import Settings

ALIEN = {
    "title": "Alien",
    "year": 1979,
    "categories": ["Sci-Fi", "Horror"],
    "available": True,
    "hidden": False,
}


def ids(response):
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json["items"]]


def test_an_item_of_the_model_is_shown_before_anybody_stored_it(client):
    assert client.get("/v1/items/a").json == ALIEN | {"item_id": "a", "extra": {}, "known_to_model": True}


def test_a_stored_item_is_shown_as_it_was_stored(client):
    body = {"title": "Neu", "categories": ["Drama"], "extra": {"price": 3.5}}
    put = client.put("/v1/items/new", json=body)

    assert put.status_code == 200, put.text
    assert client.get("/v1/items/new").json == put.json
    assert put.json | body == put.json
    assert (put.json["available"], put.json["hidden"], put.json["known_to_model"]) == (True, False, False)


def test_hidden_and_unavailable_items_vanish_at_once(client):
    everything = "/v1/users/1/recommendations?n=4"
    assert "c" in ids(client.get(everything))
    client.patch("/v1/items/c", json={"hidden": True})
    client.patch("/v1/items/x", json={"available": False})

    assert set(ids(client.get(everything))) == {"y", "z"}
    assert set(ids(client.get(f"{everything}&available_only=false"))) == {"x", "y", "z"}
    body = {"user_id": "1", "n": 4, "filter": {"available_only": False}}
    assert set(ids(client.post("/v1/recommendations", json=body))) == {"x", "y", "z"}
    assert "c" not in ids(client.get("/v1/items/a/similar?n=5"))
    assert "c" not in ids(client.get("/v1/popular?n=5"))
    ranked = client.post("/v1/rank", json={"candidates": ["c", "x", "b"]})
    assert set(ids(ranked)) == {"x", "b"}
    client.patch("/v1/items/c", json={"hidden": False})
    assert "c" in ids(client.get(everything))


def test_titles_and_categories_are_those_of_now(client):
    client.put("/v1/items/c", json={"title": "Kontakt", "categories": ["Fernsehen"]})

    (only,) = client.get("/v1/users/1/recommendations?n=5&category=fernsehen").json["items"]
    assert (only["item_id"], only["title"]) == ("c", "Kontakt")
    assert "c" not in ids(client.get("/v1/users/1/recommendations?n=5&category=sci-fi&exclude_seen=false"))


def test_a_patch_keeps_what_it_does_not_name(client):
    patched = client.patch("/v1/items/a", json={"available": False})
    assert patched.json == ALIEN | {"item_id": "a", "available": False, "extra": {}, "known_to_model": True}
    assert client.patch("/v1/items/a", json={"title": None}).json["title"] is None
    assert client.patch("/v1/items/a", json={}).json["available"] is False


def test_a_put_replaces_the_whole_item(client):
    client.put("/v1/items/a", json={"title": "Neu"})

    assert client.get("/v1/items/a").json["categories"] == []


def test_a_deleted_item_is_gone_and_not_recommended_until_it_is_stored_again(client):
    assert client.delete("/v1/items/c").json == {"item_id": "c", "deleted": True}
    assert client.get("/v1/items/c").status_code == 404
    assert client.delete("/v1/items/c").status_code == 404
    assert client.patch("/v1/items/c", json={"hidden": False}).status_code == 404
    assert "c" not in ids(client.get("/v1/users/1/recommendations?n=4"))

    client.put("/v1/items/c", json={"title": "Contact"})
    assert "c" in ids(client.get("/v1/users/1/recommendations?n=4"))


def test_a_new_process_sees_what_was_stored_and_deleted_before(client, recommender):
    client.delete("/v1/items/c")
    client.patch("/v1/items/x", json={"title": "Prinz"})
    other = create_app(Settings(), recommender).test_client()

    items = other.get("/v1/users/1/recommendations?n=4").json["items"]
    assert {item["item_id"] for item in items} == {"x", "y", "z"}
    assert next(item["title"] for item in items if item["item_id"] == "x") == "Prinz (1948)"
    assert other.get("/v1/items/c").status_code == 404


def test_a_change_by_another_process_is_followed(client, recommender):
    other = create_app(Settings(), recommender)
    other.test_client().get("/v1/users/1/recommendations")
    client.patch("/v1/items/c", json={"hidden": True})
    other.extensions["recae"].served.follow_items()  # what the watching thread does twice a second

    assert "c" not in ids(other.test_client().get("/v1/users/1/recommendations?n=4"))


def test_what_one_process_hides_no_other_shows_from_the_next_request_on(app, client, recommender):
    shared, other = ItemChanges(), create_app(Settings(reload_s=3_600), recommender)
    for each in (app, other):
        each.extensions["recae"].served.share(shared)
    theirs, everything = other.test_client(), "/v1/users/1/recommendations?n=4"
    looks = []
    look = other.extensions["recae"].served.follow_items
    other.extensions["recae"].served.follow_items = lambda: looks.append(look())

    for hidden in (True, False, True):
        client.patch("/v1/items/c", json={"hidden": hidden})
        for path in (everything, everything, "/v1/popular?n=5"):
            assert ("c" in ids(theirs.get(path))) is not hidden
    client.delete("/v1/items/x")
    assert "x" not in ids(theirs.get(everything))
    assert len(looks) == 4, "nobody looks where nothing has changed"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing that could wait
def test_a_change_that_is_told_of_shows_in_a_process_that_was_forked():
    shared = ItemChanges()
    before = shared.word()
    child = os.fork()
    if child == 0:
        shared.tell()
        os._exit(0)
    os.waitpid(child, 0)

    assert shared.word() != before


def test_an_item_nobody_knows_is_404(client):
    for response in (
        client.get("/v1/items/q"),
        client.patch("/v1/items/q", json={"hidden": True}),
        client.delete("/v1/items/q"),
    ):
        assert (response.status_code, response.json["error"]["code"]) == (404, "unknown_item")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": 3}, "title"),
        ({"title": ""}, "title"),
        ({"hidden": 1}, "hidden"),
        ({"available": "yes"}, "available"),
        ({"categories": "Drama"}, "categories"),
        ({"categories": [""]}, "categories[0]"),
        ({"year": 1.5}, "year"),
        ({"hiden": True}, "hiden"),
        ({"extra": []}, "extra"),
        ([], "body"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_item_that_cannot_be_used_is_422_and_names_the_field(client, method, body, field):
    response = client.open("/v1/items/a", method=method, json=body)

    assert (response.status_code, response.json["error"]["field"]) == (422, field), response.text


def nested(depth):
    return {"extra": {"a": json.loads("[" * (depth - 1) + "]" * (depth - 1))}}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_further_fields_that_no_answer_could_show_are_refused_and_nothing_is_stored(client, method):
    for body, why in (
        ({"extra": {"a": "\ud800"}}, "half a surrogate pair"),
        ({"extra": {"\ud800": 1}}, "half a surrogate pair"),
        (nested(65), "more than 64 deep"),
        (nested(500), "more than 64 deep"),
        ({"title": "\0"}, "no zero byte"),
        ({"title": "\ud800"}, "title"),
    ):
        response = client.open("/v1/items/a", method=method, json=body)

        assert (response.status_code, response.json["error"]["field"]) == (422, next(iter(body)))
        assert why in response.json["error"]["message"]
    assert client.get("/v1/items/a").json["extra"] == {}


def test_further_fields_come_back_as_they_were(client):
    for extra in (nested(64)["extra"], {"a": "\0", "\U0001f600": [10**30, {"b": None}]}):
        assert client.put("/v1/items/a", json={"extra": extra}).status_code == 200
        assert client.get("/v1/items/a").json["extra"] == extra


def test_a_zero_byte_in_an_id_is_422_wherever_it_stands_and_whatever_the_database(url, recommender):
    app = create_app(Settings(events=url), recommender)
    client, zero = app.test_client(), "a\0b"
    try:
        for method, path, body in (
            ("GET", "/v1/users/a%00b/recommendations", None),
            ("GET", "/v1/users/a%00b/events", None),
            ("DELETE", "/v1/users/a%00b", None),
            *((method, "/v1/items/a%00b", None) for method in ("GET", "DELETE")),
            *((method, "/v1/items/a%00b", {}) for method in ("PUT", "PATCH")),
            ("PUT", "/v1/items/b", {"title": zero}),
            ("GET", "/v1/items/a%00b/similar", None),
            ("POST", "/v1/recommendations", {"user_id": zero}),
            ("POST", "/v1/recommendations", {"items": [zero]}),
            ("POST", "/v1/recommendations", {"filter": {"include_items": [zero]}}),
            ("POST", "/v1/rank", {"user_id": zero, "candidates": ["a"]}),
            ("POST", "/v1/rank", {"candidates": [zero]}),
        ):
            response = client.open(path, method=method, json=body)

            assert (response.status_code, response.json["error"]["code"]) == (422, "invalid_field"), path
        parts = [{"user_id": zero}, {"user_id": "1"}, {"items": ["a"]}]
        batch = client.post("/v1/recommendations/batch", json={"requests": parts}).json["results"]
        assert [part["status"] for part in batch] == [422, 200, 200]
        assert client.post("/v1/events", json=[{"user_id": zero, "item_id": "a"}]).json["accepted"] == 0
    finally:
        app.extensions["recae"].storage.close()


def test_popular_items_may_be_of_a_category(client):
    body = client.get("/v1/popular?n=2&category=drama").json

    assert [(item["item_id"], item["score"]) for item in body["items"]] == [("c", 2.0), ("x", 2.0)]
    assert body["short"] is None
    assert "left after" in client.get("/v1/popular?n=5&category=horror").json["short"]


@pytest.mark.parametrize(
    "item_id",
    ["/", "/a", "a/events", "a/recommendations", "a/similar", "events", "%2F", "/%/25", "é/ü/events", "a//b"],
)
def test_an_id_whose_slashes_are_encoded_is_that_id_whatever_it_looks_like(client, item_id):
    path = quote(item_id, safe="")
    put = client.put(f"/v1/items/{path}", json={"title": "It"})
    sent = client.post("/v1/events", json=[{"user_id": item_id, "item_id": item_id}])

    assert (put.status_code, put.json["item_id"]) == (200, item_id)
    assert client.get(f"/v1/items/{path}").json["title"] == "It"
    assert client.patch(f"/v1/items/{path}", json={"year": 1}).json["year"] == 1
    assert client.delete(f"/v1/items/{path}").json == {"item_id": item_id, "deleted": True}
    assert sent.json["accepted"] == 1
    assert client.get(f"/v1/users/{path}/recommendations").json["user_id"] == item_id
    assert len(client.get(f"/v1/users/{path}/events").json["events"]) == 1
    assert client.delete(f"/v1/users/{path}").json["deleted_events"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/items/\xe9"),
        ("DELETE", "/v1/items/\xe9"),
        ("GET", "/v1/users/\xfc/events"),
        ("DELETE", "/v1/users/\xfc"),
        ("GET", "/v1/users/\xc3(/recommendations"),
    ],
)
def test_bytes_that_are_no_utf8_are_nobodys_id(client, method, path):
    client.post("/v1/events", json=[{"user_id": "\ufffd", "item_id": "\ufffd"}])

    answer = client.open(method=method, environ_overrides={"PATH_INFO": path})  # as a server gives bytes

    assert answer.status_code == 422
    assert "UTF-8" in answer.json["error"]["message"]
    assert len(client.get("/v1/users/%EF%BF%BD/events").json["events"]) == 1


@pytest.mark.parametrize("field", ["categories", "available", "hidden", "extra"])
def test_null_is_refused_where_it_would_do_nothing(client, field):
    client.put("/v1/items/a", json={"title": "A", "hidden": True})

    answer = client.patch("/v1/items/a", json={field: None})

    assert (answer.status_code, answer.json["error"]["field"]) == (422, field)
    assert client.get("/v1/items/a").json["hidden"] is True


@pytest.mark.parametrize(
    "path", ["/v1/users/1/", "/v1/users/1/recommendations/", "/v1/users/1//events", "/v1/items/a/"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH"])
def test_a_slash_at_the_end_is_no_part_of_an_id(client, method, path):
    client.post("/v1/events", json=[{"user_id": "1", "item_id": "a"}])

    answer = client.open(path, method=method, json={"title": "A"} if method in {"PUT", "PATCH"} else None)

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")
    assert len(client.get("/v1/users/1/events").json["events"]) == 1


def test_ids_with_slashes_are_items_too(client):
    client.put("/v1/items/urn:a/b", json={"title": "Slashes"})

    assert client.get("/v1/items/urn:a/b").json["title"] == "Slashes"
