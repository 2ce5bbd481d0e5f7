"""The runner: chosen on validation, tested once, refused where no honest number exists."""

from dataclasses import replace

import numpy as np
import pytest

from recae import machine
from recae.data.idmap import IdMap
from recae.errors import ConfigError, EvaluationError, FitError
from recae.evaluation import evaluate, report, runner
from recae.evaluation.datasets import sha256_of
from recae.evaluation.sections import DataSection

from .evaluation_fakes import (
    FAKES,
    ByColumn,
    Constant,
    held_out_split,
    holdout,
    matrix,
    ranking_protocol,
    rating_protocol,
    rating_split,
)

pytestmark = pytest.mark.usefixtures("fake_models")


def test_settings_are_chosen_on_validation_even_where_test_would_choose_others(on):
    # validation wants column 4 of everybody, the test column 5
    [row] = on(held_out_split(), ranking_protocol({"search": {"favourite": [3, 4, 5]}})).models

    assert row.chosen == {"favourite": 4}
    assert [trial.settings["favourite"] for trial in row.trials] == [3, 4, 5]
    assert [trial.value for trial in row.trials] == [0.0, 1.0, 0.0]
    # favourite 4, then 1 (of two users 0 is seen) or 0: of the targets 5, 5 and {4, 5} only the 4 is found
    assert row.test["recall@2"].value == pytest.approx((0 + 0 + 1 / 2) / 3)
    assert row.test["hit_rate@1"].value == pytest.approx(1 / 3)
    assert row.test["coverage@2"].value == 3 / 6
    assert row.per_user["recall@2"].tolist() == [0.0, 0.0, 0.5]


def test_of_equally_good_settings_the_first_listed_is_taken(on):
    [row] = on(held_out_split(), ranking_protocol({"search": {"favourite": [5, 3]}})).models

    assert row.chosen == {"favourite": 5}


def test_a_model_without_anything_to_choose_is_judged_on_validation_too(on):
    [row] = on(held_out_split(), ranking_protocol({"settings": {"favourite": 4}})).models

    assert [trial.value for trial in row.trials] == [1.0]
    assert row.chosen == {}
    assert row.settings == {"favourite": 4, "seed": 17}


def test_the_test_part_meets_only_what_was_chosen(monkeypatch, on):
    split, scored = held_out_split(), []
    real_score = ByColumn._score

    def counting(self, rows):
        scored.append((self.config.favourite, rows.shape[0]))
        return real_score(self, rows)

    monkeypatch.setattr(ByColumn, "_score", counting)
    on(split, ranking_protocol({"search": {"favourite": [3, 4, 5]}}))

    tested = [(4, 3), (4, 3)]  # three test users for the numbers, and the same three as examples
    assert scored == [(3, 2), (4, 2), (5, 2), *tested], "two validation users for each setting"


def test_every_model_learns_from_the_same_train_part_and_sees_no_other(on):
    split = held_out_split()
    on(split, ranking_protocol({"label": "one"}, {"label": "two", "settings": {"favourite": 2}}))

    assert [favourite for favourite, _, _ in ByColumn.fits] == [0, 2]
    for _, learned_from, validation in ByColumn.fits:
        np.testing.assert_array_equal(learned_from, split.train.matrix.toarray())
        assert validation is split.validation


def test_only_a_model_that_goes_by_order_sees_the_places_in_time(on, monkeypatch):
    class InOrder(ByColumn):
        name = "in_order"
        feedback = "sequences"

    monkeypatch.setitem(FAKES, "in_order", InOrder)
    split = replace(held_out_split(), feedback="sequences")
    split.train.matrix.data[:] = np.arange(1, split.train.matrix.nnz + 1)
    protocol = ranking_protocol({}, {"name": "in_order"})
    protocol = protocol.model_copy(update={"data": DataSection(source="made-up", feedback="sequences")})
    on(split, protocol)

    (_, blind, asked_blind), (_, ordered, asked) = ByColumn.fits
    np.testing.assert_array_equal(ordered, split.train.matrix.toarray())
    np.testing.assert_array_equal(blind, ordered > 0)
    assert asked is split.validation
    assert set(asked_blind.inputs.data) == {1.0}


def test_a_model_that_goes_by_order_is_refused_where_there_is_none(on, monkeypatch):
    class InOrder(ByColumn):
        name = "in_order"
        feedback = "sequences"

    monkeypatch.setitem(FAKES, "in_order", InOrder)
    complaint = (
        "in_order learns from sequences, but this protocol counts every.*set data.feedback = 'sequences'"
    )
    with pytest.raises(EvaluationError, match=complaint):
        on(held_out_split(), ranking_protocol({"name": "in_order"}))


def test_the_seed_of_the_protocol_reaches_every_model_that_fixes_none(on):
    rows = on(held_out_split(), ranking_protocol({}, {"label": "own seed", "settings": {"seed": 4}})).models

    assert [row.settings["seed"] for row in rows] == [17, 4]


