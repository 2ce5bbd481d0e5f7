"""Whole nights: what is promoted, what is refused and why, and what happens when something breaks."""

import errno
import json
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from recae.artifacts import ModelStore
from recae.data.eventlog import EventLog
from recae.data.eventlog.items import StoredItem, StoredItems
from recae.errors import EventLogError, RetrainError
from recae.models.linear import EASE
from recae.retrain import patient_log, recorder
from recae.retrain.baselines import ALS_SETTINGS
from recae.runs import RunTable
from tests.retrain.nights import append, day, garbage, night, settings


def closed(run):
    return [verdict.rule for verdict in run.gate if not verdict.passed]


def test_the_first_night_puts_a_model_into_service_with_all_it_says(where):
    run = night(where, 7)

    store = ModelStore(where.models)
    assert (run.status, run.version) == ("promoted", store.current())
    stored = store.load()
    assert stored.manifest.metrics["run_id"] == run.run_id
    with EventLog.open(where) as log:
        newest = max(int(time) for table in log.stream() for time in table.column("timestamp").to_pylist())
    assert stored.manifest.watermark == newest
    assert run.values["candidate"]["ndcg@20"] > run.values["popularity"]["ndcg@20"]
    assert {"candidate", "popularity", "als"} == set(run.values)
    assert [step.name for step in run.steps] == [
        *("watermark", "data", "fit", "judge", "gate", "refit", "store", "promote", "prune")
    ]
    assert all(step.status == "done" for step in run.steps)


def test_a_stored_version_knows_what_was_popular_lately(where):
    night(settings(where.home, popular_days=2), 7)

    stored = ModelStore(where.models).load()
    since = stored.manifest.watermark - 2 * 86_400
    with EventLog.open(where) as log:
        events = [event for table in log.stream() for event in table.to_pylist()]
    lately = {(event["user_id"], event["item_id"]) for event in events if int(event["timestamp"]) >= since}
    wanted = Counter(item for _, item in lately)
    assert 0 < len(lately) < len(events)
    assert dict(zip(stored.items, stored.lately, strict=True)) == {
        item: wanted[item] for item in stored.items
    }
    assert stored.recommender().popular(1).items[0].score == max(wanted.values())


def test_the_yardstick_is_tuned_on_users_that_are_held_out(where):
    run = night(settings(where.home, als_trials=2), 7)

    assert run.figures_of("judge")["als"] in ALS_SETTINGS[:2]
    assert "als" in run.values


def test_the_record_on_the_disk_is_the_one_returned_and_has_its_page(live):
    (run,) = RunTable(live.runs).newest_first()

    page = (live.runs / run.run_id / "report.html").read_text()
    assert run.status == "promoted"
    assert "not_worse" in page
    assert run.version in page
    assert not list((live.runs / run.run_id).glob("candidate*"))


def test_a_night_without_events_changes_nothing(live):
    before = ModelStore(live.models).versions()

    run = night(live, 8)

    assert run.status == "unchanged"
    assert ModelStore(live.models).versions() == before


def test_night_after_night_the_model_learns_what_is_new(live):
    for number in (8, 9):
        append(live, day(number))
        run = night(live, number)
        assert run.status == "promoted", run.message
        assert "live" in run.values

    assert len(ModelStore(live.models).versions()) == 3


def test_a_loser_is_refused_and_the_live_model_stays(live):
    append(live, day(8))
    before = ModelStore(live.models).current()

    run = night(settings(live.home, model="popularity", settings={}), 8)

    assert run.status == "refused"
    assert {"not_worse", "beats_popularity"} <= set(closed(run))
    assert "not_worse" in run.message
    assert ModelStore(live.models).current() == before
    assert ModelStore(live.models).versions() == [before]


