import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.data.idmap import IdMap
from recae.data.splits import Holdout
from recae.errors import ModelError
from recae.models import create
from recae.models.ratings import RatingMeans, predicted_at, ridge_rows
from tests.models.cases import N, two_tastes_rated


def ratings(*rows):
    return csr_array(np.array(rows, dtype=np.float32))


def test_means_of_a_worked_example():
    # mean 3; with shrinkage 1: item 0 has residuals 2, 1 -> 3/3 = 1; item 1 has -1, -2 -> -3/3 = -1
    means = RatingMeans.of(ratings([5, 2], [4, 1]), shrinkage=1.0)
    assert means.mean == 3.0
    assert means.item_offsets.tolist() == [1.0, -1.0]
    # user 0 leaves 5 - 4 = 1 and 2 - 2 = 0 -> 1/3; user 1 leaves 0 and -1 -> -1/3
    assert means.user_offsets(ratings([5, 2], [4, 1])) == pytest.approx([1 / 3, -1 / 3])
    assert (means.lowest, means.highest) == (1.0, 5.0)


def test_an_unseen_item_and_an_unseen_user_get_the_mean():
    means = RatingMeans.of(csr_array(csr_matrix(([4.0, 2.0], ([0, 1], [0, 0])), shape=(2, 2))), shrinkage=5.0)
    scores = means.add_to(
        np.zeros((1, 2), np.float32), means.user_offsets(csr_array((1, 2), dtype=np.float32))
    )
    assert scores.tolist() == [[3.0, 3.0]]


def test_a_rating_that_is_just_as_expected_stays_an_observed_zero():
    data = ratings([3, 3], [3, 3])
    assert RatingMeans.of(data, 1.0).residuals(data).nnz == 4


def test_ratings_at_single_entries_are_those_of_the_whole_matrix():
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    wanted = ratings([0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0])
    row_numbers = csr_array(np.array([[1], [2], [3]]) * np.eye(1, 4), dtype=np.float32)
    found = predicted_at(lambda rows: scores[rows.toarray()[:, 0].astype(int) - 1], row_numbers, wanted)
    assert found.tolist() == [1.0, 3.0, 8.0]


@pytest.mark.parametrize("by", ["user", "item"])
def test_autorec_predicts_withheld_ratings_of_both_tastes(by):
    data = two_tastes_rated()
    model = create("autorec", by=by, n_hidden=16, epochs=40, batch_size=8, learning_rate=0.02, fold_in_l2=0.1)
    predicted = model.fit(data, show_progress=False).score(data)
    own = np.diag(predicted)
    foreign = predicted[(data.toarray() == 0) & ~np.eye(N, dtype=bool)]
    assert own.mean() > 4.0
    assert foreign.mean() < 2.5, "the mean of the data is 4"


@pytest.mark.parametrize("by", ["user", "item"])
def test_autorec_stays_on_the_scale_and_knows_the_mean(by):
    data = two_tastes_rated()
    model = create("autorec", by=by, n_hidden=4, epochs=3).fit(data, show_progress=False)
    scores = model.score(data)
    assert scores.min() >= 1.0
    assert scores.max() <= 5.0
    stranger = model.score(csr_matrix((1, N), dtype=np.float32))
    assert abs(stranger.mean() - data.data.mean()) < 0.75


def test_all_equal_ratings_predict_that_rating():
    data = csr_matrix(np.where(np.eye(6), 0, 4.0).astype(np.float32))
    for by in ("user", "item"):
        model = create("autorec", by=by, n_hidden=3, epochs=2).fit(data, show_progress=False)
        assert_allclose(model.score(data), 4.0)


def test_a_rating_of_zero_is_a_rating():
    data = csr_matrix((np.array([0.0, 5.0, 0.0, 5.0]), ([0, 0, 1, 1], [0, 1, 0, 1])), shape=(2, 3))
    model = create("autorec", by="user", n_hidden=3, epochs=2, shrinkage=0.0).fit(data, show_progress=False)
    assert model.histories_.nnz == 4
    assert model.score(csr_matrix(data))[0, 0] < 1.0


def test_the_fold_in_of_a_user_is_ridge_regression_on_the_item_codes():
    from sklearn.linear_model import Ridge

    data = two_tastes_rated()
    model = create("autorec", by="item", n_hidden=5, epochs=3, fold_in_l2=0.7).fit(data, show_progress=False)
    means = RatingMeans(**model.means_)
    for rows in (csr_array(data[[3]]), csr_array(data[[3]][:, :].multiply(np.arange(N) < 3).tocsr())):
        left = means.residuals(rows)
        oracle = Ridge(alpha=0.7, fit_intercept=False).fit(model.item_codes_[left.indices], left.data)
        assert_allclose(model.encode(rows)[0, :-1], oracle.coef_, atol=1e-4)


# -------------------------------------------------------------------- ridge regressions


@pytest.mark.parametrize("n_codes", [2, 6, 11])
def test_each_row_is_a_ridge_regression_on_its_stored_entries(n_codes):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(2)
    dense = rng.standard_normal((8, 10)) * (rng.random((8, 10)) < 0.6)
    dense[3] = 0.0
    data = csr_array(dense.astype(np.float32))
    data.data[4] = 0.0  # a stored zero is a value
    codes = rng.standard_normal((10, n_codes)).astype(np.float32)
    found = ridge_rows(data, codes, 0.3)
    assert (found.shape, found.dtype) == ((8, n_codes), np.float32)
    assert found[3].tolist() == [0.0] * n_codes, "nothing is known of an empty row"
    for row in (0, 1, 2, 4, 5, 6, 7):
        stored = data[[row]]
        oracle = Ridge(alpha=0.3, fit_intercept=False).fit(codes[stored.indices], stored.data)
        assert_allclose(found[row], oracle.coef_, atol=1e-5)