def test_users_without_held_out_items_are_left_out_and_counted(on):
    data = on(held_out_split(), ranking_protocol({})).data

    assert (data.n_test_users, data.n_left_out, data.n_test_targets) == (3, 1, 4)
    assert (data.n_users, data.n_items, data.n_train) == (3, 6, 9)
    assert (data.n_validation_users, data.n_validation_targets) == (2, 2)
    assert data.notes == {"events that nobody wanted": 3}


def test_the_same_protocol_gives_the_same_results_but_for_the_clock(on):
    protocol = ranking_protocol({"search": {"favourite": [3, 4]}}, {"label": "again"})

    def without_clock(results):
        kept = results.model_dump(exclude={"started", "seconds", "peak_memory", "models"})
        rows = [
            row.model_dump(exclude={"seconds": True, "trials": {"__all__": {"seconds"}}})
            for row in results.models
        ]
        return kept, rows

    assert without_clock(on(held_out_split(), protocol)) == without_clock(on(held_out_split(), protocol))


def test_the_code_named_is_that_which_the_run_began_with(on, monkeypatch):
    monkeypatch.setattr(runner, "code_sha256", lambda: "begun with")

    def while_it_runs(*_):
        monkeypatch.setattr(runner, "code_sha256", lambda: "installed meanwhile")

    monkeypatch.setattr(runner, "refuse_dishonest", while_it_runs)

    assert on(held_out_split(), ranking_protocol({})).code_sha256 == "begun with"


def test_results_hold_what_made_them_and_what_it_took(on):
    results = on(held_out_split(), ranking_protocol({}))
    assert results.code_sha256 == machine.code_sha256()
    assert results.peak_memory > 2**20
    assert f"Code `{results.code_sha256[:12]}`" in report.markdown(results)
    assert f"Peak memory {results.peak_memory / 2**20:,.0f} MiB" in report.markdown(results)


def test_the_hash_changes_with_any_matrix_and_with_nothing_else():
    split = held_out_split()
    other_targets = replace(split.test, targets=matrix(np.roll(split.test.targets.toarray(), 1, axis=0)))
    wide = split.train.matrix.copy()
    wide.indptr = wide.indptr.astype(np.int64)

    assert sha256_of(split) == sha256_of(held_out_split())
    assert sha256_of(split) != sha256_of(replace(split, test=other_targets))
    assert sha256_of(split) != sha256_of(replace(split, validation=None))
    assert sha256_of(replace(split, test=replace(split.test, seen=wide[[0, 1, 2, 0]]))) == sha256_of(
        replace(split, test=replace(split.test, seen=split.train.matrix[[0, 1, 2, 0]]))
    )


def test_one_diverged_combination_does_not_end_the_search(on):
    [row] = on(held_out_split(), ranking_protocol({"search": {"favourite": [-1, 4]}})).models

    assert row.chosen == {"favourite": 4}
    assert row.trials[0].value is None
    assert row.trials[0].error == "diverged, as asked"


def test_a_model_that_no_settings_can_fit_ends_the_evaluation(on):
    with pytest.raises(
        FitError, match=r"by_column could not be fitted with any of its settings: diverged, as asked"
    ):
        on(held_out_split(), ranking_protocol({"search": {"favourite": [-1, -2]}}))


@pytest.mark.parametrize(
    ("split", "protocol", "complaint"),
    [
        (
            held_out_split(),
            ranking_protocol({}, {"name": "no_fold_in"}),
            r"no_fold_in cannot score users it was not",
        ),
        (held_out_split(), ranking_protocol({}, {"name": "constant"}), r"constant learns from ratings, but"),
        (
            rating_split(),
            rating_protocol(name="by_column"),
            r"by_column gives scores, not ratings, so it has no rmse",
        ),
        (
            held_out_split(validation=False),
            ranking_protocol({"search": {"favourite": [1, 2]}}),
            r"by_column has 2 combinations of settings to choose from and there is no validation part",
        ),
        (
            held_out_split(),
            ranking_protocol({"refit": True}),
            r"refit needs a split of ratings or events; this one holds out whole users",
        ),
        (
            rating_split(),
            rating_protocol(search={"rating": [1.0, 2.0]}, refit="only"),
            r"constant has 2 combinations of settings to choose from and refit = 'only', which tries none",
        ),
        (
            replace(rating_split(), validation=None),
            rating_protocol(refit=True),
            r"constant is to be refitted with what validation found best, and there is no validation part",
        ),
    ],
)
def test_what_gives_no_honest_number_is_refused_by_name_before_any_fitting(on, split, protocol, complaint):
    with pytest.raises(EvaluationError, match=complaint):
        on(split, protocol)
    assert (ByColumn.fits, Constant.fits) == ([], [])