def test_force_is_recorded(live):
    append(live, day(8))

    run = night(settings(live.home, model="popularity", settings={}), 8, forced=True)

    assert run.status == "promoted"
    assert run.forced
    assert "by force" in run.message
    assert {verdict.rule for verdict in run.gate if verdict.forced} == set(closed(run))
    assert ModelStore(live.models).load().model.name == "popularity"


def test_a_poisoned_day_does_not_get_through(live):
    append(live, day(8))
    night(live, 8)
    before = ModelStore(live.models).current()
    append(live, garbage(9))

    run = night(live, 9)

    assert run.status == "refused"
    assert "usual" in closed(run)
    assert ModelStore(live.models).current() == before


def test_without_refit_the_judged_model_itself_is_served(where):
    run = night(settings(where.home, refit=False), 7)

    assert "refit" not in [step.name for step in run.steps]
    data = run.figures_of("data")
    stored = ModelStore(where.models).load()
    assert stored.manifest.n_users <= data["users"]
    assert (
        stored.manifest.watermark == data["newest"] >= data["cut"]
    )  # what was asked is not new the next night


def test_the_catalogue_of_the_log_is_stored_with_the_model(where):
    with EventLog.open(where) as log:
        StoredItems(log.database).put([StoredItem("g0-0", "Alien", categories=("Sci-Fi",))])

    night(where, 7)

    assert ModelStore(where.models).load().catalogue.title("g0-0") == "Alien"


def test_old_versions_go_and_the_one_before_stays(where):
    few = settings(where.home, keep_versions=1)
    for number in (7, 8, 9):
        append(few, day(number))
        assert night(few, number).status == "promoted"

    store = ModelStore(few.models)
    assert len(store.versions()) == 2
    assert store.rollback() in store.versions()


def test_a_damaged_live_model_is_said_and_replaced(live):
    store = ModelStore(live.models)
    (live.models / store.current() / "weights.safetensors").write_bytes(b"nothing")
    append(live, day(8))

    run = night(live, 8)

    assert run.status == "promoted"
    assert "not what was saved" in run.figures_of("judge")["live"]


def test_a_version_that_somebody_promotes_meanwhile_is_not_replaced(live):
    append(live, day(8))
    store = ModelStore(live.models)
    stored = store.load()
    other = store.save(stored.model, stored.items)

    run = night(live, 8, between=lambda step: store.promote(other) if step == "promote" else None)

    assert run.status == "failed"
    assert f"{other} is in service now" in run.message
    assert store.current() == other


@pytest.mark.parametrize("status", ["promoted", "refused"])
def test_a_report_that_cannot_be_written_does_not_change_how_a_run_ended(where, monkeypatch, status):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recorder.report, "write", full)
    chosen = where if status == "promoted" else settings(where.home, model="popularity", settings={})

    run = night(chosen, 7)

    assert run.status == status
    assert "no report" in run.message


def test_no_room_on_the_disk_is_said_before_anything_is_done(live, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    append(live, day(8))

    run = night(live, 8)

    assert run.status == "failed"
    assert "1 MB are free" in run.message
    assert [step.name for step in run.steps] == ["watermark"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("out of memory"), "MemoryError: out of memory"),
        (OSError(28, "No space left"), "No space left"),
    ],
)
def test_what_breaks_a_fit_is_written_down(live, monkeypatch, error, said):
    def broken(*_):
        raise error

    monkeypatch.setattr(EASE, "_fit", broken)
    append(live, day(8))

    run = night(live, 8)

    assert run.status == "failed"
    assert said in run.message
    assert run.steps[-1].status == "failed"
    assert run.finished is not None


def test_weights_that_are_no_numbers_never_come_into_service(live, monkeypatch):
    append(live, day(8))
    before = ModelStore(live.models).current()
    whole = EASE._fit

    def poisoned(self, histories, how):
        whole(self, histories, how)
        self.precision_[0, 0] = np.nan

    monkeypatch.setattr(EASE, "_fit", poisoned)

    run = night(live, 8, forced=True)

    assert run.status == "failed"
    assert "NaN" in run.message
    assert ModelStore(live.models).current() == before


