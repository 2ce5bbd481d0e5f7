"""The cost of learning from ratings grows with the ratings, not with users x items: numbers counted, no clock looked at.

With one step in an epoch, as a dense step moves every weight; epochs of many steps are lazy Adam's, at the end.
"""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recae.models import create, neural, optimisers

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


# -------------------------------------------------------------------- lazy steps


class Made(TorchDispatchMode):
    """Counts the numbers in new tensors, and names the operations that are given a tensor of so many numbers or more."""

    def __init__(self, large):
        super().__init__()
        self.large, self.total, self.largest, self.given_large = large, 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        del types
        given = list(strided((args, kwargs)))
        before = {
            tensor.untyped_storage().data_ptr() for tensor in given
        }  # of what is changed in place, and of views
        found = function(*args, **(kwargs or {}))
        if any(tensor.numel() >= self.large for tensor in given):
            self.given_large.add(function.overloadpacket.__name__)
        for tensor in strided(found):
            if tensor.untyped_storage().data_ptr() not in before:
                self.total += tensor.numel()
                self.largest = max(self.largest, tensor.numel())
        return found


def strided(tree):
    """The tensors in it; of a sparse one its values, whatever its shape."""
    for leaf in tree_leaves(tree):
        if isinstance(leaf, torch.Tensor):
            yield (
                leaf
                if leaf.layout == torch.strided
                else leaf._values()
                if leaf.layout == torch.sparse_coo
                else leaf.values()
            )


def later_steps(data, **settings):
    """What all steps but the first, which makes the moments, make in an epoch of AutoRec."""
    made, n_steps, update = Made(large=min(data.shape) * 16), [], neural._Session.update

    def watched(session, rows):
        n_steps.append(len(rows))
        if len(n_steps) == 1:
            return update(session, rows)
        with made:
            return update(session, rows)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(neural._Session, "update", watched)
        create("autorec", n_hidden=16, epochs=1, batch_size=8, **settings).fit(data, show_progress=False)
    assert len(n_steps) > 10
    return made


BY = pytest.mark.parametrize("by", ["item", "user"])


@BY
def test_a_lazy_step_makes_and_passes_over_no_matrix_with_a_row_for_each_input(by):
    data = ratings(2_000, 2_000, 4_000)  # batches of 8 touch about 16 of 2,000 inputs
    lazy = later_steps(data, by=by, adam="lazy")
    assert lazy.largest < 50 * 16 < lazy.large / 20
    assert lazy.given_large <= {"index_select", "index_copy_", "detach"}, "rows are read and written, no more"


@BY
def test_a_dense_step_makes_such_matrices_so_that_this_would_be_seen(by):
    dense = later_steps(ratings(500, 500, 1_000), by=by, adam="dense")
    assert dense.largest >= dense.large
    assert "_fused_adam_" in dense.given_large


def test_among_eight_times_the_users_the_same_ratings_cost_lazy_steps_by_item_no_more():
    few, many = (later_steps(ratings(n, 200, 3_000), adam="lazy") for n in (2_000, 16_000))
    assert many.total < 1.3 * few.total


def test_among_eight_times_the_items_the_same_ratings_cost_lazy_steps_by_user_no_more():
    few, many = (later_steps(ratings(200, n, 3_000), by="user", adam="lazy") for n in (2_000, 16_000))
    assert many.total < 1.3 * few.total
