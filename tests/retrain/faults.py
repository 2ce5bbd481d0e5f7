"""Kill nightly runs and look what is left: ``python -m tests.retrain.faults HOME steps`` or ``... HOME random N SEED``.

A process of its own, which imports everything once and forks for each run. It never computes anything itself, so its
children start with libraries that have no threads yet. It prints a line of JSON at its end, and fails loudly before.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from recae.artifacts import ModelStore
from recae.data.eventlog import EventLog
from recae.retrain.nightly import retrain
from recae.runs import RunTable
from tests.retrain.nights import append, day, eight_days, evening, settings

STEPS = ("watermark", "data", "fit", "judge", "gate", "refit", "store", "promote", "prune")


def forked(work):
    """Do the work in a child; its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def ended(child):
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def run_here(where, number, between=lambda _: None):
    return lambda: retrain(where, show_progress=False, clock=evening(number), between=between)


def kill_at(wanted):
    def between(step):
        if step == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return between


def look(where):
    """What is in service, and how many events there are; every version must be whole, and every record readable."""
    store = ModelStore(where.models)
    for version in store.versions():
        store.check(version)
    with EventLog.open(where) as log:
        count = log.count()
    for run in RunTable(where.runs).newest_first():
        assert run.status != "running", f"{run.run_id} says it is running, and nobody is"
    return store.current(), count


def begun(home):
    """A home with eight days and a model in service."""
    where = eight_days(settings(home))
    assert ended(forked(run_here(where, 7))) == 0
    assert look(where)[0] is not None
    return where


def kill_at_each_step(home):
    """One night for each step: killed there, and gone on with; or over, once its model is in service."""
    where = begun(home)
    kills = 0
    for number, step in enumerate(STEPS, start=8):
        append(where, day(number, n=100))
        before, count = look(where)
        assert ended(forked(run_here(where, number, kill_at(step)))) == -signal.SIGKILL, step
        kills += 1
        after, left = look(where)
        assert left == count, f"{step}: {count - left} events are lost"
        assert (after == before) == (step != "prune"), f"{step}: {before} was in service, now {after}"
        killed = next(RunTable(where.runs).newest_first())
        assert killed.status == "interrupted", killed.status

        n_runs = len(list(RunTable(where.runs).newest_first()))
        assert ended(forked(run_here(where, number))) == 0
        run = RunTable(where.runs).read(killed.run_id)
        is_over = step == "prune"
        n_begun = len(list(RunTable(where.runs).newest_first())) - n_runs
        assert (run.interruptions, n_begun) == ((0, 1) if is_over else (1, 0)), (
            f"{step}: {n_begun} were begun"
        )
        assert run.status in ({"promoted"} if is_over else {"promoted", "refused"}), (
            f"{step}: {run.status}: {run.message}"
        )
        assert not list((where.runs / run.run_id).glob("candidate*")), (
            "what only an unfinished run needs is left"
        )
        look(where)
    return {"kills": kills}


def kill_at_random(home, n, seed):
    """Runs killed at any moment, good candidates and losers in turn."""
    where = begun(home)
    loser = settings(home, model="popularity", settings={})
    rng = random.Random(seed)
    kills, finished, number = 0, 0, 8
    longest = 1.5
    append(where, day(number, n=60))
    while kills < n:
        is_loser = rng.random() < 0.3
        before, count = look(where)
        began = time.monotonic()
        child = forked(run_here(loser if is_loser else where, number))
        time.sleep(rng.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        if ended(child) == -signal.SIGKILL:
            kills += 1
        else:
            finished += 1
            longest = 0.9 * longest + 0.1 * (time.monotonic() - began)
        after, left = look(where)
        assert left == count, f"{count - left} events are lost"
        if after != before:
            assert not is_loser, "a loser was promoted"
            run = next(run for run in RunTable(where.runs).newest_first() if run.version == after)
            assert all(verdict.passed for verdict in run.gate), run.gate
            number += 1
            append(where, day(number, n=60))
        temporary = [path for path in where.models.glob("*") if path.name.startswith(".tmp-")]
        assert all(path.name not in ModelStore(where.models).versions() for path in temporary)
    assert ended(forked(run_here(where, number))) == 0
    look(where)
    return {"kills": kills, "finished": finished, "nights": number - 7}


if __name__ == "__main__":
    home, kind, *rest = sys.argv[1:]
    if kind == "steps":
        print(json.dumps(kill_at_each_step(Path(home))))
    else:
        print(json.dumps(kill_at_random(Path(home), int(rest[0]), int(rest[1]))))
