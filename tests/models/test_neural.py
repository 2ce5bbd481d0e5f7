from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.data.splits import Holdout
from recae.errors import ArtifactError, DataError, FitError
from recae.models import create, model_class
from recae.models.neural import NeuralModel, SparseBatch, SparseLinear
from recae.models.trainer import Schedule, train
from tests.models.cases import CASES, N, named, two_tastes

NEURAL = [case for case in CASES if issubclass(model_class(case.name), NeuralModel)]
RANKING = [case for case in NEURAL if model_class(case.name).feedback != "ratings"]


@pytest.fixture(params=named(NEURAL))
def neural(request):
    return request.param


def holdout(case):
    """Each user's withheld item is the target; in stars it is worth 5."""
    data = csr_array(case.data)
    return Holdout(data, csr_array(5.0 * np.eye(N, dtype=np.float32)), IdMap.of_range(N))


# -------------------------------------------------------------------- sparse input


def test_a_sparse_layer_is_the_dense_one_and_so_is_its_gradient():
    torch.manual_seed(0)
    matrix = csr_array(np.array([[0, 2, 0, 1], [0, 0, 0, 0], [1, 0, 3, 0]], dtype=np.float32))
    layer = SparseLinear(4, 3)
    batch = SparseBatch.of(matrix, torch.device("cpu"))
    sparse = layer(batch, batch.values)
    dense = torch.from_numpy(matrix.toarray()) @ layer.weight + layer.bias
    assert torch.allclose(sparse, dense)
    target = torch.randn(3, 3)
    (from_sparse,) = torch.autograd.grad((sparse * target).sum(), layer.weight)
    (from_dense,) = torch.autograd.grad((dense * target).sum(), layer.weight)
    assert torch.allclose(from_sparse, from_dense)


def test_rows_get_length_1_and_an_empty_one_stays_empty():
    batch = SparseBatch.of(csr_array(np.array([[3, 4], [0, 0]], dtype=np.float32)), torch.device("cpu"))
    assert batch.unit_length().tolist() == pytest.approx([0.6, 0.8])


def test_values_whose_squares_vanish_in_float32_give_no_nan():
    batch = SparseBatch.of(csr_array(np.array([[1e-30, 1e-30]], dtype=np.float32)), torch.device("cpu"))
    assert torch.isfinite(batch.unit_length()).all()


# -------------------------------------------------------------------- training


def test_training_lowers_the_loss(neural):
    log = neural.fitted().training_log_
    assert log["losses"][-1] < 0.8 * log["losses"][0]


def test_validation_stops_training_and_the_best_epoch_is_kept(neural):
    model = neural.make(epochs=60, patience=3)
    model.fit(neural.data, show_progress=False, validation=holdout(neural))
    log = model.training_log_
    assert len(log["values"]) == len(log["losses"])
    assert log["best_epoch"] == int(np.argmax(log["values"])) + 1
    assert len(log["values"]) == min(60, log["best_epoch"] + 3)
    again = neural.make(epochs=log["best_epoch"]).fit(neural.data, show_progress=False)
    assert_array_equal(model.score(neural.data), again.score(neural.data))


@pytest.mark.parametrize("case", named(RANKING))
def test_among_candidates_validation_ranks_these_alone(case):
    """Where the target is the only candidate, whatever a model has learned puts it first."""
    asked = holdout(case)
    alone = replace(asked, candidates=csr_array(asked.targets))
    model = case.make(epochs=1).fit(case.data, show_progress=False, validation=alone)
    assert model.training_log_["values"] == [1.0]


def test_a_checkpoint_of_other_settings_or_data_is_refused(neural, tmp_path):
    file = str(tmp_path / "checkpoint")
    neural.make(epochs=1).fit(neural.data, show_progress=False, checkpoint=file)
    with pytest.raises(ArtifactError, match="other settings or data"):
        neural.make(epochs=2).fit(neural.data, show_progress=False, checkpoint=file)
    with pytest.raises(ArtifactError, match="other settings or data"):
        neural.make(epochs=1).fit(neural.data[:-1], show_progress=False, checkpoint=file)


