"""Baselines against what computes the same another way: numpy's decomposition, implicit's own models."""

import numpy as np
import pytest
from implicit.bpr import BayesianPersonalizedRanking
from implicit.lmf import LogisticMatrixFactorization
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.splits import given, held_out_users
from recae.errors import DataError, EvaluationError, ModelError
from recae.evaluation import evaluate, runner
from recae.evaluation.protocol import Protocol
from recae.models import create, decomposition, graph_filter
from tests.models.cases import N, two_tastes


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    dense = rng.random((30, 20)) < 0.25
    dense[7] = dense[2]  # twins
    dense[11] = False
    dense[:, 5] = False
    return csr_matrix(dense.astype(np.float32))


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


# -------------------------------------------------------------------- implicit's models of training users


PEERS = {
    "bpr": (BayesianPersonalizedRanking, {"learning_rate": 0.1, "regularization": 0.02}),
    "lmf": (LogisticMatrixFactorization, {"learning_rate": 0.5, "regularization": 0.4, "neg_prop": 7}),
}
SETTINGS = {
    "bpr": {"n_factors": 5, "learning_rate": 0.1, "l2": 0.02, "epochs": 8, "seed": 4},
    "lmf": {"n_factors": 5, "learning_rate": 0.5, "l2": 0.4, "n_negatives": 7, "epochs": 8, "seed": 4},
}


@pytest.fixture(scope="module", params=["bpr", "lmf"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name, data):
    return create(name, **SETTINGS[name]).fit(data, show_progress=False)


@pytest.fixture(scope="module")
def peer(name, data):
    kind, settings = PEERS[name]
    # a new one: fitted again, as in a process that takes tests over from another, it would train on
    peer = kind(factors=5, iterations=8, num_threads=1, random_state=4, **settings)
    peer.fit(data.copy(), show_progress=False)
    return peer


def test_a_training_users_scores_are_implicits(model, peer, data):
    rows = [0, 4, 29, 2]
    wanted = peer.user_factors[rows] @ peer.item_factors.T
    assert_allclose(model.score(data[rows]), wanted, rtol=1e-5, atol=1e-6)
    ids, scores = peer.recommend(4, data[4], N=5)
    found = model.recommend(4, data[4], N=5)
    assert_array_equal(found[0], ids)
    assert_allclose(found[1], scores, rtol=1e-5)


def test_of_twins_the_first_serves(model, peer, data):
    assert_allclose(model.score(data[[7]]), model.score(data[[2]]))
    assert not np.allclose(peer.user_factors[7], peer.user_factors[2])


def test_an_empty_history_gets_the_biases_of_the_items(name, model, peer):
    biases = peer.item_factors[:, {"bpr": -1, "lmf": -2}[name]]
    assert_allclose(model.score(csr_matrix((1, 20), dtype=np.float32)), [biases], rtol=1e-6)
    assert biases.std() > 0


@pytest.mark.parametrize("change", ["another item", "an item more", "an item less", "another value"])
def test_any_other_history_is_refused_with_the_way_out(name, model, data, change):
    stranger = data[[0]].toarray()
    first, absent = np.flatnonzero(stranger[0])[0], np.flatnonzero(stranger[0] == 0)[0]
    if change in {"another item", "an item less"}:
        stranger[0, first] = 0
    if change in {"another item", "an item more"}:
        stranger[0, absent] = 1
    if change == "another value":
        stranger[0, first] = 2
    rows = csr_matrix(np.vstack([data[[3]].toarray(), stranger]))
    with pytest.raises(
        ModelError,
        match=rf"{name} cannot score a history it was not trained on, and 1 of 2 .* row 1.*such as als",
    ):
        model.score(rows)


def test_a_model_of_likings_refuses_negative_values(name):
    with pytest.raises(DataError, match=f"{name} learns from likings, and found the value -2"):
        create(name).fit(csr_matrix(np.array([[1.0, -2.0]], dtype=np.float32)), show_progress=False)


def test_bpr_tells_the_callback_which_share_of_pairs_is_in_the_wrong_order():
    losses = []
    create("bpr", n_factors=4, learning_rate=0.1, epochs=60).fit(
        two_tastes(), show_progress=False, callback=lambda _epoch, _seconds, loss: losses.append(loss)
    )
    assert losses[0] == pytest.approx(0.5, abs=0.2), "at first, chance"
    assert np.mean(losses[-10:]) < 0.1


# -------------------------------------------------------------------- in an evaluation


def protocol(*names):
    return Protocol(
        name="by-hand",
        data={"source": "made-up"},
        metrics={"report": ["hit_rate@1"], "select": "hit_rate@1"},
        models=[{"name": name, "settings": {"n_factors": 4}} for name in names],
    )


def tastes(matrix):
    return Interactions(csr_array(matrix), IdMap.of_range(N), IdMap.of_range(N), None)


def test_held_out_users_are_no_test_for_models_of_training_users(name, monkeypatch):
    split = held_out_users(tastes(two_tastes()), validation_users=4, test_users=4)
    monkeypatch.setattr(runner, "load_split", lambda _protocol: split)
    with pytest.raises(
        EvaluationError, match=rf"{name} cannot score users it was not trained on, and 4 test"
    ):
        evaluate(protocol("pure_svd", name), show_progress=False)


def test_held_out_events_are(name, monkeypatch):
    split = given(tastes(two_tastes()), None, tastes(csr_matrix(np.eye(N, dtype=np.float32))))
    monkeypatch.setattr(runner, "load_split", lambda _protocol: split)
    rows = evaluate(protocol("pure_svd", name), show_progress=False).models
    assert [row.test["hit_rate@1"].value for row in rows][1] == 1.0
