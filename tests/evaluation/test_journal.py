"""An evaluation that is stopped: what was tested is not done again, and the results are those of an unbroken run."""

import errno
import fcntl
import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest

from recae import durable
from recae.data.catalogue import Catalogue, Item
from recae.data.idmap import IdMap
from recae.errors import EvaluationError
from recae.evaluation import evaluate, runner, task
from recae.evaluation.journal import KeptTest, discard, n_tests
from recae.evaluation.scoring import Score

from .evaluation_fakes import ByColumn, held_out_split, ranking_protocol

pytestmark = pytest.mark.usefixtures("fake_models")

NOT_REPEATED = {"started", "seconds", "peak_memory"}


@pytest.fixture(autouse=True)
def by_hand(monkeypatch):
    monkeypatch.setattr(runner, "load_split", lambda _protocol, _seed=None: held_out_split())


@pytest.fixture
def file(tmp_path):
    return tmp_path / "unfinished.jsonl"


def protocol(last=5):
    """A search, a model of the seed, and one more; two seeds."""
    return ranking_protocol(
        {"label": "searched", "search": {"favourite": [3, 4]}, "settings": {"seed": 0}},
        {"label": "seeded", "name": "by_seed"},
        {"label": "last", "settings": {"favourite": last, "seed": 0}},
        seeds=[4, 5],
    )


def run(file=None, of=None, told=None):
    say = (lambda _line: None) if told is None else told.append
    return evaluate(of or protocol(), show_progress=False, unfinished=file, say=say)


def facts(results):
    """All of it but times, with what each user got."""
    rows = [
        {**row.model_dump(exclude={"seconds", "trials"}), "trials": [trial.value for trial in row.trials]}
        for row in results.models
    ]
    of_users = [{text: values.tolist() for text, values in row.per_user.items()} for row in results.models]
    return results.model_dump(exclude=NOT_REPEATED | {"models"}), rows, of_users, results.users


@pytest.fixture
def stop_at(monkeypatch):
    """Ctrl-C in the n-th fit from now."""

    def stop_at(n):
        fit, fits = ByColumn._fit, []

        def fit_or_stop(model, histories, how):
            fits.append(model)
            if len(fits) == n:
                raise KeyboardInterrupt
            fit(model, histories, how)

        monkeypatch.setattr(ByColumn, "_fit", fit_or_stop)
        return lambda: monkeypatch.setattr(ByColumn, "_fit", fit)

    return stop_at


@pytest.mark.parametrize(("n", "n_left"), [(1, 5), (2, 5), (3, 3), (4, 2), (5, 1)])
def test_a_stopped_evaluation_goes_on_to_the_results_of_an_unbroken_one(file, stop_at, n, n_left):
    unbroken = facts(run())
    heal = stop_at(n)
    with pytest.raises(KeyboardInterrupt):
        run(file)
    heal()
    ByColumn.fits.clear()
    told = []

    resumed = run(file, told=told)

    assert facts(resumed) == unbroken
    assert len(ByColumn.fits) == n_left, "two trials, two more models, the second seed of one"
    assert any("going on" in line for line in told) == (n > 2)


def test_the_time_before_the_stop_counts(file, stop_at):
    heal = stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        run(file)
    header, *tests = [json.loads(line) for line in file.read_text().splitlines()]
    assert [test["title"] for test in tests] == ["searched", "seeded"]
    tests[0]["seconds"], tests[-1]["spent"], tests[-1]["peak"] = 3000.0, 5000.0, 2**60
    file.write_text("".join(json.dumps(line) + "\n" for line in [header, *tests]))
    heal()

    results = run(file)

    assert 5000 < results.seconds < 5300
    assert results.models[0].seconds == 3000
    assert results.peak_memory == 2**60


def test_a_line_that_a_crash_cut_off_is_done_again(file):
    whole = facts(run(file))
    text = file.read_bytes()
    for cut in (1, 20, len(text.splitlines()[-1]) + 10):
        file.write_bytes(text[:-cut])
        assert facts(run(file)) == whole
        assert file.read_bytes().count(b"\n") == text.count(b"\n")