def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="checkpoint is damaged; delete it to start anew"):
        NEURAL[0].make(epochs=1).fit(NEURAL[0].data, False, checkpoint=str(tmp_path / "checkpoint"))


def test_fitting_leaves_the_callers_random_numbers_alone(neural):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    neural.fitted()
    assert torch.equal(torch.rand(3), wanted)


def test_another_seed_gives_another_model(neural):
    other = neural.make(seed=1).fit(neural.data, show_progress=False)
    assert not np.array_equal(other.score(neural.data), neural.fitted().score(neural.data))


def test_a_loss_that_explodes_is_a_fit_error_that_says_what_to_do():
    model = create("mult_vae", n_hidden=4, n_latent=2, epochs=30, learning_rate=1e20)
    with pytest.raises(FitError, match="lower the learning rate"):
        model.fit(two_tastes(), show_progress=False)


@pytest.mark.parametrize("case", named(CASES))
def test_a_validation_without_anything_to_find_is_refused(case):
    nothing = replace(holdout(case), targets=csr_array(case.data.shape, dtype=np.float32))
    with pytest.raises(FitError, match="none of the 24 rows of the validation has anything to find"):
        case.make(**case.few_epochs).fit(case.data, show_progress=False, validation=nothing)


@pytest.mark.parametrize("n_items", [N - 1, N + 1])
@pytest.mark.parametrize("case", named(CASES))
def test_a_validation_of_other_items_is_refused_with_both_numbers(case, n_items):
    other = Holdout(*[csr_array(np.eye(N, n_items, dtype=np.float32))] * 2, IdMap.of_range(N))
    with pytest.raises(DataError, match=f"the validation has {n_items} columns, the training matrix 24"):
        case.make(**case.few_epochs).fit(case.data, show_progress=False, validation=other)


def test_a_validation_may_have_its_entries_in_any_order_twice_and_in_double_precision(neural):
    asked, coordinates = holdout(neural), csr_array(neural.data).tocoo()
    order = np.random.default_rng(0).permutation(coordinates.nnz)
    order = order[np.argsort(coordinates.row[order], kind="stable")]
    halves = (
        1 if model_class(neural.name).feedback == "sequences" else 2
    )  # of places in time the later counts
    inputs = csr_array(
        (
            np.repeat(coordinates.data[order].astype(np.float64) / halves, halves),
            np.repeat(coordinates.col[order], halves),
            halves * csr_array(neural.data).indptr,
        ),
        shape=neural.data.shape,
    )
    found, wanted = (
        neural.make(epochs=2).fit(neural.data, show_progress=False, validation=each).training_log_
        for each in (Holdout(inputs, asked.targets, asked.users), asked)
    )
    assert found == wanted


def test_a_validation_value_that_is_no_number_ends_the_training():
    schedule = Schedule(n_rows=1, epochs=5, batch_size=1, seed=0)
    with pytest.raises(FitError, match="the validation value of epoch 1 is nan, so no epoch could be chosen"):
        train(Counter(), schedule, validate=lambda: np.nan, show_progress=False)


def test_decoding_the_code_gives_the_score(neural):
    model = neural.fitted()
    codes = model.encode(csr_array(neural.data[:3]))
    assert codes.shape[0] == 3
    taken_off = neural.data[:3].toarray() * (neural.name == "elsa")  # its items may not explain themselves
    assert_array_equal(model.decode(codes) - taken_off, model.score(neural.data[:3]))


def test_the_device_is_moved_to_where_there_is_one(neural):
    model = neural.make(device="cpu", epochs=1).fit(neural.data, show_progress=False)
    assert next(model.network_.parameters()).device.type == "cpu"


