import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, csr_matrix

from recae.models import create
from recae.models.ratings import RatingMeans, predicted_at
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
