import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix, vstack

from recae.errors import FitError, MemoryBudgetError
from recae.machine import MemoryBudget
from recae.models import create, devices, gram, inversion, load_model
from recae.models.gram import gram_matrix, inverse_gram
from recae.models.storage import write_state


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    return csr_array((rng.random((60, 23)) < 0.3) * rng.integers(1, 5, (60, 23)).astype(np.float32))


def test_ease_is_the_ridge_regression_of_each_item_on_the_others(data):
    """The oracle never forms the inverse of the whole: one regression an item, its own column left out."""
    dense = data.toarray().astype(np.float64)
    l2 = 7.0
    wanted = np.zeros((23, 23))
    for item in range(23):
        others = np.delete(np.arange(23), item)
        x = dense[:, others]
        wanted[others, item] = np.linalg.solve(x.T @ x + l2 * np.eye(22), x.T @ dense[:, item])
    weights = create("ease", l2=l2).fit(data, show_progress=False).weights()
    assert_allclose(weights, wanted, atol=2e-5)
    assert_allclose(np.diag(weights), 0, atol=1e-6)


def test_an_item_does_not_explain_itself(data):
    model = create("ease", l2=1.0).fit(data, show_progress=False)
    alone = csr_matrix(([1.0], ([0], [4])), shape=(1, 23), dtype=np.float32)
    assert model.score(alone)[0, 4] == pytest.approx(0.0, abs=1e-6)


def test_similar_items_are_partial_correlations(data):
    model = create("ease", l2=5.0).fit(data, show_progress=False)
    precision = np.linalg.inv(data.toarray().T @ data.toarray() + 5.0 * np.eye(23))
    scale = np.sqrt(np.diag(precision))
    wanted = -precision / np.outer(scale, scale)
    ids, similar = model.similar_items(np.arange(23), N=23)
    found = np.empty((23, 23))
    np.put_along_axis(found, ids, similar, axis=1)
    np.fill_diagonal(wanted, 1.0)
    assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("block", [1, 7, 23, 100])
def test_the_block_size_changes_nothing(data, monkeypatch, block):
    monkeypatch.setattr(gram, "COLUMNS", block)
    monkeypatch.setattr(inversion, "LEAF", block)
    dense = data.toarray().astype(np.float64)
    assert_allclose(gram_matrix(data), dense.T @ dense)
    inverse, ridge = inverse_gram(data, l2=3.0)
    assert (ridge == 3.0).all()
    assert_allclose(inverse, np.linalg.inv(dense.T @ dense + 3.0 * np.eye(23)), atol=1e-5)
    assert inverse.flags.c_contiguous


@pytest.mark.parametrize(("l2", "dropout"), [(0.5, 0.0), (20.0, 0.7)])
@pytest.mark.parametrize("block", [7, 512])
def test_the_users_side_gives_the_same_inverse_as_the_items_side(data, monkeypatch, l2, dropout, block):
    monkeypatch.setattr(gram, "COLUMNS", block)
    few_users = csr_array(
        np.vstack([data.toarray()[:9], np.zeros((2, 23), dtype=np.float32)])
    )  # two empty rows
    dense = few_users.toarray().astype(np.float64)
    wanted = np.linalg.inv(
        dense.T @ dense + np.diag(l2 + dropout / (1 - dropout) * np.square(dense).sum(axis=0))
    )
    by_users, ridge = inverse_gram(few_users, l2=l2, dropout=dropout)
    monkeypatch.setattr(gram, "USERS_SIDE", 0.0)
    by_items, same_ridge = inverse_gram(few_users, l2=l2, dropout=dropout)
    assert_allclose(by_users, wanted, rtol=1e-4, atol=1e-5)
    assert_allclose(by_items, wanted, rtol=1e-4, atol=1e-5)
    assert (ridge == same_ridge).all()
    assert_allclose(by_users, by_users.T, atol=1e-6)
    assert by_users.flags.c_contiguous


def test_what_cannot_fit_into_memory_is_refused_with_numbers_before_it_starts(monkeypatch):
    monkeypatch.setattr(gram, "gram_matrix", lambda *_: pytest.fail("started all the same"))
    huge = csr_array((1, 500_000), dtype=np.float32)
    with pytest.raises(
        MemoryBudgetError,
        match=r"500,000 items needs 1,303.9 GiB, .* \d+\.\d more, by .*; keep the most popular",
    ):
        inverse_gram(huge, l2=1.0)


def test_what_the_processs_limit_does_not_allow_is_refused_however_much_the_machine_has(monkeypatch):
    limit = MemoryBudget(5_000, "the limit of its control group")
    monkeypatch.setattr(gram, "memory_budget", lambda: limit)
    histories = csr_array(np.eye(30, dtype=np.float32))  # 1.4 x 4 x 30 x 30 = 5,040 bytes

    with pytest.raises(MemoryBudgetError, match=r"0\.0 more, by the limit of its control group"):
        inverse_gram(histories, l2=1.0)
    inverse_gram(csr_array(histories[:, :29]), l2=1.0)  # 4,710 bytes


