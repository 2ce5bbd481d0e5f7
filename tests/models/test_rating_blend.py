import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.sparse import csr_array

from recae.errors import ConfigError
from recae.models import create
from recae.models.fitting import with_best_epochs
from recae.models.rating_blend import stacked
from tests.models.cases import SETTINGS
from tests.models.test_ratings import noisy

MEMBERS = [
    {"name": "biased_mf", "settings": {"n_factors": 12, "l2": 0.5, "epochs": 30, "patience": 3}},
    {"name": "rating_means"},
    {"name": "autorec", "settings": {"by": "user", "n_hidden": 8, "epochs": 5, "seed": 7}},
]


def test_the_scores_are_the_weighted_sum_of_the_members_on_the_scale():
    data, _ = noisy()
    blend = create("rating_blend", members=MEMBERS, weights=[0.5, 0.25, 0.1], offset=0.2)
    blend.fit(data, show_progress=False)
    parts = [
        create(each["name"], **each.get("settings", {})).fit(data, show_progress=False) for each in MEMBERS
    ]
    total = sum(w * part.score(data) for w, part in zip([0.5, 0.25, 0.1], parts, strict=True)) + 0.2
    assert_allclose(blend.score(data), np.clip(total, data.data.min(), data.data.max()), rtol=1e-4, atol=1e-5)


def test_without_validation_all_members_count_the_same():
    blend = create("rating_blend", members=MEMBERS).fit(noisy()[0], show_progress=False)
    assert_allclose(blend.weights_, 1 / 3)


def test_without_validation_the_offset_is_that_of_the_settings():
    blend = create("rating_blend", members=MEMBERS, offset=0.25).fit(noisy()[0], show_progress=False)
    assert blend.offset_ == 0.25


def test_weights_chosen_on_validation_beat_every_member_there():
    data, validation = noisy()
    blend = create("rating_blend", members=MEMBERS, l2=0.1).fit(
        data, show_progress=False, validation=validation
    )
    errors = [-member._minus_rmse(validation) for member in blend.members_]
    assert -blend._minus_rmse(validation) <= min(errors)
    assert blend.weights_.min() >= 0


def test_what_validation_chose_is_kept_for_the_refit():
    data, validation = noisy()
    blend = create("rating_blend", members=MEMBERS).fit(data, show_progress=False, validation=validation)
    settled = with_best_epochs(blend)
    assert_array_equal(np.float32(settled.config.weights), blend.weights_)
    best = blend.members_[0].training_log_["best_epoch"]
    assert settled.config.members[0].settings["epochs"] == best < 30
    assert "epochs" not in settled.config.members[1].settings, "means have none"
    kinds = [member.settings.get("adam") for member in settled.config.members]
    assert kinds == [None, None, "dense"], (
        "the steps that were validated: auto might choose others for more ratings"
    )
    again = settled.fit(data, show_progress=False)
    assert_allclose(again.score(data), blend.score(data), rtol=1e-5)


def test_stacking_is_non_negative_ridge_regression_with_an_offset():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(200).astype(np.float32) + 3
    predicted = np.stack([truth + rng.standard_normal(200), truth + 1, -truth], axis=1).astype(np.float32)
    predicted[:, 1] += rng.standard_normal(200)

    def objective(x):
        return np.sum((truth - x[3] - predicted @ x[:3]) ** 2) + 5.0 * np.sum((x[:3] - 1 / 3) ** 2)

    oracle = minimize(objective, np.ones(4) / 3, bounds=[(0, None)] * 3 + [(None, None)], tol=1e-12).x
    weights, offset = stacked(predicted, truth, l2=5.0)
    assert_allclose([*weights, offset], oracle, atol=1e-3)
    assert weights[2] == 0.0


def test_equal_members_share_the_weight():
    truth = np.arange(20, dtype=np.float32)
    weights, offset = stacked(np.stack([truth, truth], axis=1), truth, l2=1.0)
    assert_allclose(weights, [0.5, 0.5], atol=1e-3)
    assert offset == pytest.approx(0.0, abs=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": [{"name": "ease"}]}, "ease gives scores, not ratings"),
        ({"members": [{"name": "autorek"}]}, "no model is named 'autorek'"),
        ({"members": [{"name": "autorec", "settings": {"colour": 1}}]}, "settings of autorec: colour"),
        ({"members": MEMBERS, "weights": [1.0]}, "3 members need as many weights, got 1"),
        ({"members": [{"name": "rating_blend"}]}, "a blend cannot be a member of a blend"),
        ({"members": []}, "at least 1 item"),
    ],
)
def test_members_that_cannot_be_blended_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        create("rating_blend", **settings)


def test_a_blend_that_was_cut_off_ends_as_an_unbroken_run(tmp_path):
    data, validation = noisy()
    arguments = {"show_progress": False, "validation": validation, "checkpoint": str(tmp_path / "checkpoint")}
    whole = create("rating_blend", **SETTINGS["rating_blend"]).fit(data, **arguments)
    (tmp_path / "checkpoint.1").unlink()  # as after a kill between two members
    resumed = create("rating_blend", **SETTINGS["rating_blend"]).fit(data, **arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.0", "checkpoint.1"]
    assert_array_equal(resumed.score(csr_array(data)), whole.score(csr_array(data)))