def test_a_penalty_too_small_for_single_precision_is_met_in_double():
    codes = np.array([[1000.0, 1000.0], [1000.0, 1000.0], [1000.0, 1000.0]], dtype=np.float32)
    assert_allclose(ridge_rows(ratings([2, 2, 2]), codes, 1e-4), [[0.001, 0.001]], rtol=1e-4)
    with pytest.raises(ModelError, match=r"l2 = 1e-30 has no stable solution; raise l2"):
        ridge_rows(ratings([2, 2, 2]), codes, 1e-30)


# -------------------------------------------------------------------- baselines


def test_rating_means_of_a_worked_example():
    # mean 3, item offsets 1 and -1 and user offsets 1/3 and -1/3, as worked out above
    model = create("rating_means", shrinkage=1.0).fit(ratings([5, 2], [4, 1]), show_progress=False)
    assert_allclose(model.score(model.histories_), [[13 / 3, 7 / 3], [11 / 3, 5 / 3]], rtol=1e-6)
    # a stranger who gives item 0 a 5 leaves 1 over the expected 4, shrunk to 1/2; one without ratings leaves 0
    assert_allclose(model.score(ratings([5, 0], [0, 0])), [[4.5, 2.5], [4.0, 2.0]])
    assert_allclose(model.score(ratings([50, 0])), [[5.0, 5.0]], err_msg="no prediction leaves the scale")


def low_rank(n_users=60, n_items=40, rank=2):
    """A complete matrix of low rank, without noise, and which of its entries are known: 6 of 10."""
    rng = np.random.default_rng(4)
    whole = rng.standard_normal((n_users, rank)) @ rng.standard_normal((rank, n_items))
    is_known = rng.random(whole.shape) < 0.6
    rows, columns = np.nonzero(is_known)
    return whole, is_known, csr_array((whole[is_known], (rows, columns)), shape=whole.shape, dtype=np.float32)


def test_biased_mf_recovers_the_missing_entries_of_a_low_rank_matrix():
    whole, is_known, data = low_rank()
    # what the means take away is of rank 2 itself
    model = create("biased_mf", n_factors=4, l2=0.01, epochs=60).fit(data, show_progress=False)
    missing = (model.score(data) - np.clip(whole, data.data.min(), data.data.max()))[~is_known]
    assert np.sqrt(np.mean(missing**2)) < 0.05 * whole.std()
    means = create("rating_means").fit(data, show_progress=False).score(data)
    assert np.sqrt(np.mean((means - whole)[~is_known] ** 2)) > 0.8 * whole.std()


def test_biased_mf_folds_in_a_user_of_whom_it_never_heard():
    whole, _, data = low_rank()
    model = create("biased_mf", n_factors=4, l2=0.01, epochs=60).fit(data[10:], show_progress=False)
    wanted = np.clip(whole[:10], data.data.min(), data.data.max())
    assert np.sqrt(np.mean((model.score(data[:10]) - wanted) ** 2)) < 0.2 * whole.std()


def test_biased_mf_predicts_the_mean_for_whom_and_what_nobody_knows():
    data = csr_matrix(two_tastes_rated().toarray() * (np.arange(N) != 4), dtype=np.float32)
    model = create("biased_mf", n_factors=2, l2=4.0, epochs=5).fit(data, show_progress=False)
    means = RatingMeans(**model.means_)
    assert_allclose(model.item_factors_[4], 0.0)
    assert_allclose(model.score(data)[:, 4], means.mean + means.user_offsets(csr_array(data)), rtol=1e-5)
    nobody = model.score(csr_matrix((1, N), dtype=np.float32))
    assert_allclose(nobody, [means.mean + means.item_offsets], rtol=1e-5)


def test_each_epoch_of_biased_mf_lowers_its_objective():
    _, _, data = low_rank()
    losses = create("biased_mf", l2=1.0, epochs=8).fit(data, show_progress=False).training_log_["losses"]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 8


def noisy():
    """Noise that many factors learn by heart, and validation ratings of the same users."""
    rng = np.random.default_rng(6)
    whole, is_known, data = low_rank()
    data.data += rng.standard_normal(data.nnz).astype(np.float32)
    rows, columns = np.nonzero(~is_known)
    targets = csr_array((whole[~is_known], (rows, columns)), shape=whole.shape, dtype=np.float32)
    return data, Holdout(data, targets, IdMap.of_range(len(whole)))


def test_biased_mf_stops_on_validation_and_keeps_its_best_epoch():
    data, validation = noisy()
    settings = {"n_factors": 12, "l2": 0.5}
    model = create("biased_mf", epochs=30, patience=3, **settings)
    log = model.fit(data, show_progress=False, validation=validation).training_log_
    assert log["best_epoch"] == int(np.argmax(log["values"])) + 1
    assert len(log["values"]) == log["best_epoch"] + 3 < 30
    error = model.score(data)[validation.targets.nonzero()] - validation.targets.data
    assert -max(log["values"]) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    again = create("biased_mf", epochs=log["best_epoch"], **settings).fit(data, show_progress=False)
    assert_array_equal(model.score(data), again.score(data))


def test_biased_mf_of_equal_ratings_predicts_that_rating():
    data = csr_matrix(np.where(np.eye(6), 0, 4.0).astype(np.float32))
    assert_allclose(create("biased_mf").fit(data, show_progress=False).score(data), 4.0)
