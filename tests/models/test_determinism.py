"""The same seed and the same number of threads give the same model, to the last bit."""

import io

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from tests.models.cases import CASES, LAZY, named

N_USERS, N_ITEMS, N_EACH = 240, 200, 140
"""33,600 entries in one batch: torch leaves what has fewer than 32,768 to one thread, which would show nothing."""

LARGE = {
    "cosine_dae": {"n_latent": 256, "n_sampled": 150},  # a step's gradients of drawn vectors are as many
    "rating_blend": {
        "members": [
            {"name": "biased_mf", "settings": {"n_factors": 2, "epochs": 2}},
            {"name": "autorec", "settings": {"n_hidden": 32, "epochs": 2, "batch_size": 500}},
        ]
    },
}
"""Settings that let several threads at what a case's own leave to one."""


@pytest.fixture
def two_threads():
    """As many as a program has by default here; the other tests have one."""
    before = torch.get_num_threads()
    with threadpool_limits(2):
        torch.set_num_threads(2)
        yield
        torch.set_num_threads(before)


def large(feedback):
    """Users who chose by popularity, so that many threads have the same items before them."""
    rng = np.random.default_rng(0)
    popularity = 1.0 / np.arange(1, N_ITEMS + 1)
    chosen = [
        rng.choice(N_ITEMS, N_EACH, replace=False, p=popularity / popularity.sum()) for _ in range(N_USERS)
    ]
    n = N_USERS * N_EACH
    values = {"implicit": np.ones(n), "ratings": rng.integers(1, 6, n), "sequences": rng.permutation(n) + 1}
    rows = np.repeat(np.arange(N_USERS), N_EACH)
    return csr_matrix(
        (values[feedback].astype(np.float32), (rows, np.concatenate(chosen))), shape=(N_USERS, N_ITEMS)
    )


def stored(case):
    """The file of a model fitted for two epochs in batches of all rows."""
    known = type(case.make().config).model_fields
    wanted = {"epochs": 2, "batch_size": 500, "n_hidden": 32} | LARGE.get(case.name, {})
    model = case.make(**{name: value for name, value in wanted.items() if name in known})
    file = io.BytesIO()
    model.fit(large(model.feedback), show_progress=False).save(file)
    return file.getvalue()


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("case", named(CASES + LAZY))
def test_the_same_seed_gives_the_same_file_twice(case):
    assert stored(case) == stored(case)


GRADIENT_STEPS = [
    case for case in CASES + LAZY if {"device", "epochs"} <= type(case.make().config).model_fields.keys()
]


@pytest.mark.parametrize("case", named(GRADIENT_STEPS))
def test_no_gradient_of_indexing_is_added_up_by_several_threads(case, monkeypatch):
    """Two runs may agree by chance, so this looks at the steps: torch's indexing is fit for places that differ only."""
    backward, n_steps = torch.Tensor.backward, []

    def watched(loss):
        n_steps.append(loss)
        for node in ancestors(loss.grad_fn):
            if node.name() == "IndexBackward0":
                places = [place for place in node._saved_indices if place is not None]
                if places[0].dtype != torch.bool:  # a mask takes each place once
                    assert_different(torch.stack(places))
        backward(loss)

    monkeypatch.setattr(torch.Tensor, "backward", watched)
    case.make(epochs=1).fit(case.data, show_progress=False)
    assert n_steps


def assert_different(places):
    assert places.unique(dim=1).shape == places.shape, "use recae.models.neural.values_at"


def ancestors(node):
    """The node and all that its gradient goes to, each once."""
    found, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [earlier for earlier, _ in node.next_functions]
    return found
