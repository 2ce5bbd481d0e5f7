"""When a night has something new to learn, what it says if not, and what force does then."""

import re

from recae.artifacts import ModelStore
from recae.data.eventlog import Event, EventLog
from recae.retrain.novelty import LEARNING, learning_of
from recae.retrain_settings import RetrainSettings
from tests.retrain.nights import DAY, START, append, begun, day, night, settings


def sane(home, **retrain_settings):
    """Settings of an operator whose clocks are right to five minutes."""
    return settings(home, **retrain_settings).model_copy(update={"max_clock_skew_s": 300.0})


def current(where):
    return ModelStore(where.models).current()


def test_idle_nights_are_idle_though_the_newest_event_is_no_liking(tmp_path):
    where = settings(tmp_path, min_value=2)
    for number in range(8):
        append(where, [event._replace(value=5.0) for event in day(number)])
    append(where, [Event("u0", "g1-1", value=1.0, timestamp=START + 8 * DAY - 1)])
    assert night(where, 7).status == "promoted"

    assert [night(where, number).status for number in (8, 9)] == ["unchanged", "unchanged"]


def test_without_refit_an_idle_night_promotes_nothing(tmp_path):
    where = begun(settings(tmp_path, refit=False))
    before = current(where)

    runs = [night(where, number) for number in (8, 9)]

    assert [run.status for run in runs] == ["unchanged", "unchanged"]
    assert runs[0].message == "no event is newer than what the live model has learned from"
    assert current(where) == before


def test_what_has_changed_nonetheless_is_said_and_learned_by_force(tmp_path):
    where = begun(settings(tmp_path))
    append(where, [Event(f"u{n}", "g1-1", timestamp=START - DAY) for n in range(10, 22)])
    with EventLog.open(where) as log:
        n_gone = log.delete_user("u3")
    changed = settings(tmp_path, settings={"l2": 20.0}, min_user_items=2)
    before = current(where)

    idle = night(changed, 8)
    forced = night(changed, 9, forced=True)

    assert idle.status == "unchanged"
    assert re.fullmatch(
        r"no event is newer than what the live model has learned from; but since then 12 older events have arrived, "
        rf"{n_gone} events that it learned from are gone, with their users or by age, "
        r"settings have changed \(min_user_items, settings\): learned with the next new event; "
        "`recae retrain --force` learns now",
        idle.message,
    )
    assert forced.status == "promoted", forced.message
    assert "seems better than it is" in forced.message
    assert forced.figures_of("data")["known_asked"]
    assert "live" in forced.values
    assert all(verdict.passed or verdict.forced for verdict in forced.gate)
    stored = ModelStore(where.models).load()
    assert stored.version != before
    assert "u3" not in stored.users
    assert stored.model.config.l2 == 20.0
    assert night(changed, 10).message == "no event is newer than what the live model has learned from"


def test_a_late_event_waits_for_a_new_one(tmp_path):
    where = begun(settings(tmp_path))
    append(where, [Event("u0", "late", timestamp=START)])
    assert "1 older events have arrived" in night(where, 8).message
    append(where, day(9))

    run = night(where, 9)

    assert run.status == "promoted", run.message
    assert "late" in ModelStore(where.models).load().items


def test_new_events_that_do_not_count_are_said(tmp_path):
    weighed = {"event_weights": {"view": 1, "remove": 0}}
    where = settings(tmp_path, **weighed)
    for number in range(8):
        append(where, [event._replace(event_type="view") for event in day(number)])
    assert night(where, 7).status == "promoted"
    append(where, [event._replace(event_type="remove") for event in day(8)])

    run = night(where, 8)

    assert run.status == "unchanged"
    assert "no event that counts is newer" in run.message
    assert "events that are older or do not count have arrived" in run.message


def test_a_mistyped_event_stops_no_night_and_is_told(tmp_path):
    where = settings(tmp_path, event_weights={"view": 1})
    for number in range(8):
        append(where, [event._replace(event_type="view") for event in day(number)])
    append(where, [Event("u0", "g0-0", event_type="veiw", timestamp=START + DAY)])

    run = night(where, 7)

    assert run.status == "promoted", run.message
    assert "1 events of types without a weight are left out: 'veiw'" in run.message
    assert run.figures_of("data")["unnamed_types"] == {"veiw": 1}


def test_a_model_that_no_run_made_is_learned_anew_by_force_alone(tmp_path):
    where = begun(settings(tmp_path))
    store = ModelStore(where.models)
    stored = store.load()
    store.promote(store.save(stored.model, stored.items, watermark=stored.manifest.watermark))

    idle = night(where, 8)

    assert idle.status == "unchanged"
    assert "it was made by no run on record" in idle.message
    assert night(where, 9, forced=True).status == "promoted"


def test_the_newest_event_in_the_future_by_a_clock_that_was_ahead_closes_no_later_night(tmp_path):
    ahead = begun(settings(tmp_path))
    append(ahead, [Event("u1", "g1-1", timestamp=START + 40 * DAY)])
    append(ahead, day(8))
    assert night(ahead, 48, forced=True).status == "promoted"  # that night's clock was 40 days ahead
    assert ModelStore(ahead.models).load().manifest.watermark == START + 40 * DAY
    where = sane(tmp_path)

    idle = night(where, 8)
    append(where, day(9))
    run = night(where, 9)

    assert idle.status == "unchanged", idle.message
    assert "lies in the future" in idle.message
    assert run.status == "promoted", run.message
    assert "the newest event its run has read, is taken" in run.message
    stored = ModelStore(where.models).load()
    assert START + 9 * DAY < stored.manifest.watermark < START + 10 * DAY
    assert night(where, 10).message == "no event is newer than what the live model has learned from"


def test_a_future_row_in_a_trained_file_closes_no_later_night(tmp_path):
    where = begun(sane(tmp_path))
    store = ModelStore(where.models)
    stored = store.load()
    version = store.save(stored.model, stored.items, watermark=4_070_908_800)
    store.promote(version)

    idle = night(where, 8)
    append(where, day(9))
    run = night(where, 9)

    assert idle.status == "unchanged"
    assert "lies in the future" in idle.message
    assert run.status == "promoted", run.message
    newest = idle.figures_of("data")["newest"]
    assert f"{newest}, the newest event of the log when a run first met it, is taken" in run.message
    assert run.figures_of("data")["cut"] > newest


def test_a_log_without_times_is_learned_on_its_first_night_and_on_later_ones(tmp_path):
    where = settings(tmp_path)
    append(where, [replace_time(event, START) for number in range(8) for event in day(number)])

    first = night(where, 7)
    idle = night(where, 8)
    append(where, [replace_time(event, START + 2 * DAY) for event in day(8)])
    later = night(where, 9)

    assert first.status == "promoted", first.message
    assert "drawn by lot; with the column timestamp the newest are" in first.message
    assert idle.status == "unchanged"
    assert later.status == "promoted", later.message


def replace_time(event, second):
    return event._replace(timestamp=second)


def test_the_settings_of_learning_are_settings():
    assert set(RetrainSettings.model_fields) >= LEARNING
    assert set(learning_of(RetrainSettings())) == LEARNING
    not_of_a_model = {"holdout_share", "max_holdout_users", "als_trials", "gate", "notify"}
    not_of_a_model |= {"keep_versions", "keep_runs", "resume_hours", "retry_s"}
    assert set(RetrainSettings.model_fields) - LEARNING == not_of_a_model
