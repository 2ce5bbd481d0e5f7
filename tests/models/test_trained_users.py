"""BPR and LMF: their losses by hand, what is drawn, and histories that are nobody's."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from scipy.special import expit

from recae.data.holdout import Holdout
from recae.data.idmap import IdMap
from recae.errors import DataError, ModelError
from recae.models import create
from recae.models.neural import SparseBatch, _Session
from recae.models.trained_users import BPR
from tests.models.cases import random_choices

SETTINGS = {
    "bpr": {"n_factors": 5, "epochs": 4, "batch_size": 32, "learning_rate": 0.03, "seed": 4},
    "lmf": {"n_factors": 5, "epochs": 4, "batch_size": 7, "learning_rate": 0.03, "seed": 4},
}


@pytest.fixture(scope="module")
def data():
    return random_choices()


@pytest.fixture(scope="module", params=["bpr", "lmf"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name, data):
    return create(name, **SETTINGS[name]).fit(data, show_progress=False)


def learned(model):
    """Factors of users and items, and the items' biases, as plain arrays."""
    network = model.network_
    weights = (network.users.weight, network.items.weight, network.offsets)
    return [each.detach().numpy().astype(np.float64) for each in weights]


# -------------------------------------------------------------------- whose history it is


def test_a_training_users_scores_are_products_of_their_factors(name, model, data):
    users, items, offsets = learned(model)
    rows = [0, 4, 29, 2]
    wanted = users[rows] @ items.T + offsets
    if name == "lmf":
        wanted += model.network_.user_offsets.weight.detach().numpy()[rows]
    assert_allclose(model.score(data[rows]), wanted, rtol=1e-4, atol=1e-5)


def test_of_twins_the_first_serves(model, data):
    assert_array_equal(model.score(data[[7]]), model.score(data[[2]]))
    users, _, _ = learned(model)
    assert not np.allclose(users[7], users[2])


def test_an_empty_history_gets_the_biases_of_the_items(model):
    _, _, offsets = learned(model)
    assert_allclose(model.score(csr_matrix((1, 20), dtype=np.float32)), [offsets], rtol=1e-6)
    assert offsets.std() > 0


def test_who_chose_nothing_is_like_nobody(model, data):
    """User 11: their factors are as random as they began."""
    others = [user for user in range(30) if user != 11]
    ids, similarities = model.similar_users(11, N=30)
    assert (ids[0], similarities[0], set(similarities[1:])) == (11, 1.0, {0.0})
    for user in others:
        ids, similarities = model.similar_users(user, N=30)
        assert similarities[ids == 11] == 0.0
        assert np.count_nonzero(similarities) == len(others)


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


def test_a_step_moves_no_user_whom_it_is_not_about(name, data):
    """Adam's own penalty would pull at all users in each step, and leave nothing of them."""
    model = create(name, **SETTINGS[name], weight_decay=0.5).fit(data, show_progress=False)
    session = _Session(model, model._training_rows(csr_array(data)))
    users = model.network_.users.weight
    before = users.detach().clone()

    session.update(np.arange(3))  # of BPR three interactions, of LMF three users

    moved = (users != before).any(dim=1)
    assert bool(moved[0])
    assert not moved[3:].any()


def test_choices_held_out_of_the_training_rows_find_the_best_epoch(name, data):
    held_out = csr_array(data.multiply(np.random.default_rng(0).random(data.shape) < 0.2))
    train = csr_matrix(data - data.multiply(held_out))
    train.eliminate_zeros()
    validation = Holdout(
        users=IdMap.of_range(30), inputs=csr_array(train), targets=held_out, seen=csr_array(train)
    )
    fitted = create(name, **SETTINGS[name] | {"epochs": 30, "patience": 3})
    fitted.fit(train, show_progress=False, validation=validation)
    log = fitted.training_log_
    assert len(log["values"]) == min(30, log["best_epoch"] + 3)
    assert fitted.settled_config().epochs == log["best_epoch"]


# -------------------------------------------------------------------- BPR


def batch_of_all(model, data):
    return SparseBatch.of(model._training_rows(csr_array(data)), torch.device("cpu"))


def test_the_loss_of_bpr_is_that_of_its_pairs(data, monkeypatch):
    model = create("bpr", **SETTINGS["bpr"], weight_decay=0.3).fit(data, show_progress=False)
    batch = batch_of_all(model, data)
    rows, liked = data.nonzero()
    other = np.array(
        [(data[row].toarray()[0] == 0).nonzero()[0][place % 3] for place, row in enumerate(rows)]
    )
    told = torch.arange(len(rows)) % 4 != 1  # some found no item that their user has not
    monkeypatch.setattr(BPR, "_drawn", lambda *_: (torch.from_numpy(other), told))

    found = model._loss(batch, 0.0).item()

    users, items, offsets = learned(model)
    kept = told.numpy()
    rows, liked, other = rows[kept], liked[kept], other[kept]
    ahead = np.sum(users[rows] * (items[liked] - items[other]), axis=1) + offsets[liked] - offsets[other]
    lengths = [np.sum(vectors**2) for vectors in (users[rows], items[liked], items[other])]
    assert found == pytest.approx(np.mean(-np.log(expit(ahead))) + 0.15 * sum(lengths) / len(rows), rel=1e-5)


