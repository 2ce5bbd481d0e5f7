"""Diversity: maximal marginal relevance against a naive oracle, and pages of one list that follow each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recae import diversity as diversity_module
from recae.data.idmap import IdMap
from recae.diversity import POOL, Diversity, maximal_marginal_relevance
from recae.models import create
from recae.models.matrices import unit_rows
from recae.recommender import Recommender
from tests.tastes import two_tastes

N_ITEMS = 300


def columns(dense):
    """Unit vectors of the items of a users x items matrix."""
    return unit_rows(csr_array(np.asarray(dense, dtype=np.float32).T))


def ids(ranking):
    return [item.item_id for item in ranking.items]


@pytest.fixture(scope="module")
def recommender():
    """More items than are put in a new order, and tastes that overlap."""
    rng = np.random.default_rng(2)
    tastes = rng.dirichlet(np.full(N_ITEMS, 0.1), size=6)
    log = np.array([rng.multinomial(40, tastes[user % 6]) > 0 for user in range(240)], dtype=np.float32)
    log[0] = 1.0  # nothing that nobody chose
    model = create("ease", l2=5.0).fit(csr_array(log), show_progress=False)
    return Recommender(model, IdMap.of_range(N_ITEMS), users=IdMap.of_range(240))


# ------------------------------------------------------------------ the order itself


def test_the_second_place_goes_to_the_other_taste():
    # items 0 and 1 have the same users, item 2 others; relevance falls slowly
    vectors = columns([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    relevance = np.array([1.0, 0.9, 0.5], dtype=np.float32)  # scaled: 1, 0.8, 0

    # at d the second place compares 0.8 (1 - d) - d with 0, which is even at d = 4/9
    assert maximal_marginal_relevance(relevance, vectors, 3, 0.4).tolist() == [0, 1, 2]
    assert maximal_marginal_relevance(relevance, vectors, 3, 0.5).tolist() == [0, 2, 1]


def test_redundancy_is_that_with_the_nearest_item_chosen_not_the_latest():
    # 0 and 3 are twins; after 0 and 2 were chosen, 3 is still as redundant as it was
    vectors = columns([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]])
    relevance = np.ones(4, dtype=np.float32)

    assert maximal_marginal_relevance(relevance, vectors, 4, 1.0).tolist() == [0, 1, 2, 3]


@given(
    seed=st.integers(0, 2**16),
    n_pool=st.integers(1, 12),
    density=st.floats(0.1, 0.9),
    diversity=st.floats(0.0, 1.0),
)
def test_every_place_goes_to_the_best_by_the_papers_formula(seed, n_pool, density, diversity):
    rng = np.random.default_rng(seed)
    users = (rng.random((20, n_pool)) < density).astype(float)
    relevance = np.sort(rng.normal(size=n_pool))[::-1].astype(np.float32)
    found = maximal_marginal_relevance(relevance, columns(users), n_pool, diversity).tolist()

    assert sorted(found) == list(range(n_pool))
    norms = np.linalg.norm(users, axis=0)
    spread = relevance.max() - relevance.min() or 1.0
    for place, chosen in enumerate(found):
        values = {}
        for item in set(range(n_pool)) - set(found[:place]):
            cosines = [
                users[:, item] @ users[:, other] / ((norms[item] * norms[other]) or 1.0)
                for other in found[:place]
            ]
            scaled = (relevance[item] - relevance.min()) / spread
            values[item] = (1 - diversity) * scaled - diversity * max(cosines, default=0.0)
        assert values[chosen] >= max(values.values()) - 1e-5


@given(relevance=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), n=st.integers(1, 25))
def test_without_diversity_the_order_is_that_of_relevance_equal_ones_too(relevance, n):
    best_first = np.sort(np.array(relevance, dtype=np.float32))[::-1].copy()
    vectors = columns(np.ones((3, len(relevance))))
    found = maximal_marginal_relevance(best_first, vectors, n, 0.0)

    assert found.tolist() == list(range(min(n, len(relevance))))


def test_items_nobody_chose_are_like_nothing():
    vectors = columns([[1, 1, 0, 0]])
    relevance = np.ones(4, dtype=np.float32)

    assert maximal_marginal_relevance(relevance, vectors, 4, 1.0).tolist() == [0, 2, 3, 1]


def test_the_strength_of_a_liking_does_not_count():
    weak, strong = (csr_array(np.array([[w, 1, 0], [w, 2, 0], [0, 0, 5]], dtype=np.float32)) for w in (1, 9))
    three, scores = np.arange(3, dtype=np.int32), np.array([1.0, 0.9, 0.5], dtype=np.float32)

    assert Diversity(weak).order(three, scores, 3, 0.5).tolist() == [0, 2, 1]
    assert Diversity(strong).order(three, scores, 3, 0.5).tolist() == [0, 2, 1]


def test_an_empty_pool_has_no_order():
    nothing = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)

    assert Diversity(csr_array((2, 3), dtype=np.float32)).order(*nothing, 5, 0.5).tolist() == []


# ------------------------------------------------------------------ in a request


def test_no_diversity_is_the_plain_list_exactly(recommender):
    assert recommender.recommend(user_id="3", n=30, diversity=0.0) == recommender.recommend(user_id="3", n=30)


def test_hardly_any_diversity_is_the_plain_list_too(recommender):
    assert recommender.recommend(user_id="3", n=30, diversity=1e-12) == recommender.recommend(
        user_id="3", n=30
    )


def test_a_reader_of_both_tastes_gets_both_on_the_first_page():
    recommender = two_tastes()
    history = {"a": 3.0, "b": 3.0, "x": 1.0}  # science fiction above all: c first, then its neighbours' kind

    plain = recommender.recommend(history, n=3)
    diverse = recommender.recommend(history, n=2, diversity=0.9)
    assert ids(plain)[0] == ids(diverse)[0] == "c"
    assert ids(diverse)[1] in {"y", "z"}


def test_a_diverse_list_is_less_alike_and_starts_with_the_best(recommender):
    users_of = Diversity(recommender.model.histories_)._users_of

    def likeness(ranking):
        vectors = users_of[[recommender.items.position(item_id) for item_id in ids(ranking)]]
        similar = (vectors @ vectors.T).toarray()
        return similar[~np.eye(len(similar), dtype=bool)].mean()

    lists = [recommender.recommend(user_id="7", n=10, diversity=d) for d in (0.0, 0.5, 1.0)]
    assert likeness(lists[0]) > likeness(lists[1]) > likeness(lists[2])
    assert len({ids(found)[0] for found in lists}) == 1


def test_scores_stay_the_models_own_and_ranks_count_on(recommender):
    plain = recommender.recommend(user_id="3", n=POOL)
    scores = {item.item_id: item.score for item in plain.items}
    diverse = recommender.recommend(user_id="3", n=20, diversity=0.6)

    assert [item.rank for item in diverse.items] == list(range(1, 21))
    assert [item.score for item in diverse.items] == [scores[item_id] for item_id in ids(diverse)]
    assert ids(diverse) != ids(plain)[:20]


@pytest.mark.parametrize("sizes", [[10] * 30, [7, 50, 1, 120, 35, 90], [190, 20, 90], [1, 299], [300]])
def test_pages_of_any_lengths_are_the_one_list_cut_up(recommender, sizes):
    whole = recommender.recommend(user_id="5", n=N_ITEMS, diversity=0.7, exclude_seen=False)
    pages, offset = [], 0
    for n in sizes:
        page = recommender.recommend(user_id="5", n=n, offset=offset, diversity=0.7, exclude_seen=False)
        pages += page.items
        offset += len(page.items)

    assert tuple(pages) == whole.items[: len(pages)]
    assert sorted(map(int, ids(whole))) == list(range(N_ITEMS))


def test_beyond_the_pool_the_list_goes_on_as_it_was(recommender):
    options = {"user_id": "5", "n": 60, "offset": POOL, "exclude_seen": False}

    assert recommender.recommend(**options, diversity=0.7) == recommender.recommend(**options)


def test_a_smaller_pool_reorders_fewer_places(recommender, monkeypatch):
    plain = ids(recommender.recommend(user_id="5", n=40))
    monkeypatch.setattr(diversity_module, "POOL", 10)
    diverse = ids(recommender.recommend(user_id="5", n=40, diversity=0.8))

    assert diverse[10:] == plain[10:]
    assert sorted(diverse[:10]) == sorted(plain[:10])
    assert diverse[:10] != plain[:10]


def test_the_popular_ones_are_diversified_for_strangers_too(recommender):
    plain, diverse = (recommender.recommend(n=20, diversity=d) for d in (0.0, 0.9))

    assert plain.strategy == diverse.strategy == "fallback"
    assert ids(plain) != ids(diverse)


def test_filters_hold_and_fewer_than_wanted_are_explained():
    recommender = two_tastes()
    found = recommender.recommend(["b"], n=6, categories=["sci-fi"], diversity=1.0)

    assert set(ids(found)) == {"a", "c"}
    assert found.short == "2 items are left after what was seen, excluded or filtered out"
    assert recommender.recommend(["b"], n=6, include_items=[], diversity=1.0).items == ()


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan")])
def test_a_diversity_that_is_no_share_is_refused(recommender, diversity):
    with pytest.raises(ValueError, match="expected explain >= 0 and diversity from 0 to 1"):
        recommender.recommend(["1"], diversity=diversity)
