"""Many requests in one, the order of a list, and what explains it."""

import pytest

from recae.api import create_app
from recae.api.context import EXTENSION
from recae.config import Settings
from recae.errors import EventLogError
from tests.tastes import ITEMS, USERS, fitted_ease

BATCH = "/v1/recommendations/batch"


def strip(body):
    return {key: value for key, value in body.items() if key not in ("recommendation_id", "took_ms")}


def test_each_part_is_answered_as_it_would_be_alone(client):
    client.post("/v1/events", json=[{"user_id": "new", "item_id": "x"}])
    parts = [
        {"user_id": "1"},
        {"items": ["x", "q"], "n": 3},
        {"user_id": "stranger"},
        {"user_id": "new", "exclude_seen": False},
        {"items": ["a"], "filter": {"exclude_items": ["b"]}, "diversity": 0.5, "explain": 1},
        {"items": ["a"], "offset": 2},
    ]
    results = client.post(BATCH, json={"requests": parts, "n": 2}).json["results"]

    assert [result["status"] for result in results] == [200] * len(parts)
    for part, result in zip(parts, results, strict=True):
        alone = client.post("/v1/recommendations", json={"n": 2} | part).json
        for ours, theirs in zip(result["body"]["items"], alone["items"], strict=True):
            assert ours.pop("score") == pytest.approx(theirs.pop("score"), abs=1e-6)
            for reason in (*ours.get("explanation", ()), *theirs.get("explanation", ())):
                reason["contribution"] = round(reason["contribution"], 5)
        assert strip(result["body"]) == strip(alone)
    assert len({result["body"]["recommendation_id"] for result in results}) == len(parts)


@pytest.fixture
def client_of_either_database(recommender, url, home):
    app = create_app(Settings(home=home, events=url), recommender)
    yield app.test_client()
    app.extensions[EXTENSION].storage.close()


def test_parts_that_name_nobody_are_answered_while_the_event_log_is_down(client, app, monkeypatch, caplog):
    parts = [{"user_id": "1"}, {"items": ["a"]}, {"user_id": "2", "items": ["a"]}]
    asked = []

    def fails(*_):
        asked.append(1)
        raise EventLogError("it is down")

    log = app.extensions[EXTENSION].storage.log
    app.extensions[EXTENSION].served.follow_items()
    for name in ("of_users", "recent"):  # before all parts, or at the first of them
        with monkeypatch.context() as patch:
            patch.setattr(log if name == "of_users" else log.database, name, fails)
            patch.setattr(log.database, "stamp", fails)
            results = client.post(BATCH, json={"requests": parts, "n": 1}).json["results"]

        assert [part["status"] for part in results] == [503, 200, 503]
        assert {part["error"]["code"] for part in results[::2]} == {"event_log_unavailable"}
        assert results[1]["body"]["items"], "nobody's history was needed for it"
    assert len(asked) == 2, "one that is down is asked once, not for each part"
    assert caplog.text.count("it is down") == 2


def test_a_batch_sees_what_each_user_did_last(client_of_either_database):
    client = client_of_either_database
    users = ["1", "new", "other", "stranger"]
    assert client.post("/v1/events", json=[{"user_id": "new", "item_id": "x"}]).status_code == 202

    def answers():
        results = client.post(BATCH, json={"requests": [{"user_id": user} for user in users]}).json["results"]
        alone = [client.get(f"/v1/users/{user}/recommendations").json for user in users]
        for result, one in zip(results, alone, strict=True):
            assert [each["item_id"] for each in result["body"]["items"]] == [
                each["item_id"] for each in one["items"]
            ]
        return [(one["strategy"], [each["item_id"] for each in one["items"]]) for one in alone]

    first = answers()
    assert answers() == first, "remembered"
    assert first[1][0] == "fold_in"
    assert "x" not in first[1][1]
    client.post("/v1/events", json=[{"user_id": "new", "item_id": "y"}, {"user_id": "other", "item_id": "a"}])
    client.delete("/v1/users/1")
    then = answers()
    assert "y" not in then[1][1]
    assert [strategy for strategy, _ in then] == ["fallback", "fold_in", "fold_in", "fallback"]


