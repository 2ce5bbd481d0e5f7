"""A training that is interrupted after an epoch is resumed to the very model of an unbroken run, whatever its kind.

Real processes, Ctrl-C and kill are in tests/test_interrupts.py.
"""

import io
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae.errors import ArtifactError, CheckpointError, NotFittedError
from recae.models import create, factorisation, load_model, model_class, names, trainer
from tests.models.cases import CASES, LAZY, Case, N, named, two_tastes
from tests.models.test_neural import holdout

KEEPING = [case for case in CASES if "epochs" in model_class(case.name).config_class.model_fields]
FEW = {"epochs": 2, "batch_size": 8, "n_hidden": 4}
BLENDS = [
    Case(
        "blend",
        members=[
            {"name": "ease"},
            {"name": "dae", "settings": FEW},
            {"name": "sparse_ae", "settings": FEW | {"n_active": 2}},
        ],
        weights=None,
    ),
    Case(
        "rating_blend",
        members=[
            {"name": "biased_mf", "settings": {"n_factors": 2, "epochs": 2}},
            {"name": "autorec", "settings": FEW | {"by": "user"}},
        ],
    ),
]
EPOCHS = 4  # of the two members of a blend that have any, together
BEFORE = 3  # epochs that are finished when the interrupt comes: in a blend it comes inside the second of the members


@pytest.fixture
def written(monkeypatch):
    """How often a state was written; the interrupt comes right after so many."""
    counted = {"n": 0, "interrupt_after": None}

    def counting(*args, **fields):
        write(*args, **fields)
        counted["n"] += 1
        if counted["n"] == counted["interrupt_after"]:
            raise KeyboardInterrupt

    write = trainer.write_state
    for module in (trainer, factorisation):
        monkeypatch.setattr(module, "write_state", counting)
    return counted


def stored(model):
    file = io.BytesIO()
    model.save(file)
    return file.getvalue()


def make(case):
    return case.make() if case in BLENDS else case.make(epochs=EPOCHS)


def test_every_model_that_is_trained_by_epochs_is_asked():
    by_epochs = {name for name in names() if "epochs" in model_class(name).config_class.model_fields}
    assert by_epochs == {case.name for case in KEEPING}


@pytest.mark.parametrize("case", named(KEEPING + LAZY + BLENDS))
def test_an_interrupted_training_is_resumed_to_the_model_of_an_unbroken_one(case, written, tmp_path):
    validation = holdout(case)
    whole = make(case).fit(case.data, show_progress=False, validation=validation)
    assert written["n"] == 0, "nobody asked for a checkpoint"
    how = {"show_progress": False, "validation": validation, "checkpoint": str(tmp_path / "state")}

    written["interrupt_after"] = BEFORE
    with pytest.raises(KeyboardInterrupt):
        make(case).fit(case.data, **how)
    resumed = make(case).fit(case.data, **how)

    assert written["n"] == EPOCHS, "no epoch was taken twice"
    assert stored(resumed) == stored(whole)


@pytest.mark.parametrize(
    "case", named([case for case in KEEPING if case.name in {"biased_mf", "sparsefc", "autorec"}])
)
def test_a_checkpoint_of_another_number_of_epochs_is_refused(case, tmp_path):
    file = str(tmp_path / "state")
    case.make(epochs=1).fit(case.data, show_progress=False, checkpoint=file)
    with pytest.raises(ArtifactError, match="other settings or data; go back to those, or delete it"):
        case.make(epochs=2).fit(case.data, show_progress=False, checkpoint=file)


@pytest.mark.parametrize("case", named(KEEPING))
def test_a_checkpoint_without_a_folder_is_refused_before_anything_is_forgotten(case, tmp_path):
    model = make(case).fit(case.data, False)
    before = stored(model)
    with pytest.raises(
        CheckpointError, match=r"cannot be written: there is no folder .*missing; make it first"
    ):
        model.fit(case.data, False, checkpoint=str(tmp_path / "missing" / "state"))
    assert stored(model) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", named(KEEPING))
def test_a_model_whose_fit_was_interrupted_is_stored_as_one_that_has_learned_nothing(case, tmp_path):
    def interrupt(*_epoch):
        raise KeyboardInterrupt

    model = make(case)
    with pytest.raises(KeyboardInterrupt):
        model.fit(case.data, show_progress=False, callback=interrupt)
    model.save(tmp_path / "model")
    with pytest.raises(NotFittedError, match="call fit first"):
        load_model(tmp_path / "model").score(case.data)


CHOOSING = [case for case in KEEPING if case.make().chooses_on_validation]


@pytest.mark.parametrize(
    "case", named([case for case in CHOOSING if case.name in {"lmf", "biased_mf", "sparsefc"}])
)
def test_a_checkpoint_of_another_validation_is_refused(case, tmp_path):
    """Its best epoch is that of other questions."""
    file, asked = str(tmp_path / "state"), holdout(case)
    case.make(epochs=1).fit(case.data, False, checkpoint=file, validation=asked)
    of_fewer = replace(asked, targets=csr_array(np.diag(np.arange(N) % 2).astype(np.float32)))
    for other in (None, of_fewer):
        with pytest.raises(ArtifactError, match="other settings or data; go back to those, or delete it"):
            case.make(epochs=1).fit(case.data, False, checkpoint=file, validation=other)
    again = case.make(epochs=1).fit(case.data, False, checkpoint=file, validation=holdout(case))
    assert len(again.training_log_["values"]) == 1


def test_a_checkpoint_of_another_kind_of_model_with_the_same_settings_is_refused(tmp_path):
    file, settings = str(tmp_path / "state"), {"epochs": 1, "n_hidden": 3}
    create("dae", **settings).fit(two_tastes(), False, checkpoint=file)
    with pytest.raises(ArtifactError, match="other settings or data; go back to those, or delete it"):
        create("cdae", **settings).fit(two_tastes(), False, checkpoint=file)


@pytest.mark.parametrize("case", named([case for case in CASES if case not in KEEPING]))
def test_a_model_that_keeps_no_checkpoint_leaves_no_file_and_says_so(case, tmp_path):
    model = case.make().fit(case.data, show_progress=False, checkpoint=str(tmp_path / "state"))
    is_blend = case.name in {"blend", "rating_blend"}  # theirs are the members'
    assert bool(list(tmp_path.iterdir())) == model.keeps_checkpoints == is_blend


def test_a_blend_of_what_keeps_none_keeps_none():
    members = [{"name": "ease"}, {"name": "popularity"}]
    assert not create("blend", members=members).keeps_checkpoints


def test_a_finished_fit_of_als_is_taken_as_it_is(tmp_path):
    file = str(tmp_path / "state")
    whole = create("als", n_factors=3, epochs=2).fit(two_tastes(), False, checkpoint=file)
    again = create("als", n_factors=3, epochs=2).fit(two_tastes(), False, checkpoint=file)
    assert stored(again) == stored(whole)
