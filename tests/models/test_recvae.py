import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.stats import norm

from recae.models import create
from recae.models.neural import SparseBatch
from recae.models.recvae import ENCODER_PASSES, RecVAENetwork
from tests.models.cases import N, two_tastes

SMALL = {"n_hidden": 6, "n_latent": 3, "batch_size": 8}


@pytest.fixture
def batch():
    return SparseBatch.of(csr_array(two_tastes()[:4]), torch.device("cpu"))


def test_the_prior_is_the_mixture_of_standard_old_and_wide(batch):
    torch.manual_seed(0)
    network = RecVAENetwork(N, 6, 3)
    code = torch.randn(4, 3)
    with torch.no_grad():
        mean, log_variance = network.old_encoder(batch, batch.unit_length())
        found = network.log_prior(batch, code).numpy()
    parts = [
        0.15 * norm.pdf(code.numpy()),
        0.75 * norm.pdf(code.numpy(), mean.numpy(), np.exp(0.5 * log_variance.numpy())),
        0.10 * norm.pdf(code.numpy(), 0.0, np.exp(5.0)),
    ]
    wanted = np.log(sum(parts)) + 0.5 * np.log(2 * np.pi)  # the constant cancels against the posterior's
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_three_passes_train_the_encoder_and_one_the_decoder(monkeypatch):
    moved = []

    def watched(self, rows, update=None):
        network = self._model.network_
        before = [part.weight.detach().clone() for part in (network.encoder.code, network.output)]
        loss = update(self, rows)
        after = [part.weight.detach() for part in (network.encoder.code, network.output)]
        moved.append(tuple(not torch.equal(*pair) for pair in zip(before, after, strict=True)))
        return loss

    from recae.models import neural

    original = neural._Session.update
    monkeypatch.setattr(neural._Session, "update", lambda self, rows: watched(self, rows, original))
    create("recvae", epochs=2, **SMALL).fit(two_tastes(), show_progress=False)
    n_batches = 3
    epoch = [(True, False)] * (ENCODER_PASSES * n_batches) + [(False, True)] * n_batches
    assert moved == epoch * 2


def test_the_prior_remembers_the_encoder_as_the_decoder_pass_began():
    model = create("recvae", epochs=1, **SMALL).fit(two_tastes(), show_progress=False)
    encoder, old = model.network_.encoder.state_dict(), model.network_.old_encoder.state_dict()
    assert all(torch.equal(encoder[name], old[name]) for name in encoder)


def test_the_kl_term_weighs_gamma(batch):
    torch.manual_seed(0)
    losses = {}
    for gamma in (1e-9, 0.5, 1.0):
        model = create("recvae", gamma=gamma, **SMALL)
        torch.manual_seed(1)
        model.network_ = RecVAENetwork(N, 6, 3)
        torch.manual_seed(2)
        losses[gamma] = model._elbo(batch, batch.unit_length()).item()
    kl = losses[1.0] - losses[1e-9]
    assert losses[0.5] - losses[1e-9] == pytest.approx(kl / 2, rel=1e-3)


def test_the_decoder_pass_sees_whole_histories(monkeypatch):
    shares = []
    from recae.models import recvae

    def dropout(values, share):
        shares.append(share)
        return values

    monkeypatch.setattr(recvae.nn.functional, "dropout", dropout)
    create("recvae", epochs=1, dropout=0.4, **SMALL).fit(two_tastes(), show_progress=False)
    assert shares == [0.4] * 9 + [0.0] * 3
