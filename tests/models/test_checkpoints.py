"""Which models keep checkpoints, and that a fit which goes on from one ends with the file of an unbroken one."""

import io

import pytest

from recae.models import create
from tests.models.cases import CASES, named, two_tastes

WITHOUT = {
    "popularity", "item_knn", "bpr", "lmf", "pure_svd", "gf_cf", "rating_means",
    "ease", "edlae", "rlae", "rdlae", "dan", "slist", "sparsified",
}  # fmt: skip
"""In closed form, or by a solver that does not give its state away."""
BLENDS = {"blend", "rating_blend"}
IN_PASSES = [case for case in CASES if case.name not in WITHOUT | BLENDS]


def stored(model):
    file = io.BytesIO()
    model.save(file)
    return file.getvalue()


@pytest.mark.parametrize("case", named(IN_PASSES))
def test_a_fit_that_was_interrupted_goes_on_to_the_file_of_an_unbroken_one(case, tmp_path):
    heard = []

    def interrupted(epoch, _seconds, _loss):
        heard.append(epoch)
        if len(heard) == 2:
            raise KeyboardInterrupt

    model, file = case.make(epochs=4), str(tmp_path / "checkpoint")
    with pytest.raises(KeyboardInterrupt):
        model.fit(case.data, show_progress=False, callback=interrupted, checkpoint=file)
    resumed = case.make(epochs=4).fit(
        case.data, False, lambda epoch, *_: heard.append(epoch), checkpoint=file
    )

    assert model.keeps_checkpoints
    assert heard == [0, 1, 2, 3]
    assert stored(resumed) == stored(case.make(epochs=4).fit(case.data, show_progress=False))


@pytest.mark.parametrize("case", named([case for case in CASES if case.name in WITHOUT | BLENDS]))
def test_the_others_write_none_and_say_so(case, tmp_path):
    model = case.make().fit(case.data, show_progress=False, checkpoint=str(tmp_path / "checkpoint"))

    assert bool(list(tmp_path.glob("checkpoint*"))) == model.keeps_checkpoints == (case.name in BLENDS)


def test_a_blend_of_what_keeps_none_keeps_none():
    members = [{"name": "ease"}, {"name": "popularity"}]
    assert not create("blend", members=members).keeps_checkpoints


def test_a_finished_fit_of_als_is_taken_as_it_is(tmp_path):
    file = str(tmp_path / "checkpoint")
    whole = create("als", n_factors=3, epochs=2).fit(two_tastes(), False, checkpoint=file)
    assert stored(create("als", n_factors=3, epochs=2).fit(two_tastes(), False, checkpoint=file)) == stored(
        whole
    )
