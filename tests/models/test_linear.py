import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, csr_matrix

from recae.errors import FitError, MemoryBudgetError
from recae.models import create, gram
from recae.models.gram import gram_matrix, inverse_gram


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    return csr_array((rng.random((60, 23)) < 0.3) * rng.integers(1, 5, (60, 23)).astype(np.float32))


def test_ease_is_the_ridge_regression_of_each_item_on_the_others(data):
    """The oracle never forms the inverse of the whole: one regression an item, its own column left out."""
    dense = data.toarray().astype(np.float64)
    l2 = 7.0
    wanted = np.zeros((23, 23))
    for item in range(23):
        others = np.delete(np.arange(23), item)
        x = dense[:, others]
        wanted[others, item] = np.linalg.solve(x.T @ x + l2 * np.eye(22), x.T @ dense[:, item])
    weights = create("ease", l2=l2).fit(data, show_progress=False).weights_
    assert_allclose(weights, wanted, atol=2e-5)
    assert (np.diag(weights) == 0).all()


def test_an_item_does_not_explain_itself(data):
    model = create("ease", l2=1.0).fit(data, show_progress=False)
    alone = csr_matrix(([1.0], ([0], [4])), shape=(1, 23), dtype=np.float32)
    assert model.score(alone)[0, 4] == 0.0


def test_similar_items_are_partial_correlations(data):
    model = create("ease", l2=5.0).fit(data, show_progress=False)
    precision = np.linalg.inv(data.toarray().T @ data.toarray() + 5.0 * np.eye(23))
    scale = np.sqrt(np.diag(precision))
    wanted = -precision / np.outer(scale, scale)
    ids, similar = model.similar_items(np.arange(23), N=23)
    found = np.empty((23, 23))
    np.put_along_axis(found, ids, similar, axis=1)
    np.fill_diagonal(wanted, 1.0)
    assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("block", [1, 7, 23, 100])
def test_the_block_size_changes_nothing(data, monkeypatch, block):
    monkeypatch.setattr(gram, "COLUMNS", block)
    monkeypatch.setattr(gram, "LEAF", block)
    dense = data.toarray().astype(np.float64)
    assert_allclose(gram_matrix(data), dense.T @ dense)
    inverse = inverse_gram(data, ridge=3.0)
    assert_allclose(inverse, np.linalg.inv(dense.T @ dense + 3.0 * np.eye(23)), atol=1e-5)
    assert inverse.flags.c_contiguous


def test_what_cannot_fit_into_memory_is_refused_with_numbers_before_it_starts(monkeypatch):
    monkeypatch.setattr(gram, "gram_matrix", lambda _: pytest.fail("started all the same"))
    huge = csr_array((1, 500_000), dtype=np.float32)
    with pytest.raises(MemoryBudgetError, match=r"500,000 items needs 1,304 GiB, this machine has \d+; keep"):
        inverse_gram(huge, ridge=1.0)


def test_a_matrix_that_float32_cannot_factor_is_a_fit_error():
    twins = csr_array(np.full((4, 2), 1e6, dtype=np.float32))
    with pytest.raises(FitError, match="raise l2"):
        create("ease", l2=1e-6).fit(twins, show_progress=False)
