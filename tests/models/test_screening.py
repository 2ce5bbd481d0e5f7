"""Screening with 8-bit weights: nothing that belongs to the best is lost, and the answer is the exact one."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn.functional import linear

from recae.models import create, screening
from recae.models.neural import WideLinear
from recae.models.ranking import Sought, best_of
from recae.models.screening import WORTH_SCREENING, Screen, can_screen
from tests.models.cases import two_tastes

CPU = torch.device("cpu")
N_ITEMS = WORTH_SCREENING

pytestmark = pytest.mark.skipif(
    not can_screen(N_ITEMS, CPU), reason="this build of torch has no 8-bit products"
)


def layer(kind, d=32):
    """Weights and bias of an output layer, and rows of hidden units."""
    random = torch.Generator().manual_seed(sum(map(ord, kind)))
    weight = torch.randn(N_ITEMS, d, generator=random)
    hidden = torch.tanh(torch.randn(5, d, generator=random))
    bias = torch.randn(N_ITEMS, generator=random)
    match kind:
        case "one heavy weight":  # its item's others are lost in the rounding
            weight[::7, 0] = 300.0
        case "all equal":
            weight[:], bias[:] = weight[0], 0.5
        case "nothing":
            weight[:], bias[:] = 0.0, 0.0
        case "nearly equal":
            weight = weight[:1] + 1e-4 * weight
        case "one far row":  # all rows are rounded in its steps
            hidden[2] *= 1_000.0
        case "tiny":
            weight, hidden = weight * 1e-20, hidden * 1e-10
        case "one unit":
            weight, hidden = weight[:, :1].contiguous(), hidden[:, :1].contiguous()
    return weight, bias, hidden


KINDS = [
    "usual",
    "one heavy weight",
    "all equal",
    "nothing",
    "nearly equal",
    "one far row",
    "tiny",
    "one unit",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 10, 500])
def test_the_exact_best_are_among_the_candidates(kind, n):
    weight, bias, hidden = layer(kind)
    exact = (hidden.double() @ weight.double().T + bias.double()).numpy()
    allowed = np.random.default_rng(n).random((5, N_ITEMS)) < 0.7

    rows, found = Screen(weight, bias).candidates(hidden, [n] * 5, list(allowed))

    assert_array_equal(rows, np.sort(rows))
    for row in range(5):
        columns = found[rows == row]
        assert len(set(columns.tolist())) == len(columns)
        assert allowed[row, columns].all()
        cut = np.sort(exact[row][allowed[row]])[-n]
        assert set(np.flatnonzero((exact[row] > cut) & allowed[row])) <= set(columns.tolist())
        assert (exact[row, columns] >= cut).sum() >= n


def test_most_items_are_out():
    weight, bias, hidden = layer("usual")
    everything = np.ones(N_ITEMS, dtype=np.bool_)

    rows, _ = Screen(weight, bias).candidates(hidden, [10] * 5, [everything] * 5)

    assert np.bincount(rows).max() < N_ITEMS / 20


@pytest.mark.parametrize("name", ["mult_dae", "mult_vae", "cosine_dae", "recvae", "hvamp_vae", "sparse_ae"])
def test_a_model_answers_as_it_does_without_a_screen(name, monkeypatch):
    model = create(name, epochs=2, batch_size=20).fit(two_tastes(60), show_progress=False)
    random = np.random.default_rng(3)
    histories = two_tastes(60)[:6]
    sought = []
    for row in range(6):
        start, end = histories.indptr[row : row + 2]
        allowed = random.random(60) < 0.8
        columns, values = histories.indices[start:end], histories.data[start:end]
        sought.append(Sought(columns, values.astype(np.float32), min(3, int(allowed.sum())), allowed))

    exact = model.best_rows(sought)
    monkeypatch.setattr(screening, "WORTH_SCREENING", 1)
    vars(model).pop("_kept_screen")
    screened = model.best_rows(sought)

    assert model._screen is not None
    for (ids, scores), (screened_ids, screened_scores) in zip(exact, screened, strict=True):
        assert_array_equal(ids, screened_ids)
        assert_allclose(scores, screened_scores, rtol=1e-5, atol=1e-6)


def test_another_fit_makes_another_screen(monkeypatch):
    monkeypatch.setattr(screening, "WORTH_SCREENING", 1)
    model = create("mult_vae", epochs=1, batch_size=20).fit(two_tastes(60), show_progress=False)
    first = model._screen
    assert model._screen is first
    model.fit(two_tastes(60), show_progress=False)

    assert model._screen is not first
    assert "_kept_screen" not in model._state()


def test_small_layers_and_builds_without_8_bit_products_score_everything(monkeypatch):
    assert not can_screen(N_ITEMS - 1, CPU)
    assert not can_screen(N_ITEMS, torch.device("cuda"))
    monkeypatch.delattr(torch, "quantize_per_channel")
    assert not can_screen(N_ITEMS, CPU)


def test_nobody_is_warned_of_what_pytorch_means_to_remove():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight, bias, hidden = layer("usual")
        Screen(weight, bias).candidates(hidden, [1] * 5, [np.ones(N_ITEMS, dtype=np.bool_)] * 5)


@pytest.mark.parametrize("n_rows", [1, 3, 4, 33])
def test_a_wide_layer_gives_the_same_in_blocks(n_rows):
    wide = WideLinear(50, 2 * WideLinear.BLOCK + 7)
    inputs = torch.randn(n_rows, 50)

    with torch.no_grad():
        in_blocks = wide(inputs)

    assert_allclose(
        in_blocks.numpy(), linear(inputs, wide.weight, wide.bias).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    assert wide(inputs).requires_grad, "training goes the usual way"


def test_the_best_of_one_row_are_found_by_their_lowest():
    scores = np.random.default_rng(0).normal(size=5_000).astype(np.float32)
    ids, best = best_of(scores, 10)

    assert best.min() == np.sort(scores)[-10]
    assert_array_equal(scores[ids], best)
