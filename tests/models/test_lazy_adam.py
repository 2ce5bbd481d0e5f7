"""Lazy Adam against torch's SparseAdam and dense Adam, and AutoRec's steps by it against dense ones."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from recae.data.holdout import Holdout
from recae.data.idmap import IdMap
from recae.models import create, load_model
from recae.models.lazy_adam import LazyAdam, rows_of, touched_share
from recae.models.optimisers import Adam, _Bare, _bare

N_ROWS, D = 6, 3
BATCHES = ([0, 2], [5], [2, 3, 5], [], [1, 0])  # rows that a step touches; row 4 never is
BY = pytest.mark.parametrize("by", ["item", "user"])


class SparseAdam(_Bare, torch.optim.SparseAdam):
    """torch's, without the seconds for which it loads a compiler."""

    step = torch.no_grad()(_bare(torch.optim.SparseAdam.step))


def table():
    return torch.nn.Parameter(torch.randn(N_ROWS, D, generator=torch.Generator().manual_seed(0)))


def targets():
    return torch.randn(N_ROWS, D, generator=torch.Generator().manual_seed(1))


def step(optimiser, weights, rows, *, sparse=True):
    """One step on the squared distance of some rows to their targets."""
    rows = torch.tensor(rows, dtype=torch.int64)
    found = rows_of(weights, rows) if sparse else weights[rows]
    optimiser.zero_grad()
    (found - targets()[rows]).square().sum().backward()
    optimiser.step()


# -------------------------------------------------------------------- the optimiser


def test_without_decay_the_steps_are_those_of_torchs_sparse_adam():
    ours, torchs = table(), table()
    optimiser = LazyAdam([ours], lr=0.1, weight_decay=0.0)
    oracle = SparseAdam([torchs], lr=0.1)
    for rows in BATCHES:
        step(optimiser, ours, rows)
        step(oracle, torchs, rows)
    torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=1e-6)
    assert (ours - table()).abs()[[0, 1, 2, 3, 5]].min() > 0.05, "they were moved"


def test_a_step_on_every_row_is_the_dense_one_to_the_bit():
    lazy, dense = table(), table()
    optimiser = LazyAdam([lazy], lr=0.1, weight_decay=0.3)
    usual = Adam([dense], lr=0.1, weight_decay=0.3, fused=True)
    for rows in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4], [0, 1, 2, 3, 4, 5]):
        step(optimiser, lazy, rows)
        step(usual, dense, range(N_ROWS), sparse=False)
        assert torch.equal(lazy, dense)
    for field, moments in optimiser.state[lazy].items():
        assert torch.equal(moments, usual.state[dense][field]), field


def test_a_parameter_with_a_dense_gradient_takes_the_dense_step():
    lazy, dense = table(), table()
    optimiser = LazyAdam([lazy], lr=0.1, weight_decay=0.3)
    usual = Adam([dense], lr=0.1, weight_decay=0.3, fused=True)
    for rows in BATCHES:
        step(optimiser, lazy, rows, sparse=False)
        step(usual, dense, rows, sparse=False)
    assert torch.equal(lazy, dense)


def test_what_a_step_does_not_touch_stays_to_the_bit_with_its_moments():
    weights = table()
    optimiser = LazyAdam([weights], lr=0.1, weight_decay=0.3)
    step(optimiser, weights, [0, 1, 2, 3, 4, 5])
    state = optimiser.state[weights]
    kept = [tensor.detach().clone() for tensor in (weights, state["exp_avg"], state["exp_avg_sq"])]
    step(optimiser, weights, [1, 4])
    for before, now in zip(kept, (weights, state["exp_avg"], state["exp_avg_sq"]), strict=True):
        same = (before == now).all(dim=1)
        assert same.tolist() == [True, False, True, True, False, True]


def test_decay_is_added_to_the_gradient_of_touched_rows():
    """Adam's first step has the length of the learning rate, and the sign of the gradient."""
    weights = torch.nn.Parameter(torch.ones(2, 1))
    optimiser = LazyAdam([weights], lr=0.25, weight_decay=0.5)
    (-0.4 * rows_of(weights, torch.tensor([0]))).sum().backward()  # -0.4 + 0.5 x 1 is above 0
    optimiser.step()
    assert weights.flatten().tolist() == pytest.approx([0.75, 1.0])


def test_a_state_that_was_stored_goes_on_to_the_same_bits():
    whole = table()
    optimiser = LazyAdam([whole], lr=0.1, weight_decay=0.3)
    for rows in BATCHES[:3]:
        step(optimiser, whole, rows)
    resumed = torch.nn.Parameter(whole.detach().clone())
    other = LazyAdam([resumed], lr=0.1, weight_decay=0.3)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    assert float(other.state[resumed]["step"]) == 3
    for rows in BATCHES[3:]:
        step(optimiser, whole, rows)
        step(other, resumed, rows)
    assert torch.equal(resumed, whole)


