"""What every registered model promises; a new one joins by a line in cases.SETTINGS."""

import copy
import io
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch
from implicit.utils import ParameterWarning
from numpy.testing import assert_array_equal
from scipy.sparse import coo_matrix, csr_array, csr_matrix

from recae.errors import ArtifactError, ConfigError, DataError, NotFittedError
from recae.models import create, load_model, model_class, names
from recae.models.ranking import NEVER
from tests.models.cases import SETTINGS, N


def test_every_registered_model_is_under_this_contract():
    assert set(names()) == set(SETTINGS)


# -------------------------------------------------------------------- right answers


def test_the_unseen_item_of_ones_own_taste_ranks_first(personal_case, personal):
    scores = personal.score(personal_case.data)
    scores[personal_case.data.toarray() > 0] = -np.inf
    assert scores.argmax(axis=1).tolist() == list(range(N))


def test_a_new_user_gets_what_a_training_user_with_this_history_gets(personal_case, personal):
    history = personal_case.data[[6]]
    ids, scores = personal.recommend(999_999, history, N=3)
    ids_known, scores_known = personal.recommend(6, history, N=3)
    assert ids[0] == 6
    assert_array_equal(ids, ids_known)
    assert_array_equal(scores, scores_known)


def test_similar_items_are_of_one_taste_and_the_item_itself_comes_first(personal):
    for item in range(N):
        ids, scores = personal.similar_items(item, N=8)
        assert ids[0] == item
        assert scores[0] == pytest.approx(1.0)
        assert all(ids % 2 == item % 2)


def test_similar_users_are_of_one_taste_and_the_user_comes_first(personal):
    for user in range(N):
        ids, scores = personal.similar_users(user, N=8)
        assert ids[0] == user
        assert scores[0] == pytest.approx(1.0)
        assert all(ids % 2 == user % 2)


def test_an_item_nobody_chose_is_similar_to_nothing(personal_case):
    data = personal_case.data.toarray()
    data[:, 4] = 0.0
    model = personal_case.fitted(csr_matrix(data))
    for item in (0, 2, 6):
        assert 4 not in model.similar_items(item, N=8)[0]


# -------------------------------------------------------------------- scores


def test_scores_are_fresh_float32_of_the_histories_shape(case, fitted):
    scores = fitted.score(case.data[:5])
    again = fitted.score(case.data[:5])
    assert scores.dtype == np.float32
    assert scores.shape == (5, N)
    scores[:] = 7.0
    assert not np.shares_memory(scores, again)
    assert_array_equal(again, fitted.score(case.data[:5]))


def test_an_empty_history_gets_finite_scores(fitted):
    scores = fitted.score(csr_matrix((2, N), dtype=np.float32))
    assert np.isfinite(scores).all()


