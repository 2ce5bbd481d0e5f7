"""Members of blends: each starts warm from its own kind in the earlier blend, or is fitted afresh."""

import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.errors import WarmStartError
from recae.models import create, load_model
from recae.models.fitting import fit_to_everything
from recae.models.warm import Earlier, WarmStart
from tests.models.cases import CASES, N, named
from tests.models.test_warm import BLENDS, ITEMS, STILL, USERS, log_of, moved

SMALL = {"epochs": 2, "batch_size": 8, "n_hidden": 4}
EASE = {"name": "ease", "settings": {"l2": 1.0}}


def member(name, **settings):
    return {"name": name, "settings": SMALL | settings}


def blend(*members, **settings):
    """A blend of likings or of ratings, by its members."""
    of_ratings = "autorec" in [each["name"] for each in members]
    return create("rating_blend" if of_ratings else "blend", members=list(members), **settings)


def data_of(model):
    return next(case for case in CASES if case.make().feedback == model.feedback)


def start_from(model):
    return WarmStart(model, ITEMS, USERS)


@pytest.mark.parametrize("case", named(BLENDS))
def test_a_blend_trains_on_from_an_earlier_one_that_may_come_from_a_file(case, tmp_path):
    earlier = case.fitted()
    earlier.save(tmp_path / "model")
    before = earlier.score(case.data)
    found = [
        case.make().fit(moved(case), False, warm_start=start_from(model)).score(moved(case))
        for model in (earlier, load_model(tmp_path / "model"))
    ]
    assert_array_equal(*found)
    assert_array_equal(earlier.score(case.data), before)
    earlier.fit(moved(case), False, warm_start=start_from(earlier))
    assert_array_equal(earlier.score(moved(case)), found[0])


@pytest.mark.parametrize(
    ("cold", "warm_one"),
    [(EASE, "dae"), ({"name": "rating_means"}, "autorec")],
)
def test_each_member_starts_from_the_earlier_one_of_its_kind_and_what_is_in_closed_form_is_fitted(
    cold, warm_one
):
    by = {"by": "user"} if warm_one == "autorec" else {}
    first, second = member(warm_one, seed=1, **by), member(warm_one, seed=2, **by)
    earlier = blend(first, cold, second)
    case = data_of(earlier)
    earlier.fit(case.data, show_progress=False)
    # in another order: of two of a kind the first goes on from the first
    still = blend(cold, *[member(warm_one, epochs=1, learning_rate=STILL, **by)] * 2)
    still.fit(moved(case), False, warm_start=start_from(earlier))
    known = ITEMS >= 0
    for now, before in ((1, 0), (2, 2)):
        carried, old = (
            model.members_[place].network_.output.weight for model, place in ((still, now), (earlier, before))
        )
        assert torch.equal(carried[known], old[ITEMS[known]])
    alone = create(cold["name"], **cold.get("settings", {})).fit(moved(case), show_progress=False)
    assert_array_equal(still.members_[0].score(moved(case)), alone.score(moved(case)))


def test_a_member_that_is_new_is_fitted_afresh():
    earlier = blend(EASE, member("dae"))
    case = data_of(earlier)
    earlier.fit(case.data, show_progress=False)
    now = blend(member("sparse_ae", n_active=2), member("dae"), weights=[1, 1])
    now.fit(moved(case), False, warm_start=start_from(earlier))
    alone = create("sparse_ae", n_active=2, **SMALL).fit(moved(case), show_progress=False)
    assert_array_equal(now.members_[0].score(moved(case)), alone.score(moved(case)))


def test_a_blend_without_a_member_to_start_from_is_refused_and_so_are_other_sizes_by_the_member():
    earlier = blend(EASE, member("dae"))
    case = data_of(earlier)
    earlier.fit(case.data, show_progress=False)
    with pytest.raises(
        WarmStartError, match=r"no member of the blend \(ease, cdae\) can start from .*\(ease, dae\)"
    ):
        blend(EASE, member("cdae")).fit(moved(case), False, warm_start=start_from(earlier))
    with pytest.raises(WarmStartError, match=r"member 2 of the blend, dae: .* other sizes: (hidden|input)"):
        blend(EASE, member("dae", n_hidden=5)).fit(moved(case), False, warm_start=start_from(earlier))
    closed = blend(EASE, {"name": "popularity"})
    assert not closed.supports_warm_start
    with pytest.raises(WarmStartError, match="blend keeps nothing that another training could start from"):
        closed.fit(moved(case), False, warm_start=start_from(earlier))


