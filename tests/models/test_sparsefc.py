import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.data.splits import Holdout
from recae.errors import FitError
from recae.models import create
from recae.models.observed import Entries
from recae.models.ratings import RatingMeans
from recae.models.sparsefc import KernelWeights, SparseFCNetwork
from tests.models.cases import SETTINGS, N, two_tastes_rated


def make(**settings):
    return create("sparsefc", **(SETTINGS["sparsefc"] | settings))


def parts():
    """Ratings, and held-out ones of the same users: every seventh."""
    data = csr_array(two_tastes_rated())
    is_held = np.arange(data.nnz) % 7 == 0
    rows = np.repeat(np.arange(N), np.diff(data.indptr))

    def part(chosen):
        return csr_array((data.data[chosen], (rows[chosen], data.indices[chosen])), shape=data.shape)

    train = part(~is_held)
    return train, Holdout(train, part(is_held), IdMap.of_range(N))


def test_the_kernel_is_the_hat_of_the_distance_of_two_units():
    layer = KernelWeights(3, 2, n_embedding=2)
    with torch.no_grad():
        layer.of_rows.copy_(torch.tensor([[0.0, 0.0], [0.6, 0.0], [2.0, 0.0]]))
        layer.of_columns.copy_(torch.tensor([[0.0, 0.0], [0.0, 0.8]]))
    # squared distances 0, .64; .36, 1; 4, 4.64
    assert_allclose(layer.kernel().detach(), [[1.0, 0.36], [0.64, 0.0], [0.0, 0.0]], atol=1e-6)


def test_the_objective_is_that_of_the_dense_network():
    torch.manual_seed(0)
    data = csr_array(two_tastes_rated()[:10].T.tocsr())  # (24 items, 10 users)
    network = SparseFCNetwork(n_users=10, n_hidden=6, n_embedding=3)
    entries = Entries.of(data, torch.device("cpu"))
    found = network.objective(entries, entries.values - 3.0, l2=0.5, sparsity=0.25)
    found.backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()

    def distance(layer):
        return (layer.of_rows[:, None] - layer.of_columns[None]).square().sum(dim=2)

    kernels = [torch.relu(1 - distance(layer)) for layer in (network.entrance, network.hidden, network.exit)]
    first, second, last = (
        layer.weight * kernel
        for layer, kernel in zip((network.entrance, network.hidden, network.exit), kernels, strict=True)
    )
    ratings = torch.from_numpy(data.toarray())
    hidden = torch.sigmoid(
        torch.sigmoid(ratings @ first + network.entrance_bias) @ second + network.hidden_bias
    )
    errors = (hidden @ last.T + network.exit_bias - (ratings - 3.0))[ratings != 0]
    weights = sum(layer.weight.square().sum() for layer in (network.entrance, network.hidden, network.exit))
    dense = 0.5 * (errors.square().sum() + 0.5 * weights + 0.25 * sum(k.square().sum() for k in kernels))
    dense.backward()
    torch.testing.assert_close(found, dense)
    for gradient, parameter in zip(gradients, network.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-4)


def test_withheld_ratings_of_both_tastes_are_predicted():
    data = two_tastes_rated()
    predicted = make().fit(data, show_progress=False).score(data)
    foreign = predicted[(data.toarray() == 0) & ~np.eye(N, dtype=bool)]
    assert np.diag(predicted).mean() > 4.0
    assert foreign.mean() < 2.5, "the mean of the data is 4"


def test_rounds_lower_the_objective():
    losses = make(epochs=4).fit(two_tastes_rated(), show_progress=False).training_log_["losses"]
    assert losses == sorted(losses, reverse=True)


def test_a_penalty_on_the_kernels_cuts_connections():
    dense = make(sparsity=0.0).fit(two_tastes_rated(), show_progress=False)
    sparse = make(sparsity=3.0, epochs=6).fit(two_tastes_rated(), show_progress=False)
    assert len(dense.connected_) == 3
    assert sum(sparse.connected_) < sum(dense.connected_)


def test_a_user_is_folded_in_by_ridge_regression_on_the_item_codes():
    from sklearn.linear_model import Ridge

    model = make(fold_in_l2=0.7).fit(two_tastes_rated(), show_progress=False)
    means = RatingMeans(**model.means_)
    row = csr_array(two_tastes_rated()[[3]])
    left = means.residuals(row)
    codes = np.column_stack([model.item_codes_, np.ones(N)])
    oracle = Ridge(alpha=0.7, fit_intercept=False).fit(codes[left.indices], left.data)
    found = model.encode(row)[0]
    assert_allclose(found[:-1], oracle.coef_[:-1], atol=1e-3)
    assert_allclose(found[-1], oracle.coef_[-1] + means.user_offsets(row)[0], atol=1e-3)


def test_it_stops_on_validation_and_keeps_its_best_round():
    train, validation = parts()
    model = make(epochs=12, iterations=3, patience=2, l2=0.01)
    log = model.fit(train, show_progress=False, validation=validation).training_log_
    again = make(epochs=log["best_epoch"], iterations=3, l2=0.01).fit(train, show_progress=False)
    assert_array_equal(model.score(train), again.score(train))
    error = model.score(train)[validation.targets.nonzero()] - validation.targets.data
    assert -max(log["values"]) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


def test_a_loss_beyond_all_numbers_says_what_to_change():
    with pytest.raises(FitError, match=r"the loss became (inf|nan) in epoch 1; raise the regularisation"):
        make(l2=3e38).fit(two_tastes_rated(), show_progress=False)
