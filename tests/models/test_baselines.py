"""Baselines against what computes the same another way, numpy's decomposition, and what they are in an evaluation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.splits import given, held_out_users
from recae.errors import DataError, EvaluationError
from recae.evaluation import evaluate, runner
from recae.evaluation.protocol import Protocol
from recae.models import create, decomposition, graph_filter
from tests.models.cases import SETTINGS, N, random_choices, two_tastes


@pytest.fixture(scope="module")
def data():
    return random_choices()


# -------------------------------------------------------------------- PureSVD


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense solver", "sparse solver"])
def test_pure_svd_projects_histories_on_the_first_singular_vectors(data, is_sparse, monkeypatch):
    monkeypatch.setattr(decomposition, "DENSE_ENTRIES", 0 if is_sparse else 10**6)
    model = create("pure_svd", n_factors=6).fit(data, show_progress=False)
    left, values, right = np.linalg.svd(data.toarray().astype(np.float64))
    wanted = left[:, :6] * values[:6] @ right[:6]  # the best approximation of rank 6
    assert_allclose(model.score(data), wanted, atol=1e-5)
    strangers = csr_matrix(np.eye(3, 20, k=2, dtype=np.float32))
    assert_allclose(model.score(strangers), strangers @ right[:6].T @ right[:6], atol=1e-5)
    again = create("pure_svd", n_factors=6).fit(data, show_progress=False)
    assert_array_equal(again.item_factors_, model.item_factors_)


@pytest.mark.parametrize("dense_entries", [0, 10**6])
@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (2, 2), (2, 7), (3, 2)])
def test_more_factors_than_the_data_have_are_as_many_as_they_have(shape, dense_entries, monkeypatch):
    monkeypatch.setattr(decomposition, "DENSE_ENTRIES", dense_entries)
    ones = csr_matrix(np.ones(shape, dtype=np.float32))
    model = create("pure_svd").fit(ones, show_progress=False)
    assert model.item_factors_.shape == (shape[1], 1), "all rows are the same: the rank is 1"
    assert_allclose(model.score(ones), np.ones(shape), rtol=1e-5)


# -------------------------------------------------------------------- GF-CF


def graph_filter_of(log, n_factors, weight):
    """K of the paper's equation 10, with dense matrices."""
    with np.errstate(divide="ignore"):
        of_users, of_items = (np.nan_to_num(log.sum(axis=axis) ** -0.5, posinf=0.0) for axis in (1, 0))
    normal = of_users[:, None] * log * of_items
    right = np.linalg.svd(normal)[2][:n_factors].T
    roots = np.sqrt(log.sum(axis=0))
    return normal.T @ normal + weight * of_items[:, None] * (right @ right.T) * roots


@pytest.mark.parametrize("dense_entries", [0, 10**6])
@pytest.mark.parametrize("many_met", [0.0, 2.0], ids=["over all users", "over those met"])
@pytest.mark.parametrize("weighted", [False, True])
def test_gf_cf_is_the_filter_of_its_paper(data, weighted, many_met, dense_entries, monkeypatch):
    monkeypatch.setattr(decomposition, "DENSE_ENTRIES", dense_entries)
    monkeypatch.setattr(graph_filter, "MANY_MET", many_met)
    log = csr_matrix(
        data.multiply(np.random.default_rng(1).uniform(0.5, 3.0, data.shape)) if weighted else data
    )
    wanted = log.toarray() @ graph_filter_of(log.toarray().astype(np.float64), 6, 0.4)

    model = create("gf_cf", n_factors=6, factor_weight=0.4).fit(log, show_progress=False)

    assert_allclose(model.score(log), wanted, atol=1e-5)
    strangers = csr_matrix(np.eye(3, 20, k=2, dtype=np.float32))
    assert_allclose(
        model.score(strangers), graph_filter_of(log.toarray().astype(np.float64), 6, 0.4)[2:5], atol=1e-5
    )


def test_another_weight_and_fewer_factors_need_no_other_fit(data):
    model = create("gf_cf", n_factors=6, factor_weight=0.4).fit(data, show_progress=False)
    settings = {"n_factors": 3, "factor_weight": 1.5}

    retuned = model.retuned(model.config.model_copy(update=settings))

    again = create("gf_cf", **settings).fit(data, show_progress=False)
    assert_allclose(retuned.score(data), again.score(data), atol=1e-5)
    assert model.item_factors_.shape == (20, 6)
    assert model.retuned(model.config.model_copy(update={"n_factors": 7})) is None


def test_gf_cf_refuses_dislikes(data):
    with pytest.raises(DataError, match=r"gf_cf .* found the value -1; drop negative values"):
        create("gf_cf").fit(-data, show_progress=False)


# -------------------------------------------------------------------- in an evaluation


def protocol(*names):
    return Protocol(
        name="by-hand",
        data={"source": "made-up"},
        metrics={"report": ["hit_rate@1"], "select": "hit_rate@1"},
        models=[{"name": name, "settings": SETTINGS[name]} for name in names],
    )


def tastes(matrix):
    return Interactions(csr_array(matrix), IdMap.of_range(N), IdMap.of_range(N), None)


@pytest.mark.parametrize("name", ["bpr", "lmf"])
def test_held_out_users_are_no_test_for_models_of_training_users(name, monkeypatch):
    split = held_out_users(tastes(two_tastes()), validation_users=4, test_users=4)
    monkeypatch.setattr(runner, "load_split", lambda _protocol: split)
    with pytest.raises(
        EvaluationError, match=rf"{name} cannot score users it was not trained on, and 4 test"
    ):
        evaluate(protocol("pure_svd", name), show_progress=False)


@pytest.mark.parametrize("name", ["bpr", "lmf"])
def test_held_out_events_are(name, monkeypatch):
    split = given(tastes(two_tastes()), None, tastes(csr_matrix(np.eye(N, dtype=np.float32))))
    monkeypatch.setattr(runner, "load_split", lambda _protocol: split)
    rows = evaluate(protocol("pure_svd", name), show_progress=False).models
    assert [row.test["hit_rate@1"].value for row in rows][1] == 1.0
