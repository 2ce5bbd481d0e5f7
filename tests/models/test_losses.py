import math

import numpy as np
import pytest
import torch
from scipy.stats import multinomial

from recae.models.losses import (
    activity_kl,
    gaussian_kl,
    l1_penalty,
    normalised_mse,
)
from tests.models.oracles import logistic_nll, multinomial_nll, squared_error


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


def coordinates(matrix):
    return (torch.from_numpy(place) for place in np.nonzero(matrix.numpy()))


def test_squared_error_counts_an_absent_item_as_a_0_of_less_weight():
    target = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    predicted = torch.tensor([[1.0, 3.0, 0.0], [2.0, 0.0, 1.0]], requires_grad=True)
    rows, columns = coordinates(target)
    loss = squared_error(predicted, rows, columns, target[rows, columns], unobserved_weight=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(((2 - 1) ** 2 + 0.1 * 3**2 + 0.1 * 2**2 + (1 - 1) ** 2) / 2)
    assert predicted.grad[0].tolist() == pytest.approx([-2.0 / 2, 0.1 * 6.0 / 2, 0.0])


def test_squared_error_with_weight_1_is_torchs():
    target = torch.relu(torch.randn(4, 5))
    predicted = torch.randn(4, 5)
    rows, columns = coordinates(target)
    loss = squared_error(predicted, rows, columns, target[rows, columns])
    assert loss.item() == pytest.approx(
        torch.nn.functional.mse_loss(predicted, target, reduction="sum").item() / 4, rel=1e-5
    )


@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_logistic_nll_is_torchs_weighted_cross_entropy(weight):
    chosen = (torch.randn(4, 5) > 0).float()
    logits = torch.randn(4, 5)
    loss = logistic_nll(logits, *coordinates(chosen), unobserved_weight=weight)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, chosen, weight=torch.where(chosen > 0, 1.0, weight), reduction="sum"
    )
    assert loss.item() == pytest.approx(theirs.item() / 4, rel=1e-5)


def test_normalised_mse_is_the_squared_distance_of_the_rows_at_length_1():
    predicted, target = torch.randn(6, 4), torch.randn(6, 4)
    loss = normalised_mse((predicted * target).sum(1), predicted.square().sum(1), target.square().sum(1))
    normalize = torch.nn.functional.normalize
    dense = (normalize(predicted) - normalize(target)).square().sum(1).mean()
    assert loss.item() == pytest.approx(dense.item(), rel=1e-5)


def test_normalised_mse_lies_between_0_and_4_whatever_the_lengths():
    inner = torch.tensor([6.0, -6.0])
    loss = [normalised_mse(inner[[i]], torch.tensor([9.0]), torch.tensor([4.0])).item() for i in range(2)]
    assert loss == pytest.approx([0.0, 4.0], abs=1e-6)


def test_normalised_mse_of_an_empty_target_or_prediction_has_a_finite_gradient():
    inner = torch.tensor([0.0, 0.0], requires_grad=True)
    lengths = torch.tensor([0.0, 0.0], requires_grad=True)
    loss = normalised_mse(inner, lengths, torch.tensor([0.0, 3.0]))
    loss.backward()
    assert loss.item() == pytest.approx(2.0 / 2), "nothing from the empty target, cosine 0 for the other"
    assert torch.isfinite(inner.grad).all()
    assert torch.isfinite(lengths.grad).all()


def test_l1_penalty_is_the_same_when_activations_move_into_the_weights():
    activations, lengths = torch.tensor([[1.0, -2.0], [0.0, 4.0]]), torch.tensor([3.0, 0.5])
    assert l1_penalty(activations, lengths).item() == pytest.approx((3 + 1 + 0 + 2) / 2)
    assert l1_penalty(activations / 10, 10 * lengths).item() == pytest.approx(3.0)


def test_activity_kl_is_torchs_between_bernoullis_of_the_mean_activities():
    activations = torch.rand(5, 3)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(torch.tensor(0.1)), torch.distributions.Bernoulli(activations.mean(0))
    )
    assert activity_kl(activations, 0.1).item() == pytest.approx(theirs.sum().item(), rel=1e-4)
    assert activity_kl(torch.full((4, 2), 0.1), 0.1).item() == pytest.approx(0.0, abs=1e-6)


def test_a_unit_that_is_always_off_or_on_costs_a_finite_amount():
    for level in (0.0, 1.0):
        assert math.isfinite(activity_kl(torch.full((4, 2), level), 0.1).item())
