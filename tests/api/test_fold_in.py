"""Histories from the event log as it is now: what a moment ago changed, and what a deleted user is."""

import numpy as np
import pytest

from recae.api import create_app, events
from recae.config import Settings
from recae.durable import locked
from recae.models.baselines import Popularity
from recae.models.rating_baselines import MeanPredictor
from recae.models.slist import SLIST
from recae.recommender import Recommender
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS


def ids(response):
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json["items"]]


def send(client, *events):
    response = client.post("/v1/events", json=list(events))
    assert response.status_code == 202, response.text
    assert response.json["rejected"] == []


def event(user_id, item_id, **more):
    return {"user_id": user_id, "item_id": item_id} | more


def test_an_event_posted_a_moment_ago_changes_the_next_answer(client):
    before = client.get("/v1/users/new/recommendations?n=1")
    send(client, event("new", "x"), event("new", "y"))
    after = client.get("/v1/users/new/recommendations?n=1")

    assert (before.json["strategy"], ids(before)) == ("fallback", ["a"])
    assert (after.json["strategy"], ids(after)) == ("fold_in", ["z"])


def test_what_the_log_knows_is_answered_like_the_same_history_sent(client):
    send(client, event("new", "a"), event("new", "b"))

    logged = client.get("/v1/users/new/recommendations?n=3").json["items"]
    assert logged == client.post("/v1/recommendations", json={"items": ["a", "b"], "n": 3}).json["items"]
    posted = client.post("/v1/recommendations", json={"user_id": "new", "n": 3})
    assert posted.json["items"] == logged


def test_a_user_of_the_training_log_alone_is_known_by_its_row(client):
    assert client.get("/v1/users/1/recommendations").json["strategy"] == "model"


def test_the_training_row_and_the_log_count_together(client):
    send(client, event("7", "b"))  # the row of user 7 is a alone

    response = client.get("/v1/users/7/recommendations?n=3")
    assert response.json["items"] == client.get("/v1/users/1/recommendations?n=3").json["items"]
    assert "a" not in ids(client.get("/v1/users/7/recommendations?n=5"))


def test_the_log_and_the_items_of_the_request_count_together(client):
    send(client, event("new", "a"))
    together = client.post("/v1/recommendations", json={"user_id": "new", "items": ["b", "q"], "n": 3})

    assert together.json["items"] == client.get("/v1/users/1/recommendations?n=3").json["items"]
    assert together.json["unknown_items"] == ["q"]


def test_items_of_the_log_that_the_model_does_not_know_are_left_out_silently(client):
    send(client, event("new", "q"), event("new", "x"))

    assert client.get("/v1/users/new/recommendations").json["unknown_items"] == []
    assert client.get("/v1/users/new/recommendations").json["strategy"] == "fold_in"


def test_the_newest_events_count_up_to_the_limit(client):
    old = [event("new", item_id, timestamp=1_000) for item_id in ("x", "y", "z")]
    new = [event("new", "abc"[place % 3], timestamp=2_000 + place) for place in range(4)]
    send(client, *old, *new)

    top = ids(client.get("/v1/users/new/recommendations?n=5&exclude_seen=false"))
    assert set(top[:3]) == {"a", "b", "c"}, "x, y and z are beyond the newest four"


def test_an_event_of_no_value_takes_an_earlier_one_back_but_stays_seen(client):
    send(client, event("new", "x", timestamp=1_000), event("new", "a", timestamp=1_000))
    send(client, event("new", "x", value=0, timestamp=2_000))

    liked_a = client.post("/v1/recommendations", json={"items": ["a"], "n": 1}).json["items"][0]["score"]
    answer = client.get("/v1/users/new/recommendations?n=5").json["items"]
    assert answer[0]["score"] == liked_a
    assert "x" not in {item["item_id"] for item in answer}


def test_an_older_event_that_arrives_late_does_not_count_over_a_newer_one(client):
    send(client, event("new", "x", value=0, timestamp=2_000))
    send(client, event("new", "x", value=1, timestamp=1_000))

    assert client.get("/v1/users/new/recommendations").json["strategy"] == "fallback"


def test_a_user_whom_only_the_log_knows_is_known_to_strict_callers(client):
    path = "/v1/users/new/recommendations?strict=true"
    assert client.get(path).status_code == 404
    send(client, event("new", "x"))
    assert client.get(path).status_code == 200


