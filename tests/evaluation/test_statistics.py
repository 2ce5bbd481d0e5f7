"""Statistics: against scipy, against counting, and against how often they are right."""

import numpy as np
import pytest
from scipy import stats

from recae.evaluation.statistics import (
    against,
    bootstrap_interval,
    bootstrap_intervals,
    difference,
    holm,
    sign_flip_p,
)

RNG = np.random.default_rng(11)
SKEWED = RNG.beta(0.4, 2.0, size=400)  # as a recall of users looks: many near 0, few high


def test_the_bootstrap_interval_is_scipys():
    ours = bootstrap_interval(SKEWED, n_resamples=20_000)
    theirs = stats.bootstrap(
        (SKEWED,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_an_interval_holds_the_true_mean_as_often_as_it_says():
    truth = 0.4 / 2.4
    rng = np.random.default_rng(5)
    held = 0
    for draw in range(300):
        low, high = bootstrap_interval(rng.beta(0.4, 2.0, size=200), n_resamples=400, seed=draw)
        held += low <= truth <= high
    assert 0.90 <= held / 300 <= 0.98


def test_intervals_of_several_columns_are_those_of_each():
    columns = RNG.beta(0.4, 2.0, size=(150, 3))
    found = bootstrap_intervals(columns)
    assert np.array(found) == pytest.approx(np.array([bootstrap_interval(column) for column in columns.T]))


def test_few_users_are_flipped_in_every_way():
    differences = np.array([0.3, 0.1, -0.05, 0.2, 0.4, 0.15, 0.0])
    exact = stats.permutation_test(
        (differences[:-1],),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
    ).pvalue
    assert sign_flip_p(differences) == pytest.approx(exact), "the tie counts for nothing"


def test_many_users_are_flipped_at_random():
    differences = RNG.normal(0.02, 0.2, size=300)
    theirs = stats.ttest_1samp(differences, 0.0).pvalue
    assert sign_flip_p(differences) == pytest.approx(theirs, abs=0.02)
    assert sign_flip_p(-differences) == sign_flip_p(differences), "two-sided"


def test_equal_models_are_not_told_apart_and_far_ones_are():
    assert sign_flip_p(np.zeros(50)) == 1.0
    assert sign_flip_p(np.full(50, 0.1)) == 1 / 10_000


def test_false_alarms_are_as_rare_as_p_says():
    rng = np.random.default_rng(3)
    alarms = sum(sign_flip_p(rng.normal(size=60), n_flips=199, seed=draw) <= 0.05 for draw in range(400))
    assert 0.02 <= alarms / 400 <= 0.085


def test_holm_of_a_worked_example():
    # smallest .005 x 4; then .01 x 3; then .03 x 2; then .04 x 1, but not below the one before
    assert holm([0.04, 0.005, 0.03, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_of_more_comparisons_than_there_are_p_values():
    assert holm([0.01, 0.002], of=6) == pytest.approx([0.05, 0.012]), "x 6 and x 5"
    with pytest.raises(ValueError, match="3 p values, and corrected for 2; expected at least as many"):
        holm([0.1, 0.2, 0.3], of=2)


def test_p_of_some_pairs_is_never_below_what_holm_over_all_pairs_gives():
    rng = np.random.default_rng(2)
    for _ in range(50):
        every = rng.random(10) ** 3
        some = rng.choice(10, size=4, replace=False)
        assert (np.array(holm(every[some].tolist(), of=10)) >= np.array(holm(every.tolist()))[some]).all()


def test_the_best_of_equal_models_is_rarely_called_better_than_another():
    n_models, n_users, n_draws = 10, 12, 200
    alarms = 0
    for draw in range(n_draws):
        rng = np.random.default_rng(draw)
        likes = rng.normal(0, 0.2, (n_users, 1)) + rng.normal(0, 0.1, (n_users, n_models))
        per_user = {str(model): likes[:, model] for model in range(n_models)}
        best = max(per_user, key=lambda title: per_user[title].mean())
        alarms += min(each.p for each in against(best, per_user).values()) < 0.05
    assert alarms / n_draws <= 0.07


def test_users_that_win_lose_and_tie_are_counted():
    found = difference(np.array([1.0, 0.5, 0.0, 0.25]), np.array([0.5, 0.5, 0.25, 0.0]))
    assert (found.wins, found.losses, found.ties) == (2, 1, 1)
    assert found.mean == pytest.approx(0.125)
    assert found.low <= found.mean <= found.high


def test_every_other_model_is_compared_with_the_reference_and_corrected_together():
    best = RNG.random(80)
    models = {"same": best.copy(), "best": best, "worse": best - 0.1}
    found = against("best", models)
    assert list(found) == ["same", "worse"]
    assert found["same"].p == 1.0
    assert found["worse"].p == pytest.approx(3 / 10_000), "the smallest of three pairs, times three"
    given = against("best", models, is_chosen_here=False)
    assert given["worse"].p == 2 / 10_000, "of a reference named beforehand: two comparisons"
    assert found["worse"].mean == pytest.approx(-0.1)


def test_the_same_values_give_the_same_numbers():
    assert difference(SKEWED, SKEWED[::-1]) == difference(SKEWED, SKEWED[::-1])


@pytest.mark.parametrize("values", [np.array([]), np.array([0.1, np.nan]), np.zeros((2, 2))])
def test_what_is_no_value_for_each_user_is_refused(values):
    with pytest.raises(ValueError, match="one finite value for each user"):
        bootstrap_interval(values)


def test_other_users_are_refused():
    with pytest.raises(
        ValueError, match="5 values against 4; two models are compared on the same users only"
    ):
        difference(np.zeros(5), np.zeros(4))


def test_more_users_than_a_float_has_exponents_are_flipped_at_random():
    values = np.random.default_rng(0).normal(0.1, 1.0, 5_000)

    assert sign_flip_p(values) == pytest.approx(1 / 10_000), "a mean seven standard errors from 0"
