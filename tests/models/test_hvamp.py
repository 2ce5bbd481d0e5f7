"""The H+Vamp gated VAE: its densities against torch's own distributions, its prior, its sparse first layer."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from recae.models import create
from recae.models.hvamp import Gated, log_density, log_mixture
from recae.models.neural import SparseBatch
from tests.models.cases import two_tastes

CONSTANT = 0.5 * np.log(2 * np.pi)


@pytest.fixture(scope="module")
def model():
    return create(
        "hvamp_vae",
        n_hidden=8,
        n_latent=3,
        n_pseudo=5,
        epochs=3,
        batch_size=8,
        learning_rate=0.02,
        kl_weight=0.05,
    ).fit(two_tastes(), show_progress=False)


def normal(n_rows, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n_rows, 3), generator=generator), torch.randn((n_rows, 3), generator=generator)


def test_a_log_density_is_that_of_torchs_normal_but_for_the_constant():
    mean, log_variance = normal(4, seed=1)
    value = torch.ones(4, 3)
    wanted = Independent(Normal(mean, (0.5 * log_variance).exp()), 1).log_prob(value)
    torch.testing.assert_close(log_density(value, (mean, log_variance)) - 3 * CONSTANT, wanted)


def test_the_prior_is_the_even_mixture_of_what_the_pseudo_histories_give():
    mean, log_variance = normal(5, seed=2)
    value = normal(4, seed=3)[0]
    mixture = MixtureSameFamily(
        Categorical(logits=torch.zeros(5)), Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    )
    found = log_mixture(value, (mean, log_variance)) - 3 * CONSTANT
    torch.testing.assert_close(found, mixture.log_prob(value))


def test_narrow_components_are_told_apart_as_exactly_as_wide_ones():
    generator = torch.Generator().manual_seed(4)
    mean = 2 * torch.randn(200, generator=generator) + 0.01 * torch.randn((20, 200), generator=generator)
    log_variance = torch.full((20, 200), -12.0)
    value = mean[:8] + np.exp(-6.0) * torch.randn((8, 200), generator=generator)
    exact = torch.logsumexp(
        torch.stack(
            [
                log_density(value.double(), (m.double(), v.double()))
                for m, v in zip(mean, log_variance, strict=True)
            ]
        ),
        dim=0,
    ) - np.log(20)
    torch.testing.assert_close(log_mixture(value, (mean, log_variance)).double(), exact, rtol=1e-6, atol=0.0)


def test_a_gated_layer_multiplies_one_half_by_the_sigmoid_of_the_other():
    layer = Gated(3, 2)
    units = torch.tensor([[1.0, -2.0, 0.5]])
    linear, gate = (units @ layer.layers[0].weight.T).chunk(2, dim=1)
    torch.testing.assert_close(layer(units), linear * torch.sigmoid(gate))


def test_a_pseudo_history_is_read_like_the_sparse_history_with_its_entries(model):
    network = model.network_
    pseudo = network.pseudo.detach().clamp(0.0, 1.0)
    batch = SparseBatch.of(csr_array(pseudo.numpy()), torch.device("cpu"))
    with torch.no_grad():
        wanted = network.upper(batch, batch.unit_length())
        found = network.upper_of_pseudo()
    torch.testing.assert_close(found, wanted)


def test_the_length_of_a_pseudo_history_does_not_matter(model):
    network = create("hvamp_vae", **model.config.model_dump())._build(csr_array(two_tastes()))
    with torch.no_grad():
        wanted, _ = network.upper_of_pseudo()
        network.pseudo.mul_(0.5)
        found, _ = network.upper_of_pseudo()
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_lower_code_and_the_items_are_one_layer_further_than_the_upper_code(n_layers):
    network = create("hvamp_vae", n_layers=n_layers)._build(csr_array(two_tastes()))
    n_to_upper = 1 + len(network.upper_hidden.layers)
    n_to_lower = 1 + len(network.lower_hidden.layers) + len(network.lower_joint.layers)
    n_to_items = len(network.decoder_lower.layers) + len(network.decoder_joint.layers)
    assert (n_to_upper, n_to_lower, n_to_items) == (n_layers, n_layers + 1, n_layers + 1)


def test_pseudo_histories_are_learned(model):
    fresh = create("hvamp_vae", **model.config.model_dump())._build
    with torch.random.fork_rng():
        torch.manual_seed(model.config.seed)
        start = fresh(csr_array(two_tastes())).pseudo
    assert not torch.equal(model.network_.pseudo, start)


def test_the_loss_pulls_at_every_weight(model):
    network = create("hvamp_vae", **model.config.model_dump())
    network.network_ = model.network_
    loss = network._loss(network._batch(csr_array(two_tastes())), epoch=50.0)
    model.network_.zero_grad()
    loss.backward()
    without = [name for name, weight in model.network_.named_parameters() if not weight.grad.abs().sum() > 0]
    assert without == []


def test_the_code_is_the_lower_one_beside_the_upper_one(model):
    codes = model.encode(csr_array(two_tastes()))
    assert codes.shape == (24, 6)
    batch = model._batch(csr_array(two_tastes()))
    with torch.no_grad():
        upper, _ = model.network_.upper(batch, batch.unit_length())
    np.testing.assert_array_equal(codes[:, 3:], upper.numpy())