def test_a_closure_is_asked_for_the_loss_and_its_gradient():
    weights = table()
    optimiser = LazyAdam([weights], lr=0.1, weight_decay=0.0)

    def closure():
        loss = rows_of(weights, torch.tensor([3])).square().sum()
        loss.backward()
        return loss.detach()

    assert float(optimiser.step(closure)) == pytest.approx(float(table().detach()[3].square().sum()))
    assert not torch.equal(weights[3], table()[3])


@pytest.mark.parametrize("shape", [(7, 3), (7,)])
def test_the_gradient_of_rows_is_that_of_indexing_and_holds_these_rows_alone(shape):
    weights = torch.randn(shape, requires_grad=True)
    rows, pull = torch.tensor([5, 0, 3]), torch.randn(3, *shape[1:])
    found = rows_of(weights, rows)
    assert torch.equal(found, weights[rows])
    (from_rows,) = torch.autograd.grad((found * pull).sum(), weights)
    (from_indexing,) = torch.autograd.grad((weights[rows] * pull).sum(), weights)
    assert torch.equal(from_rows.to_dense(), from_indexing)
    assert from_rows._values().shape == pull.shape


# -------------------------------------------------------------------- how much a batch touches


def test_the_share_of_touched_columns_is_that_which_batches_have():
    assert touched_share(np.array([0, 1, 2, 40]), n_rows=40, batch_size=20) == pytest.approx(
        (0 + 1 / 2 + 3 / 4 + 1) / 4
    )
    assert touched_share(np.array([0, 1, 2, 4]), n_rows=4, batch_size=500) == 3 / 4, "all rows in one batch"


def test_the_share_is_near_the_mean_of_many_batches():
    rng = np.random.default_rng(0)
    places = rng.random((300, 200)) < rng.random(200) * 0.1
    shares = [places[rng.permutation(300)[:30]].any(axis=0).mean() for _ in range(400)]
    assert touched_share(places.sum(axis=0), 300, 30) == pytest.approx(np.mean(shares), abs=0.01)


# -------------------------------------------------------------------- AutoRec


def log(n_users, n_items, n_ratings):
    """Ratings of rank 3 with noise, at places as uneven as real ones are: shape (n_users, n_items)."""
    rng = np.random.default_rng(0)
    weights = np.outer(*(np.exp(rng.normal(scale=1.0, size=n)) for n in (n_users, n_items))).ravel()
    cells = np.sort(rng.choice(n_users * n_items, n_ratings, replace=False, p=weights / weights.sum()))
    users, items = np.divmod(cells, n_items)
    left, right = rng.standard_normal((n_users, 3)), rng.standard_normal((n_items, 3))
    ratings = 3.0 + 0.6 * (left[users] * right[items]).sum(axis=1) + 0.3 * rng.standard_normal(n_ratings)
    return csr_array((np.clip(ratings, 1, 5).astype(np.float32), (users, items)), shape=(n_users, n_items))


def fitted(data, validation=None, **settings):
    model = create("autorec", **({"n_hidden": 8, "batch_size": 16, "weight_decay": 1e-3} | settings))
    return model.fit(data, show_progress=False, validation=validation)


def weights_of(model):
    return {name: weight.numpy() for name, weight in model.network_.state_dict().items()}


def assert_same_weights(one, other):
    for name, weight in weights_of(one).items():
        assert_array_equal(weight, weights_of(other)[name], err_msg=name)


@BY
def test_where_batches_touch_every_input_lazy_steps_are_the_dense_ones_to_the_bit(by):
    data = log(40, 30, 40 * 30)
    lazy, dense = (fitted(data, by=by, adam=adam, epochs=3) for adam in ("lazy", "dense"))
    assert_same_weights(lazy, dense)
    assert lazy.training_log_ == dense.training_log_


@BY
def test_lazy_steps_leave_the_weights_of_an_input_without_ratings_as_they_began(by):
    data = log(40, 30, 300).tolil()
    data[7], data[:, 7] = 0.0, 0.0
    data = csr_array(data.tocsr())
    once, thrice = (fitted(data, by=by, adam="lazy", epochs=n) for n in (1, 3))
    of_dense = fitted(data, by=by, adam="dense", epochs=3)
    for name in ("input.weight", "output.weight", "offsets"):
        begun, later, decayed = (weights_of(model)[name] for model in (once, thrice, of_dense))
        assert_array_equal(later[7], begun[7])
        assert not np.array_equal(later[6], begun[6])
        assert name == "offsets" or not np.array_equal(decayed[7], begun[7]), "a dense step decays it"


