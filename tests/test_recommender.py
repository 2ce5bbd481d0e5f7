"""Recommender: the right items for known users, for histories sent along, and for strangers."""

from typing import ClassVar

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae.data.catalogue import Catalogue
from recae.data.idmap import IdMap
from recae.errors import DataError, ModelError, NotFittedError, UnknownIdError
from recae.models import ranking
from recae.models.base import Model
from recae.models.config import ModelConfig
from recae.models.linear import EASE
from recae.models.ranking import NEVER
from recae.recommender import Query, Recommender
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS, fitted_ease, two_tastes


@pytest.fixture(scope="module")
def recommender():
    return two_tastes()


class Stars(Model):
    """Predicts for every item the mean of the history: what a history's weights are shows in the scores."""

    name = "stars"
    config_class: ClassVar = ModelConfig
    feedback = "ratings"

    def _fit(self, histories, how):
        self.mean_ = float(histories.data.mean())

    def _score(self, histories):
        means = [row.data.mean() if row.nnz else 0.0 for row in histories]
        return np.tile(np.array(means, dtype=np.float32)[:, None], (1, histories.shape[1]))


class NoFoldIn(EASE):
    supports_fold_in = False


def ids(ranking):
    return [item.item_id for item in ranking.items]


def row(*columns):
    return csr_array(np.isin(np.arange(6), columns).astype(np.float32)[None, :])


# ------------------------------------------------------------------ one request


def test_a_known_user_gets_the_item_missing_from_their_taste_first(recommender):
    found = recommender.recommend(user_id="1", n=2)

    assert found.strategy == "model"
    assert ids(found)[0] == "c"
    assert found.items[0].title == "Contact (1997)"
    assert [item.rank for item in found.items] == [1, 2]
    assert found.items[0].score > found.items[1].score


def test_a_history_sent_along_is_answered_like_a_users_own(recommender):
    sent = recommender.recommend(["a", "b"], n=3)

    assert sent.strategy == "fold_in"
    assert sent.items == recommender.recommend(user_id="1", n=3).items


def test_a_users_history_and_a_sent_one_count_together(recommender):
    both = recommender.recommend(["b"], n=3, user_id="7")

    assert both.strategy == "fold_in"
    assert both.items == recommender.recommend(["a", "b"], n=3).items


def test_a_weight_sent_for_an_item_replaces_the_stored_one(recommender):
    replaced = recommender.recommend({"a": 5.0, "b": 1.0}, n=4, user_id="1")

    assert replaced.items == recommender.recommend({"a": 5.0, "b": 1.0}, n=4).items


@pytest.mark.parametrize("history", [(), ["nobody's"], {"nobody's": 3.0}])
def test_without_a_known_history_the_most_popular_items_are_the_answer(recommender, history):
    found = recommender.recommend(history, n=2)

    assert found.strategy == "fallback"
    assert [(item.item_id, item.score) for item in found.items] == [("a", 3.0), ("b", 2.0)]
    assert found.unknown_items == tuple(history)


def test_an_unknown_user_is_no_error(recommender):
    assert recommender.recommend(user_id="stranger", n=1).strategy == "fallback"
    assert not recommender.knows_user("stranger")
    assert recommender.knows_user("1")


def test_without_user_ids_everybody_is_unknown():
    nameless = Recommender(fitted_ease(), ITEMS)

    assert nameless.recommend(user_id="1", n=1).strategy == "fallback"
    assert nameless.recommend(["a"], n=1).items[0].title is None


def test_unknown_items_are_listed_once_and_left_out(recommender):
    found = recommender.recommend(["q", "a", "b"], n=1, include_items=["c", "q", "r"])

    assert found.unknown_items == ("q", "r")
    assert ids(found) == ["c"]


def test_what_the_history_holds_comes_back_only_if_asked_for(recommender):
    assert set(ids(recommender.recommend(["a", "b"], n=6))) == {"c", "x", "y", "z"}
    assert set(ids(recommender.recommend(["a", "b"], n=6, exclude_seen=False))) == set(ITEMS)


