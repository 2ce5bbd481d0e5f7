"""Two models side by side: who gets which, what is recorded, and what the report makes of it."""

import json
import math
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

from recae.api import create_app
from recae.api.experiments import ServedRecorder, variant_of
from recae.artifacts import ModelStore
from recae.cli import cli
from recae.config import Experiment, Settings, load_settings
from recae.data.eventlog import EventLog
from recae.data.eventlog.served import UserOutcome
from recae.errors import ConfigError, EventLogError
from recae.evaluation.online import differences, rates_of
from recae.models.baselines import Popularity
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS, fitted_ease

HALVES = Experiment(name="deeper", shares={"current": 0.5, "challenger": 0.5})
USERS_ASKING = [f"user {number}" for number in range(40)]


@pytest.fixture
def versions(home):
    store = ModelStore(home / "models")
    saved = [
        store.save(model, ITEMS, users=USERS, catalogue=CATALOGUE)
        for model in (fitted_ease(), Popularity().fit(LIKES, show_progress=False))
    ]
    store.promote(saved[0])
    return saved


@pytest.fixture
def serve(versions):
    opened = []

    def served(**settings):
        app = create_app(Settings(reload_s=3_600, named_models={"challenger": versions[1]}, **settings))
        api = app.extensions["recae"]
        api.served.refresh()
        opened.append(api)
        return app.test_client(), api

    yield served
    for api in opened:
        api.served.close()
        api.recorder.close()


def wilson(n_followed, n):
    """Of 95 %, by scipy."""
    return list(binomtest(n_followed, n).proportion_ci(0.95, "wilson"))


