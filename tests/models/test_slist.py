import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from recae.models import create
from recae.models.slist import relative_places

N = 12


def in_order(*walks, n_items=N):
    """A matrix of places from lists of items, earliest first."""
    matrix = np.zeros((len(walks), n_items), dtype=np.float32)
    for row, walk in enumerate(walks):
        matrix[row, walk] = np.arange(1, len(walk) + 1)
    return csr_array(matrix)


def rounds(length):
    """Walks of so many items around a circle, from every item, in one direction."""
    return [[(start + step) % N for step in range(length)] for start in range(N)]


def test_what_follows_the_last_item_ranks_first():
    model = create("slist", l2=0.1, dropout=0.0, similarity_share=0.0).fit(
        in_order(*rounds(6)), show_progress=False
    )
    ids, _ = model.recommend([0, 1], in_order([3, 4, 5], [9, 10, 11]), N=1)
    assert ids.ravel().tolist() == [6, 0]


def test_the_same_items_in_another_order_get_other_suggestions():
    """Half of the walkers go round one way, half the other: the items alone do not tell the direction."""
    both_ways = [*rounds(6), *(walk[::-1] for walk in rounds(6))]
    model = create("slist", l2=0.1, dropout=0.0, recency=4.0).fit(in_order(*both_ways), show_progress=False)
    forwards, backwards = model.score(in_order([2, 3, 4, 5], [5, 4, 3, 2]))
    assert forwards[6] > forwards[1]
    assert backwards[1] > backwards[6]


def test_weights_are_the_ridge_regression_of_each_item_on_what_came_before_and_beside_it():
    """The oracle stacks both tasks as rows of one least-squares problem, an item at a time."""
    rng = np.random.default_rng(3)
    walks = [rng.permutation(N)[: rng.integers(1, 8)].tolist() for _ in range(40)]
    share, l2, dropout, recency = 0.3, 2.0, 0.4, 1.5
    model = create(
        "slist", l2=l2, dropout=dropout, similarity_share=share, n_cuts=2, first_cut=0.5, recency=recency
    ).fit(in_order(*walks), show_progress=False)

    inputs, targets = [], []

    def row(pairs):
        dense = np.zeros(N)
        for item, value in pairs:
            dense[item] = value
        return dense

    for walk in walks:
        whole = row((item, 1.0) for item in walk)
        inputs.append(np.sqrt(share) * whole)
        targets.append(np.sqrt(share) * whole)
        for cut in (0.5, 0.75):
            before = [(item, place / len(walk)) for place, item in enumerate(walk) if place / len(walk) < cut]
            if len(before) == len(walk):  # nothing followed
                continue
            weight = np.sqrt((1 - share) / 2)
            inputs.append(weight * row((item, np.exp(-recency * (1 - at / cut))) for item, at in before))
            targets.append(weight * row((item, 1.0) for item in walk[len(before) :]))
    x, y = np.array(inputs), np.array(targets)
    gram = x.T @ x + np.diag(l2 + dropout / (1 - dropout) * np.square(x).sum(axis=0))
    wanted = np.linalg.solve(gram, x.T @ y)
    for item in np.flatnonzero(np.diag(wanted) > 0):  # it may not explain itself: the others have to
        others = np.delete(np.arange(N), item)
        wanted[:, item] = 0.0
        wanted[others, item] = np.linalg.solve(gram[np.ix_(others, others)], x[:, others].T @ y[:, item])
    assert_allclose(model.weights_, wanted, atol=2e-5)
    assert (np.diag(model.weights_) <= 1e-6).all()


def test_a_history_after_which_nothing_came_does_not_say_that_nothing_follows():
    """A hundred went from 0 to 1; a thousand stopped at 0, and where they go next is not known."""
    gone, stopped = [[0, 1]] * 100, [[0]] * 1_000
    settings = {"l2": 1e-3, "dropout": 0.0, "similarity_share": 0.0, "recency": 0.0}
    model = create("slist", **settings).fit(in_order(*gone, *stopped), show_progress=False)
    assert model.weights_[0, 1] == pytest.approx(1.0, abs=1e-3)


def test_places_go_by_the_order_of_the_values_and_among_equals_by_column():
    matrix = csr_array(np.array([[30.0, 0.0, 7.0, 7.0], [0.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.5, 0.0]]))
    assert relative_places(matrix).tolist() == pytest.approx([2 / 3, 0.0, 1 / 3, 0.0, 0.5])


def test_without_recency_the_order_of_the_history_does_not_matter():
    model = create("slist", recency=0.0).fit(in_order(*rounds(6)), show_progress=False)
    assert_allclose(*model.score(in_order([2, 3, 4], [4, 2, 3])), rtol=1e-6)
