import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.models import create, model_class
from recae.models.fitting import fit_to_everything, with_best_epochs
from tests.models.cases import CASES, N, named, two_tastes

BY_EPOCHS = [case for case in CASES if "patience" in model_class(case.name).config_class.model_fields]


def log_of(case, repeat=4):
    """The case's users several times over: enough of them to hold some out."""
    matrix = csr_array(np.tile(case.data.toarray(), (repeat, 1)))
    times = matrix.data.astype(np.int64) if case.make().feedback == "sequences" else None
    return Interactions(matrix, IdMap.of_range(repeat * N), IdMap.of_range(N), times)


@pytest.mark.parametrize("case", named(BY_EPOCHS))
def test_the_model_learns_from_everything_for_the_epochs_that_were_best_without_a_part(case):
    model = fit_to_everything(case.make(epochs=8), log_of(case), validation_share=0.2, show_progress=False)
    assert model.n_users_ == 4 * N
    log = model.training_log_
    assert log["values"] == [], "nothing is held out of the final fit"
    assert len(log["losses"]) == model.config.epochs <= 8
    again = case.make(epochs=model.config.epochs).fit(log_of(case).matrix, show_progress=False)
    assert_array_equal(again.score(case.data), model.score(case.data))


@pytest.mark.parametrize("case", named([case for case in CASES if not case.make().chooses_on_validation]))
def test_a_model_in_closed_form_is_fitted_once(case, monkeypatch):
    fits = []
    model = case.make()
    fit = type(model).fit
    monkeypatch.setattr(type(model), "fit", lambda *args, **kwargs: fits.append(args) or fit(*args, **kwargs))
    assert fit_to_everything(model, log_of(case), show_progress=False) is model
    assert len(fits) == 1


def test_without_a_share_all_epochs_are_taken():
    case = BY_EPOCHS[0]
    model = fit_to_everything(case.make(epochs=3), log_of(case), validation_share=0.0, show_progress=False)
    assert model.config.epochs == len(model.training_log_["losses"]) == 3


def test_too_few_users_to_hold_out_are_all_learned_from():
    case = next(case for case in BY_EPOCHS if case.name == "mult_vae")
    model = fit_to_everything(case.make(epochs=3), log_of(case, repeat=1), show_progress=False)
    assert len(model.training_log_["losses"]) == 3


def choices(pairs, n_users, n_items):
    dense = np.zeros((n_users, n_items), dtype=np.float32)
    dense[tuple(np.transpose(pairs))] = 1.0
    return Interactions(csr_array(dense), IdMap.of_range(n_users), IdMap.of_range(n_items))


def test_where_few_users_have_an_item_to_ask_for_beside_one_to_ask_with_all_are_learned_from():
    """A tenth of the 100 would be held out, and only 4 have two items."""
    log = choices([(user, user % 20) for user in range(100)] + [(user, 19) for user in range(4)], 100, 20)
    model = fit_to_everything(create("mult_vae", epochs=3, n_hidden=4), log, show_progress=False)
    assert (model.n_users_, len(model.training_log_["losses"])) == (100, 3)


@pytest.mark.parametrize("n_sharing", [0, 30])
def test_users_held_out_who_share_no_items_with_the_others_choose_no_epoch(n_sharing):
    """Of a user's own two items the training part knows neither; where 30 users share theirs, 4 of the 6 can be asked."""
    shared = [(user, item) for user in range(n_sharing) for item in range(2)]
    own = [(user, 2 + 2 * user + item) for user in range(n_sharing, 60) for item in range(2)]
    log = choices(shared + own, 60, 122)
    model = fit_to_everything(create("mult_vae", epochs=3, n_hidden=4), log, show_progress=False)
    assert len(model.training_log_["losses"]) == 3


@pytest.mark.parametrize("name", ["mult_vae", "bpr", "ease"])
def test_a_share_that_leaves_nothing_to_learn_from_is_refused(name):
    log = Interactions(csr_array(two_tastes()), IdMap.of_range(N), IdMap.of_range(N))
    with pytest.raises(ValueError, match="must leave something to learn from, found 1"):
        fit_to_everything(create(name), log, validation_share=1.0, show_progress=False)


def test_to_a_model_of_likings_every_interaction_counts_1():
    data = two_tastes()
    stars = csr_array(data * 4)
    log = Interactions(stars, IdMap.of_range(N), IdMap.of_range(N), None)
    model = fit_to_everything(CASES[3].make(), log, show_progress=False)
    assert set(model.histories_.data) == {1.0}


def test_an_interrupted_training_goes_on_to_the_same_model(tmp_path):
    case = next(case for case in BY_EPOCHS if case.name == "mult_vae")
    whole = fit_to_everything(case.make(epochs=6), log_of(case), show_progress=False)
    file = tmp_path / "checkpoint"
    fit_to_everything(case.make(epochs=6), log_of(case), show_progress=False, checkpoint=file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.epochs", "checkpoint.final"]
    (tmp_path / "checkpoint.final").unlink()  # as after a kill between the two fits
    resumed = fit_to_everything(case.make(epochs=6), log_of(case), show_progress=False, checkpoint=file)
    assert_array_equal(resumed.score(case.data), whole.score(case.data))


def test_the_best_epoch_of_a_model_without_epochs_changes_nothing():
    ease = next(case for case in CASES if case.name == "ease").fitted()
    assert with_best_epochs(ease).config == ease.config
