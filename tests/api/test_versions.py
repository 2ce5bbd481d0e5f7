"""Stored models over HTTP: listed, promoted, rolled back, and asked for by name beside the one in service."""

import json
import os
import shutil
from pathlib import Path

import pytest

from recae.api import create_app
from recae.artifacts import CURRENT, WEIGHTS, ModelStore
from recae.config import Settings
from recae.models.baselines import Popularity
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS, fitted_ease


@pytest.fixture
def store(home):
    return ModelStore(home / "models")


@pytest.fixture
def save(store):
    def saved(model=None, **more):
        return store.save(model or fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE, **more)

    return saved


@pytest.fixture
def serve(store):
    """A client of an application that looks for promotions when it is told to."""
    opened = []

    def served(**settings):
        app = create_app(Settings(reload_s=3_600, **settings))
        app.extensions["recae"].served.refresh()
        opened.append(app.extensions["recae"].served)
        return app.test_client()

    yield served
    for one in opened:
        one.close()


def popularity():
    return Popularity().fit(LIKES, show_progress=False)


def test_all_versions_are_listed_with_their_metrics_and_names(store, save, serve):
    first, second = save(metrics={"ndcg@100": 0.25}), save()
    store.promote(first)
    body = serve(named_models={"challenger": second}).get("/v1/models").json

    assert body["current"] == first
    assert [version["version"] for version in body["versions"]] == [first, second]
    assert [version["current"] for version in body["versions"]] == [True, False]
    assert [version["names"] for version in body["versions"]] == [[], ["challenger"]]
    assert body["versions"][0]["metrics"] == {"ndcg@100": 0.25}
    assert (body["versions"][0]["model"], body["versions"][0]["n_items"]) == ("ease", 6)


def test_without_any_model_the_list_is_empty(serve):
    assert serve().get("/v1/models").json == {
        "current": None,
        "previous": None,
        "problem": None,
        "versions": [],
    }


def test_promote_and_rollback_change_the_version_in_service(store, save, serve):
    first, second = save(), save()
    store.promote(first)
    client = serve()

    assert client.get("/v1/models").json["previous"] is None
    promoted = client.post(f"/v1/models/{second}/promote")
    assert (promoted.status_code, promoted.json) == (200, {"model_version": second, "replaced": first})
    assert store.current() == second
    assert client.get("/v1/models").json["previous"] == first
    rolled_back = client.post("/v1/models/rollback")
    assert (rolled_back.status_code, rolled_back.json) == (200, {"model_version": first, "replaced": second})
    assert store.current() == first


def test_what_cannot_be_promoted_is_refused_with_the_reason(store, save, serve):
    good, bad = save(), save()
    store.promote(good)
    client = serve()
    (store.root / bad / WEIGHTS).write_bytes(b"")

    unknown = client.post("/v1/models/nothing/promote")
    damaged = client.post(f"/v1/models/{bad}/promote")
    nothing_before = client.post("/v1/models/rollback")
    assert (unknown.status_code, unknown.json["error"]["code"]) == (404, "unknown_model")
    assert (damaged.status_code, nothing_before.status_code) == (409, 409)
    assert f"{WEIGHTS} is not what was saved" in damaged.json["error"]["message"]
    assert store.current() == good


def test_a_request_may_name_another_model(store, save, serve):
    ease, popular = save(), save(popularity())
    store.promote(ease)
    client = serve(named_models={"baseline": popular})
    path = "/v1/users/1/recommendations?n=1"

    for name in (popular, "baseline"):
        answer = client.get(f"{path}&model={name}")
        assert answer.json["model_version"] == answer.headers["X-Model-Version"] == popular
        posted = client.post("/v1/recommendations", json={"user_id": "1", "n": 1, "model": name})
        assert posted.json["items"] == answer.json["items"]
    for name in ("current", ease):
        assert client.get(f"{path}&model={name}").json["model_version"] == ease
    assert client.get(path).json["model_version"] == ease
    unknown = client.get(f"{path}&model=nothing")
    assert (unknown.status_code, unknown.json["error"]["code"]) == (404, "unknown_model")
    assert unknown.json["error"]["field"] == "model"


@pytest.mark.parametrize("name", ["../models", "..", "a/b", "current "])
def test_a_name_leads_nowhere_else(store, save, serve, name):
    store.promote(save())
    response = serve().get("/v1/users/1/recommendations", query_string={"model": name})

    assert (response.status_code, response.json["error"]["code"]) == (404, "unknown_model")


def test_other_models_are_bounded_in_number_and_follow_the_items(store, save, serve, monkeypatch):
    versions = [save() for _ in range(4)]
    store.promote(versions[0])
    client = serve(max_models=2)
    served = client.application.extensions["recae"].served
    for version in versions:
        assert client.get(f"/v1/users/1/recommendations?model={version}").status_code == 200
    client.patch("/v1/items/c", json={"hidden": True})

    assert list(served._others) == versions[2:]
    for version in versions:
        items = client.get(f"/v1/users/1/recommendations?n=6&model={version}").json["items"]
        assert "c" not in {item["item_id"] for item in items}


def test_a_damaged_model_that_is_named_is_503_and_not_read_again_at_every_request(
    store, save, serve, monkeypatch
):
    good, bad = save(), save()
    store.promote(good)
    weights = (store.root / bad / WEIGHTS).read_bytes()
    (store.root / bad / WEIGHTS).unlink()
    client, reads = serve(), []
    check = ModelStore.check
    monkeypatch.setattr(ModelStore, "check", lambda *of: reads.append(of[1]) or check(*of))
    answers = [client.get(f"/v1/users/1/recommendations?model={bad}") for _ in range(3)]

    assert {(each.status_code, each.json["error"]["code"]) for each in answers} == {(503, "store_damaged")}
    assert len({each.json["error"]["message"] for each in answers}) == 1
    assert reads == [bad]

    (store.root / bad / WEIGHTS).write_bytes(weights)
    monkeypatch.setattr("recae.api.serving.RETRY_S", 0.0)
    assert client.get(f"/v1/users/1/recommendations?model={bad}").json["model_version"] == bad


