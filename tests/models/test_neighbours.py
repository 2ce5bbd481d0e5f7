"""Similar items and users: right, and what they need of a whole model is worked out once for each fit."""

import pickle
import tracemalloc
from copy import copy, deepcopy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, random_array

from recae.models import create, load_model, ranking
from recae.models.matrices import cosine, itself_first
from recae.models.ranking import top_n
from recae.models.warm import WarmStart

SMALL_VAE = {"n_hidden": 64, "n_latent": 8, "epochs": 1}
MADE = {
    "popularity": lambda: create("popularity"),  # by the training data alone
    "dae": lambda: create("dae", n_hidden=64, epochs=1),
    "mult_vae": lambda: create("mult_vae", **SMALL_VAE),
}


def rated(n_users, n_items, density=0.1, seed=0):
    return csr_array(
        random_array((n_users, n_items), density=density, format="csr", dtype=np.float32, rng=seed)
    )


def answers(model):
    return [*model.similar_items([1, 2, 3]), *model.similar_users([1, 2, 3])]


def assert_same_answers(model, other):
    for found, wanted in zip(answers(model), answers(other), strict=True):
        assert_allclose(found, wanted, atol=1e-6)


def peak_bytes(ask):
    """What numpy and Python held at most while something was asked."""
    tracemalloc.start()
    try:
        ask()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_by_the_training_data_similarity_is_the_cosine_of_columns_and_of_rows():
    histories = rated(30, 20)
    model = create("popularity").fit(histories, show_progress=False)
    dense = histories.toarray().astype(np.float64)
    columns = dense / np.maximum(np.linalg.norm(dense, axis=0), 1e-12)
    rows = dense / np.maximum(np.linalg.norm(dense, axis=1), 1e-12)[:, None]

    for asked in (4, 7):
        ids, scores = model.similar_items(asked, N=20)
        others = ids != asked
        assert_allclose(scores[others], (columns.T @ columns)[asked, ids[others]], atol=1e-6)
        ids, scores = model.similar_users(asked, N=30)
        others = ids != asked
        assert_allclose(scores[others], (rows @ rows.T)[asked, ids[others]], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-18, 1e14])
def test_the_size_of_values_does_not_matter(scale):
    histories = rated(30, 20)
    scaled = csr_array(
        (histories.data * np.float32(scale), histories.indices, histories.indptr), shape=(30, 20)
    )

    usual, other = (create("popularity").fit(each, show_progress=False) for each in (histories, scaled))
    for ask in ("similar_items", "similar_users"):
        assert_allclose(getattr(other, ask)(3)[1], getattr(usual, ask)(3)[1], atol=1e-6)


def test_a_further_question_does_not_go_through_the_whole_training_matrix():
    histories = rated(3_000, 1_000, density=0.02)
    model = create("popularity").fit(histories, show_progress=False)
    by_item = 8 * histories.nnz  # bytes of the matrix the other way round
    for ask in (model.similar_items, model.similar_users):
        ask(0)
        assert peak_bytes(lambda ask=ask: ask(1)) < by_item / 2


def test_a_further_question_does_not_copy_the_output_layer():
    n_items, n_hidden = 4_000, 256
    model = create("dae", n_hidden=n_hidden, epochs=1).fit(
        rated(50, n_items, density=0.02), show_progress=False
    )
    model.similar_items(0)
    assert peak_bytes(lambda: model.similar_items(1)) < 4 * n_items * n_hidden / 2


@pytest.mark.parametrize("name", MADE)
def test_a_second_fit_forgets_what_was_worked_out_for_the_first(name):
    first, second = rated(40, 30, seed=1), rated(40, 30, seed=2)
    model = MADE[name]().fit(first, show_progress=False)
    answers(model)

    model.fit(second, show_progress=False)

    assert_same_answers(model, MADE[name]().fit(second, show_progress=False))


def test_a_warm_start_from_itself_forgets_it_too():
    first, second = rated(40, 30, seed=1), rated(40, 30, seed=2)
    model, other = (create("mult_vae", **SMALL_VAE).fit(first, show_progress=False) for _ in range(2))
    answers(model)
    start = {"items": np.arange(30), "users": np.arange(40)}

    for each in (model, other):
        each.fit(second, show_progress=False, warm_start=WarmStart(each, **start))

    assert_same_answers(model, other)


@pytest.mark.parametrize("name", MADE)
def test_what_was_worked_out_is_neither_stored_nor_copied(name, tmp_path):
    model = MADE[name]().fit(rated(40, 30), show_progress=False)
    model.save(tmp_path / "before")
    size = len(pickle.dumps(model))
    before = answers(model)

    model.save(tmp_path / "after")

    assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes()
    assert len(pickle.dumps(model)) == size
    for other in (
        load_model(tmp_path / "after"),
        deepcopy(model),
        copy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        for found, wanted in zip(answers(other), before, strict=True):
            assert_array_equal(found, wanted)


def test_a_copy_that_is_given_other_weights_answers_by_these():
    model = create("dae", n_hidden=16, epochs=1).fit(rated(40, 30), show_progress=False)
    answers(model)
    changed = deepcopy(model)
    weights = changed.network_.output.weight.data
    weights[7] = 100 * weights[6]  # of the same direction, and 100 times as long

    ids, scores = changed.similar_items(6)
    assert (ids[1], scores[1]) == (7, pytest.approx(1.0))


def test_all_users_are_encoded_in_blocks_within_the_memory_budget(monkeypatch):
    n_items = 30
    model = create("dae", n_hidden=16, epochs=1).fit(rated(40, n_items), show_progress=False)
    whole = model.encode(model.histories_)
    encode, n_rows = model.encode, []

    def counting(histories):
        n_rows.append(histories.shape[0])
        return encode(histories)

    monkeypatch.setattr(model, "encode", counting)
    monkeypatch.setattr(ranking, "SCORE_BYTES", 12 * 4 * n_items)  # scores of 12 users

    found = model.similar_users(3)

    assert n_rows == [12, 12, 12, 4]
    for part, wanted in zip(
        found, top_n(itself_first(cosine(whole, np.array([3])), np.array([3])), 10), strict=True
    ):
        assert_allclose(part, wanted[0], atol=1e-6)
