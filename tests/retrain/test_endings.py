"""How nights end: always with a record or a word to somebody, and with what is old removed."""

import errno
import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from recae import durable
from recae.artifacts import ModelStore
from recae.cli import cli
from recae.data.eventlog import EventLog
from recae.data.eventlog.intake import record_intake
from recae.models.linear import EASE
from recae.retrain import recorder, upkeep
from recae.retrain.nightly import retrain
from recae.runs import RECORD, RunTable
from tests.retrain.nights import CONFIG, DAY, START, append, begun, day, eight_days, night, settings

LOSER = {"model": "popularity", "settings": {}}


def telling(home, tmp_path, **changed):
    """Settings that tell every end into a file."""
    script = tmp_path / "tell.py"
    script.write_text(
        "import os, sys\n"
        "open(sys.argv[1], 'a').write(os.environ['RECAE_RUN_STATUS'] + ': ' + os.environ['RECAE_RUN_MESSAGE'] + '\\n')\n"
    )
    command = f"{sys.executable} {script} {tmp_path / 'told'}"
    return settings(home, notify={"command": command, "on": ["promoted", "refused", "failed"]}, **changed)


def full(*_args, **_more):
    raise OSError(errno.ENOSPC, "No space left on device")


def count(where):
    with EventLog.open(where) as log:
        return log.count()


@pytest.mark.parametrize("status", ["promoted", "refused", "unchanged"])
def test_what_is_old_goes_at_the_end_of_every_night_that_read_the_log(tmp_path, status):
    where = begun(settings(tmp_path, keep_runs=2))
    store = ModelStore(where.models)
    stored = store.load()
    unused = [store.save(stored.model, stored.items) for _ in range(3)]
    if status != "unchanged":
        append(where, day(8))
    how = settings(tmp_path, keep_runs=2, keep_versions=1, **(LOSER if status == "refused" else {}))
    how = how.model_copy(update={"retention_days": 1.0})
    for number in (1, 2):
        RunTable(where.runs).begin(datetime(2020, 1, number, tzinfo=UTC))

    run = night(how, 8)

    assert run.status == status, run.message
    assert run.steps[-1].name == "prune"
    assert run.figures_of("prune")["events_expired"] > 0
    assert count(where) == (0 if status == "unchanged" else 150), "the last day's"
    assert set(store.versions()).isdisjoint(unused[:2])
    assert len(list(where.runs.iterdir())) == 2


def test_what_cannot_be_tidied_up_after_a_promotion_is_a_remark(tmp_path, monkeypatch):
    where = settings(tmp_path).model_copy(update={"compact_after_days": 1.0})
    for number in range(8):
        append(where, day(number))
    (tmp_path / "events").write_text("a file where a folder should be")
    monkeypatch.setattr(ModelStore, "prune", full)
    said = []

    run = night(where, 7, say=said.append)

    assert run.status == "promoted"
    assert "old versions could not be removed: OSError: [Errno 28] No space left" in run.message
    assert "old events could not be removed" in run.message
    assert any(line.startswith("warning: old versions") for line in said)
    assert RunTable(where.runs).read(run.run_id).message == run.message


def test_a_clock_that_is_ahead_for_a_night_does_not_empty_the_log(tmp_path):
    where = begun(settings(tmp_path)).model_copy(update={"retention_days": 365.0, "compact_after_days": 30.0})
    n_events = count(where)
    for n_new in (0, 1):
        append(where, day(8)[: 150 * n_new])
        run = retrain(where, show_progress=False, clock=lambda: START + (8 + 800) * DAY)

        assert run.status in ("unchanged", "promoted"), run.message
        assert count(where) == n_events + 150 * n_new
        assert "is the clock right" in run.message
        assert "recae events compact --expire 365d" in run.message

    n_old = sum(event.timestamp < START + 5 * DAY for number in range(9) for event in day(number))
    kept = where.model_copy(update={"retention_days": 4.0, "compact_after_days": None})
    run = night(kept, 8)
    assert count(where) == n_events + 150 - n_old, "as the setting says, where the clock is right"
    assert run.figures_of("prune")["events_expired"] == n_old
    assert f"{n_old:,} event(s) expired" in run.steps[-1].message


