"""Code written for implicit runs unchanged: same names, arguments, results and errors as its RecommenderBase."""

import inspect
import warnings

import numpy as np
import pytest
from implicit.als import AlternatingLeastSquares
from implicit.cpu.matrix_factorization_base import MatrixFactorizationBase
from implicit.evaluation import precision_at_k
from implicit.nearest_neighbours import CosineRecommender
from implicit.recommender_base import RecommenderBase
from implicit.utils import ParameterWarning
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.errors import FitError
from recae.models import create
from recae.models.base import Model
from recae.models.ranking import NEVER
from tests.models.cases import N


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    return csr_matrix((rng.random((30, 20)) < 0.25).astype(np.float32))


@pytest.fixture(scope="module")
def ours(data):
    return create("als", n_factors=6).fit(data, show_progress=False)


@pytest.fixture(scope="module")
def theirs(data, ours):
    """implicit's own recommender over the very same factors."""
    model = AlternatingLeastSquares(factors=6)
    model.item_factors = ours.item_factors_
    model.user_factors = ours._user_factors(csr_array(data))
    return model


def test_the_confidence_of_als_is_alpha_times_the_value_and_1_where_there_is_none(data):
    """The user's factors solve the weighted least squares with that confidence, not with the paper's 1 + alpha r."""
    alpha, l2 = 3.0, 0.2
    model = create("als", n_factors=4, alpha=alpha, l2=l2).fit(data, show_progress=False)
    history = 2.0 * data[[0]].toarray()[0]
    items = model.item_factors_.astype(np.float64)
    confidence = np.where(history > 0, alpha * history, 1.0)
    matrix = items.T @ (confidence[:, None] * items) + l2 * np.eye(4)
    wanted = items @ np.linalg.solve(matrix, items.T @ (confidence * (history > 0)))
    assert_allclose(model.score(csr_matrix(history[None, :].astype(np.float32)))[0], wanted, atol=1e-4)


@pytest.mark.parametrize("method", ["recommend", "similar_items", "similar_users"])
def test_arguments_and_defaults_are_implicits(method):
    wanted = inspect.signature(getattr(RecommenderBase, method)).parameters.values()
    found = inspect.signature(getattr(Model, method)).parameters.values()
    assert [(p.name, p.default, p.kind) for p in found] == [(p.name, p.default, p.kind) for p in wanted]


def test_fit_takes_implicits_arguments_in_implicits_order():
    wanted = list(inspect.signature(RecommenderBase.fit).parameters.values())
    found = list(inspect.signature(Model.fit).parameters.values())
    assert [(p.name, p.default) for p in found[: len(wanted)]] == [(p.name, p.default) for p in wanted]
    assert all(p.kind is p.KEYWORD_ONLY for p in found[len(wanted) :])


CALLS = {
    "one user": lambda model, x: model.recommend(3, x[3]),
    "one user, id from numpy": lambda model, x: model.recommend(np.int64(3), x[3], N=4),
    "a batch": lambda model, x: model.recommend([5, 2, 9], x[[5, 2, 9]], N=4),
    "a batch of one": lambda model, x: model.recommend(np.array([5]), x[[5]], N=4),
    "liked items too": lambda model, x: model.recommend(3, x[3], N=7, filter_already_liked_items=False),
    "some filtered": lambda model, x: model.recommend([3, 4], x[[3, 4]], N=4, filter_items=[0, 7, 8]),
    "only some": lambda model, x: model.recommend([3, 4], x[[3, 4]], N=3, items=[9, 0, 7, 8]),
    "only some, liked or not": lambda model, x: model.recommend(
        3, x[3], N=10, items=np.array([9, 0, 7]), filter_already_liked_items=False
    ),
    "similar items": lambda model, x: model.similar_items(3, N=6),
    "similar items of a batch": lambda model, x: model.similar_items(np.arange(4), N=6),
    "similar items among some": lambda model, x: model.similar_items([3, 4], N=3, items=[1, 2, 3, 9]),
    "similar items but some": lambda model, x: model.similar_items(3, N=5, filter_items=[1, 2]),
    "similar users": lambda model, x: model.similar_users(3, N=6),
    "similar users of a batch": lambda model, x: model.similar_users([3, 8], N=6, filter_users=np.arange(2)),
    "similar users among some": lambda model, x: model.similar_users(3, N=3, users=[1, 2, 9, 15]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_answers_have_implicits_shape_and_values(call, ours, theirs, data):
    ids, scores = call(ours, data)
    their_ids, their_scores = call(theirs, data)
    assert ids.shape == their_ids.shape
    assert scores.dtype == their_scores.dtype == np.float32
    assert_allclose(scores, their_scores, atol=2e-6)
    possible = scores > NEVER  # what may not be suggested stands at the end, in any order
    assert_array_equal(ids[possible], their_ids[possible])


def test_liked_items_stand_last_with_implicits_score(ours, theirs, data):
    ids, scores = ours.recommend(0, data[0], N=20)
    their_ids, their_scores = theirs.recommend(0, data[0], N=20)
    liked = data[0].nnz
    assert set(ids[-liked:]) == set(data[0].indices) == set(their_ids[-liked:])
    assert (scores[-liked:] == their_scores[-liked:]).all()
    assert (scores[-liked:] == NEVER).all()


def test_more_items_than_there_are_gives_those_there_are(ours, data):
    ids, _ = ours.recommend([0, 1], data[[0, 1]], N=1000)
    assert ids.shape == (2, 20)
    ids, _ = ours.recommend(0, data[0], N=1000, filter_items=[4, 5])
    assert ids.shape == (18,)
    assert not {4, 5} & set(ids.tolist())


ERRORS = {
    "rows disagree with ids": (ValueError, lambda model, x: model.recommend([0, 1], x[0])),
    "a whole matrix for one user": (ValueError, lambda model, x: model.recommend(0, x)),
    "not CSR": (ValueError, lambda model, x: model.recommend(0, x[0].tocsc())),
    "COO": (ValueError, lambda model, x: model.recommend(0, x[0].tocoo())),
    "an item above": (IndexError, lambda model, x: model.recommend(0, x[0], items=[1, 20])),
    "an item below": (IndexError, lambda model, x: model.recommend(0, x[0], items=[-1])),
    "no item": (IndexError, lambda model, x: model.recommend(0, x[0], items=[])),
    "a filter above": (IndexError, lambda model, x: model.recommend(0, x[0], filter_items=[20])),
    "items and filter": (ValueError, lambda model, x: model.recommend(0, x[0], items=[1], filter_items=[2])),
    "similar to an item above": (IndexError, lambda model, x: model.similar_items(20)),
    "similar in a batch above": (IndexError, lambda model, x: model.similar_items([1, 20])),
    "similar among items above": (IndexError, lambda model, x: model.similar_items(0, items=[20])),
    "similar, items and filter": (
        ValueError,
        lambda model, x: model.similar_items(0, items=[1], filter_items=[2]),
    ),
    "similar to a user above": (IndexError, lambda model, x: model.similar_users(30)),
    "similar among users above": (IndexError, lambda model, x: model.similar_users(0, users=[30])),
    "similar, users and filter": (
        ValueError,
        lambda model, x: model.similar_users(0, users=[1], filter_users=[2]),
    ),
}


@pytest.mark.parametrize(("error", "call"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_implicits(error, call, ours, theirs, data):
    for model in (theirs, ours):
        with pytest.raises(error):
            call(model, data)


def test_negative_item_ids_are_refused_where_implicit_counts_from_the_end(ours):
    with pytest.raises(IndexError, match="itemid -1 is not in the model, which has 0 to 19"):
        ours.similar_items(-1)


def test_without_user_items_the_training_row_serves(ours, theirs, data):
    ids, scores = ours.recommend([4, 7], None, N=5, filter_already_liked_items=False)
    their_ids, their_scores = theirs.recommend([4, 7], None, N=5, filter_already_liked_items=False)
    assert_array_equal(ids, their_ids)
    assert_allclose(scores, their_scores, atol=2e-6)
    with pytest.raises(IndexError):
        ours.recommend(30, None, filter_already_liked_items=False)


def test_a_row_of_a_csr_array_has_one_dimension_and_works(ours, data):
    assert_array_equal(ours.recommend(3, csr_array(data)[3])[0], ours.recommend(3, data[3])[0])


def test_recalculating_an_item_is_not_there_as_in_implicits_item_models(ours, data):
    with pytest.raises(NotImplementedError, match="fit again"):
        ours.similar_items(0, recalculate_item=True, item_users=data.T.tocsr()[0])


# -------------------------------------------------------------------- every model, in implicit's own terms


def test_implicits_evaluation_runs_on_every_model(personal_case, personal):
    withheld = csr_matrix(np.eye(N, dtype=np.float32))
    precision = precision_at_k(personal, csr_matrix(personal_case.data), withheld, K=1, show_progress=False)
    assert precision == 1.0


def test_scores_fall_and_batches_agree_with_single_users(case, fitted):
    ids, scores = fitted.recommend(np.arange(N), case.data, N=6)
    assert ids.shape == scores.shape == (N, 6)
    assert (np.diff(scores, axis=1) <= 0).all()
    for user in range(N):
        ids_alone, scores_alone = fitted.recommend(user, case.data[user], N=6)
        assert_allclose(scores_alone, scores[user], rtol=1e-4, atol=1e-5)
        assert not set(ids_alone[scores_alone > NEVER]) & set(case.data[user].indices)


def test_a_choice_of_items_is_ranked_whole_with_liked_ones_last(case, fitted):
    ids, scores = fitted.recommend(0, case.data[0], items=[1, 2, 3, 4, 5, 6], N=20)
    liked = {1, 2, 3, 4, 5, 6} & set(case.data[0].indices.tolist())
    assert sorted(ids) == [1, 2, 3, 4, 5, 6]
    assert set(ids[-len(liked) :]) == liked
    assert (scores[-len(liked) :] == NEVER).all()


def test_neighbours_are_there_as_a_matrix_as_rectools_wrappers_read_them(fitted):
    similarity = fitted.similarity
    assert isinstance(similarity, csr_matrix)
    assert similarity.shape == (N, N)
    ids, scores = fitted.similar_items(5, N=N)
    assert_allclose(similarity[5].toarray()[0, ids], scores, atol=1e-5)
    assert (similarity.diagonal() == 1.0).all()


# -------------------------------------------------------------------- what implicit computes for us


def test_als_folds_a_history_in_as_implicit_recalculates_a_user(data):
    model = create("als", n_factors=6, alpha=3.0, l2=0.1, epochs=4, seed=5).fit(data, show_progress=False)
    peer = AlternatingLeastSquares(
        factors=6, alpha=3.0, regularization=0.1, iterations=4, random_state=5, use_gpu=False
    )
    peer.fit(data, show_progress=False)
    ids, scores = peer.recommend(np.arange(30), data, N=5, recalculate_user=True)
    our_ids, our_scores = model.recommend(np.arange(30), data, N=5)
    assert_allclose(our_scores, scores, rtol=1e-4, atol=1e-5)
    assert_array_equal(our_ids, ids)


def test_what_implicit_fits_is_fitted_on_the_cpu_where_implicit_finds_a_gpu_too(monkeypatch):
    parameters = inspect.signature(AlternatingLeastSquares).parameters.values()
    there_is_one = tuple(True if each.name == "use_gpu" else each.default for each in parameters)
    monkeypatch.setattr(AlternatingLeastSquares, "__defaults__", there_is_one)
    assert type(create("als")._solver()).__module__.startswith("implicit.cpu.")


def test_factors_that_implicit_cannot_solve_for_are_a_fit_error_with_the_way_out(data):
    large = data.copy()
    large.data[::3] *= 1e12
    with pytest.raises(FitError, match=r"als could not solve .*values reach 1e\+12; scale the values down"):
        create("als", n_factors=6, l2=1e-6).fit(large, show_progress=False)


def test_an_error_of_the_callers_own_callback_is_not_taken_for_implicits(data):
    def callback(*_):
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        create("als", n_factors=2).fit(data, show_progress=False, callback=callback)


def test_item_knn_scores_as_implicits_cosine_recommender(data):
    model = create("item_knn", n_neighbours=5).fit(data, show_progress=False)
    peer = CosineRecommender(K=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParameterWarning)
        peer.fit(data.astype(np.float64), show_progress=False)
    for user in range(30):
        _, scores = peer.recommend(user, data[user], N=4)
        assert_allclose(model.recommend(user, data[user], N=4)[1], scores, rtol=1e-5)


def test_the_reference_is_the_installed_implicit():
    assert issubclass(MatrixFactorizationBase, RecommenderBase)