def test_a_database_that_is_away_for_a_while_is_waited_for(live, monkeypatch):
    append(live, day(8))
    patient = settings(live.home, retry_s=30)
    opened, failures = EventLog.open, iter([EventLogError("away"), EventLogError("away")])

    def sometimes(where, **how):
        for error in failures:
            raise error
        return opened(where, **how)

    monkeypatch.setattr(EventLog, "open", sometimes)
    monkeypatch.setattr(patient_log, "FIRST_PAUSE_S", 0.01)

    run = night(patient, 8)

    assert run.status == "promoted"
    assert run.figures_of("watermark")["retries"] == 2


def test_a_database_that_stays_away_ends_the_run(live, monkeypatch):
    def away(*_, **_how):
        raise EventLogError("the event log failed: connection refused")

    monkeypatch.setattr(EventLog, "open", away)

    run = night(live, 8)

    assert run.status == "failed"
    assert "connection refused" in run.message


def test_an_empty_log_is_a_clear_failure(tmp_path):
    append(settings(tmp_path), [])
    run = night(settings(tmp_path), 0)

    assert run.status == "failed"
    assert "holds no events" in run.message


def test_what_waiting_does_not_mend_is_not_waited_for(live, monkeypatch):
    database = live.home / "events.db"
    monkeypatch.setattr(patient_log.time, "sleep", lambda _: pytest.fail("it was waited for"))
    patient = settings(live.home, retry_s=600)

    database.write_bytes(b"no database " * 1_000)
    assert "restore it from a backup" in night(patient, 8).message
    database.unlink()
    assert "there is no event log in" in night(patient, 8).message
    assert not database.exists()


def test_two_at_once_are_one(live):
    table = RunTable(live.runs)
    with table.claimed(), pytest.raises(RetrainError, match="is going on"):
        night(live, 8)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gate": {"metric": "auc"}}, "auc"),
        ({"gate": {"metric": "ndgc@20"}}, "ndgc"),
        ({"model": "eese"}, "no model is named 'eese'"),
        ({"settings": {"l3": 1}}, "l3"),
        ({"model": "mult_vae", "settings": {"device": "cuda:99"}}, "cuda:99"),
    ],
)
def test_settings_that_no_run_could_use_fail_it_and_somebody_is_told(live, tmp_path, wrong, said):
    """After an edit every night would fail, and the model age, with nobody told."""
    told = tmp_path / "told"
    notify = {"command": f"sh -c 'cat > {told}'", "on": ["failed"]}
    served = ModelStore(live.models).current()
    append(live, day(8))
    run = night(settings(live.home, **wrong, notify=notify), 8)

    assert (run.status, said in run.message) == ("failed", True), run.message
    assert next(RunTable(live.runs).newest_first()) == run
    assert json.loads(told.read_text())["run_id"] == run.run_id
    assert ModelStore(live.models).current() == served
    assert night(live, 8).status == "promoted"


def test_rows_that_could_not_be_read_close_the_gate(live, tmp_path):
    from recae.data.eventlog.ingest import ingest

    append(live, day(8))
    bad = tmp_path / "bad.csv"
    bad.write_text("user_id,item_id\n" + ",x\n" * 10 + "u0,g0-0\n" * 10)
    with EventLog.open(live) as log:
        ingest(log, bad, max_bad_share=0.9)

    assert "quarantined" in closed(night(live, 8))


def test_models_that_the_settings_name_survive_the_nights(where):
    night(where, 7)
    (challenger,) = ModelStore(where.models).versions()
    named = settings(where.home, keep_versions=1).model_copy(update={"named_models": {"old": challenger}})
    for number in (8, 9, 10):
        append(named, day(number))
        assert night(named, number).status == "promoted"

    assert len(ModelStore(where.models).versions()) == 3
    assert ModelStore(where.models).load(challenger).version == challenger
