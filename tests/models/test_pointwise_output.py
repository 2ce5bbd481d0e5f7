"""The output layer and a loss of each item in one step are what they are in two."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from recae.models import create, pointwise_output
from recae.models.neural import SparseBatch
from recae.models.pointwise_output import ConfidentLogistic, Logistic, Squared, pointwise_output_loss
from tests.models.cases import two_tastes
from tests.models.oracles import (
    PRODUCTS,
    assert_same_loss,
    logistic_nll,
    squared_error,
    weighted_logistic_nll,
)
from tests.models.test_cost import Moved

N_ROWS, N_ITEMS, WIDTH = 9, 50, 7


def logistic(outputs, rows, columns, _values):
    return logistic_nll(outputs, rows, columns, 0.1)


def squared(outputs, rows, columns, values):
    return squared_error(outputs, rows, columns, values, 0.3)


LOSSES = {
    "logistic": (Logistic(0.1), logistic),
    "squared": (Squared(0.3), squared),
    "confident": (ConfidentLogistic(), weighted_logistic_nll),
}


@pytest.fixture(autouse=True, params=[16, 1024], ids=["4 blocks", "1 block"])
def block(request, monkeypatch):
    monkeypatch.setattr(pointwise_output, "BLOCK_OUTPUTS", 1)
    monkeypatch.setattr(pointwise_output, "FEWEST_ITEMS", request.param)


@pytest.fixture(params=LOSSES)
def kind(request):
    return LOSSES[request.param]


def layer(dtype, scale=1.0):
    """Input, weight, bias and row bias with gradients; a batch whose rows 0 and 4 are empty, as column 20 is."""
    rng = np.random.default_rng(0)
    shapes = ((N_ROWS, WIDTH), (N_ITEMS, WIDTH), (N_ITEMS,), (N_ROWS,))
    parts = [
        torch.tensor(scale * rng.standard_normal(shape), dtype=dtype, requires_grad=True) for shape in shapes
    ]
    values = rng.uniform(0.5, 4.0, (N_ROWS, N_ITEMS)) * (rng.random((N_ROWS, N_ITEMS)) < 0.2)
    values[[0, 4]] = 0.0
    values[:, 20] = 0.0
    return parts, SparseBatch.of(csr_array(values.astype(np.float32)), torch.device("cpu"))


def in_one_step(loss, parts, batch, products):
    hidden, weight, bias, row_bias = parts
    values = batch.values.to(hidden.dtype)
    return pointwise_output_loss(
        loss, hidden, weight, bias, batch.rows, batch.columns, values, products, row_bias=row_bias
    )


def in_two_steps(oracle, parts, batch):
    hidden, weight, bias, row_bias = parts
    outputs = hidden @ weight.T + bias + row_bias[:, None]
    return oracle(outputs, batch.rows, batch.columns, batch.values.to(hidden.dtype))


@pytest.mark.parametrize("factor", [1.0, 0.3])
@pytest.mark.parametrize(("dtype", "products", "tolerance"), PRODUCTS)
def test_loss_and_gradients_are_those_of_outputs_and_loss_apart(kind, dtype, products, tolerance, factor):
    loss, oracle = kind
    parts, batch = layer(dtype)
    found = factor * in_one_step(loss, parts, batch, products)
    wanted = factor * in_two_steps(oracle, parts, batch)
    assert found.dtype == dtype
    assert_same_loss(found, wanted, parts, tolerance)


def test_outputs_far_beyond_what_exp_can_take_give_the_same_gradients(kind):
    loss, oracle = kind
    parts, batch = layer(torch.float64, scale=30.0)
    found, wanted = in_one_step(loss, parts, batch, torch.float64), in_two_steps(oracle, parts, batch)
    assert wanted.item() > 1000
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, parts), torch.autograd.grad(wanted, parts))


def test_interactions_may_come_in_any_order(kind):
    loss, oracle = kind
    (hidden, weight, bias, _), _ = layer(torch.float64)
    rows, columns = torch.tensor([3, 0, 8, 3]), torch.tensor([7, 1, 49, 2])
    values = torch.tensor([1.0, 2.0, 1.0, 3.0], dtype=torch.float64)
    found = pointwise_output_loss(loss, hidden, weight, bias, rows, columns, values, torch.float64)
    wanted = oracle(hidden @ weight.T + bias, rows, columns, values)
    torch.testing.assert_close(found, wanted)
    parts = hidden, weight, bias
    torch.testing.assert_close(torch.autograd.grad(found, parts), torch.autograd.grad(wanted, parts))


def test_a_batch_of_empty_rows_is_absent_everywhere(kind):
    loss, oracle = kind
    parts, _ = layer(torch.float64)
    empty = SparseBatch.of(csr_array((N_ROWS, N_ITEMS), dtype=np.float32), torch.device("cpu"))
    found, wanted = in_one_step(loss, parts, empty, torch.float64), in_two_steps(oracle, parts, empty)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, parts), torch.autograd.grad(wanted, parts))


MODELS = [("dae", {"loss": "logistic"}), ("dae", {"loss": "squared"}), ("cdae", {}), ("lmf", {})]


@pytest.mark.parametrize(("name", "settings"), MODELS)
def test_in_bfloat16_a_model_learns_what_it_learns_in_float32(name, settings):
    size = {"n_factors": 8} if name == "lmf" else {"n_hidden": 16}
    settings = {"epochs": 10, "batch_size": 8, "learning_rate": 0.02} | size | settings
    losses = [
        create(name, precision=precision, **settings)
        .fit(two_tastes(), show_progress=False)
        .training_log_["losses"]
        for precision in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1], "the products are of the type that was asked for"
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1][-1] < 0.95 * losses[1][0]


@pytest.mark.parametrize(("name", "settings"), MODELS)
def test_a_step_holds_nothing_of_rows_by_items(name, settings, monkeypatch):
    """The largest array is one of weights or a block of outputs, of which there are many."""
    monkeypatch.setattr(pointwise_output, "FEWEST_ITEMS", 64)
    data = csr_array(
        (np.ones(60, dtype=np.float32), (np.arange(60), np.arange(60) * 37 % 3_000)), (60, 3_000)
    )
    size = {"n_factors": 3} if name == "lmf" else {"n_hidden": 3}
    model = create(name, epochs=1, batch_size=60, **size, **settings)
    with Moved() as moved:
        model.fit(data, show_progress=False)
    assert 60 * 64 <= moved.largest < 60 * 3_000 / 10
