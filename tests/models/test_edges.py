"""Data at the edge, for every model: a sane, finite result, or a clear error that names what to do.

What every model refuses in training (NaN, infinite values, nothing to learn from), an empty history, and one user with
one item are in test_contract.py.
"""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae.errors import DataError, FitError
from recae.models.matrices import LARGEST
from recae.models.ranking import NEVER
from tests.models.cases import CASES, N, named

REFUSE_NEGATIVE = {
    "bpr", "lmf", "gf_cf", "dae", "cdae", "sparse_ae", "cosine_dae", "mult_dae", "mult_vae", "recvae", "hvamp_vae"
}  # fmt: skip
"""Models to which a value is a count, or a choice that was made."""


@pytest.fixture(params=named(CASES))
def case(request):
    return request.param


def dense(case):
    return case.data.toarray()


def fitted(case, data, **settings):
    return case.make(**settings).fit(csr_array(np.asarray(data, dtype=np.float32)), show_progress=False)


def finite_scores(model, data):
    scores = model.score(csr_array(np.asarray(data, dtype=np.float32)))
    assert scores.shape == np.shape(data)
    assert np.isfinite(scores).all()
    return scores


# -------------------------------------------------------------------- values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_history_with_a_value_that_is_not_finite_is_refused_by_its_place(case, bad):
    model = case.make(**case.few_epochs).fit(case.data, show_progress=False)
    data = csr_array(case.data[:3].astype(np.float64))
    row, place = 2, 4
    data.data[data.indptr[row] + place] = bad
    column = data.indices[data.indptr[row] + place]
    with pytest.raises(DataError, match=rf"row {row}, column {column} is not finite.*drop it or mend it"):
        model.score(data)


def test_negative_values_are_learned_from_or_refused_with_the_way_out(case):
    data = dense(case)
    data[3, 5] = -2.0
    if case.name in REFUSE_NEGATIVE:
        model = fitted(case, dense(case), **case.few_epochs)
        with pytest.raises(DataError, match=rf"{case.name}.*found the value -2; drop negative values"):
            model.fit(csr_array(data), show_progress=False)
        finite_scores(model, dense(case))  # nothing was forgotten
    else:
        finite_scores(fitted(case, data, **case.few_epochs), data)


def test_a_negative_value_in_a_history_gives_finite_scores_where_histories_are_folded_in(case):
    model = fitted(case, dense(case), **case.few_epochs)
    if model.supports_fold_in:
        data = dense(case)
        data[3, 5] = -2.0
        finite_scores(model, data)


def test_equal_values_everywhere_give_finite_scores_and_ratings_models_that_rating(case):
    data = 4.0 * (dense(case) > 0)
    scores = finite_scores(fitted(case, data, **case.few_epochs), data)
    if case.make().feedback == "ratings":
        np.testing.assert_allclose(scores, 4.0, atol=1e-5)


TINY = np.finfo(np.float32).smallest_subnormal


@pytest.mark.parametrize("size", [TINY, 1e-20, 1e6, LARGEST / 5, "mixed"])
def test_very_small_and_very_large_values_give_finite_scores_or_a_fit_error(case, size):
    data = dense(case)
    if size == "mixed":
        data = data * 10.0 ** np.random.default_rng(0).integers(-20, 15, data.shape)
        data *= LARGEST / data.max()
    else:
        data = data * size
    complaint = None
    try:
        model = fitted(case, data, **case.few_epochs)
    except FitError as error:
        complaint = str(error)
    if complaint is None:
        finite_scores(model, data)
    else:
        assert "raise l2" in complaint
        assert size == "mixed" or case.name in {"als", "blend"}, f"{case.name} can take {size}: {complaint}"


@pytest.mark.parametrize("large", [1.1 * LARGEST, -1e30])
def test_a_value_whose_squares_float32_could_not_sum_is_refused_by_its_place(case, large):
    data = csr_array(case.data.astype(np.float64))
    data.data[data.indptr[2] + 4] = large
    column = data.indices[data.indptr[2] + 4]
    model = case.make(**case.few_epochs)
    if model.feedback == "sequences":
        assert np.isfinite(model.fit(data, show_progress=False).score(data)).all(), "only the order counts"
    else:
        with pytest.raises(DataError, match=rf"row 2, column {column} is too large.*up to 1e\+15; drop it"):
            model.fit(data, show_progress=False)


def test_stored_zeros_alone_are_nothing_to_learn_from_but_for_ratings_and_places(case):
    data = csr_array(case.data, copy=True)
    data.data[:] = 0.0
    model = case.make(**case.few_epochs)
    if model.feedback == "implicit":
        with pytest.raises(DataError, match="nothing to learn from"):
            model.fit(data, show_progress=False)
    else:
        assert np.isfinite(model.fit(data, show_progress=False).score(data)).all()


# -------------------------------------------------------------------- rows and columns


def test_users_without_anything_are_passed_over(case):
    data = dense(case)
    data[[0, 5, 23]] = 0.0
    model = fitted(case, data)
    scores = finite_scores(model, data)
    np.testing.assert_array_equal(scores[0], scores[5], err_msg="empty histories are alike")
    if case.is_personal:
        scores[data > 0] = -np.inf
        rows = np.setdiff1d(np.arange(N), [0, 5, 23])
        assert scores[rows].argmax(axis=1).tolist() == rows.tolist(), "the others are served as before"


def test_an_item_nobody_saw_is_ranked_behind_what_users_of_ones_taste_chose(case):
    data = dense(case)
    data[:, 4] = 0.0
    scores = finite_scores(fitted(case, data), data)
    own = scores[np.arange(N), np.arange(N)]  # the withheld item
    rows = np.setdiff1d(np.arange(N), [4])
    if case.make().feedback != "ratings":  # there it gets the mean rating, which is no bad one
        assert (own[rows] > scores[rows, 4]).all()


@pytest.mark.parametrize("n_users", [1, 2])
def test_one_user_or_two_are_enough(case, n_users):
    data = dense(case)[:n_users]
    model = fitted(case, data)
    finite_scores(model, data)
    ids, scores = model.recommend(np.arange(n_users), csr_array(data), N=N)
    assert [sorted(row) for row in ids.tolist()] == [list(range(N))] * n_users
    assert ((scores == NEVER).sum(axis=1) == (data > 0).sum(axis=1)).all()
    assert model.similar_users(0)[0][0] == 0


def test_one_item_is_enough(case):
    data = dense(case)[:, [0]]
    model = fitted(case, data)
    finite_scores(model, data)
    assert model.recommend(1, csr_array(data)[[1]], N=5)[0].tolist() == [0]
    assert model.similar_items(0)[0].tolist() == [0]


def test_users_who_chose_everything_leave_nothing_to_tell_apart(case):
    data = np.ones((N, N))
    model = fitted(case, data)
    finite_scores(model, data)
    _, scores = model.recommend(0, csr_array(data)[[0]], N=3)
    assert (scores == NEVER).all(), "everything is in the history"


def test_a_single_interaction_is_enough(case):
    data = np.zeros((5, 7))
    data[2, 3] = 1.0
    finite_scores(fitted(case, data, **case.few_epochs), data)


def test_no_histories_give_no_scores(case):
    model = fitted(case, dense(case), **case.few_epochs)
    assert model.score(csr_array((0, N), dtype=np.float32)).shape == (0, N)
