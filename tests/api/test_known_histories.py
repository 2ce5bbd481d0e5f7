"""Remembered histories: as long as nothing has changed, and never longer."""

from threading import Thread

import pytest

from recae.api import asking, context, create_app
from recae.api.context import EXTENSION
from recae.api.known_histories import KnownHistories, LongHistories
from recae.config import Settings
from recae.data.eventlog.events import Stamp
from recae.history_rule import HistoryRule
from recae.recommender import Recommender
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

OLD, NEW = Stamp(1, 7, None), Stamp(2, 15, None)


def test_what_was_kept_is_found_under_the_same_stamp_alone():
    known = KnownHistories(2)
    known.keep(("v1", "u"), OLD, "history")

    assert known.find(("v1", "u"), OLD) == "history"
    assert known.find(("v1", "u"), NEW) is None
    assert known.find(("v2", "u"), OLD) is None, "another model reads the same events in another way"
    known.keep(("v1", "u"), NEW, "longer")
    assert known.find(("v1", "u"), NEW) == "longer"
    assert known.find(("v1", "u"), OLD) is None


def test_the_one_not_used_longest_is_forgotten():
    known = KnownHistories(2)
    for user in ("a", "b"):
        known.keep(("v", user), OLD, user)
    known.find(("v", "a"), OLD)
    known.keep(("v", "c"), OLD, "c")

    assert [known.find(("v", user), OLD) for user in "abc"] == ["a", None, "c"]


def test_threads_do_not_get_in_each_others_way():
    known = KnownHistories(10)

    def use(number):
        for turn in range(2_000):
            known.keep(("v", str((number + turn) % 20)), OLD, turn)
            known.find(("v", str(turn % 20)), OLD)

    threads = [Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(known._known) == 10


@pytest.fixture
def reads(client, monkeypatch):
    """Users whose events were read from the log, in order."""
    log, read = client.application.extensions[EXTENSION].storage.log, []
    recent = log.recent
    monkeypatch.setattr(log, "recent", lambda user, n: read.append(user) or recent(user, n))
    return read


def send(client, user, item, **more):
    assert client.post("/v1/events", json=[{"user_id": user, "item_id": item} | more]).status_code == 202


def asked(client, user, path="recommendations?n=3"):
    answer = client.get(f"/v1/users/{user}/{path}")
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json["items"]]


def test_a_history_that_is_not_remembered_is_read_at_once_and_one_that_is_by_its_stamp(
    client, reads, monkeypatch
):
    log, stamps = client.application.extensions[EXTENSION].storage.log, []
    stamp = log.stamp
    monkeypatch.setattr(log, "stamp", lambda user, n: stamps.append(user) or stamp(user, n))
    send(client, "new", "x")

    asked(client, "new")
    assert (reads, stamps) == (["new"], [])
    asked(client, "new")
    assert (reads, stamps) == (["new"], ["new"])


def test_events_are_read_once_until_another_one_comes(client, reads):
    send(client, "new", "x")
    first = asked(client, "new")
    assert asked(client, "new") == first
    assert asked(client, "new", "recommendations?n=1&exclude_seen=false") != []
    assert reads == ["new"]

    send(client, "other", "a")
    assert asked(client, "new") == first
    assert reads == ["new"], "somebody else's event changes nothing"

    send(client, "new", "y")
    assert "y" not in asked(client, "new")
    assert reads == ["new", "new"]


def test_a_deleted_user_is_forgotten_at_once(client, reads):
    send(client, "1", "x")  # a user of the training log, too
    before = client.get("/v1/users/1/recommendations").json
    assert client.delete("/v1/users/1").status_code == 200
    after = client.get("/v1/users/1/recommendations").json

    assert before["strategy"] == "fold_in"
    assert after["strategy"] == "fallback"
    assert reads == ["1", "1"]


def test_a_stranger_is_unknown_each_time(client, reads):
    for _ in range(2):
        assert client.get("/v1/users/nobody/recommendations?strict=true").status_code == 404
        assert client.get("/v1/users/nobody/recommendations").json["strategy"] == "fallback"
    send(client, "nobody", "x")
    assert client.get("/v1/users/nobody/recommendations?strict=true").json["strategy"] == "fold_in"


def test_what_a_request_adds_is_for_that_request_alone(client):
    send(client, "new", "x")
    alone = asked(client, "new")
    together = client.post("/v1/recommendations", json={"user_id": "new", "items": ["a"], "n": 3})

    assert "a" not in [item["item_id"] for item in together.json["items"]]
    assert asked(client, "new") == alone
    posted = client.post("/v1/recommendations", json={"user_id": "new", "n": 3}).json["items"]
    assert [item["item_id"] for item in posted] == alone


def test_histories_that_fade_are_made_anew_each_time(home):
    fading = Recommender(
        fitted_ease(),
        ITEMS,
        users=USERS,
        catalogue=CATALOGUE,
        history_rule=HistoryRule(half_life_days=1.0, min_value=0.5),
    )
    app = create_app(Settings(), fading)
    client, log = app.test_client(), app.extensions[EXTENSION].storage.log
    now = log.now()
    send(client, "new", "x", timestamp=int(now))

    assert client.get("/v1/users/new/recommendations").json["strategy"] == "fold_in"
    log._clock = lambda: now + 3 * 86_400
    assert client.get("/v1/users/new/recommendations").json["strategy"] == "fallback", "a liking no more"


def test_nothing_is_remembered_where_the_settings_say_so(recommender, monkeypatch):
    app = create_app(Settings(known_histories=0), recommender)
    client, log = app.test_client(), app.extensions[EXTENSION].storage.log
    monkeypatch.setattr(log, "stamp", None)
    send(client, "new", "x")

    assert asked(client, "new") == asked(client, "new")


def test_a_long_history_is_not_remembered(client, reads, monkeypatch):
    monkeypatch.setattr(asking, "LONGEST_KNOWN", 1)
    send(client, "new", "x")
    asked(client, "new")
    asked(client, "new")
    assert reads == ["new"]

    send(client, "new", "y")
    asked(client, "new")
    asked(client, "new")
    assert reads == ["new", "new", "new"]


def test_a_long_history_is_known_before_it_is_read_and_once_it_was(recommender, monkeypatch):
    for module in (asking, context):
        monkeypatch.setattr(module, "LONGEST_KNOWN", 1)
    app = create_app(Settings(), recommender)
    client, api = app.test_client(), app.extensions[EXTENSION]
    for user, items in {"short": "x", "long": "xy", "repeats": "xx"}.items():
        for time, item in enumerate(items):
            send(client, user, item, timestamp=time)
    users = ("short", "long", "repeats", "stranger", "1")

    assert [api.takes_long(user) for user in users] == [False, True, True, False, False]
    for user in users:
        asked(client, user)
    assert [api.takes_long(user) for user in users] == [False, True, False, False, True], (
        "of 1 the model knows two items, and repeats are one item of a history"
    )
    client.delete("/v1/users/long")
    asked(client, "long")
    assert not api.takes_long("long")


def test_of_long_histories_those_not_met_for_longest_are_forgotten():
    known = LongHistories(2)
    for user in ("a", "b", "a", "c"):
        known.note(user, is_long=True)
    known.note("c", is_long=False)

    assert [user in known for user in "abc"] == [True, False, False]


def test_what_is_remembered_holds_no_model(client):
    send(client, "1", "unknown to the model")
    asked(client, "1")

    [(_stamp, found)] = client.application.extensions[EXTENSION].histories._known.values()
    assert len(found.history.columns) > 0
    assert found.history.columns.base is None
    assert found.history.values.base is None
