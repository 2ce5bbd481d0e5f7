"""kill -9 at every step and at random moments, full disks and lost databases: real processes, real servers."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recae.artifacts import ModelStore
from recae.config import Settings
from recae.data.eventlog import EventLog
from recae.retrain.nightly import retrain
from recae.runs import RunTable
from tests import postgres, processes
from tests.retrain.nights import append, day, evening, settings

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120

DEEP = {
    "model": "mult_vae",
    "settings": {
        "epochs": 40,
        "patience": 40,
        "n_latent": 8,
        "n_hidden": 32,
        "batch_size": 16,
        "learning_rate": 0.01,
    },
    "seed": 3,
}

ONE_NIGHT = """
import json, sys
from recae.config import Settings
from recae.retrain.nightly import retrain
home, number, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
from tests.retrain.nights import settings, evening
run = retrain(settings(home, **options), show_progress=False, clock=evening(number))
print(run.status)
"""


def started(home, number, options, **how):
    command = [sys.executable, "-c", ONE_NIGHT, str(home), str(number), json.dumps(options)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, **how)


def faults(home, *arguments):
    command = [sys.executable, "-m", "tests.retrain.faults", str(home), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_run_killed_at_any_step_loses_nothing_and_is_gone_on_with(tmp_path):
    assert faults(tmp_path, "steps") == {"kills": 9}


def test_runs_killed_at_random_moments_break_nothing_and_promote_no_loser(tmp_path):
    assert faults(tmp_path, "random", "20", "7")["kills"] == 20


def weights(home):
    store = ModelStore(home / "models")
    return hashlib.sha256((store.root / store.current() / "weights.safetensors").read_bytes()).hexdigest()


def test_a_run_killed_inside_a_long_fit_goes_on_from_its_checkpoint_to_the_same_model(tmp_path):
    homes = [tmp_path / "whole", tmp_path / "killed"]
    for home in homes:
        for number in range(4):
            append(settings(home), day(number))
    assert started(homes[0], 3, DEEP).communicate(timeout=PATIENCE_S)[0].strip() == "promoted"

    def has_checkpoint():
        return list((homes[1] / "runs").glob("*/candidate.epochs"))

    processes.stopped(started(homes[1], 3, DEEP), signal.SIGKILL, has_checkpoint)
    assert started(homes[1], 3, DEEP).communicate(timeout=PATIENCE_S)[0].strip() == "promoted"

    run = next(RunTable(homes[1] / "runs").newest_first())
    assert run.interruptions == 1
    assert weights(homes[1]) == weights(homes[0])


def test_a_full_disk_fails_the_run_and_leaves_no_half_version(tmp_path):
    where = settings(tmp_path)
    for number in range(8):
        append(where, day(number))
    assert retrain(where, show_progress=False, clock=evening(7)).status == "promoted"
    before = ModelStore(where.models).current()
    append(where, day(8))

    def files_of_8_kb():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, resource.RLIM_INFINITY))

    process = started(tmp_path, 8, {}, preexec_fn=files_of_8_kb)
    said, _ = process.communicate(timeout=PATIENCE_S)

    store = ModelStore(where.models)
    assert said.strip() in {"failed", ""}  # "" where not even that could be written down
    assert store.current() == before
    assert store.versions() == [before]
    store.check(before)
    assert retrain(where, show_progress=False, clock=evening(8)).status == "promoted"


@pytest.mark.skipif(postgres.programs() is None, reason="install Debian's postgresql")
def test_a_run_waits_for_a_database_that_starts_late(tmp_path):
    with postgres.server() as address:
        where = Settings(
            home=tmp_path,
            events=f"{address}/postgres",
            max_clock_skew_s=1e12,
            retrain={"als_trials": 0, "retry_s": 60, "settings": {"l2": 10.0}, "gate": {"min_users": 5}},
        )
        for number in range(8):
            append(where, day(number))
        closed_for_now = "ALTER DATABASE postgres ALLOW_CONNECTIONS false"
        _administer(
            address,
            closed_for_now,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'",
        )
        opening = threading.Timer(
            2.5, _administer, (address, "ALTER DATABASE postgres ALLOW_CONNECTIONS true")
        )
        opening.start()

        run = retrain(where, show_progress=False, clock=evening(7))

        opening.join()
        assert run.status == "promoted", run.message
        assert run.figures_of("watermark")["retries"] >= 1
        with EventLog.open(where) as log:
            assert log.count() == 8 * 150


def _administer(address, *statements):
    import psycopg

    with psycopg.connect(f"{address}/template1", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
