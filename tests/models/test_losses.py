import math

import numpy as np
import pytest
import torch
from scipy.stats import multinomial

from recae.models.losses import gaussian_kl, masked_mse, multinomial_nll


def test_masked_mse_ignores_what_was_not_rated():
    predicted = torch.tensor([[4.0, 9.0, 1.0]], requires_grad=True)
    target = torch.tensor([[5.0, float("nan"), 1.0]])
    observed = torch.tensor([[True, False, True]])

    loss = masked_mse(predicted, target, observed)
    loss.backward()

    assert loss.item() == pytest.approx((1.0**2 + 0.0**2) / 2)
    assert predicted.grad[0, 1] == 0.0, "an unrated item must get no gradient"
    assert predicted.grad[0, 0] == pytest.approx(2 * (4.0 - 5.0) / 2)


def test_masked_mse_refuses_a_batch_without_ratings():
    with pytest.raises(ValueError, match="nothing in the batch is observed"):
        masked_mse(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))


def test_masked_mse_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=r"\(2, 1\)"):
        masked_mse(torch.zeros(2, 3), torch.zeros(2, 1), torch.ones(2, 3, dtype=torch.bool))


def test_multinomial_nll_is_scipys_but_for_the_coefficient_that_no_weight_changes():
    logits = torch.tensor([[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]], dtype=torch.float64)
    counts = np.array([[2, 1, 0], [0, 0, 3]])
    rows, columns = (torch.from_numpy(place) for place in np.nonzero(counts))
    loss = multinomial_nll(logits, rows, columns, torch.from_numpy(counts[counts > 0]).double())

    wanted = 0.0
    for row in range(2):
        chances = torch.softmax(logits[row], 0).numpy()
        n = counts[row].sum()
        ways = math.factorial(n) / math.prod(math.factorial(count) for count in counts[row])
        wanted -= multinomial.logpmf(counts[row], n, chances) - math.log(ways)
    assert loss.item() == pytest.approx(wanted / 2)


def test_multinomial_nll_pulls_up_what_was_chosen_and_pushes_down_the_rest():
    logits = torch.zeros(1, 4, requires_grad=True)
    multinomial_nll(logits, torch.tensor([0]), torch.tensor([2]), torch.tensor([1.0])).backward()
    assert logits.grad.tolist() == [pytest.approx([0.25, 0.25, -0.75, 0.25])]


def test_an_empty_row_adds_nothing_to_the_multinomial_loss():
    loss = multinomial_nll(torch.randn(2, 3), torch.tensor([0]), torch.tensor([1]), torch.tensor([0.0]))
    assert loss.item() == 0.0


def test_gaussian_kl_is_torchs_closed_form():
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    ours = gaussian_kl(mean, log_variance)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    theirs = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert gaussian_kl(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0.0
