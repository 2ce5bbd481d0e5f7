"""Contributions: what each item of a history adds to a score, exactly where the model is a sum over the history."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, csr_matrix

from recae.errors import DataError, ModelError, NotFittedError
from recae.models import create, load_model, ranking
from recae.models.attribution import Attribution, without_each
from tests.models.cases import CASES, Case, N, named

ADDITIVE = {
    "popularity", "item_knn", "als", "pure_svd", "gf_cf", "ease", "edlae", "rlae", "rdlae", "dan", "slist", "sparsified",
    "elsa", "blend"
}  # fmt: skip
TRAINED_USERS_ONLY = {"bpr", "lmf"}
OWN_TASTE = np.arange(0, N, 2)
ALL = np.arange(N, dtype=np.int32)


def left_out(model, history, items):
    """The definition, one history at a time: the score less the score without an item."""
    whole = model.score(history)[0, items]
    found = []
    for place in range(history.nnz):
        kept = np.arange(history.nnz) != place
        rest = csr_array(
            (history.data[kept], history.indices[kept], [0, history.nnz - 1]), shape=history.shape
        )
        found.append(whole - model.score(rest)[0, items])
    return np.array(found)


def history_of(case, user=0):
    return csr_array(case.data[[user]])


@pytest.fixture(
    scope="session", params=named([case for case in CASES if case.name not in TRAINED_USERS_ONLY])
)
def attributed_case(request):
    return request.param


@pytest.fixture(scope="session")
def attributed(attributed_case):
    return attributed_case.fitted()


# -------------------------------------------------------------------- every model


def test_every_item_of_the_history_has_a_row_and_every_asked_one_a_column(attributed_case, attributed):
    history = history_of(attributed_case)
    found = attributed.contributions(history, [3, 0, 8])

    assert found.shape == (history.nnz, 3)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert_allclose(found[:, [1]], attributed.contributions(history, 0), rtol=1e-4, atol=1e-5)


def test_without_its_strongest_item_a_history_scores_lower(attributed_case, attributed):
    history = history_of(attributed_case)
    if not attributed_case.is_personal:
        return  # no item of the history is worth more than another
    found = attributed.contributions(history, 0)[:, 0]  # item 0 is what user 0 lacks
    strongest = int(found.argmax())
    is_clipped = attributed.feedback == "ratings"
    fall = left_out(attributed._unclipped() if is_clipped else attributed, history, [0])[strongest, 0]

    assert found[strongest] > 0
    assert fall > 0
    if not attributed.has_additive_contributions:
        assert fall == pytest.approx(found[strongest], rel=1e-3, abs=1e-5)


def test_popularity_owes_nothing_to_the_history():
    case = Case("popularity")

    assert not case.fitted().contributions(history_of(case), ALL).any()


def test_additive_or_not_is_known_of_every_model():
    additive = {case.name for case in CASES if case.make().has_additive_contributions}

    assert additive == ADDITIVE


def test_an_empty_history_has_no_contributions(attributed):
    assert attributed.contributions(csr_matrix((1, N), dtype=np.float32), [0, 1]).shape == (0, 2)


def test_no_asked_item_has_no_column(attributed_case, attributed):
    history = history_of(attributed_case)

    assert attributed.contributions(history, np.array([], dtype=int)).shape == (history.nnz, 0)


def test_a_history_of_one_item_is_explained_by_it(attributed_case, attributed):
    one = csr_matrix(([5.0], ([0], [2])), shape=(1, N), dtype=np.float32)
    found = attributed.contributions(one, ALL)

    assert found.shape == (1, N)
    assert np.isfinite(found).all()


# -------------------------------------------------------------------- exact ones


@pytest.fixture(scope="session", params=named([case for case in CASES if case.name in ADDITIVE]))
def additive(request):
    return request.param, request.param.fitted()


def test_contributions_of_additive_models_sum_to_the_score_up_to_one_constant(additive):
    case, model = additive
    rng = np.random.default_rng(5)
    dense = (rng.random((4, N)) < 0.3) * rng.uniform(0.5, 2.0, (4, N))  # no training rows, and both tastes
    for row in [history_of(case), *(csr_array(line[None, :].astype(np.float32)) for line in dense)]:
        constants = model.score(row)[0] - model.contributions(row, ALL).sum(axis=0)
        if case.name == "blend":  # the means that standardising takes away
            assert_allclose(constants, constants.mean(), atol=1e-5)
        else:
            expected = model.score(csr_matrix((1, N), dtype=np.float32))[0]
            assert_allclose(constants, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["item_knn", "pure_svd", "gf_cf", "ease", "edlae", "rlae", "rdlae", "dan", "sparsified", "elsa"]
)
def test_where_weights_are_fixed_a_contribution_is_what_leaving_out_takes_away(name):
    case = Case(name)
    model, history = case.fitted(), history_of(case)

    assert_allclose(model.contributions(history, ALL), left_out(model, history, ALL), atol=1e-5)
    assert_allclose(
        model.contributions(history, ALL), Attribution._contributions(model, history, ALL), atol=1e-5
    )


def test_a_contribution_of_ease_is_its_weight_times_the_historys_value():
    case = Case("ease")
    model = case.fitted()
    history = csr_matrix(([2.0, 0.5], ([0, 0], [1, 4])), shape=(1, N), dtype=np.float32)

    assert_allclose(
        model.contributions(history, [7, 4]),
        np.array([[2.0], [0.5]]) * model.weights()[np.ix_([1, 4], [7, 4])],
        atol=1e-6,
    )


def test_als_takes_a_negative_value_for_something_not_liked():
    case = Case("als", alpha=3.0)
    model = case.fitted()
    history = csr_matrix(([2.0, -1.5, 1.0], ([0, 0, 0], [1, 4, 6])), shape=(1, N), dtype=np.float32)
    found = model.contributions(history, ALL)

    assert_allclose(found.sum(axis=0), model.score(history)[0], atol=1e-5)
    assert not found[1].any()


def test_slist_gives_the_later_of_two_like_items_more():
    case = Case("slist", recency=2.0)
    model = case.fitted()
    order = {2: 1.0, 6: 2.0, 4: 3.0}
    history = csr_matrix((list(order.values()), ([0] * 3, list(order))), shape=(1, N), dtype=np.float32)
    found = model.contributions(history, 0)[:, 0]  # rows are items 2, 4, 6
    weights = model.weights_[[2, 4, 6], 0]

    assert_allclose(found, weights * np.exp(-2.0 * (1.0 - np.array([0, 2, 1]) / 3)), rtol=1e-5)


def test_a_blend_with_a_deep_member_leaves_items_out():
    deep = {"name": "mult_dae", "settings": Case("mult_dae").settings}
    case = Case("blend", members=[{"name": "ease", "settings": {"l2": 1.0}}, deep], weights=[1.0, 1.0])
    model, history = case.fitted(), history_of(case)

    assert not model.has_additive_contributions
    assert_allclose(model.contributions(history, ALL), left_out(model, history, ALL), atol=1e-4)


def test_a_blend_of_sets_and_sequences_counts_each_member_as_it_sees_the_history():
    members = [
        {"name": "slist", "settings": Case("slist").settings},
        {"name": "ease", "settings": {"l2": 1.0}},
    ]
    blend = create("blend", members=members, weights=[0.0, 1.0])
    data = Case("slist").data
    blend.fit(data, show_progress=False)
    ease = Case("ease").fitted()
    found, alone = (
        blend.contributions(data[[0]], ALL),
        ease.contributions((data[[0]] > 0).astype(np.float32), ALL),
    )

    assert_allclose(found, alone / ease.score((data[[0]] > 0).astype(np.float32)).std(), rtol=1e-3, atol=1e-4)


def test_a_stored_model_explains_as_before(attributed_case, attributed, tmp_path):
    attributed.save(tmp_path / "model")
    history = history_of(attributed_case, 3)

    assert_allclose(  # stored weights lie elsewhere in memory, where a product may take another path
        load_model(tmp_path / "model").contributions(history, [1, 2]),
        attributed.contributions(history, [1, 2]),
        rtol=1e-5,
        atol=2e-6,
    )


# -------------------------------------------------------------------- leaving out


def test_a_rating_at_the_end_of_the_scale_is_explained_too():
    case = Case("autorec")
    model, history = case.fitted(), history_of(case, 6)

    assert model.score(history)[0, 6] == 5.0
    assert model.contributions(history, 6).max() > 0
    assert model.score(history)[0, 6] == 5.0, "the scale is as it was"


def test_leaving_out_in_small_blocks_is_leaving_out_at_once(monkeypatch):
    case = Case("mult_vae")
    model, history = case.fitted(), history_of(case)
    at_once = model.contributions(history, ALL)
    sizes = []
    score = model._score_items
    monkeypatch.setattr(
        model, "_score_items", lambda rows, items: sizes.append(rows.shape[0]) or score(rows, items)
    )
    monkeypatch.setattr(ranking, "SCORE_BYTES", 2 * (4 * N + 12 * history.nnz))

    assert_allclose(model.contributions(history, ALL), at_once, atol=1e-5)
    assert max(sizes) == 2


@pytest.mark.parametrize("name", ["sparse_ae", "cosine_dae", "mult_dae", "mult_vae", "recvae", "hvamp_vae"])
def test_scores_of_some_items_are_those_of_all(name):
    case = Case(name)
    model, histories = case.fitted(), csr_array(case.data[:4])
    asked = np.array([5, 0, 23], dtype=np.int32)

    assert_allclose(model._score_items(histories, asked), model.score(histories)[:, asked], atol=1e-5)


def test_each_row_lacks_another_entry():
    history = csr_array(np.array([[3.0, 0.0, 4.0, 5.0]], dtype=np.float32))

    assert without_each(history, np.array([0, 2])).toarray().tolist() == [[0, 0, 4, 5], [3, 0, 4, 0]]
    assert without_each(history[:, [0]], np.array([0])).toarray().tolist() == [[0.0]]


# -------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", sorted(TRAINED_USERS_ONLY))
def test_a_model_of_training_users_says_that_it_cannot_explain(name):
    case = Case(name)
    with pytest.raises(ModelError, match=f"{name} has a vector for each training user.*such as als"):
        case.fitted().contributions(history_of(case), [0])


def test_what_does_not_fit_is_refused_with_its_place():
    case = Case("ease")
    with pytest.raises(NotFittedError, match="call fit first"):
        case.make().contributions(history_of(case), [0])
    model = case.fitted()
    with pytest.raises(ValueError, match="of one history, got 2 rows"):
        model.contributions(case.data[:2], [0])
    with pytest.raises(IndexError, match=r"items: 24 is not in the model"):
        model.contributions(history_of(case), [0, 24])
    with pytest.raises(DataError, match="7 columns, the model knows 24 items"):
        model.contributions(csr_matrix((1, 7), dtype=np.float32), [0])
