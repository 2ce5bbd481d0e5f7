import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from recae.models import create
from recae.models.neural import SparseBatch
from tests.models.cases import SETTINGS, N, two_tastes_rated


def make(**settings):
    return create("deep_autorec", **(SETTINGS["deep_autorec"] | settings))


def dense_output(network, rows):
    """The network over complete rows (n_rows, n_items), without dropout."""
    return network.decode(network.hidden(network.encode_complete(rows)))


def test_sparse_rows_and_the_same_rows_written_out_have_the_same_codes():
    network = make().fit(two_tastes_rated(), show_progress=False).network_
    rows = csr_array(two_tastes_rated()[:5])
    sparse = network.encode(SparseBatch.of(rows, torch.device("cpu")))
    torch.testing.assert_close(sparse, network.encode_complete(torch.from_numpy(rows.toarray())))


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_loss_is_the_masked_error_and_what_a_second_pass_changes(weight):
    model = make(dropout=0.0, refeeding=weight, epochs=2).fit(two_tastes_rated(), show_progress=False)
    rows = model._means.residuals(csr_array(two_tastes_rated()))
    observed = torch.from_numpy(two_tastes_rated().toarray() > 0)
    found = model._loss(SparseBatch.of(rows, torch.device("cpu")), epoch=0.0)
    first = dense_output(model.network_, torch.from_numpy(rows.toarray()))
    masked = (first - torch.from_numpy(rows.toarray()))[observed].square().mean()
    changed = (dense_output(model.network_, first.detach()) - first.detach()).square().mean()
    torch.testing.assert_close(found, masked + weight * changed)


def test_refeeding_teaches_the_network_to_leave_its_own_output_as_it_is():
    def change(model):
        with torch.no_grad():
            residuals = model._means.residuals(csr_array(two_tastes_rated())).toarray()
            once = dense_output(model.network_, torch.from_numpy(residuals))
            return float((dense_output(model.network_, once) - once).square().mean() / once.square().mean())

    without, with_it = (
        make(refeeding=weight).fit(two_tastes_rated(), show_progress=False) for weight in (0.0, 2.0)
    )
    assert change(with_it) < 0.5 * change(without)


def test_withheld_ratings_of_both_tastes_are_predicted_on_the_scale():
    data = two_tastes_rated()
    predicted = make().fit(data, show_progress=False).score(data)
    foreign = predicted[(data.toarray() == 0) & ~np.eye(N, dtype=bool)]
    assert np.diag(predicted).mean() > 4.0
    assert foreign.mean() < 2.5, "the mean of the data is 4"
    assert (predicted.min(), predicted.max()) >= (1.0, 1.0)
    assert predicted.max() <= 5.0