def test_a_matrix_that_float32_cannot_factor_is_a_fit_error():
    twins = csr_array(np.full((4, 2), 1e6, dtype=np.float32))
    with pytest.raises(FitError, match="raise l2"):
        create("ease", l2=1e-6).fit(twins, show_progress=False)


# -------------------------------------------------------------------- on a GPU


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The steps that are taken on a GPU, on the CPU: there is no scipy among them."""

    def switch():
        monkeypatch.setattr(gram, "_multiplies_sparse", lambda device: False)
        monkeypatch.setattr(gram, "_in_threads", lambda *_: pytest.fail("scipy multiplied"))

    return switch


@pytest.mark.parametrize("side", ["items", "users"])
@pytest.mark.parametrize("block", [1, 7, 512])
def test_the_steps_for_a_gpu_give_the_inverse_that_the_cpu_gives(data, monkeypatch, as_on_a_gpu, side, block):
    monkeypatch.setattr(gram, "COLUMNS", block)
    monkeypatch.setattr(inversion, "LEAF", block)
    monkeypatch.setattr(gram, "USERS_SIDE", {"items": 0.0, "users": 99.0}[side])
    wanted, ridge = inverse_gram(data, l2=3.0, dropout=0.4)
    as_on_a_gpu()
    found, same_ridge = inverse_gram(data, l2=3.0, dropout=0.4)
    assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert (same_ridge == ridge).all()
    assert found.flags.c_contiguous


@pytest.mark.parametrize("name", ["ease", "edlae", "rlae", "rdlae", "dan", "slist", "sparsified"])
def test_every_linear_model_is_the_same_by_the_steps_for_a_gpu(data, as_on_a_gpu, name):
    wanted = create(name).fit(data, show_progress=False).score(data)
    as_on_a_gpu()
    assert_allclose(create(name).fit(data, show_progress=False).score(data), wanted, rtol=1e-4, atol=1e-5)


def test_a_gpu_without_room_leaves_the_work_to_the_cpu_or_is_refused_where_it_was_asked_for(
    data, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    the_matrix_alone = 4 * 23**2  # without its workspace
    monkeypatch.setattr(devices, "free_memory", lambda _: the_matrix_alone)
    wanted = create("ease", device="cpu").fit(data, show_progress=False).precision_
    assert (create("ease", device="auto").fit(data, show_progress=False).precision_ == wanted).all()
    with pytest.raises(
        MemoryBudgetError, match=r"GiB on cuda, which has 0\.0 left; set device to 'auto' or 'cpu'"
    ):
        create("ease", device="cuda").fit(data, show_progress=False)


def test_a_gpu_with_room_is_where_the_work_is_done(data, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "free_memory", lambda _: 2**30)
    monkeypatch.setattr(gram, "gram_matrix", lambda _, device: asked.append(device) or torch.eye(23))
    create("ease").fit(data, show_progress=False)
    assert asked == [torch.device("cuda")]


def test_a_model_stored_before_there_was_a_choice_of_device_loads(data, tmp_path):
    model = create("ease", l2=3.0).fit(data, show_progress=False)
    write_state(tmp_path / "model", model._state(), model="ease", config='{"l2": 3.0}')
    loaded = load_model(tmp_path / "model")
    assert loaded.config == model.config
    assert_array_equal(loaded.score(data), model.score(data))


# -------------------------------------------------------------------- the rest of the family


def objective(weights, data, *, l2=0.0, dropout=0.0, user_damping=0.0):
    """The family's objective, term by term as the papers write it."""
    lengths = (data > 0).sum(axis=1)
    user_weights = lengths**-user_damping
    user_weights = user_weights / user_weights.mean()
    gram = data.T @ (user_weights[:, None] * data)
    penalty = l2 + dropout / (1 - dropout) * np.diag(gram)
    errors = data - data @ weights
    return (user_weights[:, None] * errors**2).sum() + (penalty[:, None] * weights**2).sum()


FAMILY = {
    "ease": {"l2": 3.0},
    "edlae": {"l2": 3.0, "dropout": 0.4},
    "rlae": {"l2": 3.0, "max_self_weight": 0.1},
    "rdlae": {"l2": 3.0, "dropout": 0.4, "max_self_weight": 0.1},
    "dan": {"l2": 3.0, "dropout": 0.4, "max_self_weight": 0.1, "user_damping": 0.6, "item_rescaling": 0.0},
}


