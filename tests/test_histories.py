"""Histories are made of events by the rule that made the rows a model learned from."""

import numpy as np
import pytest

from recae.artifacts import ModelStore
from recae.data.eventlog import Event, EventLog
from recae.histories import MAX_WEIGHT, logged
from recae.history_rule import NEWEST_COUNTS, HistoryRule
from recae.retrain.nightdata import cut_night, rule_of
from recae.retrain.reading import read_log
from recae.retrain_settings import RetrainSettings
from tests.tastes import ITEMS, fitted_ease

DAY = 86_400
EVENTS = [
    ("a", 1.0, "view", 9, 5),
    ("b", 0.0, "view", 8, 4),
    ("c", 2.0, "buy", 7, 3),
    ("b", 5.0, "view", 6, 2),
    ("a", 4.0, "buy", 5, 1),
]


def test_the_newest_event_of_an_item_counts():
    assert logged(EVENTS, NEWEST_COUNTS, "implicit", 10) == ({"c": None, "a": None}, ("b",))
    assert list(logged(EVENTS, NEWEST_COUNTS, "sequences", 10).history) == ["c", "a"], "earliest first"
    assert logged(EVENTS, NEWEST_COUNTS, "ratings", 10) == ({"a": 1.0, "b": 0.0, "c": 2.0}, ())


def test_an_item_below_the_lowest_value_is_no_liking_and_is_not_recommended():
    found = logged(EVENTS, HistoryRule(min_value=2), "implicit", 10)

    assert found == ({"c": None}, ("a", "b"))


def test_weights_by_type_count_and_what_they_leave_out_is_seen():
    rule = HistoryRule(event_weights={"buy": 3, "view": 0}, duplicates="sum")

    assert logged(EVENTS, rule, "ratings", 10).history == {"a": 12.0, "c": 6.0}
    assert logged(EVENTS, rule, "implicit", 10) == ({"a": None, "c": None}, ("b",))


@pytest.mark.parametrize(
    ("duplicates", "expected"),
    [
        ("last", {"c": 2, "b": 0, "a": 1}),
        ("sum", {"c": 2, "b": 5, "a": 5}),
        ("max", {"c": 2, "b": 5, "a": 4}),
        ("count", {"c": 1, "b": 2, "a": 2}),
    ],
)
def test_several_events_of_an_item_become_one_value(duplicates, expected):
    assert HistoryRule(duplicates=duplicates).values(EVENTS, 10) == expected


def test_events_fade_by_half_in_a_half_life():
    found = HistoryRule(half_life_days=1).values([("a", 8.0, "", 2 * DAY, 1), ("b", 8.0, "", 0, 2)], 3 * DAY)

    assert found == {"b": 1.0, "a": 4.0}


def test_an_unnamed_type_is_left_out_unless_it_has_a_weight():
    assert HistoryRule(event_weights={"buy": 1}).values(EVENTS, 10) == {"a": 4.0, "c": 2.0}
    assert len(HistoryRule(event_weights={"buy": 1}, other_weight=0.5).values(EVENTS, 10)) == 3


def test_a_value_no_model_could_take_is_bounded():
    assert logged([("a", 1e300, "", 0)], NEWEST_COUNTS, "ratings", 0).history == {"a": MAX_WEIGHT}


RULES = [
    {},
    {"min_value": 3},
    {"duplicates": "sum", "min_value": 4},
    {"duplicates": "count"},
    {"duplicates": "max", "min_value": 2},
    {"event_weights": {"view": 1, "buy": 3, "bot": 0}, "duplicates": "sum", "min_value": 3},
    {"half_life_days": 5, "duplicates": "sum", "min_value": 1},
]


@pytest.mark.parametrize("settings", RULES, ids=str)
def test_what_serves_is_what_was_learned(tmp_path, settings):
    """Rows of the training matrix, made of columns, against histories made event by event."""
    rng = np.random.default_rng(1)
    how = RetrainSettings(**settings, holdout_share=0.01)
    with EventLog(f"sqlite:///{tmp_path / 'events.db'}", tmp_path / "archive") as log:
        log.append(
            Event(
                f"u{rng.integers(12)}",
                f"i{rng.integers(8)}",
                str(rng.choice(["view", "buy", "bot"])),
                float(rng.integers(-2, 6)),
                int(rng.integers(30 * DAY)),
                f"e{number}",
            )
            for number in range(400)
        )
        data = cut_night(read_log(log, log.watermark(), how), how)
        for user in (f"u{number}" for number in range(12)):
            row = data.everything.users.find([user])
            columns = data.everything.matrix[row[row >= 0]].indices
            learned = {data.everything.items[int(column)] for column in columns}
            found = logged(log.recent(user, 1_000).events, rule_of(how), "implicit", data.newest)
            assert set(found.history) == learned, user


def test_a_stored_version_knows_its_rule(tmp_path):
    store = ModelStore(tmp_path)
    rule = HistoryRule(event_weights={"buy": 2}, min_value=4)

    version = store.save(fitted_ease(), ITEMS, history=rule)

    assert store.load(version).manifest.history == rule
