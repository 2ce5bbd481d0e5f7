"""Products at stored entries, and their gradients, against the dense forms."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from recae.models.neural import SparseBatch
from recae.models.observed import Entries, products_at, sparse_times

CPU = torch.device("cpu")


@pytest.fixture
def matrix():
    rng = np.random.default_rng(3)
    dense = rng.standard_normal((7, 9)) * (rng.random((7, 9)) < 0.5)
    dense[2] = 0.0  # a row and a column without entries
    dense[:, 4] = 0.0
    found = csr_array(dense.astype(np.float32))
    found.data[3] = 0.0  # a stored zero is an entry
    return found


def random(n, d, seed):
    return torch.from_numpy(
        np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    ).requires_grad_()


def observed(matrix):
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), matrix.indices.astype(np.int64)


def test_sparse_times_and_its_gradient_are_those_of_the_dense_product(matrix):
    weights, pull = random(9, 5, seed=0), random(7, 5, seed=1).detach()
    (sparse_times(Entries.of(matrix, CPU), weights) * pull).sum().backward()
    found, gradient = sparse_times(Entries.of(matrix, CPU), weights), weights.grad.clone()
    weights.grad = None
    dense = torch.from_numpy(matrix.toarray()) @ weights
    (dense * pull).sum().backward()
    torch.testing.assert_close(found, dense)
    torch.testing.assert_close(gradient, weights.grad)


def test_products_and_their_gradients_are_those_of_the_dense_product_at_the_entries(matrix):
    left, right, pull = (
        random(7, 5, seed=0),
        random(9, 5, seed=1),
        random(matrix.nnz, 1, seed=2)[:, 0].detach(),
    )
    found = products_at(Entries.of(matrix, CPU), left, right)
    (found * pull).sum().backward()
    gradients = left.grad.clone(), right.grad.clone()
    left.grad = right.grad = None
    dense = (left @ right.T)[observed(matrix)]
    (dense * pull).sum().backward()
    torch.testing.assert_close(found, dense)
    torch.testing.assert_close(gradients, (left.grad, right.grad))


def test_the_entries_of_a_batch_are_those_of_its_matrix(matrix):
    wanted, found = Entries.of(matrix, CPU), Entries.of_batch(SparseBatch.of(matrix, CPU), 9)
    for field in vars(wanted):
        assert getattr(found, field).tolist() == getattr(wanted, field).tolist(), field
    assert found.shape == (7, 9)


def test_without_entries_products_are_empty_and_gradients_zero():
    empty = csr_array((3, 4), dtype=np.float32)
    for entries in (Entries.of(empty, CPU), Entries.of_batch(SparseBatch.of(empty, CPU), 4)):
        left, right = random(3, 5, seed=0), random(4, 5, seed=1)
        (products_at(entries, left, right).sum() + sparse_times(entries, right).sum()).backward()
        assert left.grad.abs().sum() == right.grad.abs().sum() == 0.0
