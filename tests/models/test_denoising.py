import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.errors import ConfigError, DataError
from recae.models import create
from recae.models.denoising import corrupted
from recae.models.neural import SparseBatch
from tests.models.cases import SETTINGS, N, two_tastes
from tests.models.oracles import squared_error

CPU = torch.device("cpu")


def fitted(name="dae", **settings):
    return create(name, **(SETTINGS[name] | settings)).fit(two_tastes(), show_progress=False)


def own_taste_first(model):
    scores = model.score(two_tastes())
    scores[two_tastes().toarray() > 0] = -np.inf
    return (scores.argmax(axis=1) == np.arange(N)).mean()


# -------------------------------------------------------------------- corruption


@pytest.fixture
def values():
    torch.manual_seed(0)
    return torch.full((20_000,), 2.0)


def test_drop_hides_a_share_and_keeps_the_mean(values):
    noisy = corrupted(values, "drop", 0.75)
    assert sorted(set(noisy.tolist())) == [0.0, 8.0]
    assert (noisy == 0).float().mean().item() == pytest.approx(0.75, abs=0.02)


def test_mask_hides_a_share_and_leaves_the_rest_as_it_is(values):
    noisy = corrupted(values, "mask", 0.75)
    assert sorted(set(noisy.tolist())) == [0.0, 2.0]
    assert (noisy == 0).float().mean().item() == pytest.approx(0.75, abs=0.02)


def test_gaussian_noise_has_the_mean_of_the_values_and_a_spread_in_their_units(values):
    noisy = corrupted(values, "gaussian", 0.5)
    assert noisy.mean().item() == pytest.approx(2.0, abs=0.05)
    assert noisy.std().item() == pytest.approx(0.5 * 2.0, abs=0.05)


@pytest.mark.parametrize("corruption", ["none", "drop", "mask", "gaussian"])
def test_no_strength_is_no_corruption(values, corruption):
    assert torch.equal(corrupted(values, corruption, 0.0), values)


@pytest.mark.parametrize("corruption", ["drop", "mask"])
def test_hiding_everything_is_refused(corruption):
    with pytest.raises(ConfigError, match=r"strength=1.5 leaves none; give less than 1"):
        create("dae", corruption=corruption, strength=1.5)
    create("dae", corruption="gaussian", strength=1.5)


def test_a_masked_history_has_the_length_1_it_would_have_at_scoring_and_may_be_empty():
    model = create("dae", corruption="mask", strength=0.9)
    batch = SparseBatch.of(csr_array(two_tastes()), CPU)
    torch.manual_seed(0)
    lengths = torch.zeros(N).index_add(0, batch.rows, model._corrupted_inputs(batch).square()).sqrt()
    empty = lengths == 0
    assert 0 < empty.sum() < N
    assert_allclose(lengths[~empty], 1.0, rtol=1e-5)


# -------------------------------------------------------------------- the plain and the denoising autoencoder


@pytest.mark.parametrize("name", ["dae", "cdae"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("corruption", ["none", "drop", "mask", "gaussian"])
def test_every_corruption_and_loss_finds_the_unseen_item_of_ones_taste(name, corruption, loss):
    model = fitted(name, corruption=corruption, loss=loss, n_hidden=2)
    assert own_taste_first(model) == 1.0


def test_the_clean_rows_are_the_target_and_scoring_corrupts_nothing():
    settings = {"corruption": "mask", "strength": 0.9, "unobserved_weight": 0.3, "precision": "float32"}
    model = fitted(loss="squared", epochs=2, **settings)
    network, x = model.network_, torch.from_numpy(two_tastes().toarray())
    assert_array_equal(model.score(two_tastes()), model.score(two_tastes()))

    unit = torch.nn.functional.normalize(x)
    hidden = torch.tanh(unit @ network.input.weight + network.input.bias)
    outputs = hidden @ network.output.weight.T + network.output.bias
    assert_allclose(model.score(two_tastes()), outputs.detach().numpy(), atol=1e-5)

    batch = SparseBatch.of(csr_array(two_tastes()), CPU)
    clean = squared_error(outputs, batch.rows, batch.columns, batch.values, 0.3)
    assert model._restoring(hidden, batch).item() == pytest.approx(clean.item(), rel=1e-5)


def test_a_plain_autoencoder_with_room_copies_what_it_is_shown():
    data = csr_matrix((np.random.default_rng(0).random((6, 8)) < 0.4).astype(np.float32))
    model = create("dae", corruption="none", loss="squared", n_hidden=16, epochs=100, learning_rate=0.05)
    assert_allclose(model.fit(data, show_progress=False).score(data), data.toarray(), atol=0.05)


def test_without_normalising_the_scale_of_a_history_matters():
    data = two_tastes()
    scaled, raw = fitted(epochs=2), fitted(epochs=2, normalise=False)
    assert_allclose(scaled.score(3 * data), scaled.score(data), rtol=1e-4, atol=1e-5)
    assert not np.allclose(raw.score(3 * data), raw.score(data), rtol=1e-4, atol=1e-5)


def test_an_absent_item_scores_higher_where_absence_has_less_weight():
    data = two_tastes()
    absent = data.toarray() == 0
    firm, lenient = fitted(unobserved_weight=1.0), fitted(unobserved_weight=0.05)
    assert lenient.score(data)[absent].mean() > firm.score(data)[absent].mean() + 1.0


def test_negative_values_are_restored_by_squares_and_refused_by_the_logistic_loss():
    data = two_tastes()
    data.data[3] = -1.0
    with pytest.raises(DataError, match=r"found the value -1; drop negative values, or set loss='squared'"):
        create("dae", epochs=1).fit(data, show_progress=False)
    model = create("dae", loss="squared", epochs=1).fit(data, show_progress=False)
    assert np.isfinite(model.score(data)).all()


# -------------------------------------------------------------------- CDAE


def test_cdae_gives_each_user_of_a_batch_their_own_vector():
    model = create("cdae", n_hidden=3, corruption="none", epochs=1).fit(two_tastes(), show_progress=False)
    with torch.no_grad():
        model.network_.users.weight.copy_(torch.randn(N, 3))
    users = [5, 2, 11]
    rows = model._training_rows(csr_array(two_tastes()))[users]
    found = model._loss(SparseBatch.of(rows, CPU), 0.0)

    clean = SparseBatch.of(csr_array(two_tastes())[users], CPU)
    hidden = model.network_.encode(clean, clean.unit_length(), model.network_.users.weight[users])
    assert found.item() == pytest.approx(model._restoring(hidden, clean).item(), rel=1e-5)


def test_cdae_trains_users_without_history_too_and_leaves_them_out_of_the_mean():
    data = two_tastes().toarray()
    data[4] = 0.0
    model = create("cdae", **SETTINGS["cdae"]).fit(csr_matrix(data), show_progress=False)
    vectors = model.network_.users.weight.detach().numpy()
    assert_allclose(model.mean_user_, np.delete(vectors, 4, axis=0).mean(axis=0), atol=1e-6)
    assert np.ptp(vectors, axis=0).max() > 0.01, "users differ"


def test_cdae_scores_every_history_with_the_mean_vector():
    model = fitted("cdae")
    network, x = model.network_, torch.from_numpy(two_tastes().toarray())
    unit = torch.nn.functional.normalize(x)
    added = torch.from_numpy(model.mean_user_)
    hidden = torch.tanh(unit @ network.input.weight + network.input.bias + added)
    assert_allclose(model.encode(csr_array(two_tastes())), hidden.detach().numpy(), atol=1e-5)