def report(*arguments):
    done = CliRunner().invoke(cli, ["experiment", "report", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_user_has_one_side_and_the_sides_have_their_shares():
    sides = [variant_of(HALVES, str(user)) for user in range(4_000)]
    again = [variant_of(HALVES, str(user)) for user in range(4_000)]
    renamed = [variant_of(HALVES.model_copy(update={"name": "b"}), str(user)) for user in range(4_000)]

    assert sides == again
    assert 1_850 < sides.count("current") < 2_150
    both = sum(one == other == "current" for one, other in zip(sides, renamed, strict=True))
    assert 850 < both < 1_150, "another name splits independently"


@pytest.mark.parametrize("shares", [{"a": 1.0}, {"a": 0.5, "b": 0.6}, {"a": -0.5, "b": 1.5}])
def test_shares_that_are_none_are_refused(monkeypatch, shares):
    monkeypatch.setenv("RECAE_EXPERIMENT", json.dumps({"name": "x", "shares": shares}))
    with pytest.raises(ConfigError, match="RECAE_EXPERIMENT"):
        load_settings()


def test_users_are_answered_by_the_model_of_their_side_and_it_is_recorded(serve, versions):
    client, api = serve(experiment=HALVES)
    by_side = dict(zip(("current", "challenger"), versions, strict=True))
    for user_id in USERS_ASKING:
        wanted = by_side[variant_of(HALVES, user_id)]
        assert client.get(f"/v1/users/{user_id}/recommendations").json["model_version"] == wanted
        posted = client.post("/v1/recommendations", json={"user_id": user_id})
        assert posted.json["model_version"] == posted.headers["X-Model-Version"] == wanted
    parts = [{"user_id": user_id} for user_id in USERS_ASKING]
    results = client.post("/v1/recommendations/batch", json={"requests": parts}).json["results"]
    api.recorder.flush()

    assert [result["body"]["model_version"] for result in results] == [
        by_side[variant_of(HALVES, user_id)] for user_id in USERS_ASKING
    ]
    assert api.storage.served.count() == 3 * len(USERS_ASKING)
    assert api.storage.served.experiments() == ["deeper"]


def test_who_names_a_model_or_no_user_is_in_no_experiment(serve, versions):
    client, api = serve(experiment=HALVES)
    for user_id in USERS_ASKING:
        named = client.get(f"/v1/users/{user_id}/recommendations?model=current")
        assert named.json["model_version"] == versions[0]
    client.post("/v1/recommendations", json={"items": ["a"]})
    api.recorder.flush()

    assert api.storage.served.count() == 0


def test_without_an_experiment_nothing_is_recorded(serve):
    client, api = serve()
    client.get("/v1/users/1/recommendations")
    api.recorder.flush()

    assert api.storage.served.count() == 0


def test_a_side_that_cannot_be_loaded_is_stood_in_for_and_not_recorded(serve, versions):
    client, api = serve(experiment=Experiment(name="x", shares={"current": 0.5, "gone": 0.5}))
    for user_id in USERS_ASKING:
        assert client.get(f"/v1/users/{user_id}/recommendations").json["model_version"] == versions[0]
    api.recorder.flush()

    assert 0 < api.storage.served.count() < len(USERS_ASKING)


@pytest.mark.parametrize("failure", [EventLogError("locked"), OSError("no room")])
def test_answers_wait_while_they_cannot_be_recorded_the_newest_as_far_as_there_is_room(monkeypatch, failure):
    monkeypatch.setattr("recae.api.experiments.MOST_WAITING", 3)
    database = SimpleNamespace()
    recorder = ServedRecorder(SimpleNamespace(served=database))
    written = []

    def record(*names):
        for name in names:
            recorder.record(name, "u", "version", "model", "current", "deeper")

    def fails(batch):
        record("d")  # meanwhile
        raise failure

    monkeypatch.setattr(
        "recae.api.experiments.WRITE_EVERY_S", 3_600
    )  # its thread writes nothing: this test does
    record("a", "b", "c")
    database.add = fails
    recorder.flush()
    database.add = written.extend
    recorder.close()

    assert [served.recommendation_id for served in written] == ["b", "c", "d"]


def test_the_report_joins_events_by_recommendation(serve, monkeypatch):
    client, api = serve(experiment=HALVES)
    for user_id in USERS_ASKING:
        body = client.get(f"/v1/users/{user_id}/recommendations").json
        client.get(f"/v1/users/{user_id}/recommendations")  # nobody follows this one
        if variant_of(HALVES, user_id) == "challenger":
            event = {"user_id": user_id, "item_id": "a", "recommendation_id": body["recommendation_id"]}
            client.post("/v1/events", json=[event | {"event_type": "buy", "value": 3}, event])
    api.recorder.flush()
    n = {side: [variant_of(HALVES, u) for u in USERS_ASKING].count(side) for side in HALVES.shares}

    found = json.loads(report("deeper", "--json", "--event-type", "buy"))
    challenger, current = found["variants"]
    assert (challenger["variant"], challenger["rate"], challenger["standard_error"]) == (
        "challenger",
        0.5,
        0.0,
    )
    assert challenger["interval"] == pytest.approx(wilson(n["challenger"], 2 * n["challenger"]), abs=1e-6)
    assert (challenger["n_users"], challenger["n_recommendations"]) == (n["challenger"], 2 * n["challenger"])
    assert (challenger["n_events"], challenger["value"]) == (n["challenger"], 3.0 * n["challenger"])
    assert (current["rate"], current["n_users"]) == (0.0, n["current"])
    assert current["interval"] == pytest.approx(wilson(0, n["current"]), abs=1e-6), "each user once"
    assert found["differences"][0]["difference"] == -0.5
    monkeypatch.setenv("RECAE_EXPERIMENT", HALVES.model_dump_json())
    assert "current - challenger: -0.5000" in report()
    assert "0.0000 to 0.0000" not in report(), "of some users, however alike, nothing is certain"


def test_a_deleted_user_is_in_no_report(serve):
    client, api = serve(experiment=HALVES)
    for user_id in USERS_ASKING:
        client.get(f"/v1/users/{user_id}/recommendations")
    api.recorder.flush()
    client.delete(f"/v1/users/{USERS_ASKING[0]}")

    variants = json.loads(report("deeper", "--json"))["variants"]
    assert sum(variant["n_users"] for variant in variants) == len(USERS_ASKING) - 1


def test_an_experiment_nobody_ran_is_an_error_that_names_the_others(home):
    EventLog.open(Settings()).close()
    done = CliRunner().invoke(cli, ["experiment", "report", "nothing"])

    assert done.exit_code == 1
    assert "no answer of the experiment 'nothing' was recorded" in done.output
    assert CliRunner().invoke(cli, ["experiment", "report"]).exit_code == 2


def test_rates_and_their_errors_are_those_worked_out_by_hand():
    outcomes = [
        UserOutcome("b", 2, 1, 1, 1.0),
        UserOutcome("b", 2, 0, 0, 0.0),
        UserOutcome("a", 4, 2, 5, 5.0),
    ]
    first, second = rates_of(outcomes)

    assert (first.variant, first.rate, first.n_events) == ("a", 0.5, 5)
    assert first.standard_error != first.standard_error
    # rate 1/4; residuals 1 - 1/2 and 0 - 1/2; sqrt(2 * (1/4 + 1/4)) / 4 = 1/4
    assert (second.rate, second.standard_error) == (0.25, pytest.approx(0.25))
    (difference,) = differences([second, second])
    assert difference.difference == 0.0


def one_each(variant, n_followed, n):
    """Users with a recommendation each."""
    return [UserOutcome(variant, 1, int(user < n_followed), int(user < n_followed), 1.0) for user in range(n)]


@pytest.mark.parametrize(("n_followed", "n"), [(0, 20), (1, 20), (7, 20), (20, 20), (0, 2), (3, 4_000)])
def test_of_users_with_a_recommendation_each_the_interval_is_wilsons(n_followed, n):
    (found,) = rates_of(one_each("a", n_followed, n))

    assert list(found.interval) == pytest.approx(wilson(n_followed, n), abs=1e-6)


# Newcombe 1998, Table II, method 10: followed and asked of one, of the other, and the interval of the difference
@pytest.mark.parametrize(
    ("one", "other", "interval"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0000)),
        ((10, 10), (0, 10), (0.6075, 1.0000)),
    ],
)
def test_the_interval_of_a_difference_is_that_of_the_published_table(one, other, interval):
    (found,) = differences(rates_of([*one_each("a", *other), *one_each("b", *one)]))

    assert found.interval == pytest.approx(interval, abs=6e-5)


