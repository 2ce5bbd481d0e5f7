import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from recae.models import ranking
from recae.models.ranking import NEVER, best_of, best_of_each, hits, ndcg, rank, reaching, top_n


def scores_of(*rows):
    return np.array(rows, dtype=np.float32)


def test_best_first_and_equal_scores_by_the_lower_column():
    ids, scores = top_n(scores_of([1, 3, 2, 3, 2]), 4)
    assert ids.tolist() == [[1, 3, 2, 4]]
    assert scores.tolist() == [[3, 3, 2, 2]]
    assert ids.dtype == np.int32


def test_at_the_cut_too_the_lower_columns_are_taken():
    ids, _ = top_n(np.zeros((2, 1000), dtype=np.float32), 3)
    assert ids.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_excluded_items_come_only_when_nothing_else_is_left():
    exclude = csr_array(np.array([[1, 0, 1, 0]], dtype=np.float32))
    ids, scores = top_n(scores_of([9, 1, 8, 2]), 3, exclude=exclude)
    assert ids.tolist() == [[3, 1, 0]]
    assert scores.tolist() == [[2, 1, NEVER]]


def test_a_stored_zero_excludes_too():
    exclude = csr_array((np.array([0.0], dtype=np.float32), [1], [0, 1]), shape=(1, 3))
    assert top_n(scores_of([1, 5, 2]), 1, exclude=exclude)[0].tolist() == [[2]]


def test_only_the_chosen_columns_are_ranked_under_their_own_numbers():
    ids, scores = top_n(scores_of([9, 1, 8, 2]), 10, items=np.array([1, 3], dtype=np.int32))
    assert ids.tolist() == [[3, 1]]
    assert scores.tolist() == [[2, 1]]


def test_a_column_that_is_chosen_twice_is_ranked_twice_as_ever():
    ids, _ = top_n(scores_of([9, 1, 8, 2]), 10, items=np.array([0, 1, 1, 3], dtype=np.int32))
    assert ids.tolist() == [[0, 3, 1, 1]]


def test_a_list_of_no_length_is_refused():
    with pytest.raises(ValueError, match="best 0 items"):
        top_n(scores_of([1]), 0)


small_ties = st.integers(-3, 3).map(float)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 12)), elements=small_ties),
    st.integers(1, 14),
    st.integers(0, 2**32 - 1),
)
def test_the_order_is_that_of_a_stable_sort(scores, n, seed):
    excluded = np.random.default_rng(seed).random(scores.shape) < 0.3
    wanted = np.where(excluded, NEVER, scores)
    order = np.argsort(-wanted.astype(np.float64), axis=1, kind="stable")[:, :n]
    ids, best = top_n(scores.copy(), n, exclude=csr_array(excluded.astype(np.float32)))
    assert_array_equal(ids, order)
    assert_array_equal(best, np.take_along_axis(wanted, order, axis=1))


@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(2, 12)), elements=small_ties),
    st.integers(1, 14),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.2, 0.9, 1.0]),
)
def test_among_some_columns_the_order_is_that_of_a_stable_sort_of_these(scores, n, seed, share):
    rng = np.random.default_rng(seed)
    items = np.flatnonzero(rng.random(scores.shape[1]) < share).astype(np.int32)
    items = items if len(items) else np.array([0], dtype=np.int32)
    excluded = rng.random(scores.shape) < 0.3
    wanted = np.where(excluded, NEVER, scores)[:, items]
    order = np.argsort(-wanted.astype(np.float64), axis=1, kind="stable")[:, :n]
    ids, best = top_n(scores.copy(), n, exclude=csr_array(excluded.astype(np.float32)), items=items)
    assert_array_equal(ids, items[order])
    assert_array_equal(best, np.take_along_axis(wanted, order, axis=1))


@pytest.mark.parametrize(
    "levels", [3, 40, 10**6], ids=["most are equal", "some are equal", "hardly any is equal"]
)
@pytest.mark.parametrize("n_items", [4_096, 4_113], ids=["whole groups", "items beside the groups"])
def test_wide_rows_too_are_in_the_order_of_a_stable_sort(levels, n_items):
    rng = np.random.default_rng(levels + n_items)
    scores = rng.integers(levels, size=(12, n_items)).astype(np.float32)
    scores[0] = 0.0
    scores[1, -3:] = levels + np.arange(3)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert n_items >= ranking.WORTH_GROUPING * 10 * 32, "else the groups are not what is tested"

    ids, best = top_n(scores.copy(), 10)

    assert_array_equal(ids, expected)
    assert_array_equal(best, np.take_along_axis(scores, expected, axis=1))


def test_ranking_in_batches_changes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    histories = csr_array((rng.random((50, 30)) < 0.2).astype(np.float32))
    weights = rng.random((30, 30), dtype=np.float32)

    def ranked():
        return rank(lambda rows: rows @ weights, histories, 5, exclude=histories)

    whole = ranked()
    monkeypatch.setattr(ranking, "SCORE_BYTES", 4 * 30 * 7)
    in_batches = ranked()
    assert_array_equal(whole[0], in_batches[0])
    np.testing.assert_allclose(whole[1], in_batches[1], rtol=1e-6)


