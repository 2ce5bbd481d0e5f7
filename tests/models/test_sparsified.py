"""A linear autoencoder's largest weights: against the dense weights, which the tests may form."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from recae.errors import ConfigError
from recae.models import create, sparsified
from recae.models.sparsified import largest_weights

BASES = [("ease", {"l2": 3.0}), ("dan", {"l2": 3.0, "item_rescaling": 0.3})]


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    return csr_array(((rng.random((60, 23)) < 0.3) * rng.integers(1, 5, (60, 23))).astype(np.float32))


def dense(base):
    """W: what the score of each item gets from a history of one item, shape (n_items, n_items)."""
    return base.score(csr_array(np.eye(base.n_items_, dtype=np.float32)))


@pytest.mark.parametrize(("name", "settings"), BASES)
def test_with_all_weights_the_answers_are_the_bases(data, name, settings):
    base = create(name, **settings).fit(data, False)
    model = create("sparsified", base=name, settings=settings, n_per_item=1000).fit(data, False)

    assert_allclose(model.score(data), base.score(data), atol=1e-5)
    for item in range(23):
        ids, similar = model.similar_items(item, N=23)
        wanted_ids, wanted = base.similar_items(item, N=23)
        assert_allclose(similar[np.argsort(ids)], wanted[np.argsort(wanted_ids)], atol=1e-4)


@pytest.mark.parametrize("budget", [1, 4 * 23 * 5, 2**26])
@pytest.mark.parametrize(("name", "settings"), BASES)
def test_each_column_keeps_its_largest_weights_whatever_the_block(monkeypatch, data, name, settings, budget):
    monkeypatch.setattr(sparsified, "SCORE_BYTES", budget)
    base = create(name, **settings).fit(data, False)
    whole = dense(base)
    wanted = np.where(np.abs(whole) >= np.sort(np.abs(whole), axis=0)[-4], whole, 0.0)

    kept = largest_weights(base, 4)

    assert (kept.dtype, kept.indices.dtype, kept.nnz) == (np.float32, np.int32, 4 * 23)
    assert_allclose(kept.toarray(), wanted, atol=1e-5)


def test_what_is_kept_has_no_dense_matrix(data):
    model = create("sparsified", n_per_item=3).fit(data, False)

    shapes = [value.shape for value in vars(model).values() if isinstance(value, np.ndarray)]
    assert shapes == [(23,), (23,)]
    assert model.weights_.nnz <= 3 * 23


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"base": "als"}, "als has no item-to-item weights; take ease, edlae"),
        ({"settings": {"l3": 1}}, "settings of ease: l3"),
        ({"n_per_item": 0}, "n_per_item: .*greater than 0"),
    ],
)
def test_a_base_that_cannot_be_used_is_named(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        create("sparsified", **settings)
