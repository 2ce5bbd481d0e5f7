"""What Prometheus reads: counts that follow from the requests made, and names that callers cannot multiply."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recae.api import create_app
from recae.api.metrics import EventLag
from recae.artifacts import WEIGHTS, ModelStore
from recae.config import Settings
from recae.data.eventlog import EventLog
from tests.tastes import ITEMS, fitted_ease


def samples(client):
    """Name and labels -> value."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.mimetype == "text/plain"
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def requests(client):
    """(method, route, status) -> how many."""
    return {
        (labels["method"], labels["route"], labels["status"]): value
        for (name, *pairs), value in samples(client).items()
        if name == "recae_request_seconds_count" and (labels := dict(pairs))
    }


def test_requests_are_counted_by_route_and_status(client):
    for path in ("/v1/users/1/recommendations", "/v1/users/2/recommendations", "/v1/items/q/similar"):
        client.get(path)

    assert requests(client) == {
        ("GET", "/v1/users/<id:user_id>/recommendations", "200"): 2.0,
        ("GET", "/v1/items/<id:item_id>/similar", "404"): 1.0,
    }


def test_callers_cannot_make_up_series(client):
    for number in range(20):
        client.get(f"/nowhere/{number}")
        client.open("/health/live", method=f"BREW{number}")

    assert requests(client) == {("GET", "-", "404"): 20.0, ("other", "-", "405"): 20.0}


def test_strategies_give_the_share_of_fallbacks(client):
    for user in ("1", "2", "nobody"):
        client.get(f"/v1/users/{user}/recommendations")
    client.post("/v1/recommendations", json={"items": ["a"]})
    counted = {
        dict(pairs)["strategy"]: value
        for (name, *pairs), value in samples(client).items()
        if name == "recae_recommendation_seconds_count"
    }

    assert counted == {"model": 2.0, "fold_in": 1.0, "fallback": 1.0}


def test_fold_ins_are_timed_apart_from_all_else_and_a_fallback_is_none(client):
    for user in ("1", "nobody"):
        client.get(f"/v1/users/{user}/recommendations")
    client.post("/v1/recommendations", json={"items": ["a"]})
    client.post("/v1/rank", json={"user_id": "1", "candidates": ["a"]})
    client.post("/v1/recommendations/batch", json={"requests": [{"user_id": "1"}, {"items": ["q"]}]})
    found = samples(client)

    assert found["recae_fold_in_seconds_count",] == 4.0
    whole = sum(value for (name, *_), value in found.items() if name == "recae_recommendation_seconds_sum")
    assert 0 < found["recae_fold_in_seconds_sum",] < whole


def test_the_parts_of_a_batch_count_each_and_share_its_time(client):
    client.post("/v1/recommendations/batch", json={"requests": [{"user_id": "1"}] * 50})
    found = samples(client)

    parts = ("recae_recommendation_seconds_count", ("strategy", "model"))
    assert found[parts] == 50.0
    together = found["recae_recommendation_seconds_sum", ("strategy", "model")]
    (whole,) = [value for (name, *_), value in found.items() if name == "recae_request_seconds_sum"]
    assert 0 < together <= whole


def test_models_in_service_and_failures_to_load_are_told(tmp_path):
    store = ModelStore(tmp_path / "models")
    good, bad = store.save(fitted_ease(), ITEMS), store.save(fitted_ease(), ITEMS)
    store.promote(good)
    app = create_app(Settings(home=tmp_path, reload_s=1e6))
    served = app.extensions["recae"].served
    assert served.looked.wait(60)
    store.promote(bad)
    (store.root / bad / WEIGHTS).write_bytes(b"")
    served.refresh()
    served.close()
    found = samples(app.test_client())

    assert found["recae_model_workers", ("version", good)] == 1.0
    assert ("recae_model_workers", ("version", bad)) not in found
    assert found[("recae_model_loads_total",)] == 1.0
    assert found[("recae_model_load_failures_total",)] == 1.0


def test_event_lag_is_the_age_of_the_newest_event(home, monkeypatch):
    settings = Settings(home=home)
    home.mkdir()
    with EventLog(settings.events_url, settings.events_archive, clock=lambda: 1_000.0) as log:
        log.append([{"user_id": "u", "item_id": "i", "timestamp": at} for at in (900, 950, 800)])
    monkeypatch.setattr("recae.api.metrics.time.time", lambda: 1_010.0)
    (family,) = EventLag(settings).collect()

    assert family.samples[0].value == 60.0


@pytest.mark.parametrize("events", [None, "sqlite:////nowhere/at/all/events.db", "sqlite:///{}/named.db"])
def test_without_a_log_there_is_no_lag_and_looking_makes_none(home, tmp_path, events):
    settings = Settings(home=home, events=events and events.format(tmp_path))

    assert list(EventLag(settings).collect()) == []
    assert list(tmp_path.iterdir()) == []


def test_times_fall_into_buckets_up_to_infinity(client):
    client.get("/v1/users/1/recommendations")
    bounds = {
        float(dict(pairs)["le"])
        for (name, *pairs), _ in samples(client).items()
        if name == "recae_request_seconds_bucket"
    }

    assert math.inf in bounds
    assert min(bounds) == 0.001
