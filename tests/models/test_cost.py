"""The cost of learning from ratings grows with the ratings, not with users x items: numbers counted, no clock looked at."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recae.models import create, optimisers

SETTINGS = {
    "autorec-item": {"by": "item", "n_hidden": 4, "epochs": 1, "batch_size": 100_000},
    "autorec-user": {"by": "user", "n_hidden": 4, "epochs": 1, "batch_size": 100_000},
    # without its second pass, which by its nature computes every item of a batch
    "deep_autorec": {"n_hidden": 4, "n_code": 4, "epochs": 1, "batch_size": 100_000, "refeeding": 0.0},
    "sparsefc": {"n_hidden": 4, "n_embedding": 2, "epochs": 1, "iterations": 1},
    "biased_mf": {"n_factors": 4, "epochs": 1},
}
NEURAL = [name for name in SETTINGS if name != "biased_mf"]


class Moved(TorchDispatchMode):
    """Counts the numbers that torch's operations read and write, forward and backward, and the largest tensor of them."""

    def __init__(self):
        super().__init__()
        self.total, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        del types
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, found)):
            if isinstance(tensor, torch.Tensor):
                # a sparse one holds its entries, whatever its shape
                n = tensor._nnz() if tensor.layout != torch.strided else tensor.numel()
                self.total += n
                self.largest = max(self.largest, n)
        return found


def ratings(n_users, n_items, n_ratings):
    """Stars at different places, no two in one."""
    rng = np.random.default_rng(0)
    places = rng.choice(n_users * n_items, n_ratings, replace=False, shuffle=False)
    stars = rng.integers(1, 6, n_ratings).astype(np.float32)
    return csr_array((stars, np.divmod(places, n_items)), shape=(n_users, n_items))


def fitted(name, data):
    return create(name.split("-")[0], **SETTINGS[name]).fit(data, show_progress=False)


def n_moved(name, *size):
    """Numbers moved in one epoch; of L-BFGS, whose line search takes as many steps as it needs, in one of them."""
    data = ratings(*size)
    with Moved() as moved, pytest.MonkeyPatch.context() as patched:
        if name == "sparsefc":
            patched.setattr(optimisers.LBFGS, "step", lambda _, evaluate: evaluate())
        fitted(name, data)
    return moved.total


@pytest.mark.parametrize("name", SETTINGS)
def test_training_takes_far_less_memory_than_a_matrix_of_users_and_items(name):
    n_users, n_items, n_ratings = 4_000, 5_000, 3_000
    data = ratings(n_users, n_items, n_ratings)
    with Moved():
        fitted(name, data[:3])  # what is imported at first use, by torch's counting too, does not count
    tracemalloc.start()  # numpy's arrays; torch's are seen by Moved
    try:
        with Moved() as moved:
            fitted(name, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    dense = n_users * n_items
    assert moved.largest <= 10 * (n_users + n_items + n_ratings) < dense / 100
    assert peak < 4 * dense / 50, f"{peak:,} bytes of arrays"


@pytest.mark.parametrize("name", NEURAL)
def test_the_cost_of_an_epoch_is_linear_in_the_ratings(name):
    none, once, twice = (n_moved(name, 200, 300, n) for n in (1_000, 11_000, 21_000))
    assert once > 1.5 * none, "most of it is due to ratings"
    assert twice - once == pytest.approx(once - none, rel=0.05)


@pytest.mark.parametrize("name", NEURAL)
def test_the_same_ratings_among_four_times_the_users_and_items_cost_at_most_four_times_as_much(name):
    assert n_moved(name, 800, 1_200, 2_000) < 4 * n_moved(name, 200, 300, 2_000)