def test_a_deleted_user_is_not_recommended_to_from_the_training_row(client):
    assert client.get("/v1/users/1/recommendations").json["strategy"] == "model"
    send(client, event("1", "x"))
    gone = client.delete("/v1/users/1")

    assert (gone.status_code, gone.json["deleted_events"]) == (200, 1)
    assert "until the next training" in gone.json["remains"]
    assert client.get("/v1/users/1/recommendations").json["strategy"] == "fallback"
    assert client.get("/v1/users/1/recommendations?strict=true").status_code == 404
    assert client.get("/v1/users/1/events").json["events"] == []
    assert client.delete("/v1/users/1").json["deleted_events"] == 0


def test_a_deletion_does_not_wait_for_ever_while_the_archive_is_maintained(app, client, monkeypatch):
    monkeypatch.setattr(events, "ARCHIVE_WAIT_S", 0.1)
    send(client, event("1", "x"))
    client.delete("/v1/users/nobody")  # makes the archive's folder
    with locked(app.extensions["recae"].storage.log.archive):
        refused = client.delete("/v1/users/1")
        assert len(client.get("/v1/users/1/events").json["events"]) == 1

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.json["error"]["code"] == "event_log_unavailable"
    assert "compacted or expired" in refused.json["error"]["message"]
    assert "nothing was changed, try again later" in refused.json["error"]["message"]
    assert client.delete("/v1/users/1").json["deleted_events"] == 1


def test_a_deleted_user_who_comes_back_is_known_by_new_events_only(client):
    client.delete("/v1/users/1")
    send(client, event("1", "x"))

    alone = client.post("/v1/recommendations", json={"items": ["x"], "n": 5})
    assert client.get("/v1/users/1/recommendations?n=5").json["items"] == alone.json["items"]


def serve(model, matrix=LIKES):
    model.fit(matrix, show_progress=False)
    recommender = Recommender(model, ITEMS, users=USERS, catalogue=CATALOGUE, version="v1")
    return create_app(Settings(), recommender).test_client()


def test_a_model_of_sequences_reads_the_log_in_order_of_time():
    client = serve(SLIST())
    send(client, event("new", "b", timestamp=2_000), event("new", "a", timestamp=3_000))
    send(client, event("new", "a", timestamp=1_000))  # earlier, and known by a later one already

    logged = client.get("/v1/users/new/recommendations?n=3").json["items"]
    in_order = client.post("/v1/recommendations", json={"items": ["b", "a"], "n": 3}).json["items"]
    other = client.post("/v1/recommendations", json={"items": ["a", "b"], "n": 3}).json["items"]
    assert logged == in_order
    assert logged != other


def test_a_model_of_ratings_takes_the_values_of_the_log():
    ratings = LIKES.copy()
    ratings.data = np.linspace(1, 5, ratings.nnz, dtype=np.float32)
    client = serve(MeanPredictor(), ratings)
    send(client, event("new", "a", value=2.0), event("new", "x", value=1e9))

    items = [{"item_id": "a", "weight": 2.0}, {"item_id": "x", "weight": 1e6}]
    sent = client.post("/v1/recommendations", json={"items": items, "n": 3})
    assert client.get("/v1/users/new/recommendations?n=3").json["items"] == sent.json["items"]


class KnowsItsUsersOnly(Popularity):
    supports_fold_in = False


def test_a_model_that_cannot_fold_in_keeps_to_its_row_and_leaves_out_what_the_log_says_was_seen():
    client = serve(KnowsItsUsersOnly())
    send(client, event("1", "c"))

    answer = client.get("/v1/users/1/recommendations?n=6")
    assert answer.json["strategy"] == "model"
    assert set(ids(answer)) == {"x", "y", "z"}


@pytest.mark.parametrize("damage", ["no folder can be made", "no database"])
def test_without_the_event_log_users_get_503_in_the_one_shape(recommender, tmp_path, damage):
    blocked = tmp_path / "home"
    if damage == "no database":
        blocked.mkdir()
        (blocked / "events.db").write_bytes(b"this is no database, and long enough to be seen as none" * 100)
    else:
        blocked.write_text("a file where the home folder should be")
    client = create_app(Settings(home=blocked), recommender).test_client()
    response = client.get("/v1/users/1/recommendations")

    assert response.status_code == 503, response.text
    assert response.json["error"]["code"] == "event_log_unavailable"
    assert str(tmp_path) not in response.text
    assert int(response.headers["Retry-After"]) > 0
