"""Metrics: worked by hand, held to their bounds by hypothesis, and equal to ir-measures."""

import doctest
import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ir_measures import AP, RR, P, R, Rprec, Success, nDCG
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score

from recae.evaluation import metrics
from recae.models.ranking import hits as hits_of
from recae.models.ranking import top_n

ROW_METRICS = [
    metrics.recall,
    metrics.recall_capped,
    metrics.precision,
    metrics.hit_rate,
    metrics.mrr,
    metrics.ndcg,
    metrics.average_precision,
    metrics.average_precision_capped,
]

# Three users, lists of five: hits at ranks 2 and 4 of three held-out items; none of one; the first of six.
HITS = np.array(
    [
        [False, True, False, True, False],
        [False, False, False, False, False],
        [True, False, False, False, False],
    ]
)
N_RELEVANT = np.array([3, 1, 6])

LOG2_3, LOG2_5 = math.log2(3), math.log2(5)
WORKED = [
    (metrics.recall, 5, [2 / 3, 0, 1 / 6]),
    (metrics.recall, 3, [1 / 3, 0, 1 / 6]),
    (metrics.recall_capped, 5, [2 / 3, 0, 1 / 5]),
    (metrics.recall_capped, 2, [1 / 2, 0, 1 / 2]),
    (metrics.precision, 5, [2 / 5, 0, 1 / 5]),
    (metrics.precision, 1, [0, 0, 1]),
    (metrics.hit_rate, 5, [1, 0, 1]),
    (metrics.hit_rate, 1, [0, 0, 1]),
    (metrics.mrr, 5, [1 / 2, 0, 1]),
    (metrics.mrr, 1, [0, 0, 1]),
    (
        metrics.ndcg,
        4,
        [(1 / LOG2_3 + 1 / LOG2_5) / (1 + 1 / LOG2_3 + 1 / 2), 0, 1 / (1.5 + 1 / LOG2_3 + 1 / LOG2_5)],
    ),
    (metrics.ndcg, 1, [0, 0, 1]),
    (metrics.average_precision, 5, [(1 / 2 + 2 / 4) / 3, 0, 1 / 6]),
    (metrics.average_precision, 3, [(1 / 2) / 3, 0, 1 / 6]),
    (metrics.average_precision_capped, 5, [(1 / 2 + 2 / 4) / 3, 0, 1 / 5]),
    (metrics.average_precision_capped, 2, [(1 / 2) / 2, 0, 1 / 2]),
]


@pytest.mark.parametrize(("metric", "k", "worked_out"), WORKED)
def test_a_metric_gives_what_is_worked_out_by_hand(metric, k, worked_out):
    values = metric(HITS, N_RELEVANT, k)

    assert values.dtype == np.float64
    np.testing.assert_allclose(values, worked_out, rtol=0, atol=1e-15)


def test_the_examples_in_the_docstrings_are_true():
    outcome = doctest.testmod(metrics)

    assert outcome.attempted >= 12, "a metric lost its example"
    assert outcome.failed == 0


@st.composite
def ranked(draw):
    """A batch as a runner makes it: hits, at least as many held-out items, and a cut-off within the lists."""
    hits = draw(hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 12))))
    missed = draw(hnp.arrays(np.int64, len(hits), elements=st.integers(0, 30)))
    return hits, np.maximum(hits.sum(axis=1) + missed, 1), draw(st.integers(1, hits.shape[1]))


@given(ranked())
def test_every_value_is_between_0_and_1(batch):
    for metric in ROW_METRICS:
        values = metric(*batch)
        assert values.shape == (len(batch[0]),)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all(), metric.__name__


@given(ranked())
def test_a_value_is_0_exactly_if_nothing_was_found(batch):
    hits, _, k = batch
    for metric in ROW_METRICS:
        assert ((metric(*batch) == 0) == ~hits[:, :k].any(axis=1)).all(), metric.__name__


@given(ranked())
def test_what_comes_after_rank_k_changes_nothing(batch):
    hits, n_relevant, k = batch
    for metric in ROW_METRICS:
        np.testing.assert_array_equal(metric(hits, n_relevant, k), metric(hits[:, :k], n_relevant, k))


@given(ranked())
def test_moving_the_hits_forward_never_lowers_a_metric(batch):
    hits, n_relevant, k = batch
    forward = np.sort(hits, axis=1)[:, ::-1]
    for metric in ROW_METRICS:
        assert (metric(forward, n_relevant, k) >= metric(hits, n_relevant, k) - 1e-12).all(), metric.__name__


