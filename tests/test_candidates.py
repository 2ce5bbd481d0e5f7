"""Rules at request time: hidden and unavailable items, categories of the popular, and lists the caller has made."""

import numpy as np
import pytest

from recae.answers import left_out
from recae.candidates import Candidates
from recae.data.catalogue import Catalogue, Item
from recae.data.idmap import IdMap
from recae.errors import DataError, ModelError
from recae.recommender import Recommender
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease, two_tastes

CHANGED = Catalogue(
    item._replace(available=item.item_id != "b", hidden=item.item_id in {"c", "x"}) for item in CATALOGUE
)
"""Of science fiction b is sold out and c is hidden, of drama x is hidden."""


@pytest.fixture(scope="module")
def recommender():
    return Recommender(fitted_ease(), ITEMS, users=USERS, catalogue=CHANGED)


def ids(ranking):
    return [item.item_id for item in ranking.items]


def names(mask):
    return [ITEMS[column] for column in np.flatnonzero(mask)]


# ------------------------------------------------------------------ popular lately


def test_what_most_users_had_lately_comes_first_and_among_equals_what_most_users_have():
    model, lately = fitted_ease(), np.zeros(len(ITEMS), dtype=np.float32)
    lately[ITEMS.positions(["y", "a"])] = 2, 1
    always = ids(Recommender(model, ITEMS).popular(6))
    recommender = Recommender(model, ITEMS, users=USERS, lately=lately)

    found = recommender.popular(6)
    stranger = recommender.recommend(n=2)

    assert ids(found) == ["y", "a", *(item for item in always if item not in {"y", "a"})]
    assert [item.score for item in found.items] == [2.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert (ids(stranger), stranger.strategy) == (["y", "a"], "fallback")


def test_as_many_numbers_as_items_are_needed_of_what_is_popular_lately():
    with pytest.raises(ModelError, match="has 6 items, their users lately 2"):
        Recommender(fitted_ease(), ITEMS, lately=np.ones(2, dtype=np.float32))


# ------------------------------------------------------------------ hidden and unavailable


def test_hidden_items_are_never_candidates_and_unavailable_ones_only_if_asked_for():
    candidates = Candidates(ITEMS, CHANGED)

    assert names(candidates.allowed()) == ["a", "y", "z"]
    assert names(candidates.allowed(available_only=False)) == ["a", "b", "y", "z"]
    assert names(candidates.allowed(["a", "b", "c"])) == ["a"]
    assert names(candidates.allowed(["a", "b", "c"], available_only=False)) == ["a", "b"]
    assert names(candidates.allowed(categories=["sci-fi"], exclude_items=["a"], available_only=False)) == [
        "b"
    ]


def test_without_a_catalogue_everything_is_available():
    assert names(Candidates(ITEMS).allowed()) == list(ITEMS)


def test_an_item_the_catalogue_does_not_know_is_available():
    candidates = Candidates(ITEMS, Catalogue([Item("c", hidden=True)]))

    assert names(candidates.allowed()) == ["a", "b", "x", "y", "z"]


def test_no_answer_holds_a_hidden_item(recommender):
    answers = [
        recommender.recommend(["a"], n=6, exclude_seen=False, available_only=False),
        recommender.recommend(["a"], n=6, include_items=["c", "x", "b"], available_only=False),
        recommender.recommend(n=6, available_only=False),
        recommender.popular(6, available_only=False),
        recommender.similar("a", 6, available_only=False),
        recommender.rank_candidates(["a"], list(ITEMS)),
    ]

    for found in answers:
        assert {"c", "x"}.isdisjoint(ids(found))
        assert "b" in ids(found)
        assert found.short is not None


def test_what_is_unavailable_is_left_out_unless_asked_for(recommender):
    assert "b" not in ids(recommender.recommend(["a"], n=6))
    assert "b" not in ids(recommender.recommend(n=6))
    assert "b" not in ids(recommender.popular(6))
    assert "b" not in ids(recommender.similar("a", 6))
    assert ids(recommender.recommend(["a"], n=1, available_only=False)) == ["b"]


def test_hidden_and_unavailable_items_still_count_in_a_history(recommender):
    sent = recommender.recommend(["b", "c"], n=1, explain=2)

    assert sent.strategy == "fold_in"
    assert ids(sent) == ["a"]
    assert {reason.item_id for reason in sent.items[0].explanation} == {"b", "c"}


def test_similar_to_a_hidden_item_is_answered(recommender):
    assert ids(recommender.similar("c", 1)) == ["a"]


def test_a_catalogue_that_hides_everything_leaves_nothing():
    hidden = Catalogue(Item(item_id, hidden=True) for item_id in ITEMS)
    recommender = Recommender(fitted_ease(), ITEMS, users=USERS, catalogue=hidden)

    for found in (recommender.recommend(["a"]), recommender.popular(), recommender.similar("a")):
        assert found.items == ()
        assert found.short == "no item is left after what was seen, excluded or filtered out"


def test_hidden_items_leave_no_gap_between_pages(recommender):
    first = recommender.recommend(["z"], n=2, available_only=False)
    second = recommender.recommend(["z"], n=2, offset=first.next_offset, available_only=False)

    assert set(ids(first) + ids(second)) == {"a", "b", "y"}
    assert second.short is not None


# ------------------------------------------------------------------ popular by category


def test_popular_of_a_category(recommender):
    plain = two_tastes()

    assert ids(plain.popular(2, categories=["DRAMA"])) == ["c", "x"]
    assert ids(plain.popular(9, ["Horror"])) == ["a"]
    assert plain.popular(9, ["Horror"]).short is not None
    assert plain.popular(3, ["unheard of"]).items == ()
    assert ids(recommender.popular(2, categories=["drama"])) == ["y", "z"]


# ------------------------------------------------------------------ candidates of the caller's own


def test_every_candidate_comes_back_best_first_seen_ones_too():
    found = two_tastes().rank_candidates(["a", "b"], ["x", "a", "c"])

    assert ids(found)[0] == "c"
    assert set(ids(found)) == {"a", "c", "x"}
    assert [item.rank for item in found.items] == [1, 2, 3]
    assert [item.score for item in found.items] == sorted((item.score for item in found.items), reverse=True)
    assert (found.strategy, found.short, found.unknown_items, found.next_offset) == (
        "fold_in",
        None,
        (),
        None,
    )


def test_candidates_have_the_order_of_the_whole_list():
    recommender = two_tastes()
    whole = ids(recommender.recommend(user_id="5", n=6, exclude_seen=False))

    assert ids(recommender.rank_candidates((), reversed(ITEMS.ids.tolist()), "5")) == whole


@pytest.mark.parametrize(
    ("unknown", "hidden", "said"),
    [
        (0, 0, None),
        (1, 0, "of 2,000 candidate(s), 1 is unknown to the model"),
        (0, 1_500, "of 2,000 candidate(s), 1,500 are hidden or removed"),
        (2, 1, "of 2,000 candidate(s), 2 are unknown to the model and 1 is hidden or removed"),
    ],
)
def test_only_what_was_left_out_is_told(unknown, hidden, said):
    assert left_out(2_000, unknown, hidden) == said


def test_what_the_model_does_not_know_or_the_catalogue_hides_is_counted(recommender):
    found = recommender.rank_candidates(["q", "a"], ["y", "r", "c", "y", "b"])

    assert set(ids(found)) == {"y", "b"}
    assert found.unknown_items == ("q", "r")
    assert found.short == "of 4 candidate(s), 1 is unknown to the model and 1 is hidden or removed"


def test_candidates_for_a_stranger_come_by_popularity():
    found = two_tastes().rank_candidates((), ["z", "a"], "stranger")

    assert found.strategy == "fallback"
    assert [(item.item_id, item.score) for item in found.items] == [("a", 3.0), ("z", 2.0)]


@pytest.mark.parametrize("candidates", [[], ["unheard of"]])
def test_no_known_candidate_is_an_empty_answer(candidates):
    found = two_tastes().rank_candidates(["a"], candidates)

    assert found.items == ()
    assert (found.short is None) == (not candidates)


def test_candidates_are_explained_as_recommendations_are():
    recommender = two_tastes()
    (candidate,) = recommender.rank_candidates(["a", "b"], ["c"], explain=2).items
    (recommended,) = recommender.recommend(["a", "b"], n=1, explain=2).items

    assert candidate == recommended


def test_a_weight_that_cannot_be_a_liking_is_refused_here_too():
    with pytest.raises(DataError, match="item 'a' has the weight"):
        two_tastes().rank_candidates({"a": -1.0}, ["b"])


def test_a_fresh_id_map_needs_no_catalogue():
    assert Candidates(IdMap(["p"])).allowed(available_only=False).tolist() == [True]


def test_lines_that_change_show_in_a_copy_and_leave_the_first_as_it_was():
    first = Candidates(ITEMS, CATALOGUE)
    first.allowed(categories=["drama"])  # what is kept of categories must not outlive them
    second = first.changed(
        [Item("a", "Neu", None, ("Western",)), Item("x", hidden=True), Item("q", "Unknown")]
    )

    assert names(second.allowed(categories=["western"])) == ["a"]
    assert "x" not in names(second.allowed(available_only=False))
    assert second.titles[0] == "Neu"
    assert second.item("q").title is None
    assert names(first.allowed(categories=["western"])) == []
    assert first.titles[0] == "Alien (1979)"


def test_what_is_excluded_may_come_in_any_form():
    candidates = Candidates(IdMap(["a", "b", "c"]))

    for excluded in (["b"], {"b"}, np.array(["b"]), (item for item in ["b"]), iter(["b"])):
        assert candidates.allowed(exclude_items=excluded).tolist() == [True, False, True]
    for nothing in ([], np.array([], dtype=str), iter([])):
        assert candidates.allowed(exclude_items=nothing).all()
