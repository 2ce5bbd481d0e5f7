"""Metrics of what a list is like: answers worked out by hand, ranges, and slow forms as oracles."""

import doctest
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recae.data.catalogue import Catalogue, Item
from recae.data.idmap import IdMap
from recae.errors import EvaluationError
from recae.evaluation import beyond_accuracy as beyond
from recae.evaluation.item_facts import ItemFacts

TRAIN = csr_array(np.array([[1, 1, 0, 0], [1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 0]], dtype=np.float32))
"""Takers: 4, 2, 0, 2."""
SHOWN = np.array([[True, True]])


def random_lists(seed, n_rows=7, n_items=20, k=6):
    """Lists of distinct items, some of them cut short, and a training matrix."""
    rng = np.random.default_rng(seed)
    ids = np.array([rng.permutation(n_items)[:k] for _ in range(n_rows)])
    shown = np.arange(k) < rng.integers(0, k + 1, n_rows)[:, None]
    train = csr_array((rng.random((30, n_items)) < 0.2).astype(np.float32))
    return ids, shown, train


def test_the_examples_in_the_docstrings_are_true():
    outcome = doctest.testmod(beyond)

    assert outcome.attempted >= 7, "a metric lost its example"
    assert outcome.failed == 0


def test_facts_of_the_items_are_counted_from_stored_entries():
    stored_zero = csr_array(
        (np.array([0.0, 3.0], np.float32), np.array([0, 0]), np.array([0, 1, 2])), shape=(2, 2)
    )

    facts = ItemFacts(stored_zero)

    assert facts.takers.tolist() == [2, 0], "a rating of 0 is a taker"
    assert facts.information.tolist() == [0.0, 1.0], "nobody counts as one of two"
    assert facts.share.tolist() == [1.0, 0.0]


def test_items_are_popular_by_takers_and_of_equal_ones_the_lower_column_first():
    assert ItemFacts(TRAIN).popularity_rank.tolist() == [0, 1, 3, 2]


def test_the_head_holds_the_first_half_of_the_interactions_and_the_tail_the_last_tenth():
    counts = [50, 30, 12, 5, 3]
    train = csr_array(np.array([[row < n for n in counts] for row in range(50)], dtype=np.float32))

    groups = ItemFacts(train).popularity_groups

    assert {name: mask.tolist() for name, mask in groups.items()} == {
        "head: 1 items": [True, False, False, False, False],
        "torso: 2 items": [False, True, True, False, False],
        "tail: 2 items": [False, False, False, True, True],
    }


def test_gini_is_0_for_equal_exposure_and_grows_with_inequality():
    assert beyond.gini(np.array([2, 2, 2])) == 0.0
    assert beyond.gini(np.array([0, 0, 9])) == pytest.approx(2 / 3)
    assert beyond.gini(np.array([1, 3])) == pytest.approx(0.25), (
        "mean difference 2, over twice the mean 2 and n 2"
    )
    assert beyond.gini(np.zeros(4, dtype=int)) == 0.0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_gini_is_the_mean_difference_of_pairs_over_twice_the_mean(exposure):
    n, total = len(exposure), sum(exposure)
    expected = sum(abs(a - b) for a in exposure for b in exposure) / (2 * n * total) if total else 0.0

    assert beyond.gini(np.array(exposure)) == pytest.approx(expected, abs=1e-12)


def test_popularity_and_novelty_are_means_over_what_is_shown():
    facts = ItemFacts(TRAIN)
    ids, shown = np.array([[0, 1], [3, 2]]), np.array([[True, True], [True, False]])

    assert beyond.average_popularity(facts.share[ids], shown).tolist() == [0.75, 0.5]
    assert beyond.novelty(facts.information[ids], shown).tolist() == [0.5, 1.0]
    assert beyond.novelty(facts.information[ids], np.zeros((2, 2), dtype=bool)).tolist() == [0.0, 0.0]


def test_diversity_is_1_less_the_cosine_of_the_takers():
    facts = ItemFacts(TRAIN)

    found = beyond.diversity(
        np.array([[0, 1], [1, 3], [0, 2]]), np.ones((3, 2), dtype=bool), facts.directions
    )

    np.testing.assert_allclose(found, [1 - 2 / math.sqrt(4 * 2), 1 - 1 / 2, 1.0])


@pytest.mark.parametrize("seed", range(3))
def test_diversity_equals_the_mean_over_all_pairs(seed, monkeypatch):
    monkeypatch.setattr(beyond, "CELLS_AT_ONCE", 40)
    ids, shown, train = random_lists(seed)
    dense = train.toarray()
    lengths = np.maximum(np.linalg.norm(dense, axis=0), 1e-12)
    cosines = dense.T @ dense / np.outer(lengths, lengths)

    found = beyond.diversity(ids, shown, ItemFacts(train).directions)

    for row, (columns, there) in enumerate(zip(ids, shown, strict=True)):
        pairs = list(combinations(columns[there], 2))
        expected = np.mean([1 - cosines[pair] for pair in pairs]) if pairs else 0.0
        assert found[row] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_serendipity_leaves_out_what_the_users_own_popular_list_holds(seed):
    ids, shown, train = random_lists(seed)
    rng = np.random.default_rng(seed)
    hits = shown & (rng.random(ids.shape) < 0.5)
    seen = rng.random((len(ids), train.shape[1])) < 0.3
    seen[np.arange(len(ids))[:, None], ids] = False
    rank = ItemFacts(train).popularity_rank

    found = beyond.serendipity(hits, ids, shown, csr_array(seen.astype(np.float32)), rank)

    k = ids.shape[1]
    for row, columns in enumerate(ids):
        popular = [item for item in np.argsort(rank) if not seen[row, item]][:k]
        right = [item for item, hit in zip(columns, hits[row], strict=True) if hit and item not in popular]
        assert found[row] == pytest.approx(len(right) / k)


def test_calibration_is_worked_out_by_hand():
    categories = csr_array(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
    history = csr_array(np.array([[1.0, 1.0, 0.0]]))  # half and half

    lists = np.array([[0, 0], [0, 1], [2, 2]])
    found = [beyond.calibration(row[None], SHOWN, history, categories)[0] for row in lists]

    one_sided = 0.5 * math.log(0.5 / (0.99 + 0.005)) + 0.5 * math.log(0.5 / 0.005)
    np.testing.assert_allclose(found, [one_sided, 0.0, 0.0], atol=1e-12)


def test_a_history_without_categories_has_nothing_to_be_off_from():
    categories = csr_array(np.array([[0.0], [1.0]]))

    assert beyond.calibration(np.array([[1, 0]]), SHOWN, csr_array([[1.0, 0.0]]), categories).tolist() == [
        0.0
    ]


def test_categories_weigh_the_same_within_an_item():
    catalogue = Catalogue(
        [Item("a", categories=("Drama", "Comedy")), Item("b", categories=("Drama",)), Item("c")]
    )

    shares = ItemFacts(TRAIN[:, :3], IdMap(["a", "b", "c"]), catalogue).categories

    assert shares.toarray().tolist() == [[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]], "comedy, drama"


@pytest.mark.parametrize(
    ("catalogue", "complaint"),
    [(None, "no catalogue names those of the items"), (Catalogue([Item("a")]), "has none for these items")],
)
def test_calibration_without_categories_is_refused(catalogue, complaint):
    with pytest.raises(EvaluationError, match=complaint):
        _ = ItemFacts(TRAIN[:, :1], IdMap(["a"]), catalogue).categories
