"""The output layer and its loss in one step are what they are in two."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from recae.models import create, model_class, multinomial_output
from recae.models.multinomial_output import multinomial_output_nll
from recae.models.neural import NeuralModel, SparseBatch
from tests.models.cases import CASES, named, two_tastes
from tests.models.oracles import PRODUCTS, assert_same_loss, multinomial_nll

N_ROWS, N_ITEMS, WIDTH = 9, 50, 7


@pytest.fixture(autouse=True, params=[16, 1024], ids=["4 blocks", "1 block"])
def block(request, monkeypatch):
    monkeypatch.setattr(multinomial_output, "BLOCK_ITEMS", request.param)


def layer(dtype, scale=1.0):
    """Input, weight and bias with gradients; a batch whose rows 0 and 4 are empty, with counts of 1 to 3."""
    rng = np.random.default_rng(0)
    shapes = ((N_ROWS, WIDTH), (N_ITEMS, WIDTH), (N_ITEMS,))
    parts = [
        torch.tensor(scale * rng.standard_normal(shape), dtype=dtype, requires_grad=True) for shape in shapes
    ]
    counts = rng.integers(1, 4, (N_ROWS, N_ITEMS)) * (rng.random((N_ROWS, N_ITEMS)) < 0.2)
    counts[[0, 4]] = 0
    return parts, SparseBatch.of(csr_array(counts.astype(np.float32)), torch.device("cpu"))


def fused(parts, batch, products):
    counts = batch.values.to(parts[0].dtype)
    return multinomial_output_nll(*parts, batch.rows, batch.columns, counts, products)


def in_two_steps(parts, batch):
    hidden, weight, bias = parts
    counts = batch.values.to(hidden.dtype)
    return multinomial_nll(hidden @ weight.T + bias, batch.rows, batch.columns, counts)


@pytest.mark.parametrize(("dtype", "products", "tolerance"), PRODUCTS)
def test_loss_and_gradients_are_those_of_logits_and_loss_apart(dtype, products, tolerance):
    parts, batch = layer(dtype)
    loss, wanted = 0.3 * fused(parts, batch, products), 0.3 * in_two_steps(parts, batch)
    assert_same_loss(loss, wanted, parts, tolerance)


def test_logits_far_beyond_what_exp_can_take_give_the_same_gradients():
    parts, batch = layer(torch.float64, scale=30.0)
    loss, wanted = fused(parts, batch, torch.float64), in_two_steps(parts, batch)
    assert wanted.item() > 1000
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(torch.autograd.grad(loss, parts), torch.autograd.grad(wanted, parts))


def test_a_batch_of_empty_rows_costs_nothing_and_pulls_nowhere():
    parts, _ = layer(torch.float32)
    empty = SparseBatch.of(csr_array((N_ROWS, N_ITEMS), dtype=np.float32), torch.device("cpu"))
    loss = fused(parts, empty, torch.float32)
    assert loss.item() == 0.0
    assert all(not gradient.any() for gradient in torch.autograd.grad(loss, parts))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (1, 2)])
def test_only_the_gradients_that_are_asked_for_are_computed_and_they_are_the_same(wanted):
    parts, batch = layer(torch.float64)
    chosen = [part.detach().requires_grad_(number in wanted) for number, part in enumerate(parts)]
    fused(chosen, batch, torch.float64).backward()
    in_two_steps(parts, batch).backward()
    for number, part in enumerate(chosen):
        if number in wanted:
            torch.testing.assert_close(part.grad, parts[number].grad)
        else:
            assert part.grad is None


def test_without_gradients_the_loss_is_the_same():
    parts, batch = layer(torch.float64)
    with torch.no_grad():
        assert fused(parts, batch, torch.float64).item() == pytest.approx(in_two_steps(parts, batch).item())


def test_interactions_may_come_in_any_order_and_twice():
    parts, _ = layer(torch.float64)
    rows, columns = torch.tensor([3, 0, 3, 8, 3]), torch.tensor([7, 1, 7, 49, 2])
    counts = torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0], dtype=torch.float64)
    hidden, weight, bias = parts
    loss = multinomial_output_nll(*parts, rows, columns, counts, torch.float64)
    wanted = multinomial_nll(hidden @ weight.T + bias, rows, columns, counts)
    torch.testing.assert_close(torch.autograd.grad(loss, parts), torch.autograd.grad(wanted, parts))


@pytest.mark.parametrize("name", ["mult_dae", "mult_vae", "recvae", "sparse_ae"])
def test_in_bfloat16_a_model_learns_what_it_learns_in_float32(name):
    settings = {"epochs": 10, "batch_size": 8, "n_hidden": 16, "learning_rate": 0.02}
    if name == "sparse_ae":
        settings["n_active"] = 4
    losses = [
        create(name, precision=precision, **settings)
        .fit(two_tastes(), show_progress=False)
        .training_log_["losses"]
        for precision in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1], "the setting has an effect"
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)


@pytest.mark.parametrize(
    "case", named([case for case in CASES if issubclass(model_class(case.name), NeuralModel)])
)
def test_the_precision_of_products_is_a_setting_of_those_models_that_say_so(case):
    found, wanted = (
        case.fitted(epochs=1, precision=precision).score(case.data) for precision in ("bfloat16", "float32")
    )
    go_by_it = {
        "dae",
        "cdae",
        "mult_dae",
        "mult_vae",
        "recvae",
        "hvamp_vae",
        "sparse_ae",
        "sequential_vae",
        "lmf",
    }  # see NeuralConfig
    assert np.array_equal(found, wanted) == (case.name not in go_by_it)
