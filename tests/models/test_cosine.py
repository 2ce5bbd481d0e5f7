import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.models import create
from recae.models.neural import SparseBatch
from tests.models.cases import two_tastes


def counts(n_rows=12, n_items=9, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.integers(1, 4, (n_rows, n_items)) * (rng.random((n_rows, n_items)) < 0.4)
    return csr_matrix(data.astype(np.float32))


def fitted(data=None, **settings):
    settings = {"n_latent": 4, "epochs": 3, "batch_size": 4, "temperature": 0.2} | settings
    return create("cosine_dae", **settings).fit(counts() if data is None else data, show_progress=False)


@pytest.fixture(scope="module")
def model():
    return fitted()


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def learned(model):
    return model.network_.vectors.detach().numpy(), model.network_.bias.detach().numpy()


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_a_score_is_the_cosine_of_the_weighted_sum_of_a_history_and_an_item(damping):
    model = fitted(popularity_damping=damping)
    vectors, bias = learned(model)
    n_chosen = (counts().toarray() > 0).sum(axis=0)
    histories = counts(seed=1)
    codes = unit((histories.toarray() * n_chosen**-damping) @ vectors)
    assert_allclose(model.score(histories), codes @ unit(vectors).T / 0.2 + bias, atol=1e-5)


def test_a_history_without_items_is_scored_by_the_bias_alone(model):
    assert_allclose(model.score(csr_matrix((1, 9), dtype=np.float32)), learned(model)[1][None], atol=1e-6)


def test_the_loss_over_all_items_and_its_gradient_are_those_of_the_dense_softmax():
    model = fitted(dropout=0.0)
    dense_rows = counts(seed=2).toarray()
    dense_rows[3] = 0.0  # a user without a history
    batch = SparseBatch.of(csr_array(dense_rows), torch.device("cpu"))
    ours = model._loss(batch, 0.0)

    network, x = model.network_, torch.from_numpy(dense_rows)
    normalize = torch.nn.functional.normalize
    codes = normalize((x * network.item_weights) @ network.vectors)
    logits = codes @ normalize(network.vectors).T / 0.2 + network.bias
    dense = -(x * torch.log_softmax(logits, dim=1)).sum() / x.sum()

    assert ours.item() == pytest.approx(dense.item(), rel=1e-5)
    parameters = [network.vectors, network.bias]
    for mine, theirs in zip(
        torch.autograd.grad(ours, parameters), torch.autograd.grad(dense, parameters), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-6)


def test_a_softmax_over_drawn_items_stands_for_that_over_all():
    """Where all items score alike, every draw gives the sum over all."""
    model = fitted(n_sampled=3)
    with torch.no_grad():
        model.network_.vectors.fill_(0.5)
        model.network_.bias.fill_(0.7)
    loss = model._loss(SparseBatch.of(csr_array(counts()), torch.device("cpu")), 0.0)
    assert loss.item() == pytest.approx(np.log(9), rel=1e-5)


def test_a_drawn_softmax_learns_what_the_whole_one_learns():
    data = two_tastes()
    model = fitted(data, n_latent=8, epochs=60, learning_rate=0.02, n_sampled=6)
    scores = model.score(data)
    own = np.add.outer(np.arange(24), np.arange(24)) % 2 == 0
    assert (np.where(own, scores, np.inf).min(axis=1) > np.where(own, -np.inf, scores).max(axis=1)).all()


def test_what_serves_follows_the_weights_when_it_is_fitted_again():
    model = fitted()
    model.score(counts())  # makes the layer that serves
    model.fit(counts(seed=5), show_progress=False)
    assert_array_equal(model.score(counts(seed=1)), fitted(counts(seed=5)).score(counts(seed=1)))
