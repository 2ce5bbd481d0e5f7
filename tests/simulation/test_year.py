"""Worlds are what their settings say, and a simulated month shows what each habit of retraining is worth."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from recae.cli import cli
from recae.config import Settings
from recae.errors import DataError
from recae.simulation import World, WorldSettings, replayed, simulate
from recae.simulation.page import html
from recae.simulation.world import START, garbage

DAY = 86_400
SMALL = WorldSettings(n_users=200, n_items=100, events_a_day=200, drift=0.08, sharpness=6.0, seed=1)
QUICK = {"als_trials": 0, "settings": {"l2": 20.0}, "gate": {"min_users": 5, "margin": 0.1}}


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    folder = tmp_path_factory.mktemp("year")
    days = list(World(SMALL).days(30))
    return simulate(
        days, folder / "homes", Settings(home=folder, retrain=QUICK), poisoned=[24], show_progress=False
    )


def test_the_same_seed_gives_the_same_days():
    first, again, other = (list(World(WorldSettings(seed=seed)).days(3)) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_items_appear_and_every_event_lies_in_its_day():
    days = list(World(SMALL).days(20))

    items = [{event["item_id"] for event in day} for day in days]
    assert not {f"i{number}" for number in range(100, 120)} & items[0]
    assert {f"i{number}" for number in range(100, 105)} & set.union(*items)
    for number, day in enumerate(days):
        assert len(day) == 200
        assert all(START + number * DAY <= event["timestamp"] < START + (number + 1) * DAY for event in day)


def test_garbage_has_the_same_people_and_things_and_as_many_events_as_asked_for():
    (day,) = World(SMALL).days(1)

    found = garbage(day, 0, times=3)

    assert len(found) == 600
    assert {event["item_id"] for event in found} <= {event["item_id"] for event in day}
    assert len({event["event_id"] for event in found}) == 600


def test_a_given_log_is_cut_into_its_days():
    events = pd.DataFrame(
        {"user_id": ["b", "a", "a"], "item_id": ["y", "x", "z"], "timestamp": [2 * DAY + 5, 7, 9]}
    )

    days = replayed(events)

    assert [len(day) for day in days] == [2, 0, 1]
    assert days[0][0]["item_id"] == "x"
    with pytest.raises(DataError, match="no timestamp"):
        replayed(events.drop(columns="timestamp"))


def test_retraining_pays_in_a_world_that_drifts(year):
    assert year.mean("nightly") > year.mean("never")
    assert year.mean("oracle") > year.mean("never")
    assert set(year.values["nightly"]) == set(range(14, 30))


def test_the_gate_holds_on_the_poisoned_night(year):
    assert year.nights[24] == "refused"
    assert "usual" in year.messages[24]
    assert list(year.nights.values()).count("promoted") > 8


def test_the_page_shows_every_habit_and_every_refusal(year):
    page = html(year)

    for habit in ("nightly", "weekly", "never", "oracle"):
        assert f"{habit}</td><td>{year.mean(habit):.4f}" in page
    assert "24 (garbage)" in page
    assert page.count("<polyline") == 7


def test_the_command_writes_the_page_and_the_numbers(tmp_path):
    (tmp_path / "recae.toml").write_text("[retrain]\nals_trials = 0\n[retrain.gate]\nmin_users = 5\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        done = CliRunner().invoke(
            cli,
            [
                "simulate",
                "--days",
                "17",
                "--users",
                "40",
                "--items",
                "30",
                "--events",
                "80",
                "--output",
                "year",
                "--json",
            ],
        )

    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "year" / "year.json").read_text())
    assert found["n_events"] == 17 * 80
    assert np.isfinite(list(found["means"].values())).all()
    assert "17 days" in (tmp_path / "year" / "year.html").read_text()