def test_a_damaged_note_of_what_is_in_service_is_told_of_once_and_mended_by_a_promotion(
    store, save, serve, caplog
):
    first, second = save(), save(metrics={"ndcg": 0.5})
    store.promote(first)
    store.promote(second)
    client = serve()
    (store.root / CURRENT).write_text("{")
    served = client.application.extensions["recae"].served
    for _ in range(3):
        served.refresh()

    listed = client.get("/v1/models")
    assert (listed.status_code, listed.json["current"]) == (200, None)
    assert "current is damaged" in listed.json["problem"]
    assert [version["version"] for version in listed.json["versions"]] == [first, second]
    rollback, evaluation = client.post("/v1/models/rollback"), client.get("/v1/evaluation/latest")
    assert (rollback.status_code, rollback.json["error"]["code"]) == (409, "not_promoted")
    assert (evaluation.status_code, evaluation.json["error"]["code"]) == (503, "store_damaged")
    assert "Retry-After" in evaluation.headers
    assert "current is damaged" in client.get("/health/ready").json["problem"]
    assert "recae_model_load_failures_total 1.0" in client.get("/metrics").text
    assert caplog.text.count("cannot be loaded") == 1
    assert client.get("/v1/users/1/recommendations").json["model_version"] == second, "the old one goes on"

    assert client.post(f"/v1/models/{first}/promote").status_code == 200
    assert client.get("/v1/models").json["problem"] is None


def test_a_version_in_service_that_is_gone_is_told_of(serve, store, save):
    first = save()
    store.promote(first)
    client = serve()
    shutil.rmtree(store.root / first)

    listed = client.get("/v1/models").json

    assert (listed["current"], listed["versions"]) == (first, [])
    assert f"no version '{first}'" in listed["problem"]


# ------------------------------------------------------------------ the latest evaluation


def test_without_an_evaluation_the_answer_says_how_to_make_one(store, save, serve):
    store.promote(save())
    response = serve().get("/v1/evaluation/latest")

    assert (response.status_code, response.json["error"]["code"]) == (404, "no_evaluation")
    assert "recae evaluate" in response.json["error"]["message"]


def test_the_metrics_of_the_version_in_service_are_better_than_nothing(store, save, serve):
    version = save(metrics={"ndcg@100": 0.25})
    store.promote(version)
    body = serve().get("/v1/evaluation/latest").json

    assert (body["source"], body["name"], body["results"]) == ("version", version, {"ndcg@100": 0.25})


def test_the_newest_results_in_the_home_folder_come_first(home, store, save, serve):
    store.promote(save(metrics={"ndcg@100": 0.25}))
    for when, name in enumerate(["evaluation/new", "evaluations/old", "evaluation/damaged"]):
        (home / name).mkdir(parents=True)
        file = home / name / "results.json"
        file.write_text("{" if "damaged" in name else json.dumps({"command": name}))
        os.utime(file, (2_000 - 1_000 * (when == 1) + 500 * (when == 2),) * 2)
    body = serve().get("/v1/evaluation/latest").json

    assert (body["source"], body["name"]) == ("evaluation", "evaluation/new")
    assert body["results"] == {"command": "evaluation/new"}
    assert body["created"] == "1970-01-01T00:33:20Z"


def test_what_cannot_be_read_in_the_place_of_results_hides_no_others(home, store, save, serve):
    store.promote(save())
    for name in ("deep", "folder", "good"):
        (home / "evaluation" / name).mkdir(parents=True)
    (home / "evaluation" / "good" / "results.json").write_text('{"command": "good"}')
    (home / "evaluation" / "deep" / "results.json").write_text("[" * 100_000)
    (home / "evaluation" / "folder" / "results.json").mkdir()
    answer = serve().get("/v1/evaluation/latest")

    assert answer.status_code == 200, answer.text
    assert answer.json["name"] == "evaluation/good"


def test_results_that_go_while_they_are_looked_for_hide_no_others(home, store, save, serve, monkeypatch):
    store.promote(save())
    (home / "evaluation" / "good").mkdir(parents=True)
    (home / "evaluation" / "good" / "results.json").write_text('{"command": "good"}')
    gone = home / "evaluation" / "gone" / "results.json"
    monkeypatch.setattr(Path, "glob", lambda path, pattern, glob=Path.glob: [gone, *glob(path, pattern)])
    answer = serve().get("/v1/evaluation/latest")

    assert answer.status_code == 200, answer.text
    assert answer.json["name"] == "evaluation/good"


def test_the_report_beside_the_newest_results_is_a_page_that_runs_nothing(home, store, save, serve):
    store.promote(save())
    folder = home / "evaluation" / "new"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"command": "new"}))
    client = serve()

    assert client.get("/v1/evaluation/latest").json["report"] is None
    missing = client.get("/v1/evaluation/latest/report")
    assert (missing.status_code, missing.json["error"]["code"]) == (404, "no_evaluation")

    (folder / "results.html").write_text("<h1>Results</h1><script>alert(1)</script>")
    path = client.get("/v1/evaluation/latest").json["report"]
    page = client.get(path)

    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "<h1>Results</h1>" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy
