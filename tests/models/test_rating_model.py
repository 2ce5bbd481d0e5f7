"""Ratings of single items by single users: what every model of ratings offers."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.errors import DataError, NotFittedError
from recae.models import create, model_class, names
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


UNRATED, SILENT = 4, 9


@pytest.fixture(scope="module", params=named(RATING_CASES))
def with_gaps(request):
    """Fitted where nobody rated item 4 and user 9 rated nothing; its ratings, and what the means alone predict."""
    data = two_tastes_rated().toarray()
    data[:, UNRATED] = 0.0
    data[SILENT] = 0.0
    ratings = csr_matrix(data)
    case = request.param
    few = {"epochs": 2} if hasattr(case.make().config, "epochs") else {}  # what was random is still large
    model = case.make(**few).fit(ratings, show_progress=False)
    return model, ratings, create("rating_means").fit(ratings, show_progress=False)


def test_a_user_without_ratings_is_predicted_by_the_means(with_gaps):
    model, ratings, means = with_gaps
    found = model.score(ratings)[SILENT]
    assert_allclose(found, means.score(ratings)[SILENT], rtol=1e-5)
    assert_allclose(found[UNRATED], ratings.data.mean(), rtol=1e-5)
    stranger = csr_matrix((1, N), dtype=np.float32)
    assert_allclose(model.score(stranger)[0], found, rtol=1e-5)
    assert model.predict(0, UNRATED, stranger) == pytest.approx(found[UNRATED], rel=1e-5)


def test_an_item_that_nobody_rated_is_predicted_by_the_means(with_gaps):
    model, ratings, means = with_gaps
    found, expected = model.score(ratings)[:, UNRATED], means.score(ratings)[:, UNRATED]
    if model.name == "sparsefc":  # a user's offset is found anew, beside weights on the codes of rated items
        expected = np.clip(ratings.data.mean() + model.encode(csr_array(ratings))[:, -1], 1.0, 5.0)
    assert_allclose(found, expected, atol=1e-4)
    assert model.predict(2, UNRATED) == pytest.approx(found[2], rel=1e-4)


def test_what_a_user_says_of_an_item_that_nobody_rated_tells_the_level_of_the_user_alone(with_gaps):
    model, ratings, means = with_gaps
    history = csr_matrix(([5.0], ([0], [UNRATED])), shape=(1, N), dtype=np.float32)
    found = model.score(history)[0]
    empty = model.score(csr_matrix((1, N), dtype=np.float32))[0]
    inside = (found < ratings.data.max()) & (empty > ratings.data.min())  # not cut at an end of the scale
    assert np.ptp((found - empty)[inside]) < 1e-4, "the same for all items"
    if model.name != "sparsefc":  # as above
        assert_allclose(found, means.score(history)[0], rtol=1e-5)


@pytest.mark.parametrize(("name", "by"), [("autorec", "user"), ("deep_autorec", None)])
def test_what_was_rated_is_predicted_by_the_network_as_it_is(name, by):
    case = next(case for case in RATING_CASES if (case.name, case.settings.get("by")) == (name, by))
    data = two_tastes_rated().toarray()
    data[:, UNRATED] = 0.0
    ratings = csr_array(data)
    model = case.make(epochs=2, weight_decay=0.0).fit(ratings, show_progress=False)
    residuals = model._means.residuals(ratings)
    network, batch = model.network_, model._batch(residuals)
    with torch.no_grad():
        if by == "user":
            complete = network.decode(network.encode(batch, batch.values)).numpy()
        else:
            complete = network.decode(network.hidden(network.encode(batch))).numpy()
    whole = model._means.add_to(complete.copy(), model._means.user_offsets(ratings))
    rated = np.arange(N) != UNRATED
    assert_allclose(model.score(ratings)[:, rated], whole[:, rated], rtol=1e-6)
    assert np.abs(complete[:, UNRATED]).max() > 0.01, "the network itself says something of the other one"


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
