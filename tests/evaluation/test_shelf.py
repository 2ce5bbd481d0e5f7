"""Members of a blend: fitted once in a protocol, and the blend is the one that would have fitted them itself."""

import time
from pathlib import Path

import pytest

from recae.data.sample import load_sample
from recae.data.splits import held_out_users
from recae.errors import ConfigError
from recae.evaluation import evaluate, runner, shelf
from recae.evaluation.contenders import Contender
from recae.evaluation.protocol import Protocol
from recae.models import create
from recae.models.base import Model
from recae.models.blend import Blend

EASE = {"l2": 50.0}
DEEP = {"n_hidden": 8, "n_latent": 4, "epochs": 3}
METRIC = "ndcg@20"


def protocol(*blends, seeds=(1, 2)):
    return Protocol(
        name="members",
        seeds=list(seeds),
        data={"source": "made-up"},
        metrics={"report": [METRIC], "select": METRIC},
        models=[
            {"name": "ease", "search": {"l2": [10.0, 50.0]}},
            {"name": "mult_vae", "settings": DEEP},
            *blends,
        ],
    )


def blend(*members, label="blend"):
    return {"name": "blend", "label": label, "settings": {"members": list(members)}}


BOTH = blend({"name": "ease", "settings": EASE}, {"name": "mult_vae", "settings": DEEP})


@pytest.fixture(scope="module")
def split():
    return held_out_users(load_sample()[0], validation_users=60, test_users=60, seed=3)


@pytest.fixture
def fits(monkeypatch):
    """Names of the models that are fitted, in order."""
    names, fit = [], Model.fit

    def counted(model, *arguments, **named):
        names.append(model.name)
        return fit(model, *arguments, **named)

    monkeypatch.setattr(Model, "fit", counted)
    return names


def evaluated(monkeypatch, split, asked):
    monkeypatch.setattr(runner, "load_split", lambda _protocol, _seed=None: split)
    return evaluate(asked, show_progress=False)


def test_a_member_that_is_in_the_table_is_not_fitted_again(monkeypatch, split, fits):
    evaluated(monkeypatch, split, protocol(BOTH))

    assert fits == [
        "ease",
        "ease",
        "mult_vae",
        "mult_vae",
    ]  # EASE's two settings, then a seed each of the deep one


def test_a_member_with_other_settings_is_fitted_by_itself(monkeypatch, split, fits):
    other = blend({"name": "ease", "settings": {"l2": 7.0}}, {"name": "mult_vae", "settings": DEEP})

    evaluated(monkeypatch, split, protocol(other, seeds=[1]))

    assert fits == ["ease", "ease", "mult_vae", "ease"]


def test_two_blends_share_a_member_that_has_no_row_of_its_own(monkeypatch, split, fits):
    alone = {"name": "ease", "settings": {"l2": 7.0}}
    deep = {"name": "mult_vae", "settings": DEEP}
    asked = protocol(blend(alone, deep, label="a"), blend(deep, alone, label="b"), seeds=[1])

    evaluated(monkeypatch, split, asked)

    assert fits == ["ease", "ease", "mult_vae", "ease"]


def test_the_numbers_are_those_of_a_blend_that_fits_its_members_itself(monkeypatch, split):
    shared = evaluated(monkeypatch, split, protocol(BOTH))
    monkeypatch.setattr(runner, "Shelf", lambda contenders, is_open: shelf.Shelf(contenders, is_open=False))
    alone = evaluated(monkeypatch, split, protocol(BOTH))

    assert [row.test for row in shared.models] == [row.test for row in alone.models]
    assert shared.models[2].per_user[METRIC].tolist() == alone.models[2].per_user[METRIC].tolist()
    assert len({row.test[METRIC].value for row in shared.models}) == 3  # three models, not one thrice


def test_nothing_is_left_behind(monkeypatch, split, tmp_path):
    monkeypatch.setattr(shelf.tempfile, "tempdir", str(tmp_path))

    evaluated(monkeypatch, split, protocol(BOTH, seeds=[1]))

    assert list(tmp_path.iterdir()) == []


def test_a_blend_refuses_members_with_other_settings(split):
    wanted = create("blend", members=BOTH["settings"]["members"]).config
    members = [create("ease", l2=7.0), create("mult_vae", **DEEP)]

    with pytest.raises(ConfigError, match=r"wants EASE\(l2=50.0, .*\), and was given EASE\(l2=7.0, "):
        Blend.of_fitted(wanted, members, split.train.matrix)


def test_a_full_disk_costs_time_and_no_results(monkeypatch, split, fits):
    def full(_model, file):
        file.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Model, "save", full)
    results = evaluated(monkeypatch, split, protocol(BOTH, seeds=[1]))

    assert len(results.models) == 3
    assert fits == ["ease", "ease", "mult_vae", "ease", "mult_vae"]


def test_a_blend_counts_the_seconds_of_its_members(monkeypatch, split):
    fit = Model.fit

    def slow(model, *arguments, **named):
        time.sleep(0.3 if model.name == "ease" else 0.0)
        return fit(model, *arguments, **named)

    monkeypatch.setattr(Model, "fit", slow)
    ease, _deep, both = evaluated(monkeypatch, split, protocol(BOTH, seeds=[1])).models

    assert ease.seconds > 0.6
    assert both.seconds > 0.3


def test_the_models_of_a_seed_are_not_kept_for_the_next(split):
    member = create("mult_vae", **DEEP, seed=1)
    wants = [[Contender({}, create("blend", members=BOTH["settings"]["members"]))]]
    with shelf.Shelf(wants, is_open=True) as kept:
        kept.fitted(member, split)
        kept.fitted(create("ease", **EASE), split)
        files = sorted(Path(kept._folder.name).iterdir())
        kept.forget_seeds()

        assert len(files) == 2
        assert sorted(Path(kept._folder.name).iterdir()) == files[1:]
        kept.fitted(create("mult_vae", **DEEP, seed=2), split)
        assert len(list(Path(kept._folder.name).iterdir())) == 2