class Counter:
    """A trainee whose only weight counts its steps."""

    def __init__(self, losses=lambda step: 1.0 / (step + 1)):
        self.steps, self.seen, self.losses = 0, [], losses

    def update(self, rows):
        self.steps += 1
        self.seen.append(sorted(rows.tolist()))
        return self.losses(self.steps)

    def weights(self):
        return {"steps": torch.tensor(self.steps)}

    def load_weights(self, weights):
        self.steps = int(weights["steps"])

    def optimiser_state(self):
        return {}

    def load_optimiser_state(self, state):
        assert state == {}


def test_every_epoch_sees_every_row_once():
    trainee = Counter()
    train(trainee, Schedule(n_rows=10, epochs=2, batch_size=4, seed=0), show_progress=False)
    assert [len(rows) for rows in trainee.seen] == [4, 4, 2, 4, 4, 2]
    for epoch in (trainee.seen[:3], trainee.seen[3:]):
        assert sorted(row for rows in epoch for row in rows) == list(range(10))
    assert trainee.seen[:3] != trainee.seen[3:], "each epoch has an order of its own"


def test_an_epoch_of_several_passes_sees_every_row_in_each_of_them():
    trainee = Counter()
    train(trainee, Schedule(n_rows=6, epochs=1, batch_size=6, seed=0, passes=3), show_progress=False)
    assert trainee.seen == [list(range(6))] * 3


def test_the_first_of_equally_good_epochs_is_the_best():
    values = iter([0.1, 0.3, 0.3, 0.2, 0.9])
    trainee = Counter()
    schedule = Schedule(n_rows=1, epochs=5, batch_size=1, seed=0, patience=2)
    log = train(trainee, schedule, validate=lambda: next(values), show_progress=False)
    assert (log.best_epoch, len(log.values), trainee.steps) == (2, 4, 2)


def test_without_a_validation_no_copy_of_the_weights_is_made(tmp_path, monkeypatch):
    """They are hundreds of megabytes, and the last epoch's are in the model anyway."""
    monkeypatch.setattr(Counter, "weights", lambda _self: {"steps": torch.zeros(10_000)}, raising=True)
    monkeypatch.setattr(Counter, "load_weights", lambda *_weights: pytest.fail("there are no others"))
    schedule = Schedule(n_rows=4, epochs=2, batch_size=2, seed=0)
    trainee, file = Counter(), tmp_path / "state"
    monkeypatch.setattr("recae.models.trainer.copy.deepcopy", lambda _weights: pytest.fail("a copy"))
    train(trainee, schedule, checkpoint=str(file), show_progress=False)
    assert trainee.steps == 4
    assert file.stat().st_size < 2 * 40_000, "the weights are in the checkpoint once"


# -------------------------------------------------------------------- the models


def test_mult_vae_refuses_negative_counts():
    data = two_tastes()
    data.data[3] = -1.0
    with pytest.raises(DataError, match="mult_vae models counts, and found the value -1"):
        create("mult_vae").fit(data, show_progress=False)


def test_mult_vae_scores_do_not_depend_on_the_scale_of_a_history():
    case = next(case for case in NEURAL if case.name == "mult_vae")
    model = case.fitted()
    assert_allclose(model.score(case.data), model.score(3 * case.data), rtol=1e-4, atol=1e-5)


def test_kl_weight_rises_over_its_epochs_to_its_full_height(monkeypatch):
    weights = []
    from recae.models import multinomial

    def kl(mean, _log_variance):
        weight = torch.zeros((), requires_grad=True)
        weight.register_hook(lambda gradient: weights.append(float(gradient)))
        return weight + 0 * mean.sum()

    monkeypatch.setattr(multinomial, "gaussian_kl", kl)
    create("mult_vae", n_hidden=4, n_latent=2, epochs=6, batch_size=N, kl_epochs=4, kl_weight=0.2).fit(
        two_tastes(), show_progress=False
    )
    assert weights == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2, 0.2])
