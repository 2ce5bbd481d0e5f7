"""What was chosen learns from train and validation together before it meets the test."""

import gc
import weakref
from dataclasses import replace

import pytest

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.splits import given
from recae.errors import EvaluationError
from recae.evaluation import report
from recae.evaluation.datasets import sha256_of

from .evaluation_fakes import (
    ByColumn,
    Constant,
    holdout,
    matrix,
    ranking_protocol,
    rating_protocol,
    rating_split,
)

pytestmark = pytest.mark.usefixtures("fake_models")


def test_refit_learns_from_train_and_validation_for_the_epochs_that_were_best(on):
    split = rating_split()
    [row] = on(split, rating_protocol(search={"rating": [4.0, 2.0]}, refit=True)).models

    config, learned_from, validation = Constant.fits[-1]
    assert len(Constant.fits) == 3, "two trials and one refit"
    assert (config.rating, config.epochs, validation) == (2.0, 2, None)
    assert row.settings["epochs"] == 2
    assert learned_from.nnz == split.train.matrix.nnz + split.validation.targets.nnz, "the 0.0 is kept"
    assert learned_from.toarray().tolist() == [[0, 2, 0, 0], [0, 5, 2, 0], [1, 1, 0, 0]]


def test_settings_that_were_chosen_before_are_fitted_once_to_train_and_validation(on):
    split = rating_split()
    [row] = on(split, rating_protocol(settings={"rating": 2.0, "epochs": 3}, refit="only")).models

    [(config, learned_from, validation)] = Constant.fits
    assert (config.rating, config.epochs, validation) == (2.0, 3, None)
    assert learned_from.nnz == split.train.matrix.nnz + split.validation.targets.nnz
    assert [trial.value for trial in row.trials] == [None]
    assert row.test["rmse"].value == 2.0


def test_a_refitted_model_is_asked_with_the_longer_histories(monkeypatch, on):
    asked, real_score = [], Constant._score
    monkeypatch.setattr(
        Constant, "_score", lambda self, rows: asked.append(rows.toarray()) or real_score(self, rows)
    )

    on(rating_split(), rating_protocol(refit=True))

    assert asked[-1].tolist() == [[0, 2, 0, 0], [1, 1, 0, 0]], "users a and c, who have test ratings"


def given_split():
    """Three users; validation wants column 4, the test column 5."""
    users, items = IdMap(["a", "b", "c"]), IdMap.of_range(6)
    parts = [
        matrix([[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1], [1, 0, 0, 1, 0, 0]]),
        matrix([[0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0], [0] * 6]),
        matrix([[0, 0, 0, 0, 0, 1], [0] * 6, [0, 0, 0, 0, 0, 1]]),
    ]
    return given(*(Interactions(part, users, items) for part in parts))


def test_a_refitted_ranking_learns_from_validation_too_and_recommends_nothing_of_it(on):
    model = {"name": "by_epochs", "search": {"favourite": [3, 4]}, "refit": True}
    [row] = on(given_split(), ranking_protocol(model)).models

    favourite, learned_from, validation = ByColumn.fits[-1]
    assert (favourite, validation) == (4, None)
    assert learned_from.tolist() == [[1, 1, 0, 0, 1, 0], [0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 0]]
    assert row.settings["epochs"] == 2
    # user a has 0, 1 and now 4: her best two are 2 and 3; user c has not 4 and is given 4 and 1
    assert row.per_user["recall@2"].tolist() == [0.0, 0.0]
    assert row.test["coverage@2"].value == 4 / 6


def test_a_refit_keeps_the_candidates_and_the_report_names_their_number(on):
    split = given_split()
    wanted = matrix([[0, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1]])  # column 2 comes first
    split = replace(split, test=replace(split.test, candidates=wanted))
    results = on(split, ranking_protocol({"refit": True}))

    assert results.models[0].per_user["hit_rate@1"].tolist() == [0.0, 1.0]
    assert results.data.n_candidates == 2
    assert "with 2 held-out items among 2 given candidates each." in report.markdown(results)
    assert results.data.sha256 != sha256_of(given_split())


def test_further_seeds_are_refitted_for_the_epochs_that_the_first_found_best(on):
    on(given_split(), ranking_protocol({"name": "by_epochs", "refit": True}, seeds=[1, 2]))

    assert [validation is None for _, _, validation in ByColumn.fits] == [False, True, True]


@pytest.mark.parametrize("refit", [False, True, "only"])
def test_a_model_that_was_tested_is_out_of_memory_before_the_next_is_fitted(monkeypatch, on, refit):
    tested, held, real_fit, real_score = [], [], ByColumn._fit, ByColumn._score

    def watched(self, histories, how):
        gc.collect()
        held.append([reference for reference in tested if reference() is not None])
        real_fit(self, histories, how)

    def noted(self, *arguments):
        if not any(reference() is self for reference in tested):
            tested.append(weakref.ref(self))
        return real_score(self, *arguments)

    monkeypatch.setattr(ByColumn, "_fit", watched)
    monkeypatch.setattr(ByColumn, "_score", noted)

    models = [{"name": "by_column", "label": label, "refit": refit} for label in ("one", "two")]
    on(given_split(), ranking_protocol(*models, seeds=[1, 2]))

    assert len(tested) == (6 if refit is True else 4), (
        "where it is refitted, the trials are models of their own"
    )
    assert not any(held)


def test_refit_needs_users_that_are_in_train(on):
    split = replace(rating_split(), validation=holdout([[1, 0, 0, 0]], [[0, 0, 0, 3]], first_user=9))

    with pytest.raises(EvaluationError, match="this one holds out whole users"):
        on(split, rating_protocol(refit=True))