def test_users_without_any_event_count_once_however_many_recommendations_they_had():
    (even,) = rates_of([UserOutcome("a", 50, 0, 0, 0.0) for _ in range(20)])
    # 120 recommendations as (20 * 3 + 60)^2 / (20 * 3^2 + 60^2) = 3.81 users: most are one user's
    (uneven,) = rates_of([UserOutcome("a", 3, 0, 0, 0.0)] * 20 + [UserOutcome("a", 60, 0, 0, 0.0)])

    assert list(even.interval) == pytest.approx(wilson(0, 20), abs=1e-6)
    n = 120**2 / (20 * 3**2 + 60**2)
    assert uneven.interval == (0.0, pytest.approx(1.959964**2 / (n + 1.959964**2)))


def test_users_who_differ_make_the_interval_wider_than_their_recommendations_say():
    (all_or_none,) = rates_of([UserOutcome("a", 10, 10 * (user < 5), 10, 1.0) for user in range(20)])
    (alike,) = rates_of([UserOutcome("a", 4, 1, 1, 1.0) for _ in range(50)])

    n = 19 * 200 / 199  # a user's ten are one
    for end in all_or_none.interval:  # as Wilson has it: so many of its own standard errors from 5 of 20
        assert abs(end - 0.25) == pytest.approx(1.959964 * (end * (1 - end) / n) ** 0.5)
    assert list(alike.interval) == pytest.approx(wilson(50, 200), abs=1e-6), "and never narrower"


def test_a_single_user_has_no_interval():
    single, several = rates_of([UserOutcome("a", 4, 0, 0, 0.0), *one_each("b", 0, 5)])
    (difference,) = differences([single, several])

    assert all(math.isnan(end) for end in (*single.interval, *difference.interval))