def test_a_part_that_is_wrong_fails_alone(client):
    parts = [
        {"n": 0},
        {"user_id": "nobody", "strict": True},
        {"user_id": "1"},
        {"items": [{"item_id": "a", "weight": -1}]},
        "u1",
        {"items": ["a"] * 5},
        {"user_id": "1", "model": "nothing"},
    ]
    results = client.post(BATCH, json={"requests": parts}).json["results"]

    assert [result["status"] for result in results] == [422, 404, 200, 422, 422, 422, 404]
    codes = [result["error"]["code"] if result["error"] else None for result in results]
    assert codes == [
        "invalid_field",
        "unknown_user",
        None,
        "invalid_field",
        "invalid_field",
        "invalid_field",
        "unknown_model",
    ]
    assert results[0]["body"] is None
    assert results[0]["error"]["field"] == "n"


def test_a_promotion_in_the_middle_of_a_batch_changes_nothing_of_it(store, home):
    """As if it had come before the batch, or after it."""
    first, second = store.current(), store.save(fitted_ease(), ITEMS, users=USERS)
    app = create_app(Settings(home=home, reload_s=60, named_models={"live": "current"}))
    served = app.extensions[EXTENSION].served
    assert served.loaded.wait(30)
    ask, asked = served.recommender, []

    def promoted_after_the_first(model="current"):
        found = ask(model)
        if not asked:
            store.promote(second)
            served.refresh()
        asked.append(model)
        return found

    served.recommender = promoted_after_the_first
    parts = [
        {"user_id": "1"},
        {"items": ["a"]},
        {"user_id": "2", "model": "live"},
        {"user_id": "1", "model": second},
    ]
    response = app.test_client().post("/v1/recommendations/batch", json={"requests": parts})
    served.close()

    versions = [part["body"]["model_version"] for part in response.json["results"]]
    assert versions[:3] == [first] * 3
    assert versions[3] == second == served.version
    assert response.headers["X-Model-Version"] in versions


@pytest.mark.parametrize("body", [{}, {"requests": []}, {"requests": {}}, {"requests": [{}], "m": 1}, []])
def test_a_batch_that_is_none_is_422(client, body):
    assert client.post(BATCH, json=body).status_code == 422


def test_a_batch_has_a_largest_number_of_parts(recommender):
    client = create_app(Settings(max_batch=2), recommender).test_client()

    assert client.post(BATCH, json={"requests": [{}] * 2}).status_code == 200
    assert client.post(BATCH, json={"requests": [{}] * 3}).status_code == 422


def test_candidates_come_back_best_first_and_unknown_ones_are_named(client):
    body = {"items": ["a", "q"], "candidates": ["x", "b", "nothing", "c"]}
    ranked = client.post("/v1/rank", json=body).json

    assert {item["item_id"] for item in ranked["items"]} == {"x", "b", "c"}
    assert ranked["items"][-1]["item_id"] == "x"
    assert ranked["unknown_items"] == ["q", "nothing"]
    assert "1" in ranked["short"]
    of_user = client.post("/v1/rank", json={"user_id": "1", "candidates": ["x", "c"]}).json
    assert [item["item_id"] for item in of_user["items"]] == ["c", "x"]


@pytest.mark.parametrize("body", [{}, {"candidates": []}, {"candidates": ["a"] * 5}, {"candidates": [1.5]}])
def test_a_list_that_cannot_be_ranked_is_422(client, body):
    response = client.post("/v1/rank", json=body)

    assert response.status_code == 422
    assert response.json["error"]["field"].startswith("candidates")


def test_explanations_name_the_items_that_speak_for_one(client):
    (item,) = client.get("/v1/users/1/recommendations?n=1&explain=2").json["items"]
    reasons = item["explanation"]

    assert {reason["item_id"] for reason in reasons} == {"a", "b"}
    assert reasons[0]["title"] in {"Alien (1979)", "Brazil (1985)"}
    assert sum(reason["contribution"] for reason in reasons) == pytest.approx(item["score"], abs=1e-5)
    (plain,) = client.get("/v1/users/1/recommendations?n=1").json["items"]
    assert "explanation" not in plain


def test_diversity_changes_the_order_and_not_the_scores(client):
    plain = client.post("/v1/recommendations", json={"items": ["a"], "n": 5}).json["items"]
    mixed = client.post("/v1/recommendations", json={"items": ["a"], "n": 5, "diversity": 1}).json["items"]

    scores = {item["item_id"]: item["score"] for item in plain}
    assert {item["item_id"]: item["score"] for item in mixed} == scores
    assert [item["item_id"] for item in mixed] != [item["item_id"] for item in plain]