def test_the_batch_a_history_is_in_does_not_change_its_scores(case, fitted):
    together = fitted.score(case.data)
    alone = np.vstack([fitted.score(case.data[[row]]) for row in range(N)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [csr_matrix, csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_float_and_csr_kind_read_only_too_gives_the_same_scores(case, hastily_fitted, kind, dtype):
    data = kind(case.data.astype(dtype))
    for buffer in (data.data, data.indices, data.indptr):
        buffer.flags.writeable = False
    found = case.fitted(data, **case.few_epochs)
    assert_array_equal(found.score(data), hastily_fitted.score(case.data))


def test_duplicates_are_summed_and_the_callers_matrix_stays_as_it_was(case, hastily_fitted):
    whole = case.data.tocoo()
    halves = csr_matrix(
        coo_matrix((np.tile(whole.data / 2, 2), (np.tile(whole.row, 2), np.tile(whole.col, 2))))
    )
    split = csr_matrix(
        (np.repeat(case.data.data / 2, 2), np.repeat(case.data.indices, 2), case.data.indptr * 2),
        shape=(N, N),
    )
    before = split.data.copy()
    found = case.fitted(split, **case.few_epochs)
    assert_array_equal(found.score(halves), hastily_fitted.score(case.data))
    assert_array_equal(split.data, before)


def test_the_same_seed_gives_the_same_model_twice(case, fitted):
    assert_array_equal(case.fitted().score(case.data), fitted.score(case.data))


def test_a_second_fit_forgets_the_first(case, hastily_fitted):
    other = csr_matrix(case.data[:, ::-1][:10])
    model = case.fitted(other, **case.few_epochs)
    model.fit(case.data, show_progress=False)
    assert_array_equal(model.score(case.data), hastily_fitted.score(case.data))
    assert model.n_users_ == N


# -------------------------------------------------------------------- bad input


def test_scoring_before_fit_says_so(case):
    model = case.make()
    for call in (
        lambda: model.score(case.data),
        lambda: model.recommend(0, case.data[0]),
        lambda: model.similar_items(0),
        lambda: model.similar_users(0),
    ):
        with pytest.raises(NotFittedError, match="call fit first"):
            call()


def test_histories_of_another_catalogue_are_refused(fitted):
    with pytest.raises(DataError, match=r"7 columns, the model knows 24 items"):
        fitted.score(csr_matrix((1, 7), dtype=np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_is_named_by_its_place(case, bad):
    data = csr_matrix(case.data, dtype=np.float64)
    data[3, 5] = bad
    with pytest.raises(DataError, match=r"row 3, column 5 is not finite"):
        case.fitted(data)


def test_a_history_with_a_value_that_is_too_large_is_refused_by_its_place(case, fitted):
    data = csr_matrix(([1.0, 1e20], ([0, 1], [4, 7])), shape=(2, N))
    if case.make().feedback != "sequences":
        with pytest.raises(DataError, match=r"value 1e\+20 at row 1, column 7 is too large"):
            fitted.score(data)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3, 4)])
def test_nothing_to_learn_from_is_an_error(case, shape):
    with pytest.raises(DataError, match="nothing to learn from"):
        case.fitted(csr_matrix(shape, dtype=np.float32))


def test_a_failed_fit_leaves_an_unfitted_model(case):
    model = case.fitted(**case.few_epochs)
    with pytest.raises(DataError):
        model.fit(csr_matrix((3, 4), dtype=np.float32), show_progress=False)
    assert model.score(case.data).shape == (N, N), "bad data is found before anything is forgotten"


def test_a_dense_matrix_is_refused_with_the_way_out(case):
    with pytest.raises(TypeError, match="csr_matrix"):
        case.make().fit(np.ones((3, 3)))


@pytest.mark.parametrize("form", ["coo", "lil", "csc"])
def test_another_sparse_form_works_with_a_warning(case, hastily_fitted, form):
    with pytest.warns(ParameterWarning, match="expects CSR"):
        model = case.fitted(case.data.asformat(form), **case.few_epochs)
    assert_array_equal(model.score(case.data), hastily_fitted.score(case.data))


def test_one_user_and_one_item_are_enough(case):
    one = csr_matrix(np.array([[1.0]], dtype=np.float32))
    model = case.fitted(one, **case.few_epochs)
    assert np.isfinite(model.score(one)).all()
    ids, scores = model.recommend(0, one, N=5)
    assert (ids.tolist(), scores.tolist()) == ([0], [NEVER])


def test_an_unknown_setting_is_an_error_that_lists_the_known_ones(case):
    with pytest.raises(ConfigError, match=f"settings of {case.name}: colour"):
        case.make(colour="red")


def test_an_unknown_model_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match="no model is named 'esae'; there are popularity"):
        create("esae")


# -------------------------------------------------------------------- storing


def test_a_stored_model_gives_the_same_answers(case, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    torch_before, numpy_before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002 - the global state is what this asks about
    for loaded in (load_model(tmp_path / "model"), model_class(case.name).load(str(tmp_path / "model"))):
        assert torch.equal(torch.get_rng_state(), torch_before)
        assert str(np.random.get_state()) == numpy_before  # noqa: NPY002 - as above
        assert loaded.config == fitted.config
        assert_array_equal(loaded.score(case.data), fitted.score(case.data))
        assert_array_equal(loaded.similar_items(3)[0], fitted.similar_items(3)[0])
        assert_array_equal(loaded.similar_users(3)[1], fitted.similar_users(3)[1])
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "no temporary file remains"


def test_a_model_is_stored_in_an_open_file_too(case, fitted):
    file = io.BytesIO()
    fitted.save(file)
    file.seek(0)
    assert_array_equal(load_model(file).score(case.data), fitted.score(case.data))


def test_an_unfitted_model_is_stored_with_its_settings(case, tmp_path):
    case.make().save(tmp_path / "model")
    assert vars(load_model(tmp_path / "model")) == vars(case.make())


def test_a_model_of_another_class_is_refused_by_name(case, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    other = "popularity" if case.name != "popularity" else "ease"
    with pytest.raises(ArtifactError, match=f"named '{case.name}'"):
        model_class(other).load(tmp_path / "model")


@pytest.fixture(scope="session")
def another_process():
    """One for all: the order of the cases mixes this module's tests with others', and each process imports for seconds."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_a_model_in_memory_survives_a_copy_a_pickle_and_another_process(case, fitted, another_process):
    wanted = fitted.score(case.data)
    assert_array_equal(copy.deepcopy(fitted).score(case.data), wanted)
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).score(case.data), wanted)
    assert_array_equal(another_process.submit(fitted.score, case.data).result(), wanted)


def test_the_callback_hears_of_every_epoch(case):
    heard = []
    case.make().fit(case.data, show_progress=False, callback=lambda *epoch: heard.append(epoch))
    assert [number for number, _, _ in heard] == list(range(len(heard)))
    assert len(heard) == getattr(case.make().config, "epochs", 1)
    assert all(seconds >= 0 for _, seconds, _ in heard)


def test_feedback_says_what_the_values_mean():
    of_ratings = {name for name in names() if model_class(name).feedback == "ratings"}
    assert of_ratings == {"rating_means", "biased_mf", "autorec", "deep_autorec", "sparsefc", "rating_blend"}
    assert {name for name in names() if model_class(name).feedback == "sequences"} == {
        "sequential_vae",
        "slist",
    }