def test_no_block_of_scores_is_larger_than_the_budget(monkeypatch):
    monkeypatch.setattr(ranking, "SCORE_BYTES", 4 * 30 * 7)
    sizes = []

    def score(rows):
        sizes.append(rows.shape[0])
        return np.zeros(rows.shape, dtype=np.float32)

    rank(score, csr_array((50, 30), dtype=np.float32), 5)
    assert sizes == [7] * 7 + [1]


def test_no_histories_give_an_empty_ranking():
    ids, scores = rank(lambda rows: np.zeros(rows.shape, np.float32), csr_array((0, 9), dtype=np.float32), 5)
    assert ids.shape == scores.shape == (0, 5)


def test_hits_are_found_row_by_row():
    targets = csr_array(np.array([[0, 1, 0], [1, 0, 0]], dtype=np.float32))
    assert hits(np.array([[1, 0], [1, 0]], dtype=np.int32), targets).tolist() == [
        [True, False],
        [False, True],
    ]


def test_ndcg_of_worked_examples():
    # one target at rank 3: 1/log2(4) = 1/2; two targets at ranks 1 and 3 of two wanted: (1 + 1/2) / (1 + 1/log2(3))
    found = np.array([[False, False, True], [True, False, True], [False, False, False]])
    values = ndcg(found, np.array([1, 2, 5]), 3)
    assert values == pytest.approx([0.5, 1.5 / (1 + 1 / np.log2(3)), 0.0])


def test_a_perfect_list_has_ndcg_1_however_many_targets():
    assert ndcg(np.ones((1, 10), dtype=bool), np.array([25]), 10) == pytest.approx([1.0])
    assert ndcg(np.array([[True, False]]), np.array([1]), 10) == pytest.approx([1.0]), "a list shorter than k"


@pytest.mark.parametrize("size", [1, 7, 500, 20_000])
@pytest.mark.parametrize("decimals", [0, 6])
def test_one_row_is_ranked_as_a_batch_would_rank_it(size, decimals):
    random = np.random.default_rng(size)
    scores = random.normal(size=size).astype(np.float32).round(decimals)
    for n in {0, 1, min(size, 10), min(size, 100), size}:
        ids, best = best_of(scores.copy(), n)
        assert len(ids) == n
        if n:
            wanted_ids, wanted = top_n(scores[np.newaxis].copy(), n)
            assert ids.tolist() == wanted_ids[0].tolist()
            assert best.tolist() == wanted[0].tolist()


@pytest.mark.parametrize("n_items", [1, 31, 700, 5_003])
@pytest.mark.parametrize("slack", [0.0, 0.4])
def test_all_scores_that_reach_the_nth_highest_or_nearly_are_found(n_items, slack):
    random = np.random.default_rng(n_items)
    scores = random.normal(size=(4, n_items)).round(1).astype(np.float32)  # with equal ones
    for n in {1, min(10, n_items), n_items}:
        ns = np.array([n, 1, n, min(3, n_items)])
        rows, columns = reaching(scores, ns, np.full(4, slack, dtype=np.float32))

        found = list(zip(rows.tolist(), columns.tolist(), strict=True))
        assert len(set(found)) == len(found)
        for row in range(4):
            lowest = np.sort(scores[row])[-ns[row]] - np.float32(slack)
            assert {(row, column) for column in np.flatnonzero(scores[row] >= lowest)} <= set(found)


def test_few_more_than_those_that_reach_it_are_found():
    scores = np.random.default_rng(1).normal(size=(50, 41_000)).astype(np.float32)

    rows, _ = reaching(scores, np.full(50, 10))

    assert len(rows) < 1.5 * 50 * 10


@pytest.mark.parametrize("n_items", [1, 31, 700, 5_003, 40_000])
@pytest.mark.parametrize("kind", ["distinct", "equal ones", "few allowed"])
def test_many_rows_are_ranked_as_each_alone(n_items, kind):
    random = np.random.default_rng(n_items)
    n_rows = 60 if n_items == 40_000 else 7  # in several blocks
    scores = random.normal(size=(n_rows, n_items)).astype(np.float32).round(0 if kind == "equal ones" else 6)
    if kind == "few allowed":
        scores[:, random.random(n_items) < 0.99] = NEVER
    ns = [min(n_items, (1, 10, 2, 300)[row % 4]) for row in range(n_rows)]

    found = best_of_each(scores, ns)

    for row, n, (ids, best) in zip(scores, ns, found, strict=True):
        wanted_ids, wanted = top_n(row[np.newaxis].copy(), n)
        assert_array_equal(ids, wanted_ids[0])
        assert_array_equal(best, wanted[0])
