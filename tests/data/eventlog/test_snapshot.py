"""The log as it was at a watermark, for many users at once."""

from recae.data.eventlog import Event
from recae.data.eventlog import snapshot as module
from recae.data.eventlog.snapshot import Snapshot


def test_histories_of_many_users_are_those_of_each(log):
    log.append([Event(f"u{place % 3}", f"i{place}", timestamp=100 + place % 5) for place in range(20)])
    found = Snapshot(log).histories(["u0", "u2", "nobody"], n=4)

    assert found == {user: log.history(user, 4).events for user in ("u0", "u2")}


def test_what_is_appended_later_does_not_show(log):
    log.append([Event("u", "a", timestamp=1)])
    snapshot = Snapshot(log)
    log.append([Event("u", "b", timestamp=2), Event("v", "c", timestamp=3)])

    assert [event.item_id for event in snapshot.histories(["u", "v"], 10)["u"]] == ["a"]
    assert (list(snapshot.user_ids()), snapshot.n_users()) == (["u"], 1)
    assert list(Snapshot(log, snapshot.until).user_ids()) == ["u"]


def test_users_come_once_and_in_one_order_however_many_there_are(log, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ROWS", 3)
    monkeypatch.setattr(module, "USERS_A_QUERY", 2)
    users = ["b", "a", "é", "A", "10", "9", "a"]
    log.append([Event(user, "i", timestamp=place) for place, user in enumerate(users)])
    found = list(Snapshot(log).user_ids())

    assert sorted(found) == sorted(set(users))
    assert found == list(Snapshot(log).user_ids())
    assert set(Snapshot(log).histories(found, 1)) == set(users)


def test_deleted_users_are_gone(log):
    log.append([Event("u", "a", timestamp=1), Event("v", "a", timestamp=1)])
    snapshot = Snapshot(log)
    log.delete_user("u")

    assert list(snapshot.user_ids()) == ["v"]
    assert snapshot.histories(["u"], 1) == {}


def test_an_empty_log_has_nobody(log):
    assert list(Snapshot(log).user_ids()) == []
    assert Snapshot(log).histories([], 1) == {}
