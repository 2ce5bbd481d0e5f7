"""Tuning: finds a known best, never looks at test, goes on after a kill, refuses what it must."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import numpy as np
import optuna
import pytest

from recae.data.holdout import Holdout
from recae.errors import ConfigError, EvaluationError, FitError
from recae.evaluation import tuning, tuning_report
from recae.evaluation.protocol import Protocol, load_protocol
from recae.evaluation.search import Attempt, Search, Tuned
from recae.evaluation.tuning import tune
from recae.models import registry
from recae.models.search_spaces import Range, span
from recae.threads import available_cores

from .evaluation_fakes import ByColumn, ByColumnConfig, held_out_split

PROTOCOL = """
name = "small"
seed = 5
[data]
source = "movielens-small"
min_value = 4
[split]
kind = "held_out_users"
validation_users = 40
test_users = 40
[metrics]
report = ["ndcg@20"]
select = "ndcg@20"
[[models]]
name = "ease"
space = { l2 = { low = 10, high = 3000, log = true } }
"""


class Watched(ByColumn):
    """Says after each of ten epochs how good it is: as good as its favourite is near 4."""

    name = "watched"
    search_space: ClassVar = {"favourite": [0, 1, 2, 3, 4, 5]}
    epochs_run: ClassVar = []

    def _fit(self, histories, how):
        super()._fit(histories, how)
        for epoch in range(10):
            self.epochs_run.append(self.config.favourite)
            if how.watch is not None:
                how.watch(epoch, -abs(self.config.favourite - 4.0))


class GradedConfig(ByColumnConfig):
    near: float = 0.25
    far: float = 0.5


class Graded(Watched):
    """As watched, with settings of which no two draws are alike: better the nearer the first is to 0.7."""

    search_space: ClassVar = {"near": span(0, 1), "far": span(0, 1)}
    config_class: ClassVar = GradedConfig

    def _fit(self, histories, how):
        ByColumn._fit(self, histories, how)
        self.favourite_ = np.array([4 if self.config.near > 0.5 else 5])
        for epoch in range(6):
            how.watch(epoch, -abs(self.config.near - 0.7))


@pytest.fixture
def on(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "model_class", lambda _name: Watched)
    monkeypatch.setattr(Watched, "epochs_run", [])
    monkeypatch.setattr(tuning, "load_split", lambda _protocol: held_out_split())
    monkeypatch.setattr(tuning, "load_catalogue", lambda _protocol: None)

    def on(trials=12, folder="study", **model):
        protocol = Protocol.model_validate(
            {
                "name": "by-hand",
                "seed": 3,
                "data": {"source": "made-up"},
                "metrics": {"report": ["recall@2"], "select": "recall@1"},
                "models": [{"name": "watched"} | model],
            }
        )
        return Search(protocol, "watched", tmp_path / folder, trials=trials)

    return on


def test_the_best_setting_is_found_and_the_first_trial_is_the_model_as_it_stands(on):
    tuned = tune(on(), show_progress=False)

    assert tuned.best.settings == {"favourite": 4}
    assert tuned.best.value == 1.0, "validation wants column 4"
    assert tuned.attempts[0].settings == {"favourite": 0}
    assert len(tuned.attempts) == 12


def test_the_test_part_is_not_there_to_be_looked_at(on, monkeypatch):
    split = held_out_split()
    poisoned = Holdout(split.test.inputs, split.test.targets, split.test.users)
    monkeypatch.setattr(tuning, "load_split", lambda _protocol: replace(split, test=poisoned))
    task = tuning._task(on())

    assert task.split.test is task.split.validation
    assert all(part is not poisoned for part in vars(task.split).values())


def test_the_same_seed_gives_the_same_trials(on):
    first, second = (tune(on(folder=name), show_progress=False) for name in "ab")

    assert [each.settings for each in first.attempts] == [each.settings for each in second.attempts]


def test_a_trial_below_the_median_is_given_up_between_epochs(on):
    tuned = tune(on(trials=30), show_progress=False)

    pruned = [attempt for attempt in tuned.attempts if attempt.state == "pruned"]
    assert pruned, "columns far from 4"
    assert all(attempt.settings["favourite"] != 4 and attempt.value is None for attempt in pruned)
    assert len(Watched.epochs_run) < 10 * 30, "epochs were saved"


def test_a_search_goes_on_where_it_stopped(on):
    tune(on(trials=4), show_progress=False)
    tuned = tune(on(trials=7), show_progress=False)

    assert [attempt.number for attempt in tuned.attempts] == list(range(7))


@pytest.fixture
def graded(on, monkeypatch):
    monkeypatch.setattr(registry, "model_class", lambda _name: Graded)
    return on


def trials_of(tuned):
    return [(attempt.settings, attempt.value, attempt.state) for attempt in tuned.attempts]


def test_a_search_in_parts_makes_the_trials_of_an_unbroken_one(graded):
    """Fourteen: the first ten are drawn at random, the others from what was learned; some are given up."""
    for trials in (1, 4, 9, 12):
        tune(graded(trials=trials, folder="parts"), show_progress=False)
    parts = tune(graded(trials=14, folder="parts"), show_progress=False)
    unbroken = tune(graded(trials=14, folder="unbroken"), show_progress=False)

    assert trials_of(parts) == trials_of(unbroken)
    assert len({tuple(attempt.settings.values()) for attempt in parts.attempts}) == 14
    assert {attempt.state for attempt in parts.attempts} == {"complete", "pruned"}


def test_a_search_that_was_killed_makes_the_trials_of_an_unbroken_one(graded, monkeypatch):
    """Two settings a trial: killed before one of the first was drawn, between its two, and between those of later ones."""
    unbroken = tune(graded(trials=14, folder="unbroken"), show_progress=False)
    suggested = tuning._suggested
    for n_drawn, n_trials in [(0, 2), (1, 2), (7, 5), (25, 14)]:
        drawn = iter(range(1_000))

        def killed(*arguments, drawn=drawn, n_drawn=n_drawn):
            if next(drawn) == n_drawn:
                raise KeyboardInterrupt
            return suggested(*arguments)

        search = graded(trials=n_trials, folder=f"killed after {n_drawn}")
        with monkeypatch.context() as patched:
            patched.setattr(tuning, "_suggested", killed)
            with pytest.raises(KeyboardInterrupt):
                tune(search, show_progress=False)
        killed_once = tune(search, show_progress=False)

        assert trials_of(killed_once) == trials_of(unbroken)[:n_trials], f"killed after {n_drawn} were drawn"


def test_of_the_first_trial_only_what_lies_outside_its_space_is_drawn(graded):
    space = {"near": {"low": 0.6, "high": 0.9}, "far": {"low": 0.0, "high": 1.0}}
    first = tune(graded(trials=1, space=space), show_progress=False).attempts[0]

    assert first.settings["far"] == 0.5, "as it stands"
    assert 0.6 <= first.settings["near"] <= 0.9, "0.25 may not be tried"


def test_what_a_killed_search_left_half_done_is_tried_again(on):
    search = on(trials=3)
    tune(search, show_progress=False)
    study = optuna.load_study(study_name="recae", storage=f"sqlite:///{search.folder / 'study.db'}")
    study.ask({"favourite": optuna.distributions.CategoricalDistribution([0, 1, 2, 3, 4, 5])})

    tuned = tune(on(trials=5), show_progress=False)

    abandoned = study.get_trials()[3]
    assert abandoned.user_attrs["interrupted"]
    assert tuned.attempts[3].settings == abandoned.params
    assert len(tuned.attempts) == 5, "the abandoned one does not count"


def test_a_combination_that_cannot_be_fitted_is_recorded_with_its_reason(on):
    tuned = tune(on(trials=10, space={"favourite": [-1, 4]}), show_progress=False)

    failed = [attempt for attempt in tuned.attempts if attempt.state == "failed"]
    assert {attempt.error for attempt in failed} == {"diverged, as asked"}
    assert tuned.best.settings == {"favourite": 4}


def test_if_nothing_can_be_fitted_the_reason_is_told(on, monkeypatch):
    def diverges(_self, _histories, _how):
        raise FitError("all is infinite")

    monkeypatch.setattr(Watched, "_fit", diverges)

    with pytest.raises(EvaluationError, match="no trial of watched ran to its end: all is infinite"):
        tune(on(trials=2), show_progress=False)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"space": {"favourite": [3, 4]}}, "a study of other data, another model or another space"),
        ({"settings": {"seed": 9}}, "a study of other data, another model or another space"),
        ({"settings": {"favourite": 2}}, "has no setting left to search"),
    ],
)
def test_another_study_in_the_folder_is_refused(on, change, complaint):
    tune(on(trials=2), show_progress=False)

    with pytest.raises((EvaluationError, ConfigError), match=complaint):
        tune(on(trials=2, **change), show_progress=False)


def test_two_searches_in_one_folder_are_refused(on):
    search = on()
    search.folder.mkdir()

    with tuning._alone(search.folder), pytest.raises(EvaluationError, match="another search runs in"):
        tune(search, show_progress=False)


def test_a_search_ends_with_its_time(on):
    tuned = tune(replace(on(trials=None), seconds=0.0), show_progress=False)

    assert len(tuned.attempts) == 1, "one trial at least"
    with pytest.raises(ConfigError, match="needs an end"):
        tune(on(trials=None), show_progress=False)


def test_without_optuna_the_extra_is_named(on, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(ConfigError, match=r"pip install 'recae\[tune\]'"):
        tune(on(), show_progress=False)


def test_a_model_that_the_protocol_lacks_is_named_with_those_it_has(on):
    with pytest.raises(ConfigError, match="by-hand has no model 'other'; its models are: watched"):
        tune(replace(on(), title="other"), show_progress=False)


@pytest.mark.parametrize("name", registry.names())
def test_every_space_names_settings_and_holds_values_that_the_model_takes(name):
    space = registry.model_class(name).search_space
    defaults = {field: info.default for field, info in registry.config_class(name).model_fields.items()}

    assert space.keys() <= defaults.keys()
    for setting, values in space.items():
        for value in values.ends() if isinstance(values, Range) else values:
            registry.create(name, **{setting: value})
        if isinstance(values, Range):
            assert values.low <= defaults[setting] <= values.high, setting
        else:
            assert defaults[setting] in values, setting


@pytest.mark.parametrize(
    ("low", "high", "more", "complaint"),
    [
        (2, 1, {}, "low is 2"),
        (0, 1, {"log": True}, "low above 0"),
        (0.5, 2, {"whole": True}, "whole numbers"),
    ],
)
def test_a_range_that_is_none_is_refused(low, high, more, complaint):
    with pytest.raises(ValueError, match=complaint):
        Range(low=low, high=high, **more)


def test_ranges_end_where_they_say():
    assert span(1, 2).ends() == (1.0, 2.0)


@pytest.fixture
def protocol_file(tmp_path):
    (tmp_path / "p.toml").write_text(PROTOCOL)
    return tmp_path / "p.toml"


def test_the_written_protocol_fixes_what_was_chosen(protocol_file, tmp_path):
    protocol, folder = load_protocol(protocol_file), tmp_path / "out"
    tuned = tune(Search(protocol, "ease", folder, trials=3), show_progress=False)
    tuning_report.write(tuned, protocol, folder)

    written = load_protocol(folder / "tuned.toml")

    assert written.models[0].settings == tuned.best.settings
    assert written.models[0].space == {}
    assert written.data == protocol.data
    assert written.split == protocol.split
    assert len((folder / "trials.csv").read_text().splitlines()) == 4
    assert f"**{tuned.best.value:.4f}**" in (folder / "tuning.md").read_text()
    assert (
        "Settings of ease (l2) were searched by `recae tune` on validation: the best ndcg@20,"
        in written.about
    )
    assert "of 3 complete trials of 3." in written.about
    assert "polyline" in (folder / "best_so_far.svg").read_text()


def test_a_log_is_found_from_the_written_protocol_too(tmp_path):
    (tmp_path / "p.toml").write_text(PROTOCOL.replace('source = "movielens-small"', 'path = "log.csv"'))
    protocol = load_protocol(tmp_path / "p.toml")
    best = Attempt(0, {"l2": 3.0}, 0.5, "complete", 1.0, None)
    (tmp_path / "deep" / "er").mkdir(parents=True)

    tuning_report.write(Tuned("ease", "ndcg@20", best, (best,), {}), protocol, tmp_path / "deep" / "er")

    assert load_protocol(tmp_path / "deep" / "er" / "tuned.toml").data.path == "../../log.csv"


def recae(*arguments):
    return [sys.executable, "-m", "recae", *map(str, arguments)]


def test_a_search_that_was_killed_loses_no_finished_trial(protocol_file, tmp_path):
    command = recae("tune", protocol_file, "ease", "--trials", "60", "--output", tmp_path / "out")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finished = 0
    deadline = time.monotonic() + 240
    while finished < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        if (tmp_path / "out" / "study.db").exists():
            finished = finished_in(tmp_path / "out")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = finished_in(tmp_path / "out")

    again = recae("tune", protocol_file, "ease", "--trials", kept + 2, "--output", tmp_path / "out")
    done = subprocess.run(again, capture_output=True, text=True, check=True)

    assert 2 <= kept < 60
    assert f"the best of {kept + 2} trials" in done.stdout
    assert finished_in(tmp_path / "out") == kept + 2


def test_two_workers_share_the_trials_and_draw_none_again_that_an_earlier_search_drew(
    protocol_file, tmp_path
):
    search = Search(load_protocol(protocol_file), "ease", tmp_path / "out", trials=3, threads=2)
    tune(search, show_progress=False)
    tuned = tune(replace(search, trials=6, workers=2), show_progress=False)

    assert len(tuned.attempts) == 6
    assert len({attempt.settings["l2"] for attempt in tuned.attempts}) == 6
    assert np.isfinite(tuned.best.value)


def test_two_workers_who_want_the_last_trial_at_once_begin_one(on, monkeypatch):
    search = on(trials=1)
    search.folder.mkdir()
    monkeypatch.setattr(tuning, "_tried", lambda *_: 1.0)

    def work():
        study = tuning._study(search, optuna)
        ask = study.ask

        def late():
            time.sleep(1.0)  # the other one looks at what has been begun meanwhile
            return ask()

        study.ask = late
        tuning._work(search, None, study, optuna, None, lambda: None, lambda _: None)

    tuning._study(search, optuna)  # two that make its tables at once would be in each other's way
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work) for _ in range(2)]:
            done.result()

    assert len(tuning._study(search, optuna).get_trials()) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or available_cores() < 2, reason="needs two cores")
def test_workers_share_the_cores_that_the_process_may_use(on):
    mine = os.sched_getaffinity(0)
    assert tuning._threads_each(on()) == len(mine)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert tuning._threads_each(on()) == 1
    finally:
        os.sched_setaffinity(0, mine)
    assert tuning._threads_each(replace(on(), threads=6, workers=2)) == 3


def finished_in(folder):
    """Asked of the file itself: Optuna would make the tables that are lacking, beside the process that makes them."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True)) as database:
            return database.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0  # being made
