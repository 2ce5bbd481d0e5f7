"""Blends: members whose answers are known, and what is stored, refitted and refused."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recae.data.holdout import Holdout
from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.errors import ConfigError, FitError
from recae.models import create, load_model, registry
from recae.models.base import Model
from recae.models.blend import Blend, standardised
from recae.models.config import ModelConfig
from recae.models.fitting import fit_to_everything, with_best_epochs
from recae.models.storage import arrays_of
from tests.models.cases import two_tastes, two_tastes_in_order

N_ITEMS = 8


class KnowsConfig(ModelConfig):
    column: int = 0
    target: int = 7
    scale: float = 1.0
    seed: int = 0


class Knows(Model):
    """Who has ``column`` wants ``target``; of everybody else it knows nothing and puts the lower column first."""

    name = "knows"
    config_class: ClassVar = KnowsConfig

    def _fit(self, histories, how):
        self.scale_ = np.array([self.config.scale], dtype=np.float32)

    def _score(self, histories):
        scores = np.tile(-0.1 * np.arange(histories.shape[1], dtype=np.float32), (histories.shape[0], 1))
        scores[histories.toarray()[:, self.config.column] > 0, self.config.target] = 3.0
        return self.scale_ * scores


@pytest.fixture
def fakes(monkeypatch):
    monkeypatch.setattr(registry, "model_class", {"knows": Knows, "blend": Blend}.__getitem__)


def knows(column, target, **settings):
    return {"name": "knows", "settings": {"column": column, "target": target} | settings}


FIRST, SECOND = knows(0, 6), knows(1, 7, scale=1000.0)
BOTH = [FIRST, SECOND]


def users(n_each=3):
    """Half have column 0 and want 6, half have column 1 and want 7; all have column 2 besides."""
    kinds = np.repeat([0, 1], n_each)
    inputs, targets = np.zeros((2, len(kinds), N_ITEMS), dtype=np.float32)
    rows = np.arange(len(kinds))
    inputs[rows, kinds] = inputs[:, 2] = targets[rows, 6 + kinds] = 1.0
    return Holdout(csr_array(inputs), csr_array(targets), IdMap.of_range(len(kinds)))


def best_of(model, holdout):
    return model.recommend(np.arange(len(holdout)), holdout.inputs, N=1)[0].ravel().tolist()


def small(*members, **settings):
    return create("blend", members=members, **settings)


EASE = {"name": "ease", "settings": {"l2": 1.0}}
VAE = {
    "name": "mult_vae",
    "settings": {
        "n_hidden": 8,
        "n_latent": 4,
        "epochs": 12,
        "patience": 2,
        "batch_size": 8,
        "learning_rate": 0.05,
    },
}
IN_ORDER = {
    "name": "sequential_vae",
    "settings": {"n_embedding": 4, "n_hidden": 8, "n_latent": 4, "epochs": 3, "batch_size": 8},
}


# -------------------------------------------------------------------- weights


@pytest.mark.usefixtures("fakes")
def test_members_that_know_half_of_the_users_each_know_all_of_them_together():
    asked = users()
    model = small(*BOTH, cutoff=1).fit(asked.inputs, False, validation=asked)

    assert (model.weights_ > 0).all(), "neither is enough alone, however wide its scores spread"
    assert model.weights_.sum() == pytest.approx(1.0)
    assert best_of(model, asked) == [6, 6, 6, 7, 7, 7]
    for weights, best in (((1, 0), [6, 6, 6, 0, 0, 0]), ((0, 1), [1, 1, 1, 7, 7, 7])):
        assert best_of(model.retuned(model.config.model_copy(update={"weights": weights})), asked) == best


@pytest.mark.usefixtures("fakes")
def test_a_member_that_only_misleads_gets_no_weight():
    asked = users()
    misled = knows(2, 3)  # everybody has column 2, nobody wants 3

    model = small(misled, *BOTH, cutoff=1).fit(asked.inputs, False, validation=asked)

    assert best_of(model, asked) == [6, 6, 6, 7, 7, 7]
    assert model.weights_[0] == 0
    assert small(misled, *BOTH, cutoff=1).fit(asked.inputs, False, validation=asked).weights_.tolist() == (
        model.weights_.tolist()
    )


@pytest.mark.usefixtures("fakes")
def test_weights_are_chosen_among_the_candidates_that_the_validation_names():
    asked = users()
    easy = Holdout(asked.inputs, asked.targets, asked.users, candidates=asked.targets)

    model = small(*BOTH, cutoff=1).fit(asked.inputs, False, validation=easy)

    assert model.weights_.tolist() == [1.0, 0.0], (
        "with one candidate all shares are right, and the lowest is taken"
    )


@pytest.mark.usefixtures("fakes")
def test_without_a_validation_every_member_counts_the_same_and_given_weights_stay():
    asked = users()

    assert small(*BOTH, FIRST).fit(asked.inputs, False).weights_.tolist() == pytest.approx([1 / 3] * 3)
    given = small(*BOTH, weights=[3, 1]).fit(asked.inputs, False, validation=asked)
    assert given.weights_.tolist() == [0.75, 0.25]


def test_all_weight_on_a_member_gives_its_ranking():
    data = two_tastes()
    for place, alone in enumerate((create("ease", l2=1.0), create("als", n_factors=3))):
        members = [EASE, {"name": "als", "settings": {"n_factors": 3}}]
        model = small(*members, weights=np.eye(2)[place].tolist()).fit(data, False)
        wanted, found = (m.fit(data, False).recommend(np.arange(24), data, N=6)[0] for m in (alone, model))
        assert_array_equal(found, wanted)


def test_the_scores_are_the_weighted_sum_of_standardised_scores():
    data = two_tastes()
    model = small(EASE, {"name": "popularity"}, weights=[3, 1]).fit(data, False)
    parts = [
        create("ease", l2=1.0).fit(data, False).score(data),
        create("popularity").fit(data, False).score(data),
    ]
    scaled = [
        (part - part.mean(1, keepdims=True)) / np.maximum(part.std(1, keepdims=True), 1e-9) for part in parts
    ]

    assert_allclose(model.score(data), 0.75 * scaled[0] + 0.25 * scaled[1], atol=1e-5)


def test_standardised_rows_have_mean_0_and_deviation_1_and_equal_scores_become_0():
    found = standardised(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], dtype=np.float32))

    assert_allclose(found, [[-np.sqrt(1.5), 0, np.sqrt(1.5)], [0, 0, 0]], rtol=1e-6)


def test_other_weights_need_no_other_fit():
    data = two_tastes()
    fitted = small(EASE, {"name": "popularity"}, weights=[1, 1]).fit(data, False)

    again = fitted.retuned(fitted.config.model_copy(update={"weights": (1.0, 3.0)}))

    assert again.members_ is fitted.members_
    fresh = small(EASE, {"name": "popularity"}, weights=[1, 3]).fit(data, False)
    assert_array_equal(again.score(data), fresh.score(data))
    assert fitted.retuned(fitted.config.model_copy(update={"weights": None})) is None, "they are to be chosen"
    assert fitted.retuned(fitted.config.model_copy(update={"seed": 5})) is None


def test_similar_items_are_those_of_the_members_by_weight():
    data = two_tastes().toarray()
    data[:12, 3] = 1.0
    model = small(EASE, {"name": "popularity"}, weights=[3, 1]).fit(csr_matrix(data), False)
    parts = [member.similar_items(0, N=24) for member in model.members_]
    wanted = np.zeros(24)
    for weight, (ids, similarities) in zip((0.75, 0.25), parts, strict=True):
        wanted[ids] += weight * similarities

    ids, found = model.similar_items(0, N=24)

    assert_allclose(found, wanted[ids], atol=1e-6)


# -------------------------------------------------------------------- refit


def held_out():
    data = two_tastes()
    asked = data[:6].toarray()
    targets = np.zeros_like(asked)
    rows, last = np.arange(6), 23 - np.argmax(asked[:, ::-1], axis=1)
    targets[rows, last] = 1.0
    return data[6:], Holdout(csr_array(asked - targets), csr_array(targets), IdMap.of_range(6))


def test_a_refit_keeps_the_weights_and_the_best_epochs_of_the_members():
    train, validation = held_out()
    model = small(EASE, VAE, cutoff=3).fit(train, False, validation=validation)
    best = model.members_[1].training_log_["best_epoch"]

    again = with_best_epochs(model).fit(two_tastes(), False)

    assert best < 12, "patience ended the training"
    assert again.members_[1].config.epochs == best
    assert len(again.members_[1].training_log_["losses"]) == best
    assert again.members_[0].config == model.members_[0].config
    assert_array_equal(again.weights_, model.weights_)
    assert not small(EASE, EASE, weights=[1, 1]).chooses_on_validation


def test_fit_for_use_chooses_weights_on_users_it_holds_out():
    log = Interactions(csr_array(two_tastes(60)), IdMap.of_range(60), IdMap.of_range(60))

    model = fit_to_everything(small(EASE, {"name": "popularity"}), log, show_progress=False)

    assert model.n_users_ == 60
    assert model.config.weights == pytest.approx(tuple(model.weights_.tolist()))
    assert model.weights_[0] > model.weights_[1], "popularity knows no tastes"


def test_an_interrupted_training_goes_on_from_the_members_checkpoints(tmp_path):
    train, validation = held_out()
    whole = small(EASE, VAE).fit(train, False, validation=validation, checkpoint=str(tmp_path / "state"))

    assert [path.name for path in tmp_path.iterdir()] == ["state.1"], "what is in closed form has none"
    again = small(EASE, VAE).fit(train, False, validation=validation, checkpoint=str(tmp_path / "state"))
    assert_array_equal(again.score(train), whole.score(train))


# -------------------------------------------------------------------- sequences


def test_members_that_do_not_go_by_order_see_ones_where_others_see_places(tmp_path):
    data = two_tastes_in_order()
    model = small(EASE, IN_ORDER, weights=[1, 1]).fit(data, False)
    ease, in_order = model.members_

    assert (model.feedback, small(EASE, VAE).feedback) == ("sequences", "implicit")
    assert set(ease.histories_.data) == {1.0}
    assert_array_equal(in_order.histories_.data, data.data)
    assert_array_equal(
        ease.score(two_tastes()), create("ease", l2=1.0).fit(two_tastes(), False).score(two_tastes())
    )
    model.save(tmp_path / "model")
    assert_array_equal(load_model(tmp_path / "model").score(data), model.score(data))


# -------------------------------------------------------------------- stored


def test_what_all_members_were_fitted_to_is_stored_once():
    model = small(EASE, VAE, weights=[1, 1]).fit(two_tastes(), False)
    stored = [name for name, _ in arrays_of(model._state()) if name.endswith(".indices")]

    assert stored == ["/histories_.indices"]


def test_weights_for_fitted_members_are_chosen_on_a_validation_that_has_something_to_find():
    _, validation = held_out()
    data, config = two_tastes(), small(EASE, {"name": "popularity"}).config
    members = [model.fit(data, False) for model in config.unfitted()]
    nothing = replace(validation, targets=csr_array(validation.targets.shape, dtype=np.float32))
    with pytest.raises(FitError, match="none of the 6 rows of the validation has anything to find"):
        Blend.of_fitted(config, members, data, validation=nothing)


def test_a_blend_of_blends_is_stored_whole(tmp_path):
    inner = {"name": "blend", "settings": {"members": [EASE, {"name": "popularity"}], "weights": [1, 2]}}
    model = small(inner, EASE, weights=[1, 1]).fit(two_tastes(), False)

    model.save(tmp_path / "model")

    assert_array_equal(load_model(tmp_path / "model").score(two_tastes()), model.score(two_tastes()))


# -------------------------------------------------------------------- refused


def test_a_blend_scores_new_histories_only_if_every_member_does():
    assert small(EASE, VAE).supports_fold_in
    assert not small(EASE, {"name": "bpr"}).supports_fold_in


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"members": [EASE]}, "settings of blend: members: .*at least 2"),
        ({"members": [EASE, EASE], "weights": [1]}, "1 weights for 2 members; give one for each"),
        ({"members": [EASE, EASE], "weights": [0, 0]}, "one of the weights must be above 0"),
        ({"members": [EASE, EASE], "weights": [1, -1]}, "weights.1: .*greater than or equal to 0"),
        (
            {"members": [EASE, {"name": "rating_means"}]},
            "rating_means predicts ratings; a blend is of models that",
        ),
        ({"members": [EASE, {"name": "esae"}]}, "no model is named 'esae'"),
        ({"members": [EASE, {"name": "ease", "settings": {"l3": 1}}]}, "settings of ease: l3"),
    ],
)
def test_members_and_weights_that_cannot_be_used_are_named(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        create("blend", **settings)