def test_a_model_without_fold_in_may_meet_users_it_was_trained_on(on):
    split = held_out_split()
    known = replace(holdout([[1, 1, 0, 0, 0, 0]], [[0, 0, 0, 0, 0, 1]]), users=IdMap(["a"]))

    results = on(replace(split, validation=None, test=known), ranking_protocol({"name": "no_fold_in"}))

    assert results.models[0].trials[0].value is None


def test_a_wrong_setting_is_found_before_the_data_are_read(monkeypatch):
    monkeypatch.setattr(runner, "load_split", lambda _protocol: pytest.fail("data were read"))

    with pytest.raises(ConfigError, match="favorite"):
        evaluate(ranking_protocol({}, {"label": "typo", "settings": {"favorite": 1}}), show_progress=False)


def test_lower_errors_are_better(on):
    [row] = on(rating_split(), rating_protocol(search={"rating": [4.0, 2.0, 3.0]})).models

    assert row.chosen == {"rating": 2.0}, "validation ratings are all 2"
    assert [trial.value for trial in row.trials] == [2.0, 0.0, 1.0]
    assert {text: metric.value for text, metric in row.test.items()} == {"rmse": 2.0, "mae": 2.0}


def test_what_depends_on_the_seed_is_chosen_with_the_first_and_tested_with_each(on):
    seeded, fixed, own = on(
        held_out_split(),
        ranking_protocol(
            {"name": "by_seed", "search": {"favourite": [3, 2]}},
            {"label": "fixed", "settings": {"seed": 5}},
            {"name": "by_seed", "label": "own seed", "settings": {"seed": 5}},
            seeds=[4, 5, 3],
        ),
    ).models

    # hits at rank 1: of the targets 5, 5 and {4, 5} seed 4 finds one, seed 5 all, seed 3 none
    assert seeded.test["hit_rate@1"].by_seed == pytest.approx((1 / 3, 1.0, 0.0))
    assert seeded.test["hit_rate@1"].value == pytest.approx(4 / 9)
    assert seeded.test["hit_rate@1"].deviation == pytest.approx(np.std([1 / 3, 1, 0], ddof=1))
    assert (seeded.seeds, len(seeded.trials), seeded.settings["seed"]) == ((4, 5, 3), 2, 4)
    assert seeded.per_user["hit_rate@1"].tolist() == [0.0, 0.0, 1.0], "the first seed's"
    for row in (fixed, own):
        assert (row.seeds, row.test["hit_rate@1"].by_seed, row.test["hit_rate@1"].deviation) == ((), (), None)
    assert len(ByColumn.fits) == 2 + 1 + 1 + 2, "two trials, one each, and the two further seeds"


def test_with_a_random_split_every_model_meets_every_draw(monkeypatch):
    drawn = []

    def load_split(_protocol, seed=None):
        drawn.append(seed)
        split = held_out_split()
        columns = np.roll(np.arange(6), 0 if seed is None else seed)
        return replace(split, test=replace(split.test, targets=split.test.targets[:, columns]))

    monkeypatch.setattr(runner, "load_split", load_split)
    random = {"kind": "held_out_users", "validation_users": 2, "test_users": 4}
    protocol = ranking_protocol({"settings": {"favourite": 5, "seed": 0}}, seeds=[7, 1], split=random)
    results = evaluate(protocol, show_progress=False)

    assert drawn == [None, 1]
    assert results.models[0].test["hit_rate@1"].by_seed == pytest.approx((1.0, 1 / 3)), (
        "targets 5, 5 and {4, 5} became 0, 0 and {5, 0}"
    )
    assert len({results.data.sha256, *results.data.more_sha256}) == 2


@pytest.mark.parametrize(
    ("here", "given", "shown"),
    [
        (".", "deep/p.toml", "deep/p.toml"),
        ("deep", "p.toml", "p.toml"),
        ("other", "../deep/p.toml", "../deep/p.toml"),
        ("other", "{}/deep/p.toml", "../deep/p.toml"),
        ("link/within", "../p.toml", "../p.toml"),
    ],
)
def test_the_command_that_repeats_a_run_works_from_the_same_folder(
    monkeypatch, fake_models, tmp_path, here, given, shown
):
    for folder in ("deep/within", "other"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    (tmp_path / "deep" / "p.toml").write_text(
        'name = "p"\n[data]\nsource = "movielens-small"\n[metrics]\nreport = ["ndcg@2"]\nselect = "ndcg@2"\n'
        '[[models]]\nname = "by_column"\n'
    )
    monkeypatch.chdir(tmp_path / here)
    monkeypatch.setattr(runner, "load_split", lambda _protocol: held_out_split())

    results = evaluate(given.format(tmp_path), show_progress=False)

    assert results.command == f"recae evaluate {shown}"


def test_a_way_over_the_root_is_as_good_as_absolute_and_is_not_shown(monkeypatch, tmp_path):
    (tmp_path / "p.toml").touch()
    monkeypatch.chdir("/usr")

    assert runner._shown(tmp_path / "p.toml") == "p.toml"