@given(st.integers(1, 20), st.integers(1, 40))
def test_a_perfect_list_reaches_1_where_the_docstring_says_so(k, n_relevant):
    perfect = np.arange(k)[None, :] < n_relevant
    for metric in (
        metrics.recall_capped,
        metrics.ndcg,
        metrics.average_precision_capped,
        metrics.mrr,
        metrics.hit_rate,
    ):
        assert metric(perfect, np.array([n_relevant]), k) == pytest.approx([1.0]), metric.__name__
    assert metrics.recall(perfect, np.array([n_relevant]), k) == pytest.approx([min(1.0, k / n_relevant)])


def oracle(measure, scores, targets):
    """ir-measures' value for each row; it is given strictly falling scores, so that its own tie rule is idle."""
    order = np.argsort(-scores, axis=1, kind="stable")
    qrels = [
        ir_measures.Qrel(str(row), str(column), 1) for row, column in zip(*np.nonzero(targets), strict=True)
    ]
    run = [
        ir_measures.ScoredDoc(str(row), str(column), float(-rank))
        for row, columns in enumerate(order)
        for rank, column in enumerate(columns)
    ]
    by_query = {value.query_id: value.value for value in ir_measures.iter_calc([measure], qrels, run)}
    return [by_query[str(row)] for row in range(len(scores))]


def random_task(rng, *, tied, n_rows=40, n_items=60):
    """Scores, and which items each user really took: at least one."""
    scores = (
        rng.integers(0, 6, (n_rows, n_items))
        if tied
        else rng.permuted(np.tile(np.arange(n_items), (n_rows, 1)), axis=1)
    )
    targets = rng.random((n_rows, n_items)) < 0.15
    targets[np.arange(n_rows), rng.integers(0, n_items, n_rows)] = True
    return scores.astype(np.float32), targets


@pytest.mark.parametrize(
    ("metric", "measure"),
    [
        (metrics.recall, R),
        (metrics.precision, P),
        (metrics.hit_rate, Success),
        (metrics.mrr, RR),
        (metrics.ndcg, nDCG),
        (metrics.average_precision, AP),
    ],
)
@pytest.mark.parametrize("k", [1, 7, 20])
@pytest.mark.parametrize("tied", [False, True], ids=["distinct scores", "ties: the lower column first"])
def test_a_metric_equals_ir_measures_on_random_lists(metric, measure, k, tied):
    scores, targets = random_task(np.random.default_rng([k, tied]), tied=tied)
    ids, _ = top_n(scores.copy(), 20)

    ours = metric(hits_of(ids, csr_array(targets.astype(np.float32))), targets.sum(axis=1), k)

    np.testing.assert_allclose(ours, oracle(measure @ k, scores, targets), rtol=0, atol=1e-9)


def test_a_rating_error_weighs_every_rating_the_same():
    predicted, actual = np.array([3.0, 5.0, 1.0], dtype=np.float32), np.array([4.0, 3.0, 1.0])

    assert metrics.rmse(predicted, actual) == pytest.approx(math.sqrt((1 + 4 + 0) / 3))
    assert metrics.mae(predicted, actual) == pytest.approx((1 + 2 + 0) / 3)


@pytest.mark.parametrize("metric", ROW_METRICS)
@pytest.mark.parametrize(
    ("hits", "n_relevant", "k", "complaint"),
    [
        (HITS.astype(int), N_RELEVANT, 2, "bool array"),
        (HITS[0], N_RELEVANT, 2, "bool array"),
        (HITS, N_RELEVANT[:2], 2, "one count for each of 3 rows"),
        (HITS, N_RELEVANT, 0, "from 1 to the 5 ranks"),
        (HITS, N_RELEVANT, 6, "from 1 to the 5 ranks"),
        (HITS, np.array([3, 0, 6]), 2, "leave users without held-out items out"),
        (HITS, np.array([1, 1, 6]), 2, "more hits than held-out items"),
    ],
)
def test_a_batch_that_has_no_honest_value_is_refused(metric, hits, n_relevant, k, complaint):
    with pytest.raises(ValueError, match=complaint):
        metric(hits, n_relevant, k)


@pytest.mark.parametrize("error", [metrics.rmse, metrics.mae])
@pytest.mark.parametrize("predicted", [np.array([1.0]), np.array([[1.0, 2.0]]), np.array([])])
def test_rating_errors_need_one_prediction_for_each_rating(error, predicted):
    with pytest.raises(ValueError, match="equally long"):
        error(predicted, np.array([1.0, 2.0]) if predicted.size else np.array([]))