@pytest.mark.parametrize(("name", "settings"), FAMILY.items(), ids=FAMILY.keys())
def test_the_solution_is_the_minimum_under_the_constraint(data, name, settings):
    """An oracle that knows no closed form: projected gradient descent from zero, in float64."""
    dense = data.toarray().astype(np.float64)
    terms = {key: settings.get(key, 0.0) for key in ("l2", "dropout", "user_damping")}
    bound = settings.get("max_self_weight", 0.0)
    lengths = (dense > 0).sum(axis=1)
    user_weights = lengths ** -terms["user_damping"]
    user_weights = user_weights / user_weights.mean()
    gram = dense.T @ (user_weights[:, None] * dense)
    penalty = np.diag(terms["l2"] + terms["dropout"] / (1 - terms["dropout"]) * np.diag(gram))
    step = 1.0 / np.linalg.eigvalsh(gram + penalty).max()
    wanted = np.zeros((23, 23))
    for _ in range(6000):
        wanted -= step * ((gram + penalty) @ wanted - gram)
        np.fill_diagonal(wanted, np.minimum(np.diag(wanted), bound))

    found = create(name, **settings).fit(data, show_progress=False).weights()
    assert objective(found, dense, **terms) == pytest.approx(objective(wanted, dense, **terms), rel=1e-5)
    assert_allclose(found, wanted, atol=2e-3)
    assert np.diag(found).max() <= bound + 1e-5


def test_exact_dropout_is_the_mean_of_sampled_dropout():
    """EDLAE's penalty against what it stands for: ridge regression on many randomly dropped copies of the data."""
    rng = np.random.default_rng(0)
    dense = (rng.random((40, 5)) < 0.5).astype(np.float64)
    dropout, l2, copies = 0.5, 1e-3, 4000
    gram, cross = np.zeros((5, 5)), np.zeros((5, 5))
    for _ in range(copies):
        dropped = dense * (rng.random(dense.shape) >= dropout) / (1 - dropout)
        gram += dropped.T @ dropped / copies
        cross += dropped.T @ dense / copies
    wanted = np.zeros((5, 5))
    for item in range(5):
        others = np.delete(np.arange(5), item)
        wanted[others, item] = np.linalg.solve(
            gram[np.ix_(others, others)] + l2 * np.eye(4), cross[others, item]
        )
    found = create("edlae", l2=l2, dropout=dropout).fit(csr_array(dense), show_progress=False).weights()
    assert_allclose(found, wanted, atol=0.02)


def test_scores_are_the_history_times_the_weights_which_hold_the_rescaling(data):
    model = create("dan", l2=3.0, item_rescaling=0.3).fit(data, show_progress=False)
    assert_allclose(model.score(data), data.toarray() @ model.weights(), rtol=1e-3, atol=1e-4)
    scale = (data.toarray() > 0).sum(axis=0) ** 0.3
    plain = create("dan", l2=3.0, item_rescaling=0.0).fit(data, show_progress=False)
    assert_allclose(model.weights(), plain.weights() / scale[:, None] * scale, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["ease", "edlae", "rlae", "rdlae", "dan", "sparsified", "slist"])
def test_users_who_chose_nothing_change_nothing(data, name):
    """They add nothing to X'X, so the same l2 means the same beside any number of them."""
    with_nobodies = csr_array(vstack([data[:30], csr_array((1_000, 23), dtype=np.float32), data[30:]]))
    wanted = create(name).fit(data, show_progress=False).score(data)
    found = create(name).fit(with_nobodies, show_progress=False).score(data)
    assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_no_self_weight_no_dropout_and_no_damping_make_dan_ease(data):
    plain = {"dropout": 0.0, "max_self_weight": 0.0, "user_damping": 0.0, "item_rescaling": 0.0}
    ease = create("ease", l2=4.0).fit(data, show_progress=False)
    dan = create("dan", l2=4.0, **plain).fit(data, show_progress=False)
    assert_allclose(dan.score(data), ease.score(data), atol=1e-5)


def test_the_diagonal_bound_and_the_rescaling_change_without_a_new_factorisation(data, monkeypatch):
    fitted = create("dan", l2=3.0).fit(data, show_progress=False)
    wanted = create("dan", l2=3.0, max_self_weight=0.05, item_rescaling=0.4)
    wanted_scores = wanted.fit(data, show_progress=False).score(data)
    monkeypatch.setattr("recae.models.linear.inverse_gram", lambda *_, **__: pytest.fail("factored again"))

    retuned = fitted.retuned(wanted.config)
    assert_allclose(retuned.score(data), wanted_scores)
    assert retuned.precision_ is fitted.precision_
    assert fitted.retuned(create("dan", l2=4.0).config) is None, "another l2 needs a fit"


@pytest.mark.parametrize("name", ["ease", "edlae", "rlae", "rdlae", "dan"])
def test_one_row_scores_as_it_does_in_a_matrix(data, name):
    model = create(name).fit(data, show_progress=False)
    rows = [(data[[row]].indices, data[[row]].data) for row in range(5)]
    nothing = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)

    together = model.score(data[:5])
    for row, (columns, values) in enumerate(rows):
        assert_allclose(model.score_row(columns, values), together[row], rtol=1e-6, atol=1e-7)
    assert model.score_row(*nothing).tolist() == [0.0] * 23
    assert model.best_rows([]) == []