@BY
def test_a_first_epoch_in_one_batch_has_the_loss_of_the_dense_one_and_moves_touched_rows_alike(by):
    data = log(60, 50, 200)
    lazy, dense = (fitted(data, by=by, adam=adam, epochs=1, batch_size=100) for adam in ("lazy", "dense"))
    assert lazy.training_log_["losses"] == dense.training_log_["losses"]
    touched = np.diff((data if by == "item" else csr_array(data.T)).indptr) > 0
    assert 10 < touched.sum() < len(touched)
    for name, weight in weights_of(lazy).items():
        rows = slice(None) if name == "input.bias" else touched
        assert_array_equal(weight[rows], weights_of(dense)[name][rows], err_msg=name)


@BY
def test_lazy_steps_learn_a_sparse_log_as_well_as_dense_ones(by):
    whole = log(300, 300, 6_000)
    users = np.repeat(np.arange(300), np.diff(whole.indptr))
    held = np.random.default_rng(1).random(whole.nnz) < 0.1

    def part(chosen):
        return csr_array((whole.data[chosen], (users[chosen], whole.indices[chosen])), shape=whole.shape)

    train, validation = part(~held), Holdout(part(~held), part(held), IdMap.of_range(300))
    n_each = np.diff(train.indptr) if by == "item" else np.bincount(train.indices, minlength=300)
    assert touched_share(n_each, 300, batch_size=8) < 0.4
    settings = {"by": by, "n_hidden": 16, "batch_size": 8, "epochs": 20, "patience": 4, "learning_rate": 0.01}
    lazy, dense = (
        -max(fitted(train, validation, adam=adam, presence=1.0, **settings).training_log_["values"])
        for adam in ("lazy", "dense")
    )
    means = create("rating_means").fit(train, show_progress=False).score(train)
    error_of_means = np.sqrt(np.mean((means[users[held], whole.indices[held]] - whole.data[held]) ** 2))
    assert lazy < dense + 0.02
    assert lazy < error_of_means - 0.2, "it learned something"


# -------------------------------------------------------------------- the setting


@cache
def popular(n_users, n_items, n_ratings):
    """Stars at places as uneven as MovieLens has them: shape (n_users, n_items)."""
    rng = np.random.default_rng(0)
    activity, popularity = (np.exp(rng.normal(scale=1.2, size=n)) for n in (n_users, n_items))
    users = rng.choice(n_users, n_ratings, p=activity / activity.sum())
    items = rng.choice(n_items, n_ratings, p=popularity / popularity.sum())
    cells = np.unique(users * n_items + items)
    stars = rng.integers(1, 6, len(cells)).astype(np.float32)
    return csr_array((stars, np.divmod(cells, n_items)), shape=(n_users, n_items))


@BY
@pytest.mark.parametrize("batch_size", [128, 256])
def test_steps_are_dense_on_a_log_like_movielens_1m_and_lazy_on_a_sparse_one(by, batch_size):
    model = create("autorec", by=by, batch_size=batch_size)
    assert model._kind_of_step(popular(6_040, 3_706, 1_000_000)) == "dense"
    assert model._kind_of_step(popular(60_000, 80_000, 400_000)) == "lazy"


@BY
def test_auto_takes_the_steps_that_it_names(by):
    for data, kind in ((log(40, 30, 600), "dense"), (log(400, 500, 600), "lazy")):
        found, named = (fitted(data, by=by, adam=adam, epochs=2, batch_size=8) for adam in ("auto", kind))
        assert found._kind_of_step(data) == kind
        assert_same_weights(found, named)
    other = fitted(data, by=by, adam="dense", epochs=2, batch_size=8)
    assert not np.array_equal(weights_of(other)["output.weight"], weights_of(found)["output.weight"])


def test_the_fit_after_a_validation_takes_the_steps_that_were_validated():
    """Of a few more ratings ``auto`` might make another kind."""
    settled = fitted(log(400, 500, 600), epochs=2, batch_size=8).settled_config()
    assert (settled.adam, settled.epochs) == ("lazy", 2)
    assert fitted(log(40, 30, 600), epochs=1, batch_size=8).settled_config().adam == "dense"


@BY
def test_what_lazy_steps_learned_is_scored_after_storing_as_before(by, tmp_path):
    data = log(40, 30, 300)
    model = fitted(data, by=by, adam="lazy", epochs=2)
    model.save(tmp_path / "model")
    assert_allclose(load_model(tmp_path / "model").score(data), model.score(data), rtol=1e-6)