def test_exclusions_inclusions_and_categories_hold_together(recommender):
    found = recommender.recommend(
        ["b"],
        n=6,
        include_items=["a", "c", "x"],
        exclude_items=["x", "unheard of"],
        categories=["DRAMA", "none"],
    )

    assert ids(found) == ["c"]
    assert found.short == "1 item is left after what was seen, excluded or filtered out"


def test_an_empty_list_of_candidates_is_not_the_whole_catalogue(recommender):
    found = recommender.recommend(["a"], n=2, include_items=[])

    assert found.items == ()
    assert found.short is not None
    assert found.next_offset is None


def test_filters_hold_for_the_fallback_too(recommender):
    found = recommender.recommend(n=2, categories=["drama"], exclude_items=["x"])

    assert ids(found) == ["c", "y"]


def test_a_category_without_a_catalogue_leaves_nothing():
    assert Recommender(fitted_ease(), ITEMS).recommend(n=2, categories=["drama"]).items == ()


def test_pages_follow_each_other_without_gap_or_overlap(recommender):
    everything = recommender.recommend(["a"], n=5)
    pages, offset = [], 0
    while offset is not None:
        page = recommender.recommend(["a"], n=2, offset=offset)
        pages.append(page)
        offset = page.next_offset

    assert [item for page in pages for item in page.items] == list(everything.items)
    assert [page.short is None for page in pages] == [True, True, False]


def test_an_offset_past_the_end_says_why_nothing_comes(recommender):
    found = recommender.recommend(["a"], n=2, offset=9)

    assert found.items == ()
    assert found.short == (
        "5 items are left after what was seen, excluded or filtered out, and the offset of 9 skips them all"
    )
    assert recommender.recommend(["a"], n=2, offset=4).short == (
        "5 items are left after what was seen, excluded or filtered out, and 4 of them are skipped by the offset"
    )


@pytest.mark.parametrize(("n", "offset"), [(0, 0), (-1, 0), (1, -1)])
def test_a_request_for_no_place_is_refused(recommender, n, offset):
    with pytest.raises(ValueError, match="expected n >= 1 and offset >= 0"):
        recommender.recommend(["a"], n=n, offset=offset)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), 1e7])
def test_a_weight_that_cannot_be_a_liking_is_refused_with_the_item(recommender, weight):
    with pytest.raises(DataError, match=r"item 'a' has the weight"):
        recommender.recommend({"a": weight}, n=1)


@pytest.fixture(scope="module")
def stars():
    ratings = csr_array(np.array([[4.0, 2.0], [3.0, 0.0]], dtype=np.float32))
    return Recommender(Stars().fit(ratings, show_progress=False), IdMap(["p", "q"]))


def test_an_item_without_a_rating_counts_as_one_of_the_best(stars):
    assert stars.recommend(["p"], n=1).items[0].score == 4.0
    assert stars.recommend({"p": -1.5}, n=1).items[0].score == -1.5


def test_to_a_stranger_a_model_of_ratings_ranks_candidates_by_what_others_gave(stars):
    found = stars.rank_candidates([], ["q", "p"])

    assert found.strategy == "fallback"
    assert [item.score for item in found.items] == [0.0, 0.0], "as Stars says of an empty history"


def test_a_model_that_cannot_fold_in_answers_a_sent_history_with_the_popular():
    model = NoFoldIn(l2=1.0).fit(LIKES, show_progress=False)
    recommender = Recommender(model, ITEMS, users=USERS)

    assert recommender.recommend(["x"], n=1).strategy == "fallback"
    assert recommender.recommend(user_id="1", n=1).strategy == "model"


# ------------------------------------------------------------------ batches


def test_rank_gives_every_row_what_a_single_request_gives(recommender):
    ids_, scores = recommender.rank(LIKES, 3, seen=LIKES)

    for user, columns, values in zip(USERS, ids_, scores, strict=True):
        single = recommender.recommend(user_id=user, n=3)
        assert [ITEMS[column] for column in columns] == ids(single)
        np.testing.assert_array_equal(values, [item.score for item in single.items])


def test_rank_excludes_nothing_unless_told(recommender):
    ids_, _ = recommender.rank(row(0, 1), 6)

    assert sorted(ids_[0]) == [0, 1, 2, 3, 4, 5]


