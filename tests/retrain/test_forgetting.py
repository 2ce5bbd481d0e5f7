"""A user whose events were deleted, and who came back: to which models that matters, and to which it does not."""

from contextlib import closing

import pytest

from recae.api import create_app
from recae.api.context import EXTENSION
from recae.artifacts import ModelStore
from recae.batch import Filters, Scorer
from recae.batch.users import Asked
from recae.data.eventlog import Event, EventLog
from recae.data.eventlog.snapshot import Snapshot
from tests.data.eventlog.conftest import postgres_server, postgres_url, sqlite_url, url
from tests.retrain.nights import DAY, START, append, begun, day, night, settings

__all__ = ["postgres_server", "postgres_url", "sqlite_url", "url"]  # fixtures

FIRST = [f"g0-{place}" for place in range(5)]
LATER = [f"g1-{place}" for place in range(10)]


def took(user, items, number):
    """On one day."""
    return [Event(user, item, timestamp=START + number * DAY + place) for place, item in enumerate(items)]


@pytest.fixture
def where(home, url):
    """Nine days; anna and carla are in the first model, anna is deleted, comes back, and is in the second, as berta is."""
    where = settings(home).model_copy(update={"events": url})
    append(where, took("anna", FIRST, 6) + took("carla", FIRST, 6))
    begun(where)
    delete(where, "anna")
    append(where, took("anna", LATER, 8) + took("berta", LATER, 8))
    append(where, day(8))
    return where


def delete(where, user):
    with EventLog.open(where) as log:
        assert log.delete_user(user)


def trained_again(where):
    run = night(where, 8, forced=True)
    assert run.status == "promoted", run.message


def compacted(where):
    """No event is live any more: a user is who the model knows."""
    with EventLog.open(where) as log:
        log.compact(START + 100 * DAY)


def over_http(where, *users):
    """Strategy, items, and what they are explained by, of each user; asked twice, so that the second is from memory."""
    app, found = create_app(where, ModelStore(where.models).load().recommender()), []
    client = app.test_client()
    with closing(app.extensions[EXTENSION].storage):
        for user in users:
            path = f"/v1/users/{user}/recommendations?n=60&explain=10"
            first, second = (client.get(path) for _ in range(2))
            assert first.status_code == 200, first.text
            assert first.json["items"] == second.json["items"]
            items = [item["item_id"] for item in second.json["items"]]
            reasons = {
                reason["item_id"] for item in second.json["items"] for reason in item.get("explanation", ())
            }
            found.append((second.json["strategy"], items, reasons))
    return found


def in_a_batch(where, *users):
    recommender = ModelStore(where.models).load().recommender()
    with EventLog.open(where) as log:
        answers = Scorer(recommender, Filters(60), Snapshot(log)).answers([Asked(user) for user in users])
    return [(answer.strategy, list(answer.item_ids)) for answer in answers]


def test_a_model_that_read_the_log_after_the_deletion_knows_the_user_as_any_other(where):
    trained_again(where)
    compacted(where)

    anna, berta = over_http(where, "anna", "berta")

    assert anna == berta
    strategy, items, reasons = anna
    assert strategy == "model"
    assert not set(items) & set(LATER), "nobody gets what they have"
    assert set(FIRST) <= set(items), "that they had these was deleted"
    assert reasons
    assert reasons <= set(LATER)
    assert in_a_batch(where, "anna", "berta") == [(strategy, items)] * 2


def test_a_model_that_read_the_log_before_the_deletion_never_goes_by_its_row(where):
    (anna,) = over_http(where, "anna")
    assert anna[0] == "fold_in"
    assert anna[2]
    assert anna[2] <= set(LATER)
    assert set(FIRST) <= set(anna[1])
    compacted(where)

    anna, carla = over_http(where, "anna", "carla")

    assert (anna[0], anna[2], carla[0]) == ("fallback", set(), "model")
    assert set(FIRST) <= set(anna[1])
    assert in_a_batch(where, "anna", "carla") == [anna[:2], carla[:2]]


def test_back_in_service_an_older_model_forgets_again(where):
    trained_again(where)
    compacted(where)
    assert over_http(where, "anna")[0][0] == "model"

    ModelStore(where.models).rollback()

    anna, carla = over_http(where, "anna", "carla")
    assert (anna[0], anna[2], carla[0]) == ("fallback", set(), "model")
    assert in_a_batch(where, "anna", "carla") == [anna[:2], carla[:2]]


def test_who_is_deleted_again_is_forgotten_by_the_newer_model_too(where):
    trained_again(where)
    delete(where, "anna")

    assert over_http(where, "anna")[0][0] == "fallback"
    assert in_a_batch(where, "anna")[0][0] == "fallback"


def test_a_run_that_was_killed_before_the_deletion_and_goes_on_after_it_counts_as_before(where):
    class Kill(BaseException):
        pass

    def between(name):
        if name == "fit":
            raise Kill

    with pytest.raises(Kill):
        night(where, 8, forced=True, between=between)
    delete(where, "anna")
    append(where, took("anna", FIRST, 8))
    trained_again(where)
    compacted(where)

    assert over_http(where, "anna")[0][0] == "fallback"