def test_a_listener_that_is_gone_stops_no_run(tmp_path):
    where = begun(settings(tmp_path))
    append(where, day(8))
    run = night(where, 8, say=full)

    assert run.status == "promoted"
    assert run.message.count("what it said could not be written") == 1
    assert "No space left on device" in RunTable(where.runs).read(run.run_id).message


@pytest.mark.parametrize("streams", ["> /dev/full 2>&1", "2>&1 | true"])
def test_where_the_output_goes_does_not_decide_the_run(tmp_path, streams):
    (tmp_path / "recae.toml").write_text(CONFIG)
    append(eight_days(settings(tmp_path / ".recae")), day(8))
    command = f"set -o pipefail; {shlex.quote(sys.executable)} -m recae retrain {streams}"
    environment = os.environ | {"RECAE_HOME": str(tmp_path / ".recae"), "RECAE_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert next(RunTable(tmp_path / ".recae" / "runs").newest_first()).status == "promoted"


def test_an_error_after_the_promotion_leaves_the_run_promoted(tmp_path, monkeypatch):
    where = begun(settings(tmp_path))
    append(where, day(8))
    whole = ModelStore.promote_over

    def breaks_afterwards(self, version, live):
        whole(self, version, live)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(ModelStore, "promote_over", breaks_afterwards)

    run = night(where, 8)

    assert (run.status, run.version) == ("promoted", ModelStore(where.models).current())
    assert "Input/output error" in run.message


def test_a_promoted_run_with_a_remark_ends_with_status_0_and_a_warning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECAE_THREADS", "1")
    Path("recae.toml").write_text(CONFIG)
    for number in range(8):
        append(settings(tmp_path / ".recae"), day(number))
    monkeypatch.setattr(recorder.report, "write", full)

    done = CliRunner().invoke(cli, ["--home", str(tmp_path / ".recae"), "retrain", "--json"])

    assert done.exit_code == 0, done.output
    assert "warning: no report: OSError: [Errno 28]" in done.stderr
    assert json.loads(done.stdout)["status"] == "promoted"


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), RuntimeError("SafetensorError")])
def test_a_mistake_in_the_code_is_a_failed_run_whose_place_is_kept(tmp_path, monkeypatch, error):
    where = begun(settings(tmp_path))
    append(where, day(8))

    def broken(*_):
        raise error

    monkeypatch.setattr(EASE, "_fit", broken)

    run = night(where, 8)

    kept = where.runs / run.run_id / "traceback.txt"
    assert run.status == "failed"
    assert f"{type(error).__name__}: {error}, see {kept}" in run.message
    assert "in broken" in kept.read_text()


def test_a_night_whose_record_cannot_be_begun_is_told_with_the_path(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "runs").write_text("a file where a folder should be")
    where = telling(home, tmp_path)

    run = night(where, 7)

    assert run.status == "failed"
    assert str(home / "runs") in run.message
    assert (tmp_path / "told").read_text().startswith("failed: the run could not begin")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EROFS, "it is mounted read-only: mount it for writing"),
        (errno.EACCES, f"it is not writable for this user (id {os.geteuid()})"),
        (errno.EPERM, f"it is not writable for this user (id {os.geteuid()})"),
        (errno.ENOSPC, "make room on its disk"),
        (errno.EIO, "let recae write there"),
    ],
)
def test_a_record_that_cannot_be_begun_says_what_mends_it(tmp_path, monkeypatch, number, said):
    where = settings(tmp_path)

    def refuses(*_args, **_more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable, "write_file", refuses)

    run = night(where, 7)

    assert run.status == "failed"
    assert f"{os.strerror(number)}; {said}" in run.message
    assert ("make room" in run.message) == (number == errno.ENOSPC)


def test_a_disk_that_is_full_for_the_first_record_leaves_no_folder_and_is_told(tmp_path, monkeypatch):
    where = telling(tmp_path / "home", tmp_path)
    begun(settings(where.home))
    before = set(where.runs.iterdir())
    monkeypatch.setattr(durable, "write_file", full)

    run = night(where, 8)

    assert run.status == "failed"
    assert "No space left on device" in run.message
    assert set(where.runs.iterdir()) == before
    assert "No space left" in (tmp_path / "told").read_text()


