"""Events over HTTP: stored once, refused one by one, read page by page."""

import json

import pytest

EVENTS = "/v1/events"


def test_events_are_stored_and_read_back_newest_first(client):
    sent = [
        {"user_id": "u", "item_id": "a", "timestamp": 1_000, "event_id": "e1"},
        {
            "user_id": "u",
            "item_id": 7,
            "timestamp": "1970-01-01T01:00:00Z",
            "event_type": "buy",
            "value": 2.5,
        },
        {"user_id": "u", "item_id": "b", "timestamp": 2_000, "recommendation_id": "r_1"},
    ]
    response = client.post(EVENTS, json=sent)

    assert (response.status_code, response.json) == (202, {"accepted": 3, "duplicates": 0, "rejected": []})
    read = client.get("/v1/users/u/events").json
    assert [(event["item_id"], event["timestamp"]) for event in read["events"]] == [
        ("7", 3_600),
        ("b", 2_000),
        ("a", 1_000),
    ]
    assert read["events"][0] | {"timestamp": 0} == {
        "item_id": "7",
        "title": None,
        "event_type": "buy",
        "value": 2.5,
        "timestamp": 0,
        "event_id": None,
        "recommendation_id": None,
    }
    assert (read["events"][2]["event_id"], read["events"][1]["recommendation_id"]) == ("e1", "r_1")
    assert read["next_cursor"] is None


def test_events_name_the_titles_of_their_items_those_stored_since_too(client):
    client.put("/v1/items/new", json={"title": "Dune", "year": 2021})
    client.post(EVENTS, json=[{"user_id": "u", "item_id": item_id} for item_id in ("a", "new", "nothing")])

    titles = {event["item_id"]: event["title"] for event in client.get("/v1/users/u/events").json["events"]}
    assert titles == {"a": "Alien (1979)", "new": "Dune (2021)", "nothing": None}


def test_an_object_with_events_is_the_same(client):
    response = client.post(EVENTS, json={"events": [{"user_id": "u", "item_id": "a"}]})

    assert (response.status_code, response.json["accepted"]) == (202, 1)


def test_what_is_sent_again_adds_nothing(client):
    events = [
        {"user_id": "u", "item_id": "a", "timestamp": 5},
        {"user_id": "u", "item_id": "b", "event_id": "e"},
    ]
    client.post(EVENTS, json=events)

    assert client.post(EVENTS, json=events).json == {"accepted": 0, "duplicates": 2, "rejected": []}


def test_bad_events_are_rejected_for_themselves(client):
    response = client.post(
        EVENTS,
        json=[
            {"user_id": "u", "item_id": "a"},
            {"user_id": "u", "item_id": "a", "timestamp": "yesterday"},
            {"item_id": "a"},
            {"user_id": "u", "item_id": "a", "colour": "red"},
            "no event",
            {"user_id": "u", "item_id": 1.5},
            {"user_id": True, "item_id": "a"},
            {"user_id": "u", "item_id": ""},
            {"user_id": "u", "item_id": "a", "timestamp": 99_999_999_999},
        ],
    )

    assert response.json["accepted"] == 1
    assert [(bad["index"], bad["code"]) for bad in response.json["rejected"]] == [
        (1, "bad_timestamp"),
        (2, "bad_user_id"),
        (3, "bad_event"),
        (4, "bad_event"),
        (5, "bad_item_id"),
        (6, "bad_user_id"),
        (7, "bad_item_id"),
        (8, "bad_timestamp"),
    ]


@pytest.mark.parametrize("field", ["user_id", "item_id", "event_type", "event_id", "recommendation_id"])
def test_a_number_with_a_fraction_is_no_id_even_if_that_is_zero(client, field):
    event = {"user_id": "u", "item_id": "a", field: 7.0}
    (rejected,) = client.post(EVENTS, json=[event]).json["rejected"]

    assert (rejected["code"], rejected["message"]) == (
        f"bad_{field}",
        f"{field} is neither text nor an integer",
    )


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_time_of_hundreds_of_digits_is_rejected_for_itself(client, sign):
    bad = f'{{"user_id": "u", "item_id": "a", "timestamp": {sign}1{"0" * 400}}}'
    text = f'[{bad}, {{"user_id": "u", "item_id": "a"}}]'
    response = client.post(EVENTS, data=text, content_type="application/json")

    assert response.status_code == 202, response.text
    assert response.json["accepted"] == 1
    (rejected,) = response.json["rejected"]
    assert (rejected["index"], rejected["code"]) == (0, "bad_timestamp")
    assert "out of range" in rejected["message"]


def test_what_an_event_may_lack_may_be_empty_in_it_and_counts_as_not_sent(client):
    bare = {"user_id": "u", "item_id": "a", "timestamp": 1_700_000_000}
    empty = bare | {"event_type": "", "event_id": "", "recommendation_id": ""}
    answer = client.post(EVENTS, json=[bare, empty]).json
    (stored,) = client.get("/v1/users/u/events").json["events"]

    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (1, 1, []), "the same event"
    assert (stored["event_type"], stored["event_id"], stored["recommendation_id"]) == ("view", None, None)


@pytest.mark.parametrize("body", [[], {}, {"events": []}, {"events": {}}, {"event": [1]}, "a", 3])
def test_a_body_without_events_is_422(client, body):
    response = client.post(EVENTS, json=body)

    assert (response.status_code, response.json["error"]["code"]) == (422, "invalid_field")


@pytest.mark.parametrize("body", [{"user_id": "u", "item_id": "a"}, {"item_id": "a"}])
def test_an_event_that_stands_alone_is_told_where_it_belongs(client, body):
    response = client.post(EVENTS, json=body)

    assert response.status_code == 422
    assert "one event stands alone; send a list of events" in response.json["error"]["message"]


def test_half_a_surrogate_pair_is_rejected_and_never_a_bug(client):
    text = '[{"user_id": "\\ud800", "item_id": "a"}, {"user_id": "u", "item_id": "a", "event_id": "\\udfff"}]'
    response = client.post(EVENTS, data=text, content_type="application/json")

    assert response.status_code == 202, response.text
    assert response.json["accepted"] == 0
    json.loads(response.data.decode("utf-8"))


def test_pages_of_events_follow_each_other(client):
    client.post(
        EVENTS, json=[{"user_id": "u", "item_id": str(place), "timestamp": place} for place in range(7)]
    )
    found, cursor = [], None
    for _ in range(3):
        page = client.get(
            "/v1/users/u/events", query_string={"n": 3} | ({"cursor": cursor} if cursor else {})
        )
        found += [event["item_id"] for event in page.json["events"]]
        cursor = page.json["next_cursor"]

    assert found == ["6", "5", "4", "3", "2", "1", "0"]
    assert cursor is None


@pytest.mark.parametrize("query", ["cursor=x", "cursor=1", "n=0", "n=6", "m=1", "cursor="])
def test_a_query_of_events_that_cannot_be_used_is_422(client, query):
    assert client.get(f"/v1/users/u/events?{query}").status_code == 422


def test_a_user_nobody_knows_has_no_events_and_is_no_error(client):
    assert client.get("/v1/users/nobody/events").json == {
        "user_id": "nobody",
        "events": [],
        "next_cursor": None,
    }


def test_deleting_a_user_leaves_others_alone(client):
    client.post(EVENTS, json=[{"user_id": "u", "item_id": "a"}, {"user_id": "v", "item_id": "a"}])

    assert client.delete("/v1/users/u").json["deleted_events"] == 1
    assert client.get("/v1/users/u/events").json["events"] == []
    assert len(client.get("/v1/users/v/events").json["events"]) == 1
