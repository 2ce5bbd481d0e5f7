import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, csr_matrix

from recae.errors import ConfigError, DataError
from recae.models import create, load_model
from recae.models.sparse import keep_largest
from tests.models.cases import SETTINGS, N, two_tastes

DATA = csr_array(two_tastes())


def fitted(data=DATA, **settings):
    return create("sparse_ae", **(SETTINGS["sparse_ae"] | settings)).fit(data, show_progress=False)


def test_the_k_largest_are_kept_and_only_they_get_a_gradient():
    units = torch.tensor([[3.0, -1.0, 2.0, 0.5], [-4.0, -1.0, -2.0, -3.0]], requires_grad=True)
    kept = keep_largest(units, 2)
    assert kept.tolist() == [[3.0, 0.0, 2.0, 0.0], [0.0, -1.0, -2.0, 0.0]]
    (kept * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert units.grad.tolist() == [[1.0, 0.0, 3.0, 0.0], [0.0, 2.0, 3.0, 0.0]]


@pytest.mark.parametrize("sparsity", ["k_sparse", "l1", "kl"])
def test_every_kind_of_sparsity_finds_the_unseen_item_of_ones_taste(sparsity):
    scores = fitted(sparsity=sparsity, penalty=0.05, target_activity=0.3).score(DATA)
    scores[DATA.toarray() > 0] = -np.inf
    assert scores.argmax(axis=1).tolist() == list(range(N))


@pytest.mark.parametrize("k", [1, 3, 8])
def test_k_sparse_codes_have_k_active_units_and_say_so(k):
    model = fitted(n_active=k)
    active = np.count_nonzero(model.encode(DATA), axis=1)
    assert active.tolist() == [k] * N
    assert model.activity_ == pytest.approx(k / 8)
    assert model.measured == {"activity": model.activity_}


def test_one_active_unit_tells_the_tastes_apart():
    unit = fitted(n_active=1).encode(DATA).argmax(axis=1)
    assert not set(unit[::2]) & set(unit[1::2])


def test_a_higher_price_on_activity_leaves_fewer_units_active():
    activities = [fitted(sparsity="l1", penalty=penalty).activity_ for penalty in (0.0, 0.3, 100.0)]
    assert activities[0] > activities[1] > activities[2]
    assert activities[2] == 0.0


def test_kl_holds_the_mean_activity_at_its_target():
    for target in (0.1, 0.4):
        model = fitted(sparsity="kl", target_activity=target, penalty=100.0, epochs=100)
        assert model.activity_ == pytest.approx(target, abs=0.03)


@pytest.mark.parametrize("sparsity", ["k_sparse", "l1", "kl"])
def test_activity_is_measured_over_all_training_rows(sparsity):
    model = fitted(sparsity=sparsity, batch_size=7)  # the last batch is smaller
    codes = model.encode(DATA)
    wanted = codes.mean() if sparsity == "kl" else np.mean(codes != 0)
    assert model.activity_ == pytest.approx(wanted, rel=1e-5)


def test_activity_is_stored_with_the_model(tmp_path):
    model = fitted(epochs=1)
    model.save(tmp_path / "model")
    assert load_model(tmp_path / "model").activity_ == model.activity_


def test_the_score_is_the_decoded_sparse_code():
    model = fitted()
    network, x = model.network_, torch.from_numpy(DATA.toarray())
    units = torch.nn.functional.normalize(x) @ network.input.weight + network.input.bias
    smallest_kept = units.sort(dim=1, descending=True).values[:, [1]]
    logits = (units * (units >= smallest_kept)) @ network.output.weight.T + network.output.bias
    assert_allclose(model.score(DATA), logits.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_more_active_units_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"n_active=9 units cannot be kept of n_hidden=8"):
        create("sparse_ae", n_hidden=8, n_active=9)
    create("sparse_ae", n_hidden=8, n_active=9, sparsity="kl")


def test_negative_counts_are_refused():
    data = csr_matrix(DATA.toarray())
    data.data[3] = -1.0
    with pytest.raises(DataError, match="sparse_ae models counts, and found the value -1"):
        fitted(data)