def test_the_other_item_is_drawn_from_all_that_the_user_has_not_alike(data):
    model = create("bpr", **SETTINGS["bpr"]).fit(data, show_progress=False)
    model._training_rows(csr_array(data))
    user = 4
    absent = np.flatnonzero(data[[user]].toarray()[0] == 0)
    n_draws = 40_000
    torch.manual_seed(0)

    items, is_other = model._drawn(torch.full((n_draws,), user))

    counts = np.bincount(items[is_other], minlength=20)
    assert bool(is_other.all())
    assert set(np.flatnonzero(counts)) == set(absent)
    expected = n_draws / len(absent)
    assert np.square(counts[absent] - expected).sum() / expected < 45, (
        "chi square with under 20 degrees: p < .001"
    )


def test_who_has_everything_teaches_nothing_and_breaks_nothing():
    dense = np.eye(6, dtype=np.float32)
    dense[0] = 1.0
    model = create("bpr", n_factors=2, epochs=3, batch_size=4).fit(csr_matrix(dense), show_progress=False)
    assert np.isfinite(model.score(csr_matrix(dense))).all()
    alone = create("bpr", n_factors=2, epochs=3).fit(
        csr_matrix(np.ones((1, 4), np.float32)), show_progress=False
    )
    assert alone.training_log_["losses"] == [0.0] * 3


def test_a_zero_is_no_choice_for_bpr(data):
    with_zeros = csr_matrix(data, copy=True)
    with_zeros.data[::4] = 0.0
    without = csr_matrix(with_zeros, copy=True)
    without.eliminate_zeros()
    ours, theirs = (
        create("bpr", **SETTINGS["bpr"]).fit(each, show_progress=False) for each in (with_zeros, without)
    )
    for mine, other in zip(learned(ours), learned(theirs), strict=True):
        assert_array_equal(mine, other)


# -------------------------------------------------------------------- LMF


def test_the_loss_of_lmf_is_that_of_all_pairs(data):
    values = csr_matrix(data, copy=True)
    values.data[:] = np.linspace(0.0, 2.0, values.nnz)
    settings = SETTINGS["lmf"] | {"alpha": 3.0, "weight_decay": 0.7, "precision": "float32"}
    model = create("lmf", **settings).fit(values, show_progress=False)
    some = [3, 0, 11, 8]
    batch = SparseBatch.of(csr_array(model._training_rows(csr_array(values))[some]), torch.device("cpu"))

    found = model._loss(batch, 0.0).item()

    users, items, offsets = learned(model)
    odds = users[some] @ items.T + offsets + model.network_.user_offsets.weight.detach().numpy()[some]
    confidence = 3.0 * values[some].toarray()
    likelihood = np.sum(confidence * np.log(expit(odds)) + np.log(expit(-odds)))
    penalty = 0.35 * (np.sum(users[some] ** 2) / 4 + np.sum(items**2) / 30)
    assert found == pytest.approx(-likelihood / 4 + penalty, rel=1e-5)


def test_a_value_of_lmf_counts_as_its_confidence(data):
    doubled = create("lmf", **SETTINGS["lmf"], alpha=2.0).fit(data, show_progress=False)
    valued = create("lmf", **SETTINGS["lmf"], alpha=1.0).fit(data * 2.0, show_progress=False)
    for mine, other in zip(learned(doubled), learned(valued), strict=True):
        assert_array_equal(mine, other)


def test_without_factors_lmf_ends_with_the_log_odds_of_the_margins(data):
    """At the optimum the expected choices of each item, with confidences, are those there were, and so for each user."""
    settings = {"n_factors": 1, "weight_decay": 1e4, "epochs": 1_500, "batch_size": 30, "learning_rate": 0.05}
    model = create("lmf", alpha=1.0, **settings).fit(data, show_progress=False)
    chosen = data.toarray()
    expected = expit(model.score(data).astype(np.float64))
    slack = expected * (1.0 + chosen) - chosen  # the gradient at each pair; twins and empty histories apart
    own = [row for row in range(30) if row not in {7, 11}]
    assert_allclose(slack[own].sum(axis=1), 0.0, atol=0.02)
