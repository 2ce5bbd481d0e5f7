import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.models import model_class
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
