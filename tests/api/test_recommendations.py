"""Top-N over HTTP: what comes back, and what is refused with which words."""

import json

import pytest

from recae.api import create_app
from recae.config import Settings

USER_1 = "/v1/users/1/recommendations"
HISTORY = "/v1/recommendations"


def ids(response):
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json["items"]]


def refused(response, status, code, field=None):
    """The message of an error in the one shape."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    assert set(response.json) == {"error", "request_id"}
    assert response.json["request_id"] == response.headers["X-Request-ID"]
    assert (response.json["error"]["code"], response.json["error"]["field"]) == (code, field)
    return response.json["error"]["message"]


# ------------------------------------------------------------------ GET: a user


def test_a_known_user_gets_their_missing_item_with_its_title(client):
    body = client.get(USER_1, query_string={"n": 2}).json

    assert body["strategy"] == "model"
    assert body["user_id"] == "1"
    assert body["model_version"] == "v1"
    assert body["recommendation_id"].startswith("r_")
    assert body["items"][0] | {"score": None} == {
        "item_id": "c",
        "title": "Contact (1997)",
        "rank": 1,
        "score": None,
    }
    assert len(body["items"]) == 2
    assert body["short"] is None
    assert body["next_offset"] == 2
    assert body["took_ms"] >= 0


def test_an_unknown_user_gets_the_popular_items_with_200(client):
    response = client.get("/v1/users/stranger/recommendations?n=1")

    assert ids(response) == ["a"]
    assert response.json["strategy"] == "fallback"


def test_an_unknown_user_is_404_if_the_caller_is_strict(client):
    message = refused(
        client.get("/v1/users/stranger/recommendations?strict=true"), 404, "unknown_user", "user_id"
    )

    assert "'stranger'" in message
    assert client.get(USER_1 + "?strict=true").status_code == 200


def test_a_category_may_be_repeated_and_any_of_them_will_do(client):
    assert set(ids(client.get(USER_1 + "?n=4&category=horror&category=sci-fi&exclude_seen=false"))) == {
        "a",
        "b",
        "c",
    }


def test_exclude_seen_can_be_switched_off(client):
    assert "a" not in ids(client.get(USER_1 + "?n=5"))
    assert "a" in ids(client.get(USER_1 + "?n=5&exclude_seen=false"))


def test_without_n_a_low_limit_of_the_server_is_the_default(client):
    body = client.get(USER_1 + "?exclude_seen=false").json

    assert len(body["items"]) == 5
    assert body["short"] is None


def test_fewer_items_than_asked_for_come_with_the_reason(client):
    body = client.get(USER_1 + "?n=5").json

    assert len(body["items"]) == 4
    assert body["short"] == "4 items are left after what was seen, excluded or filtered out"
    assert body["next_offset"] is None


def test_ids_with_slashes_spaces_and_other_alphabets_stay_what_they_are(client):
    for user_id in ("urn:a/b", "a//b", "Jörg Müller", "推薦", "100%"):
        body = client.get(f"/v1/users/{user_id.replace('%', '%25')}/recommendations").json
        assert body["user_id"] == user_id


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("n=0", "n"),
        ("n=6", "n"),
        ("n=ten", "n"),
        ("n=1&n=2", "n"),
        ("offset=-1", "offset"),
        ("exclude_seen=perhaps", "exclude_seen"),
        ("category=", "category[0]"),
        ("exclude_sen=false", "exclude_sen"),
    ],
)
def test_a_query_that_cannot_be_used_is_422_and_names_the_field(client, query, field):
    message = refused(client.get(f"{USER_1}?{query}"), 422, "invalid_field", field)

    assert message.startswith(f"{field}: ")


def test_an_id_in_the_path_may_not_be_endless(client):
    assert client.get(f"/v1/users/{'u' * 256}/recommendations").status_code == 200
    refused(client.get(f"/v1/users/{'u' * 257}/recommendations"), 422, "invalid_field", "user_id")


# ------------------------------------------------------------------ POST: a history


def test_an_anonymous_history_is_answered_like_the_user_who_has_it(client):
    posted = client.post(HISTORY, json={"items": ["a", "b"], "n": 3})
    stored = client.get(USER_1 + "?n=3")

    assert posted.json["items"] == stored.json["items"]
    assert posted.json["strategy"] == "fold_in"
    assert posted.json["user_id"] is None


def test_an_empty_request_gets_the_popular_items(client):
    response = client.post(HISTORY, json={})

    assert response.json["strategy"] == "fallback"
    assert ids(response)[0] == "a"


def test_a_user_alone_is_the_same_as_asking_by_path(client):
    assert ids(client.post(HISTORY, json={"user_id": "1"})) == ids(client.get(USER_1))


def test_a_user_and_items_count_together(client):
    together = client.post(HISTORY, json={"user_id": "7", "items": ["b"], "n": 3})

    assert together.json["items"] == client.get(USER_1 + "?n=3").json["items"]


def test_unknown_items_are_listed_and_the_rest_is_used(client):
    response = client.post(HISTORY, json={"items": ["a", 318, "b", "q"], "n": 1})

    assert ids(response) == ["c"]
    assert response.json["unknown_items"] == ["318", "q"]


def test_weights_change_the_answer(client):
    def score(weight):
        body = {"items": [{"item_id": "a", "weight": weight}], "n": 1}
        return client.post(HISTORY, json=body).json["items"][0]["score"]

    assert score(2.0) == pytest.approx(2 * score(1))
    assert score(None) == score(1)


def test_of_an_item_that_comes_twice_the_latest_counts(client):
    def first_score(*items):
        return client.post(HISTORY, json={"items": items, "n": 1}).json["items"][0]["score"]

    old = {"item_id": "a", "weight": 5.0, "timestamp": "2026-01-01T00:00:00Z"}
    new = {"item_id": "a", "weight": 1.0, "timestamp": "2026-01-02T00:00:00+00:00"}
    timeless = {"item_id": "a", "weight": 3.0}

    assert first_score(new, old) == first_score(old, new) == first_score("a")
    assert first_score(timeless, new, old) == first_score(timeless)


def test_filters_include_exclude_and_choose_categories(client):
    def post(**rules):
        return ids(client.post(HISTORY, json={"items": ["b"], "filter": rules}))

    assert set(post(include_items=["a", "x"])) == {"a", "x"}
    assert set(post(exclude_items=["a"])) == {"c", "x", "y", "z"}
    assert set(post(categories=["Horror"])) == {"a"}
    assert post(include_items=[]) == []


def test_pages_follow_each_other(client):
    whole = ids(client.post(HISTORY, json={"items": ["a"], "n": 5}))
    first = client.post(HISTORY, json={"items": ["a"], "n": 3})
    second = client.post(HISTORY, json={"items": ["a"], "n": 3, "offset": first.json["next_offset"]})

    assert ids(first) + ids(second) == whole
    assert second.json["items"][0]["rank"] == 4


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"items": [1.5]}, "items[0].item_id"),
        ({"items": ["a", True]}, "items[1].item_id"),
        ({"items": [None]}, "items[0].item_id"),
        ({"items": [""]}, "items[0].item_id"),
        ({"items": ["i" * 257]}, "items[0].item_id"),
        ({"items": [10**300]}, "items[0].item_id"),
        ({"items": [["a"]]}, "items[0].item_id"),
        ({"items": [{}]}, "items[0].item_id"),
        ({"items": [{"item_id": "a", "wieght": 2}]}, "items[0].wieght"),
        ({"items": [{"item_id": "a", "weight": "2"}]}, "items[0].weight"),
        ({"items": [{"item_id": "a", "weight": True}]}, "items[0].weight"),
        ({"items": [{"item_id": "a", "weight": 1e9}]}, "items[0].weight"),
        ({"items": [{"item_id": "a", "timestamp": "yesterday"}]}, "items[0].timestamp"),
        ({"items": [{"item_id": "a", "timestamp": "2026-01-01T00:00:00"}]}, "items[0].timestamp"),
        ({"items": "abc"}, "items"),
        ({"items": ["a", "b", "c", "x", "y"]}, "items"),
        ({"items": [{"item_id": "a", "weight": -1}]}, "items"),
        ({"user_id": 1.0}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"n": "3"}, "n"),
        ({"n": 0}, "n"),
        ({"n": 6}, "n"),
        ({"n": True}, "n"),
        ({"offset": -1}, "offset"),
        ({"exclude_seen": 1}, "exclude_seen"),
        ({"filter": {"exclude_items": [2.5]}}, "filter.exclude_items[0]"),
        ({"filter": {"include_items": ["a"] * 5}}, "filter.include_items"),
        ({"filter": {"exclude_items": ["a"] * 5}}, "filter.exclude_items"),
        ({"filter": {"categories": [""]}}, "filter.categories[0]"),
        ({"diversity": 1.2}, "diversity"),
        ({"diversity": "0.2"}, "diversity"),
        ({"explain": -1}, "explain"),
        ({"model": ""}, "model"),
        ({"filter": {"available_only": 1}}, "filter.available_only"),
    ],
)
def test_a_body_that_cannot_be_used_is_422_and_names_the_field(client, body, field):
    refused(client.post(HISTORY, json=body), 422, "invalid_field", field)


def test_an_integer_id_is_read_as_its_digits(client):
    assert client.post(HISTORY, json={"user_id": 1}).json["user_id"] == "1"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_json_does_not_have_are_no_weights(client, constant):
    text = '{"items": [{"item_id": "a", "weight": %s}]}' % constant  # noqa: UP031 - braces
    response = client.post(HISTORY, data=text, content_type="application/json")

    refused(response, 422, "invalid_field", "items[0].weight")


@pytest.mark.timeout(60)  # comparing each name with all others took ten minutes
def test_a_name_that_stands_twice_among_very_many_is_found_in_one_pass(recommender):
    settings = Settings()
    names = [f'"{number}":0' for number in range(90_000)]
    body = "{" + ",".join([*names, names[-1]]) + "}"
    assert 800_000 < len(body) < settings.max_body_bytes

    client = create_app(settings, recommender).test_client()
    response = client.post(HISTORY, data=body, content_type="application/json")

    assert response.status_code == 400
    assert "'89999' stands twice in one object" in response.json["error"]["message"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the body is empty"),
        (b'{"items": ["a"', "at line 1, column 15"),
        (b"items=a", "the body is no JSON"),
        (b"\xff\xfe\xfa", "the body is no JSON"),
        (b"[" * 1_900, "nested a few levels deep"),
        ('{"items": ["a"]}'.encode("utf-16"), "in UTF-8"),
        ('{"items": ["a"]}'.encode("utf-16-le"), "the body is no JSON"),
        (b'{"items": ["a"], "items": ["b"]}', "'items' stands twice in one object"),
        (b'{"filter": {"categories": [], "categories": ["a"]}}', "'categories' stands twice"),
        (b'{"n": ' + b"9" * 1_900 + b"}", None),
    ],
)
def test_a_body_that_is_no_json_is_400(client, data, words):
    response = client.post(HISTORY, data=data, content_type="application/json")

    if words is None:  # JSON, but no number of items
        refused(response, 422, "invalid_field", "n")
    else:
        assert words in refused(response, 400, "malformed_json")


@pytest.mark.parametrize("text", ["[]", '["a"]', '"a"', "3", "null", "true"])
def test_json_that_is_no_object_is_422(client, text):
    response = client.post(HISTORY, data=text, content_type="application/json")

    refused(response, 422, "invalid_field", "body")


@pytest.mark.parametrize(
    "declared",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "application/vnd.x+json",
        "application/json; charset=utf-16",
    ],
)
def test_a_body_that_is_not_declared_as_json_is_415(client, declared):
    response = client.post(HISTORY, data=b'{"items": []}', content_type=declared)

    assert "Content-Type: application/json" in refused(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("declared", ["application/json; charset=UTF-8", "Application/JSON;charset=utf8"])
def test_a_body_may_say_that_it_is_utf_8_and_begin_with_its_mark(client, declared):
    for mark in (b"", b"\xef\xbb\xbf"):
        response = client.post(HISTORY, data=mark + b'{"items": ["a"], "n": 1}', content_type=declared)
        assert response.status_code == 200, response.text


def test_a_body_over_the_limit_is_413(client):
    response = client.post(HISTORY, json={"items": ["a" * 200] * 20})

    refused(response, 413, "body_too_large")


def test_half_a_surrogate_pair_is_refused_wherever_it_stands(client):
    for text in ('{"items": ["\\ud800"]}', '{"user_id": "\\ud800"}', '{"\\ud800": 1}'):
        response = client.post(HISTORY, data=text, content_type="application/json")
        assert response.status_code == 422, text
        json.loads(response.data.decode("utf-8"))


def test_a_query_beside_a_body_is_refused_since_it_would_do_nothing(client):
    response = client.post(f"{HISTORY}?n=1", json={"items": ["a"]})

    assert (response.status_code, response.json["error"]["field"]) == (422, "n")
    assert "everything in its body" in response.json["error"]["message"]