@pytest.mark.parametrize("tied", [False, True], ids=["distinct scores", "ties: the lower column first"])
def test_r_precision_equals_ir_measures_on_random_lists(tied):
    rng = np.random.default_rng(tied)
    scores, targets = random_task(rng, tied=tied)
    ids, _ = top_n(scores.copy(), scores.shape[1])

    ours = metrics.r_precision(hits_of(ids, csr_array(targets.astype(np.float32))), targets.sum(axis=1))

    np.testing.assert_allclose(ours, oracle(Rprec, scores, targets), rtol=0, atol=1e-9)


def test_r_precision_needs_lists_as_deep_as_the_user_with_most_held_out_items():
    with pytest.raises(ValueError, match="6 held-out items, and lists are 5 deep"):
        metrics.r_precision(HITS, np.array([3, 1, 6]))


def pattern_of(mask):
    return csr_array(mask.astype(np.float32))


def roc_auc(scores, targets, ranked):
    """scikit-learn's value for each row, over what is ranked."""
    return [roc_auc_score(targets[row][ranked[row]], scores[row][ranked[row]]) for row in range(len(scores))]


@pytest.mark.parametrize("sorting_from", [1, 5, 80], ids=["sorts", "sorts and compares", "compares"])
@pytest.mark.parametrize("tied", [False, True], ids=["distinct scores", "ties count a half"])
def test_auc_equals_scikit_learn_over_what_is_not_left_out(tied, sorting_from, monkeypatch):
    monkeypatch.setattr(metrics, "WORTH_SORTING", sorting_from)
    rng = np.random.default_rng([7, tied])
    scores, targets = random_task(rng, tied=tied)
    ranked = (rng.random(scores.shape) < 0.7) | targets

    ours = metrics.auc(scores, pattern_of(targets), pattern_of(~ranked))

    np.testing.assert_allclose(ours, roc_auc(scores, targets, ranked), rtol=0, atol=1e-9)


@pytest.mark.parametrize("tied", [False, True], ids=["distinct scores", "ties count a half"])
def test_auc_equals_scikit_learn_among_given_candidates(tied):
    rng = np.random.default_rng([8, tied])
    scores, targets = random_task(rng, tied=tied)
    candidates = (rng.random(scores.shape) < 0.5) | targets
    seen = (rng.random(scores.shape) < 0.3) & ~targets

    ours = metrics.auc(scores, pattern_of(targets), pattern_of(seen), pattern_of(candidates))

    np.testing.assert_allclose(ours, roc_auc(scores, targets, candidates & ~seen), rtol=0, atol=1e-9)


def test_auc_of_infinite_scores_is_that_of_their_order():
    scores = np.array([[1.0, -np.inf, 0.5], [np.inf, np.inf, -np.inf]])
    wanted, nothing = csr_array(np.array([[1.0, 0, 0], [1, 0, 0]])), csr_array((2, 3))

    assert metrics.auc(scores, wanted, nothing).tolist() == [1.0, 0.75]


@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 3))
def test_auc_stays_within_0_and_1_and_reversed_scores_turn_it_round(seed, n_items, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (4, n_items)).astype(np.float32)
    targets, seen = pattern_of(rng.random((4, n_items)) < 0.4), pattern_of(rng.random((4, n_items)) < 0.3)

    found = metrics.auc(scores, targets, seen)

    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(metrics.auc(-scores, targets, seen), 1 - found, atol=1e-12)


def test_auc_of_a_user_with_nothing_to_compare_is_one_half():
    scores, wanted = np.array([[1.0, 2.0]]), csr_array(np.array([[1.0, 0.0]]))

    assert metrics.auc(scores, wanted, csr_array(np.array([[0.0, 1.0]]))).tolist() == [0.5]


@given(ranked())
def test_r_precision_is_precision_and_recall_at_the_same_rank(batch):
    hits, n_relevant, _ = batch
    deep = np.pad(hits, ((0, 0), (0, int(n_relevant.max()))))

    found = metrics.r_precision(deep, n_relevant)

    for row, n in enumerate(n_relevant):
        one = deep[[row]], n_relevant[[row]], int(n)
        assert found[row] == pytest.approx(metrics.precision(*one)[0])
        assert found[row] == pytest.approx(metrics.recall(*one)[0])
    assert ((found >= 0) & (found <= 1)).all()
