"""Warm start: surviving users and items keep what was learned of them, new ones start afresh."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.errors import NotFittedError, WarmStartError
from recae.models import create, load_model, model_class, sparsefc
from recae.models.fitting import fit_to_everything
from recae.models.neural import NeuralModel
from recae.models.warm import Earlier, WarmStart, growing_axes
from tests.models.cases import CASES, N, named

STARTING = [case for case in CASES if case.make().supports_warm_start]
BLENDS = [case for case in STARTING if case.name in {"blend", "rating_blend"}]  # see test_members.py
WARM = [case for case in STARTING if case not in BLENDS]
NEURAL = [case for case in WARM if issubclass(model_class(case.name), NeuralModel)]
BY_STEPS = NEURAL + [case for case in WARM if case.name == "sparsefc"]
COLD = [case for case in CASES if case not in STARTING]
STILL = 1e-30  # a learning rate that moves no weight: what training starts from is what it ends with

# Item 3 and user 5 are gone, the rest is turned round, and one item and two users are new at the front.
ITEMS = np.array([-1, *[item for item in range(N) if item != 3][::-1]])
USERS = np.array([-1, -1, *[user for user in range(N) if user != 5][::-1]])


def moved(case):
    """The case's data with users and items where ITEMS and USERS say; the new ones like something too."""
    data = np.pad(case.data.toarray(), ((0, 1), (0, 1)))
    data = data[USERS][:, ITEMS]
    data[:2, 5:9] = [[1, 2, 3, 4], [4, 3, 2, 1]]
    data[4:8, 0] = 5.0
    return csr_array(data)


def warm(case, model, **settings):
    return case.make(**settings).fit(moved(case), False, warm_start=WarmStart(model, ITEMS, USERS))


def weights_of(model):
    if isinstance(model, NeuralModel):
        return {name: weight.numpy() for name, weight in model.network_.state_dict().items()}
    if model.name == "sparsefc":
        return model.weights_
    return {"items": model.item_factors_, "users": model.user_factors_}


def axes_of(model):
    if isinstance(model, NeuralModel):
        return growing_axes(model._build, model.histories_.shape)
    if model.name == "sparsefc":
        of_users = {"entrance.weight", "entrance.of_rows", "exit.weight", "exit.of_rows", "exit_bias"}
        return {name: {0: "user"} if name in of_users else {} for name in model.weights_}
    return {"items": {0: "item"}, "users": {0: "user"}}


# -------------------------------------------------------------------- what is carried over


@pytest.mark.parametrize("case", named(BY_STEPS))
def test_surviving_items_and_users_keep_their_rows_and_new_ones_start_afresh(case, monkeypatch):
    earlier = case.make(epochs=2).fit(case.data, show_progress=False)
    no_steps = {"epochs": 1, "learning_rate": STILL}
    if case.name == "sparsefc":  # L-BFGS finds the size of its steps itself
        no_steps = {"epochs": 1}
        monkeypatch.setattr(sparsefc._Session, "update", lambda *_: 0.0)
    still = warm(case, earlier, **no_steps)
    fresh = case.make(**no_steps).fit(moved(case), show_progress=False)
    before, after, start = weights_of(earlier), weights_of(still), weights_of(fresh)
    n_item_rows = 0
    for name, axes in axes_of(still).items():
        assert len(axes) <= 1
        if not axes:
            assert_array_equal(
                after[name], before[name], err_msg=f"{name} belongs to nobody: taken over whole"
            )
            continue
        ((axis, kind),) = axes.items()
        positions = ITEMS if kind == "item" else USERS
        old, new, random = (np.moveaxis(weights[name], axis, 0) for weights in (before, after, start))
        assert_array_equal(new[positions >= 0], old[positions[positions >= 0]], err_msg=name)
        assert_allclose(new[positions < 0], random[positions < 0], rtol=0, atol=1e-25, err_msg=name)
        n_item_rows += kind == "item"
    by_item = case.name == "sparsefc" or case.settings.get("by") == "item"
    assert n_item_rows or by_item, "something must belong to the items"