def test_a_warm_start_that_fails_at_a_later_member_leaves_no_checkpoint_in_the_way(tmp_path):
    log = log_of(20)
    members = [member("dae"), member("mult_dae", n_latent=2)]
    how = {"validation_share": 0.0, "show_progress": False, "checkpoint": tmp_path / "state"}
    earlier = Earlier(fit_to_everything(blend(*members), log, **how), log.items, log.users)
    wider = blend(member("dae"), member("mult_dae", n_latent=3))
    with pytest.raises(WarmStartError, match="member 2 of the blend, mult_dae"):
        fit_to_everything(wider, log, warm_start_from=earlier, **how | {"checkpoint": tmp_path / "other"})
    assert (tmp_path / "other.final.0.warm").exists(), "the first member was trained on before that showed"
    cold = fit_to_everything(wider, log, **how | {"checkpoint": tmp_path / "other"})
    wanted = fit_to_everything(wider, log, validation_share=0.0, show_progress=False)
    assert_array_equal(cold.score(log.matrix), wanted.score(log.matrix))


def test_a_blend_of_ratings_that_nothing_judges_keeps_the_weights_and_takes_no_more_epochs():
    case = next(case for case in CASES if case.name == "rating_blend")
    parts = [{"name": "rating_means"}, member("autorec", by="user")]
    log = Interactions(csr_array(case.data), IdMap.of_range(N), IdMap.of_range(N))
    model = blend(*parts, weights=[0.3, 0.6], offset=0.25).fit(log.matrix, show_progress=False)
    longer = blend(parts[0], member("autorec", by="user", epochs=50))
    again = fit_to_everything(
        longer, log, show_progress=False, warm_start_from=Earlier(model, log.items, log.users)
    )
    assert again.members_[1].config.epochs == 2
    assert again.weights_.tolist() == pytest.approx([0.3, 0.6])
    assert again.offset_ == 0.25
    with pytest.raises(
        WarmStartError, match=r"members autorec, rating_means, the earlier one rating_means, autorec"
    ):
        blend(parts[1], parts[0]).continuing(model)


def test_a_blend_of_likings_that_nothing_judges_keeps_the_weights_and_takes_no_more_epochs():
    model = blend(EASE, member("dae"), weights=[3, 1]).fit(log_of(20).matrix, show_progress=False)
    config = blend(EASE, member("dae", epochs=50)).continuing(model).config
    assert (config.weights, config.members[1].settings["epochs"]) == ((0.75, 0.25), 2)
    assert blend(EASE, member("dae"), weights=[1, 1]).continuing(model).config.weights == (1, 1)


def test_weights_of_other_members_are_neither_kept_nor_made_equal_in_silence():
    log = log_of(20)
    model = blend(EASE, member("dae"), weights=[3, 1]).fit(log.matrix, show_progress=False)
    earlier = Earlier(model, log.items, log.users)
    wider = [EASE, {"name": "popularity"}, member("dae")]
    with pytest.raises(WarmStartError, match="too little is new to choose weights on"):
        fit_to_everything(blend(*wider), log, show_progress=False, warm_start_from=earlier)
    given = blend(*wider, weights=[2, 0, 2])
    again = fit_to_everything(given, log, show_progress=False, warm_start_from=earlier)
    assert again.weights_.tolist() == [0.5, 0.0, 0.5]


MEAN = {"name": "rating_means"}
CLOSED = {"blend": EASE, "rating_blend": MEAN}
TRAINED = {"blend": member("mult_vae", n_latent=2), "rating_blend": member("autorec", by="user")}
KINDS = pytest.mark.parametrize("kind", CLOSED)


@KINDS
def test_a_members_seed_is_added_to_the_blends(kind):
    trained = TRAINED[kind]
    own = trained | {"settings": trained["settings"] | {"seed": 9}}
    members = create(kind, members=[CLOSED[kind], trained, own], seed=4).config.unfitted()

    assert [getattr(each.config, "seed", None) for each in members] == [None, 4, 13]


@KINDS
def test_a_blend_can_do_what_one_of_its_members_can(kind):
    closed, mixed = (create(kind, members=[CLOSED[kind], other]) for other in (CLOSED[kind], TRAINED[kind]))
    for ability in ("supports_warm_start", "keeps_checkpoints", "reads_all_weights"):
        assert not getattr(closed, ability), ability
        assert getattr(mixed, ability), ability


@KINDS
def test_with_weights_given_only_members_that_train_by_epochs_have_something_to_choose(kind):
    closed, mixed = ([CLOSED[kind], other] for other in (CLOSED[kind], TRAINED[kind]))

    assert create(kind, members=closed).chooses_on_validation
    assert not create(kind, members=closed, weights=[1.0, 1.0]).chooses_on_validation
    assert create(kind, members=mixed, weights=[1.0, 1.0]).chooses_on_validation