def test_a_disk_that_fills_up_meanwhile_is_told_with_the_path_of_the_record(tmp_path, monkeypatch):
    where = telling(tmp_path / "home", tmp_path)
    begun(settings(where.home))
    append(where, day(8))

    def fill(step):
        if step == "judge":
            monkeypatch.setattr(durable, "write_file", full)

    run = night(where, 8, between=fill)

    assert run.status == "failed"
    assert f"the record {where.runs / run.run_id / RECORD} cannot be written" in run.message
    assert "cannot be written" in (tmp_path / "told").read_text()


def test_a_model_store_that_does_not_say_what_is_in_service_fails_the_night_and_is_told(tmp_path):
    where = telling(tmp_path / "home", tmp_path)
    begun(settings(where.home))
    (where.models / "current").write_text("")

    run = night(where, 8)

    assert run.status == "failed"
    assert str(where.models / "current") in run.message
    assert next(RunTable(where.runs).newest_first()).message == run.message
    assert "current is damaged" in (tmp_path / "told").read_text()


def test_a_notification_that_breaks_changes_nothing(tmp_path):
    where = settings(tmp_path, notify={"command": "/no/such/program"})
    for number in range(8):
        append(where, day(number))

    run = night(where, 7)

    assert run.status == "promoted"
    assert "the command to notify failed" in RunTable(where.runs).read(run.run_id).message


def test_a_damaged_live_model_is_named_wherever_somebody_looks(tmp_path):
    where = begun(settings(tmp_path))
    store = ModelStore(where.models)
    (where.models / store.current() / "weights.safetensors").write_bytes(b"nothing")
    append(where, day(8))

    run = night(where, 8)

    assert run.status == "promoted"
    assert "the model in service cannot be read" in run.message
    (verdict,) = [each for each in run.gate if each.rule == "not_worse"]
    assert "is not what was saved" in verdict.message


def test_no_room_names_what_makes_some(tmp_path, monkeypatch):
    where = begun(settings(tmp_path))
    monkeypatch.setattr(upkeep, "SPARE_BYTES", 2**60)

    only = night(where, 8)
    store = ModelStore(where.models)
    stored = store.load()
    store.save(stored.model, stored.items)
    store.save(stored.model, stored.items)
    several = night(where, 8)

    assert (only.status, several.status) == ("failed", "failed")
    assert only.message.endswith("MB; make room on its disk")
    assert several.message.endswith("MB; make room; `recae models prune --keep N` makes some")


def bad_rows(where, second):
    """Every second row of an ingest could not be read."""
    with EventLog.open(where) as log:
        record_intake(log.database, "bad.csv", 20, 10, at=second)


def quarantined(run):
    return next(verdict for verdict in run.gate if verdict.rule == "quarantined")


def test_one_bad_ingest_closes_one_night(tmp_path):
    where = begun(settings(tmp_path, gate={"min_users": 5, "margin": 0.2}))
    append(where, day(8))
    bad_rows(where, START + 9 * DAY - 1)

    bad = night(where, 8)
    append(where, day(9))
    good = night(where, 9)

    assert (bad.status, good.status) == ("refused", "promoted"), good.message
    assert not quarantined(bad).passed
    assert quarantined(good).message.startswith("no rows were ingested")


def test_a_night_whose_clock_was_ahead_hides_no_bad_rows(tmp_path):
    where = begun(settings(tmp_path))
    append(where, day(8))
    assert night(where, 48, forced=True).status == "promoted"
    append(where, day(9))
    bad_rows(where, START + 10 * DAY - 1)

    run = night(where, 9)

    assert not quarantined(run).passed
    assert "the clock was ahead: 1 run that began in the future" in run.message
    usual = next(verdict for verdict in run.gate if verdict.rule == "volume").figures["usual"]
    assert usual > 10  # of the first night, not of the 40 days that the clock was ahead


def test_rows_ingested_by_a_clock_that_was_ahead_wait_for_their_time(tmp_path):
    where = begun(settings(tmp_path)).model_copy(update={"max_clock_skew_s": 300.0})
    append(where, day(8))
    bad_rows(where, START + 40 * DAY)

    assert quarantined(night(where, 8)).passed


@pytest.mark.parametrize("name", ["volume_ratio", "coverage_ratio"])
def test_bounds_in_reverse_are_refused_with_file_and_key(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("recae.toml").write_text(f"[retrain.gate]\n{name} = [5, 0.2]\n")

    done = CliRunner().invoke(cli, ["retrain"])

    assert done.exit_code == 1
    assert f"recae.toml: retrain.gate.{name} is" in done.output
    assert "expected the lowest" in done.output