@pytest.mark.parametrize("case", named(NEURAL))
def test_the_same_items_and_users_give_the_earlier_models_scores(case):
    earlier = case.make(epochs=2).fit(case.data, show_progress=False)
    start = WarmStart(earlier, np.arange(N), np.arange(N))
    still = case.make(epochs=1, learning_rate=STILL).fit(case.data, False, warm_start=start)
    assert_array_equal(still.score(case.data), earlier.score(case.data))


@pytest.mark.parametrize("case", named(WARM))
def test_one_warm_epoch_is_closer_to_the_optimum_than_one_cold_epoch(case):
    def one_epoch(**more):
        heard = []
        case.make(epochs=1).fit(case.data, False, lambda *epoch: heard.append(epoch[2]), **more)
        return heard[0]

    start = WarmStart(case.fitted(), np.arange(N), np.arange(N))
    assert one_epoch(warm_start=start) < one_epoch()


@pytest.mark.parametrize("case", named(WARM))
def test_the_earlier_model_may_come_from_a_file_and_is_not_changed(case, tmp_path):
    earlier = case.fitted()
    earlier.save(tmp_path / "model")
    before = earlier.score(case.data)
    here, stored = (warm(case, model, epochs=1) for model in (earlier, load_model(tmp_path / "model")))
    assert_array_equal(here.score(moved(case)), stored.score(moved(case)))
    assert_array_equal(earlier.score(case.data), before)


@pytest.mark.parametrize("case", named(WARM))
def test_a_model_trains_on_from_itself_as_from_a_copy(case):
    model = case.make(epochs=2).fit(case.data, show_progress=False)
    twin = copy.deepcopy(model)
    from_twin = case.make(epochs=2).fit(
        case.data, False, warm_start=WarmStart(twin, np.arange(N), np.arange(N))
    )
    model.fit(case.data, False, warm_start=WarmStart(model, np.arange(N), np.arange(N)))
    assert_array_equal(model.score(case.data), from_twin.score(case.data))


def test_without_users_every_user_is_new():
    case = next(case for case in CASES if case.name == "cdae")
    earlier = case.fitted()
    start = WarmStart(earlier, np.arange(N))
    still = case.make(epochs=1, learning_rate=STILL).fit(case.data, False, warm_start=start)
    assert still.network_.users.weight.abs().max() < 1e-25
    assert torch.equal(still.network_.output.weight, earlier.network_.output.weight)


def test_axes_are_those_that_grow_with_users_or_items():
    axes = growing_axes(create("cdae", n_hidden=N)._build, (N, N))
    assert axes == {
        "input.weight": {0: "item"},
        "input.bias": {},
        "output.weight": {0: "item"},
        "output.bias": {0: "item"},
        "users.weight": {0: "user"},
    }
    assert growing_axes(create("hvamp_vae", n_pseudo=5)._build, (N, N))["pseudo"] == {1: "item"}


# -------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("case", named([case for case in WARM if hasattr(case.make().config, "patience")]))
def test_an_interrupted_warm_training_ends_like_an_unbroken_one(case, tmp_path):
    earlier = case.make(epochs=2).fit(case.data, show_progress=False)
    start, data = WarmStart(earlier, ITEMS, USERS), moved(case)
    whole = case.make(epochs=4).fit(data, False, warm_start=start)
    file = str(tmp_path / "checkpoint")

    def interrupt(epoch, _seconds, _loss):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.make(epochs=4).fit(data, False, interrupt, checkpoint=file, warm_start=start)
    resumed = case.make(epochs=4).fit(data, False, checkpoint=file, warm_start=start)
    assert_array_equal(resumed.score(data), whole.score(data))


