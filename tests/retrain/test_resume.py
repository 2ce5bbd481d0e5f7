"""Runs that were killed: by whose force they go on, and what of them is taken up again."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae.artifacts import ModelStore
from recae.data.eventlog import EventLog
from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.models import create
from recae.models.linear import EASE
from recae.retrain import candidates as fits
from recae.retrain_settings import RetrainSettings
from recae.runs import RunTable
from tests.models.cases import two_tastes
from tests.retrain.nights import DAY, START, append, day, night, settings

LOSER = {"model": "popularity", "settings": {}}


class Kill(BaseException):
    """What no handler of a run catches, as no handler sees a kill -9."""


def killed(where, number, step, **options):
    def between(name):
        if name == step:
            raise Kill

    with pytest.raises(Kill):
        night(where, number, between=between, **options)


@pytest.fixture
def live(live):
    append(live, day(8))
    return live


def test_a_plain_night_that_goes_on_with_a_forced_run_promotes_no_loser(live):
    loser, before = settings(live.home, **LOSER), ModelStore(live.models).current()
    killed(loser, 8, "store", forced=True)

    run = night(loser, 8)

    assert (run.status, run.forced, run.interruptions) == ("refused", False, 1)
    assert not any(verdict.forced for verdict in run.gate)
    assert "now without --force" in " ".join(step.message or "" for step in run.steps)
    assert ModelStore(live.models).current() == before


def test_force_counts_for_a_plain_run_that_it_goes_on_with(live):
    loser = settings(live.home, **LOSER)
    killed(loser, 8, "judge")

    run = night(loser, 8, forced=True)

    assert (run.status, run.forced, run.interruptions) == ("promoted", True, 1)
    assert "by force" in run.message


def delete(where, *user_ids):
    with EventLog.open(where) as log:
        for user_id in user_ids:
            assert log.delete_user(user_id)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("step", ["judge", "promote"])
def test_what_was_fitted_to_a_user_who_is_deleted_meanwhile_is_fitted_anew(tmp_path, refit, step):
    homes = [settings(tmp_path / name, refit=refit) for name in ("killed", "whole")]
    for home in homes:
        for number in range(8):
            append(home, day(number))
    first = day(0)[0].user_id  # the first column and the first row go with this user
    killed(homes[0], 7, step)
    for home in homes:
        delete(home, first)

    run, whole = night(homes[0], 7), night(homes[1], 7)

    assert (run.status, run.interruptions) == ("promoted", 1), run.message
    assert run.figures_of("fit")["fitted_anew"] == "the events have changed since the run was killed"
    assert run.values["candidate"] == whole.values["candidate"]
    stored = [ModelStore(home.models).load() for home in homes]
    assert list(stored[0].items) == list(stored[1].items)
    assert first not in stored[0].users
    assert np.array_equal(stored[0].model.precision_, stored[1].model.precision_)


def test_the_same_events_are_taken_up(where, monkeypatch):
    killed(where, 7, "judge")
    fitted = []
    whole = EASE._fit
    monkeypatch.setattr(EASE, "_fit", lambda self, *how: (fitted.append(1), whole(self, *how))[1])

    run = night(where, 7)

    assert run.status == "promoted"
    assert run.figures_of("fit")["taken_up"]
    assert len(fitted) == 1  # the refit


def test_a_candidate_that_was_damaged_meanwhile_is_fitted_anew(where):
    killed(where, 7, "judge")
    (kept,) = where.runs.glob(f"*/{fits.CANDIDATE}{fits.MODEL}")
    kept.write_bytes(b"\0" * 100)

    run = night(where, 7)

    assert run.status == "promoted"
    assert "what was kept is damaged" in run.figures_of("fit")["fitted_anew"]


def killed_in_the_fit(tmp_path):
    """A night of Mult-VAE of which checkpoints are left, and no candidate."""
    quick = {"epochs": 3, "n_latent": 4, "n_hidden": 8, "batch_size": 32}
    where = settings(tmp_path, model="mult_vae", settings=quick, gate={"min_users": 5, "margin": 0.9})
    for number in range(8):
        append(where, day(number))
    killed(where, 7, "judge")
    for kept in where.runs.glob(f"*/{fits.CANDIDATE}{fits.MODEL}"):
        kept.unlink()
    return where


def test_a_checkpoint_of_other_events_is_removed(tmp_path):
    where = killed_in_the_fit(tmp_path)
    delete(where, "u3")

    run = night(where, 7)

    assert run.status in {"promoted", "refused"}, run.message
    assert run.figures_of("fit")["fitted_anew"] == "the events have changed since the run was killed"


@pytest.mark.parametrize("kind", ["damaged", "of other settings"])
def test_a_checkpoint_that_training_cannot_go_on_from_is_removed(tmp_path, kind):
    """At night nobody is there to delete it, as the error asks for."""
    where = killed_in_the_fit(tmp_path)
    files = [file for file in where.runs.glob(f"*/{fits.CANDIDATE}.*") if file.suffix != fits.FINGERPRINT]
    assert files
    for file in files:
        if kind == "damaged":
            file.write_bytes(b"\0" * 100)
        else:
            create("dae", epochs=2).fit(two_tastes(), show_progress=False, checkpoint=str(tmp_path / "other"))
            file.write_bytes((tmp_path / "other").read_bytes())
            (tmp_path / "other").unlink()

    run = night(where, 7)

    assert run.status in {"promoted", "refused"}, run.message
    assert "delete it to start anew" in run.figures_of("fit")["fitted_anew"]
    assert run.figures_of("fit")["settings"]["n_hidden"] == 8


def test_a_run_that_was_killed_with_its_model_in_service_is_promoted_however_late(where):
    killed(where, 7, "prune")
    version = ModelStore(where.models).current()

    run = night(where, 10)

    before, after = reversed(list(RunTable(where.runs).newest_first()))
    assert (before.status, before.version) == ("promoted", version)
    assert "killed after that" in before.message
    assert (after.run_id, after.status) == (run.run_id, "unchanged")


def test_a_run_that_was_killed_with_its_model_in_service_ends_promoted_and_the_new_events_are_read(where):
    killed(where, 7, "prune", forced=True)
    version = ModelStore(where.models).current()
    append(where, day(8))

    run = night(where, 8)

    before, after = reversed(list(RunTable(where.runs).newest_first()))
    assert (before.status, before.version, before.interruptions) == ("promoted", version, 0)
    assert [step.name for step in before.steps].count("fit") == 1
    assert (after.run_id, after.live_version, after.forced) == (run.run_id, version, False)
    assert after.watermark > before.watermark


def test_a_rollback_is_not_undone_by_the_run_that_was_killed_after_its_promotion(live):
    store = ModelStore(live.models)
    good = store.current()
    killed(live, 8, "prune")
    bad = store.current()
    assert store.rollback() == good
    append(live, day(9))

    run = night(live, 9)

    after, before, _ = RunTable(live.runs).newest_first()
    assert (before.status, before.version) == ("promoted", bad)
    assert before.message == (
        f"{bad} came into service; its process was killed after that, and {good} is in service now"
    )
    assert (after.run_id, after.live_version, after.interruptions) == (run.run_id, good, 0)
    assert after.watermark > before.watermark
    assert [change.version for change in store.changes()].count(bad) == 1


def test_the_next_night_still_goes_on_with_a_run_and_says_when(where):
    killed(where, 7, "judge")

    run = night(where, 8)

    assert run.interruptions == 1
    assert run.gone_on.timestamp() == START + 9 * DAY
    assert RunTable(where.runs).read(run.run_id).last_begun == run.gone_on


def test_a_killed_run_of_a_clock_that_was_ahead_is_closed_and_hides_none(where):
    killed(where, 47, "judge")

    run = night(where, 7)

    ahead = next(RunTable(where.runs).newest_first())
    assert (run.status, run.interruptions) == ("promoted", 0)
    assert ahead.status == "interrupted"
    assert "it began in the future, by a clock that was ahead" in ahead.message
    assert not list((where.runs / ahead.run_id).glob("candidate*"))


def test_a_run_of_a_clock_that_was_ahead_does_not_hide_a_killed_one(where):
    assert night(where, 47).status == "promoted"
    append(where, day(48))
    killed(where, 8, "judge")

    assert night(where, 8).interruptions == 1


@pytest.mark.parametrize(("late", "said"), [(0, "gone on with"), (5, "it was too long ago")])
def test_that_a_run_was_killed_is_told_by_the_one_that_finds_it(where, tmp_path, late, said):
    script = tmp_path / "tell.py"
    script.write_text(
        "import os, sys\n"
        "open(sys.argv[1], 'a').write(os.environ['RECAE_RUN_STATUS'] + ': ' + os.environ['RECAE_RUN_MESSAGE'] + '\\n')\n"
    )
    command = f"{sys.executable} {script} {tmp_path / 'told'}"
    telling = settings(where.home, notify={"command": command, "on": ["interrupted"]})
    killed(telling, 7, "judge")

    assert night(telling, 7 + late).status == "promoted"

    (told,) = (tmp_path / "told").read_text().splitlines()
    assert told.startswith("interrupted: its process was killed")
    assert said in told


def test_records_of_earlier_versions_are_read(where):
    run = night(where, 7)
    path = where.runs / run.run_id / "run.json"
    record = json.loads(path.read_text())
    del record["gone_on"], record["learning"]
    path.write_text(json.dumps(record))

    assert night(where, 8).message == "no event is newer than what the live model has learned from"


def test_a_night_trains_on_from_a_blend_in_service_and_says_why_it_does_not(tmp_path):
    log = Interactions(csr_array(two_tastes()), IdMap.of_range(24), IdMap.of_range(24))

    def figures_of(model, **settings):
        live = SimpleNamespace(model=model.fit(log.matrix, False), items=log.items, users=log.users)
        wanted = RetrainSettings(model="blend", settings=settings)
        (tmp_path / model.name).mkdir()
        found = {}
        fits.Candidates(wanted, tmp_path / model.name, live, show_progress=False).candidate(log, found)
        return found

    members = [{"name": "ease"}, {"name": "als", "settings": {"n_factors": 3}}]
    blend = create("blend", members=members, weights=[1, 1])
    assert figures_of(blend, members=members)["warm_start"] is True
    refused = figures_of(create("als", n_factors=3), members=members)
    assert refused["warm_start"] is False
    assert "blend cannot start from a model of another kind, als" in refused["no_warm_start"]
