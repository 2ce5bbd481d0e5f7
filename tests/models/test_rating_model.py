"""Ratings of single items by single users: what every model of ratings offers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.errors import DataError, NotFittedError
from recae.models import model_class, names
from recae.models.rating_model import RatingModel
from tests.models.cases import CASES, N, named, two_tastes_rated

RATING_CASES = [case for case in CASES if model_class(case.name).feedback == "ratings"]


@pytest.fixture(scope="module", params=named(RATING_CASES))
def fitted_ratings(request):
    return request.param.fitted()


def test_every_model_of_ratings_predicts_single_ones():
    of_ratings = [model_class(name) for name in names() if model_class(name).feedback == "ratings"]
    assert all(issubclass(found, RatingModel) for found in of_ratings)


def test_a_batch_of_pairs_gets_the_entries_of_the_scores(fitted_ratings):
    users, items = np.array([3, 0, 3, 3, 23]), np.array([7, 2, 7, 1, 0])  # a pair twice, a user three times
    scores = fitted_ratings.score(fitted_ratings.histories_)
    found = fitted_ratings.predict(users, items)
    assert (found.shape, found.dtype) == ((5,), np.float32)
    assert_allclose(found, scores[users, items], rtol=1e-4)
    assert fitted_ratings.predict(3, 7) == pytest.approx(scores[3, 7], rel=1e-4)
    assert np.ndim(fitted_ratings.predict(3, 7)) == 0


def test_given_histories_are_used_in_place_of_the_training_rows(fitted_ratings):
    rows = csr_matrix(fitted_ratings.histories_[[5, 6]])
    found = fitted_ratings.predict([900, 901], [4, 4], rows)
    assert_allclose(found, fitted_ratings.predict([5, 6], [4, 4]), rtol=1e-4)
    assert fitted_ratings.predict(900, 4, csr_array(fitted_ratings.histories_)[[5]]) == pytest.approx(
        found[0], rel=1e-4
    )


def test_no_pairs_give_no_ratings(fitted_ratings):
    none = np.empty(0, dtype=np.int64)
    assert fitted_ratings.predict(none, none).shape == (0,)


def test_what_cannot_be_looked_up_is_named(fitted_ratings):
    rows = csr_matrix(fitted_ratings.histories_[:2])
    with pytest.raises(IndexError, match=r"itemid 24 is not in the model, which has 0 to 23"):
        fitted_ratings.predict(0, 24)
    with pytest.raises(IndexError, match=r"userid -1 is not in the model, which has 0 to 23"):
        fitted_ratings.predict([0, -1], [0, 0])
    with pytest.raises(IndexError, match="ids must be integers"):
        fitted_ratings.predict(0.5, 0)
    with pytest.raises(ValueError, match=r"two arrays of one length: got shapes \(3,\) and \(2,\)"):
        fitted_ratings.predict([0, 1, 2], [0, 1])
    with pytest.raises(ValueError, match=r"got shapes \(\) and \(1,\)"):
        fitted_ratings.predict(0, [1])
    with pytest.raises(ValueError, match=r"got shapes \(1, 2\) and \(1, 2\)"):
        fitted_ratings.predict([[0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match=r"got 2 row\(s\) for 1 user\(s\)"):
        fitted_ratings.predict(0, 0, rows)
    with pytest.raises(DataError, match="7 columns, the model knows 24 items"):
        fitted_ratings.predict(0, 0, csr_matrix((1, 7), dtype=np.float32))


@pytest.mark.parametrize("case", named(RATING_CASES))
def test_predicting_before_fit_says_so(case):
    with pytest.raises(NotFittedError, match="call fit first"):
        case.make().predict(0, 0)


@pytest.mark.parametrize("case", named(RATING_CASES))
def test_who_and_what_nobody_knows_gets_a_mean_on_the_scale(case):
    data = two_tastes_rated().toarray()
    data[:, 4] = 0.0  # an item nobody rated
    data[9] = 0.0  # a user without ratings
    ratings = csr_matrix(data)
    model = case.fitted(ratings)
    mean = ratings.data.mean()
    unseen_item, empty_row, both = model.predict([2, 9, 9], [4, 2, 4])
    own_mean = ratings[[2]].data.mean()
    assert min(mean, own_mean) - 1.0 < unseen_item < max(mean, own_mean) + 1.0
    assert 1.0 <= empty_row <= 5.0
    assert both == pytest.approx(mean, abs=0.75)
    stranger = model.predict(0, 4, csr_matrix((1, N), dtype=np.float32))
    assert stranger == pytest.approx(both, rel=1e-4)


@pytest.mark.parametrize("case", named(RATING_CASES))
def test_all_equal_ratings_predict_that_rating(case):
    data = csr_matrix(np.where(np.eye(6), 0, 4.0).astype(np.float32))
    model = case.fitted(data)
    assert_allclose(model.predict(np.arange(6), np.arange(6)), 4.0)


@pytest.mark.parametrize("case", named(RATING_CASES))
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1)])
def test_one_user_or_one_item_is_enough(case, shape):
    data = csr_matrix(np.full(shape, 2.0, dtype=np.float32))
    assert_array_equal(case.fitted(data).predict(0, 0), np.float32(2.0))