@pytest.mark.parametrize("case", named(WARM))
def test_a_warm_training_goes_on_where_the_earlier_model_was_read_from_a_file_meanwhile(case, tmp_path):
    earlier, file = (
        case.make(**case.few_epochs).fit(case.data, show_progress=False),
        str(tmp_path / "checkpoint"),
    )
    earlier.save(tmp_path / "model")
    begun, resumed = (
        case.make(epochs=1).fit(
            moved(case), False, checkpoint=file, warm_start=WarmStart(model, ITEMS, USERS)
        )
        for model in (earlier, load_model(tmp_path / "model"))
    )
    assert_array_equal(resumed.score(moved(case)), begun.score(moved(case)))


def test_a_checkpoint_of_another_start_is_refused(tmp_path):
    case = next(case for case in CASES if case.name == "elsa")
    file = str(tmp_path / "checkpoint")
    start = WarmStart(case.fitted(), np.arange(N))
    case.make(epochs=1).fit(case.data, False, checkpoint=file, warm_start=start)
    with pytest.raises(Exception, match="belongs to a run with other settings or data"):
        case.make(epochs=1).fit(case.data, False, checkpoint=file)


# -------------------------------------------------------------------- refused


@pytest.mark.parametrize("case", named(COLD))
def test_a_model_that_keeps_nothing_to_start_from_says_so(case):
    with pytest.raises(WarmStartError, match=f"{case.name} keeps nothing that another training could start"):
        case.make().fit(case.data, False, warm_start=WarmStart(case.fitted(), np.arange(N)))


def test_a_model_of_another_kind_is_refused_by_name():
    mult_vae, recvae = (next(case for case in CASES if case.name == name) for name in ("mult_vae", "recvae"))
    start = WarmStart(recvae.make(epochs=1).fit(recvae.data, False), np.arange(N))
    with pytest.raises(WarmStartError, match="mult_vae cannot start from a model of another kind, recvae"):
        mult_vae.make().fit(mult_vae.data, False, warm_start=start)


@pytest.mark.parametrize(
    ("name", "other", "words"),
    [
        ("mult_vae", {"n_hidden": 5}, "hidden.weight is 5 x 4, these settings need 16 x 4"),
        ("hvamp_vae", {"n_layers": 1}, "other layers: decoder_joint.layers.1.bias"),
        ("autorec", {"n_hidden": 5}, "input.weight is 23 x 5, these settings need 23 x 16"),
        ("als", {"n_factors": 5}, "item factors is 24 x 5, these settings need 24 x 3"),
        ("bpr", {"n_factors": 5}, "users.weight is 23 x 5, these settings need 23 x 4"),
        ("biased_mf", {"n_factors": 5}, "item factors is 24 x 5, these settings need 24 x 2"),
        ("sparsefc", {"n_hidden": 5}, "entrance_bias is 5, these settings need 8"),
    ],
)
def test_other_sizes_of_layers_are_refused_with_both(name, other, words):
    case = next(case for case in CASES if case.name == name)
    data = case.data[: N - 1]  # as many users as items would hide a mix-up of the two
    earlier = case.make(epochs=1, **other).fit(data, show_progress=False)
    with pytest.raises(WarmStartError, match=words):
        case.make(epochs=1).fit(data, False, warm_start=WarmStart(earlier, np.arange(N), np.arange(N - 1)))


def test_an_autorec_of_users_is_no_start_for_one_of_items_and_where_both_are_as_many_nothing_else_shows_it():
    case = next(case for case in CASES if case.name == "autorec")
    earlier = case.make(epochs=1, by="user").fit(case.data, show_progress=False)
    with pytest.raises(
        WarmStartError, match="by='item' cannot start from an autorec with by='user'; take its"
    ):
        case.make(epochs=1).fit(case.data, False, warm_start=WarmStart(earlier, np.arange(N), np.arange(N)))


@pytest.mark.parametrize("items", [np.arange(N - 1), np.arange(1, N + 1), np.full(N, -2)])
def test_positions_that_do_not_fit_are_refused(items):
    case = next(case for case in CASES if case.name == "elsa")
    with pytest.raises(ValueError, match="expected an earlier position from -1 to 23 for each of 24 items"):
        case.make().fit(case.data, False, warm_start=WarmStart(case.fitted(), items))