def test_of_another_protocol_nothing_is_taken_over_and_it_is_said(file):
    run(file)
    ByColumn.fits.clear()
    told = []

    results = run(file, protocol(last=1), told)

    assert "is of an evaluation with another protocol; beginning anew" in told[0]
    assert len(ByColumn.fits) == 5
    assert facts(results) == facts(run(of=protocol(last=1)))


def test_of_other_code_nothing_is_taken_over(file, monkeypatch):
    run(file)
    ByColumn.fits.clear()
    monkeypatch.setattr(runner, "code_sha256", lambda: "other")

    run(file)

    assert len(ByColumn.fits) == 5


def test_of_other_items_or_another_catalogue_nothing_is_taken_over(file, monkeypatch):
    """Both stand in the results, and categories in some metrics; the matrices are the same."""
    run(file)
    other = held_out_split()
    renamed = replace(other.train, items=IdMap(f"x{item}" for item in other.train.items))
    for name, value in {
        "load_split": lambda _protocol, _seed=None: replace(other, train=renamed),
        "load_catalogue": lambda _protocol: Catalogue([Item("0", "Zero")]),
    }.items():
        told = []
        monkeypatch.setattr(runner, name, value)
        run(file, told=told)
        assert "is of an evaluation with another names; beginning anew" in told[0]


def test_tests_before_a_damaged_line_are_taken_over(file):
    whole = facts(run(file))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], b"\0" * 40 + b"\n", *lines[4:]]))
    ByColumn.fits.clear()
    told = []

    assert facts(run(file, told=told)) == whole
    assert "is damaged after 2 test(s), which are taken over" in told[0]
    assert len(ByColumn.fits) == 2
    assert len(file.read_bytes().splitlines()) == len(lines)


def test_a_disk_that_takes_no_more_ends_no_evaluation(file, monkeypatch):
    whole, sync, synced, told = facts(run()), os.fsync, [], []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    results = run(file, told=told)
    monkeypatch.undo()

    assert facts(results) == whole
    assert sum("takes no more (No space left on device)" in line for line in told) == 1
    assert n_tests(file) == 1, "and nothing half-written behind it"


def test_where_files_cannot_be_locked_it_is_said(file, monkeypatch):
    def unlockable(*_of):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", unlockable)
    told = []
    run(file, told=told)
    assert "cannot be locked (Bad file descriptor): let no other process evaluate into its folder" in told[0]
    discard(file)
    assert not file.exists()


def test_the_file_that_another_process_has_begun_since_is_left(file):
    run(file)
    with durable.locked(file):
        discard(file)
    assert file.exists()
    discard(file)
    assert not file.exists()
    assert n_tests(file) == 0


@pytest.mark.parametrize("rubbish", [b"\n", b"{}\n", b"\xff\xfe\n{}\n", b'{"title": "last"}\n' * 3])
def test_a_file_of_something_else_is_begun_anew(file, rubbish):
    file.write_bytes(rubbish)
    assert facts(run(file)) == facts(run())


def test_two_processes_do_not_write_the_same_file(file):
    file.touch()
    with durable.locked(file), pytest.raises(EvaluationError, match="another process evaluates into"):
        run(file)


def test_every_digit_of_a_test_is_kept():
    values = np.array([0.1 + 0.2, 1 / 3, math.nan, 5e-324])
    test = task.Tested(
        {"a@1": Score(1 / 7, values, {"tail": values[::-1]}), "b": Score(math.nan)},
        {"a": {1: 1 / 7, 20: 2 / 7}},
        (("x", "y"), ()),
        ((1 / 3,),),
        {"share": 1 / 9},
    )

    found = KeptTest.model_validate_json(json.dumps(KeptTest.of(test).model_dump())).tested()

    np.testing.assert_array_equal(found.scores["a@1"].per_user, values)
    np.testing.assert_array_equal(found.scores["a@1"].by_group["tail"], values[::-1])
    assert found.scores["a@1"].value == 1 / 7
    assert math.isnan(found.scores["b"].value)
    assert found.scores["b"].per_user is None
    assert (found.curves, found.lists, found.predicted) == (test.curves, test.lists, test.predicted)
    assert found.measured == test.measured
