"""The model in service: loaded in the background, replaced on promotion, kept when its successor is damaged."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from recae.api import create_app
from recae.api.errors import ApiError
from recae.api.serving import ServedModel
from recae.artifacts import CURRENT, WEIGHTS, ModelStore
from recae.config import Settings
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "home" / "models")


@pytest.fixture
def save(store):
    return lambda: store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE)


def test_without_a_model_nobody_is_served_and_the_reason_tells_what_to_do(store):
    served = ServedModel(store)
    served.refresh()

    assert served.version == "none"
    with pytest.raises(ApiError, match=r"no model is in service .* run `recae train`") as raised:
        served.recommender()
    assert raised.value.status == 503


def test_a_promoted_model_is_served_after_a_refresh_and_a_request_keeps_what_it_began_with(store, save):
    first, second = save(), save()
    served = ServedModel(store)
    store.promote(first)
    served.refresh()
    begun = served.recommender()
    store.promote(second)
    served.refresh()

    assert (begun.version, served.version, served.problem) == (first, second, None)
    assert begun.recommend(user_id="1", n=1).items[0].item_id == "c"


def test_a_model_that_was_replaced_leaves_the_memory_although_its_titles_were_searched(store, save):
    first, second = save(), save()
    store.promote(first)
    app = create_app(Settings(home=store.root.parent, reload_s=3_600))
    served, client = app.extensions["recae"].served, app.test_client()
    try:
        served.refresh()
        assert len(client.get("/v1/items?query=ham").json["items"]) == 2
        replaced = weakref.ref(served.peek().model)
        store.promote(second)
        served.refresh()
        gc.collect()

        assert served.version == second
        assert replaced() is None
        assert len(client.get("/v1/items?query=ham").json["items"]) == 2
    finally:
        served.close()


def test_the_models_of_an_experiment_are_there_before_anybody_asks(store, save, monkeypatch):
    store.promote(save())
    challenger, read = save(), []
    monkeypatch.setattr(
        store, "load", lambda version, load=store.load: (read.append(version), load(version))[1]
    )
    served = ServedModel(
        store, named={"challenger": challenger}, ahead=("current", "gone", "challenger")
    ).watch(60)
    try:
        deadline = time.monotonic() + 30
        while challenger not in read:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert served.recommender("challenger").version == challenger
        assert read.count(challenger) == 1
    finally:
        served.close()


def test_a_model_that_cannot_be_loaded_ahead_keeps_nobody_from_following_promotions(store, save, monkeypatch):
    first, second, challenger = save(), save(), save()
    store.promote(first)
    go_on, load = threading.Event(), store.load

    def broken(version):
        if version == challenger:
            assert go_on.wait(30)
            raise ValueError("nobody thought of this")
        return load(version)

    monkeypatch.setattr(store, "load", broken)
    served = ServedModel(store, ahead=(challenger,)).watch(0.01)

    def follows(version):
        deadline = time.monotonic() + 30
        while served.version != version:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    try:
        follows(first)
        store.promote(second)
        follows(second)  # while the other is still being read
        go_on.set()
        store.promote(first)
        follows(first)  # after that has failed
    finally:
        go_on.set()
        served.close()


def test_a_look_that_began_earlier_and_ends_later_does_not_hide_what_is_wrong_now(store, save, monkeypatch):
    store.promote(save())
    served = ServedModel(store)
    begun, go_on, load = threading.Event(), threading.Event(), store.load

    def slowly(version):
        begun.set()
        assert go_on.wait(30)
        return load(version)

    monkeypatch.setattr(store, "load", slowly)
    earlier = threading.Thread(target=served.refresh)
    earlier.start()
    assert begun.wait(30)
    (store.root / CURRENT).write_text("{")
    later = threading.Thread(target=served.refresh)
    later.start()
    later.join(0.2)
    go_on.set()
    earlier.join(30)
    later.join(30)

    assert "current is damaged" in served.problem


def test_a_model_that_is_loaded_already_is_not_loaded_again(store, save, monkeypatch):
    store.promote(save())
    served = ServedModel(store)
    served.refresh()
    monkeypatch.setattr(store, "load", lambda _version: pytest.fail("loaded again"))
    before = served.recommender()
    served.refresh()

    assert served.recommender() is before


def test_a_damaged_successor_changes_nothing_but_the_problem_shown(store, save, caplog):
    good, bad = save(), save()
    served = ServedModel(store)
    store.promote(good)
    served.refresh()
    store.promote(bad)
    (store.root / bad / WEIGHTS).write_bytes(b"")
    served.refresh()

    assert served.recommender().version == good
    assert f"{WEIGHTS} is not what was saved" in served.problem
    assert bad in caplog.text

    store.rollback()
    served.refresh()
    assert served.problem is None, "after a rollback there is no problem any more"


def test_a_version_that_failed_is_not_tried_at_every_look(store, save, monkeypatch):
    bad = save()
    store.promote(bad)
    (store.root / bad / WEIGHTS).unlink()
    served = ServedModel(store)
    loads = []
    load = store.load
    monkeypatch.setattr(store, "load", lambda version: loads.append(version) or load(version))
    for _ in range(3):
        served.refresh()

    assert loads == [bad]


def test_watching_loads_in_the_background_until_it_is_closed(store, save):
    version = save()
    served = ServedModel(store).watch(every_s=0.01)
    try:
        store.promote(version)
        for _ in range(1_000):
            if served.version == version:
                break
            threading.Event().wait(0.01)
        assert served.version == version
    finally:
        served.close()


def test_without_a_model_nobody_waits_for_the_database_to_hear_so(store):
    app = create_app(Settings(home=store.root.parent, reload_s=60))
    served = app.extensions["recae"].served
    served.close()
    with (
        served._changing,
        ThreadPoolExecutor(1) as others,
    ):  # held while the log is opened, for minutes perhaps
        response = others.submit(app.test_client().get, "/health/ready").result(10)

    assert (response.status_code, response.json["error"]["code"]) == (503, "not_ready")


def test_ready_is_503_with_the_reason_and_when_to_come_back_until_a_model_is_there(store, save):
    app = create_app(Settings(home=store.root.parent, reload_s=0.01))
    client, served = app.test_client(), app.extensions["recae"].served
    served.close()
    served.refresh()

    for path in ("/health/ready", "/v1/users/1/recommendations", "/v1/items/a/similar"):
        response = client.get(path)
        assert response.status_code == 503
        assert response.json["error"]["code"] == "not_ready"
        assert "recae train" in response.json["error"]["message"]
        assert int(response.headers["Retry-After"]) > 0
        assert response.headers["X-Model-Version"] == "none"
    assert client.get("/health/live").status_code == 200

    store.promote(save())
    served.refresh()
    assert client.get("/health/ready").status_code == 200