def test_a_sparsefc_stored_without_its_networks_weights_serves_and_is_no_start(tmp_path):
    case = next(case for case in CASES if case.name == "sparsefc")
    model = case.make(epochs=1).fit(case.data, show_progress=False)
    del model.weights_  # as versions that knew no warm start of it stored it
    model.save(tmp_path / "model")
    stored = load_model(tmp_path / "model")
    assert_array_equal(stored.score(case.data), model.score(case.data))
    with pytest.raises(WarmStartError, match=r"kept no weights of its network.*without a warm start once"):
        case.make(epochs=1).fit(case.data, False, warm_start=WarmStart(stored, np.arange(N), np.arange(N)))


def test_an_unfitted_model_is_no_start():
    case = next(case for case in CASES if case.name == "elsa")
    with pytest.raises(NotFittedError, match="call fit first"):
        case.make().fit(case.data, False, warm_start=WarmStart(case.make(), np.arange(N)))


# -------------------------------------------------------------------- by names


def log_of(n_users, first_user=0, items=range(N)):
    """Users who like every other of the items, by the parity of their number."""
    matrix = np.array(
        [[(user + item) % 2 == 0 for item in items] for user in range(first_user, first_user + n_users)]
    )
    users = IdMap(f"user {user}" for user in range(first_user, first_user + n_users))
    return Interactions(csr_array(matrix.astype(np.float32)), users, IdMap(f"item {item}" for item in items))


def test_names_lead_to_earlier_positions():
    earlier = Earlier(model=None, items=IdMap(["a", "b", "c"]), users=IdMap(["u"]))
    now = Interactions.from_arrays(["v", "u"], ["c", "new"])
    start = earlier.start_of(now)
    assert start.items.tolist() == [2, -1]
    assert start.users.tolist() == [-1, 0]
    assert Earlier(None, earlier.items).start_of(now).users is None


@pytest.mark.parametrize("name", ["mult_vae", "cdae", "elsa"])
def test_the_final_fit_starts_from_the_earlier_model_by_names(name):
    case = next(case for case in CASES if case.name == name)
    before, now = log_of(20), log_of(20, first_user=3, items=range(2, N + 2))
    model = fit_to_everything(case.make(epochs=3), before, validation_share=0.0, show_progress=False)
    still = fit_to_everything(
        case.make(epochs=1, learning_rate=STILL),
        now,
        show_progress=False,
        warm_start_from=Earlier(model, before.items, before.users),
    )
    assert torch.equal(still._item_vectors()[: N - 2], model._item_vectors()[2:])


def test_only_users_new_since_then_judge_the_epochs(monkeypatch):
    case = next(case for case in CASES if case.name == "mult_vae")
    before, now = log_of(60), log_of(90)
    earlier = Earlier(
        fit_to_everything(case.make(epochs=2), before, show_progress=False), before.items, before.users
    )
    held_out = []
    fit = model_class("mult_vae").fit

    def recording(self, *args, **more):
        held_out.append(more.get("validation"))
        return fit(self, *args, **more)

    monkeypatch.setattr(model_class("mult_vae"), "fit", recording)
    fit_to_everything(case.make(epochs=2), now, show_progress=False, warm_start_from=earlier)
    assert len(held_out) == 2
    assert len(held_out[0]) == 9
    assert not any(user in before.users for user in held_out[0].users)


def test_without_new_users_the_training_takes_no_more_epochs_than_the_earlier_one():
    case = next(case for case in CASES if case.name == "mult_vae")
    log = log_of(60)
    model = fit_to_everything(case.make(epochs=2), log, validation_share=0.0, show_progress=False)
    earlier = Earlier(model, log.items, log.users)
    again = fit_to_everything(case.make(epochs=50), log, show_progress=False, warm_start_from=earlier)
    assert (again.config.epochs, len(again.training_log_["losses"])) == (2, 2)
