import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, csr_matrix

from recae.models import create
from recae.models.gram import MemoryBudgetError, check_memory
from recae.models.neural import SparseBatch
from tests.models.cases import two_tastes


def counts(n_rows=12, n_items=9, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.integers(1, 4, (n_rows, n_items)) * (rng.random((n_rows, n_items)) < 0.4)
    return csr_matrix(data.astype(np.float32))


@pytest.fixture(scope="module")
def model():
    return create("elsa", n_latent=4, epochs=3, batch_size=4).fit(counts(), show_progress=False)


def test_the_score_is_the_history_times_the_unit_vectors_products_less_the_history(model):
    weights = model.network_.vectors.detach().numpy()
    weights = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    item_to_item = weights @ weights.T - np.eye(9)
    assert_allclose(np.diag(item_to_item), 0.0, atol=1e-6)  # no item explains itself
    assert_allclose(model.score(counts(seed=1)), counts(seed=1) @ item_to_item, atol=1e-5)


def test_the_loss_and_its_gradient_are_those_of_the_dense_rows(model):
    dense_rows = counts(seed=2).toarray()
    dense_rows[3] = 0.0  # a user without a history
    data = csr_matrix(dense_rows)
    network = model.network_
    ours = model._loss(SparseBatch.of(csr_array(data), torch.device("cpu")), 0.0)

    x = torch.from_numpy(data.toarray())
    normalize = torch.nn.functional.normalize
    vectors = normalize(network.vectors, dim=1)
    scores = x @ vectors @ vectors.T - x
    dense = ((normalize(scores) - normalize(x)).square().sum(1) * (x.sum(1) > 0)).mean()

    assert ours.item() == pytest.approx(dense.item(), rel=1e-4)
    (from_ours,) = torch.autograd.grad(ours, network.vectors)
    (from_dense,) = torch.autograd.grad(dense, network.vectors)
    assert torch.allclose(from_ours, from_dense, rtol=1e-3, atol=1e-5)


def test_with_as_many_dimensions_as_tastes_each_taste_has_a_direction_of_its_own():
    data = two_tastes()
    model = create("elsa", n_latent=2, epochs=60, batch_size=8).fit(data, show_progress=False)
    vectors = model.network_.unit_vectors().detach().numpy()
    same = np.add.outer(np.arange(24), np.arange(24)) % 2 == 0
    assert_allclose(vectors @ vectors.T, same, atol=0.1)


def test_a_step_forms_no_block_of_rows_times_items(model, monkeypatch):
    formed = []
    product = torch.Tensor.__matmul__

    def watched(left, right):
        result = product(left, right)
        formed.append(tuple(result.shape))
        return result

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    model._loss(SparseBatch.of(csr_array(counts(n_rows=12)), torch.device("cpu")), 0.0)
    assert formed == [(4, 4), (12, 4)]


def test_only_the_directions_of_the_vectors_count(model):
    before = model.score(counts())
    with torch.no_grad():
        model.network_.vectors.mul_(7.0)
    assert_allclose(model.score(counts()), before, rtol=1e-4, atol=1e-5)


def test_the_model_that_does_not_fit_names_elsa_as_the_way_out():
    with pytest.raises(MemoryBudgetError, match="use elsa"):
        check_memory(10_000_000)