def test_rank_puts_what_was_seen_at_the_end_with_a_score_that_says_so(recommender):
    ids_, scores = recommender.rank(row(0, 1), 6, seen=row(0, 1))

    assert set(ids_[0][-2:]) == {0, 1}
    assert (scores[0] == NEVER).tolist() == [False] * 4 + [True] * 2


def test_rank_chooses_among_the_given_columns_only(recommender):
    ids_, _ = recommender.rank(row(0, 1), 6, items=np.array([2, 4], dtype=np.int32))

    assert ids_.tolist() == [[2, 4]]


def test_a_batch_that_is_spread_over_cores_is_answered_as_each_alone(recommender, monkeypatch):
    monkeypatch.setattr("recae.threads.available_cores", lambda: 3)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    parts, best_rows = [], recommender.model.best_rows
    monkeypatch.setattr(
        recommender.model,
        "best_rows",
        lambda sought: parts.append(len(sought)) or best_rows(sought),
    )
    queries = [Query(n=1 + number % 4, user_id=user) for number in range(20) for user in (*USERS, "stranger")]

    answers = recommender.answer([recommender.prepare(query) for query in queries])

    assert len(parts) == 3
    assert sum(parts) == 20 * len(USERS), "strangers are not scored"
    for query, answer in zip(queries, answers, strict=True):
        alone = recommender.recommend(n=query.n, user_id=query.user_id)
        assert [item.item_id for item in answer.items] == [item.item_id for item in alone.items]
        assert answer.strategy == alone.strategy


def test_rank_is_the_same_whatever_fits_into_one_batch(recommender, monkeypatch):
    at_once = recommender.rank(LIKES, 3, seen=LIKES)
    monkeypatch.setattr(ranking, "SCORE_BYTES", 2 * 4 * len(ITEMS))  # two rows a batch
    in_pairs = recommender.rank(LIKES, 3, seen=LIKES)

    np.testing.assert_array_equal(at_once[0], in_pairs[0])
    np.testing.assert_array_equal(at_once[1], in_pairs[1])


def test_rank_of_no_rows_is_empty(recommender):
    ids_, scores = recommender.rank(LIKES[:0], 3)

    assert ids_.shape == scores.shape == (0, 3)


@pytest.mark.parametrize(
    ("histories", "seen", "message"),
    [
        (csr_array((2, 5), dtype=np.float32), None, "histories have 5 columns, the model has 6 items"),
        (csr_array((2, 6), dtype=np.float32), csr_array((1, 6), dtype=np.float32), "they must agree"),
    ],
)
def test_rank_refuses_shapes_that_do_not_fit(recommender, histories, seen, message):
    with pytest.raises(ValueError, match=message):
        recommender.rank(histories, 3, seen=seen)


# ------------------------------------------------------------------ without a history


def test_popular_counts_users(recommender):
    assert [(item.item_id, item.score) for item in recommender.popular(3).items] == [
        ("a", 3),
        ("b", 2),
        ("c", 2),
    ]
    assert recommender.popular(7).short is not None


def test_similar_items_are_of_the_same_taste_and_never_the_item_itself(recommender):
    found = recommender.similar("a", n=5)

    assert set(ids(found)[:2]) == {"b", "c"}
    assert "a" not in ids(found)
    assert len(found.items) == 5
    assert found.short is None
    assert recommender.similar("a", n=6).short is not None


def test_similar_to_an_unknown_item_names_it(recommender):
    with pytest.raises(UnknownIdError, match="'q'"):
        recommender.similar("q")


# ------------------------------------------------------------------ putting it together


def test_an_unfitted_model_is_refused():
    with pytest.raises(NotFittedError):
        Recommender(EASE(), ITEMS)


def test_id_maps_of_another_size_are_refused():
    with pytest.raises(ModelError, match="6 items, its id map 5"):
        Recommender(fitted_ease(), IdMap.of_range(5))
    with pytest.raises(ModelError, match="7 users, its id map 5"):
        Recommender(fitted_ease(), ITEMS, users=IdMap.of_range(5))


def test_a_catalogue_need_not_know_every_item():
    recommender = Recommender(fitted_ease(), ITEMS, catalogue=Catalogue([CATALOGUE.item("c")]))

    assert recommender.title("c") == "Contact (1997)"
    assert recommender.title("a") is None
