"""Explanations: the items of the history that speak for a recommended one, by name, the strongest first."""

import doctest

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.explanations import Explanation, explanations_of
from recae.models import attribution
from recae.models.linear import EASE
from recae.recommender import Recommender
from tests.models.cases import Case
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS, two_tastes


@pytest.fixture(scope="module")
def recommender():
    return two_tastes()


class NoFoldIn(EASE):
    supports_fold_in = False


def test_the_items_of_its_own_taste_speak_for_a_recommended_one(recommender):
    found = recommender.recommend(["a", "b", "x"], n=4, explain=2)
    by_id = {item.item_id: item.explanation for item in found.items}

    assert {reason.item_id for reason in by_id["c"]} == {"a", "b"}
    assert {reason.title for reason in by_id["c"]} == {"Alien (1979)", "Brazil (1985)"}
    assert [reason.item_id for reason in by_id["y"]] == ["x"], "what takes away explains nothing"
    assert [reason.item_id for reason in by_id["z"]] == ["x"]


def test_a_contribution_of_ease_is_the_weight_from_item_to_item(recommender):
    (first,) = recommender.recommend({"a": 2.0, "b": 1.0}, n=1, explain=5).items
    weights = recommender.model.weights()
    wanted = {"a": 2.0 * weights[0, 2], "b": weights[1, 2]}

    assert first.item_id == "c"
    assert [reason.item_id for reason in first.explanation] == sorted(wanted, key=wanted.get, reverse=True)
    assert {reason.item_id: reason.contribution for reason in first.explanation} == pytest.approx(wanted)
    assert sum(reason.contribution for reason in first.explanation) == pytest.approx(first.score, abs=1e-6)


def test_the_strongest_come_first_and_no_more_than_asked_for(recommender):
    for item in recommender.recommend(user_id="1", n=4, exclude_seen=False, explain=1).items:
        assert len(item.explanation) <= 1
    everything = recommender.recommend({"a": 1.0, "b": 3.0, "x": 1.0}, n=3, explain=9)
    for item in everything.items:
        contributions = [reason.contribution for reason in item.explanation]
        assert contributions == sorted(contributions, reverse=True)
        assert all(value > 0 for value in contributions)
    assert [reason.item_id for reason in everything.items[0].explanation] == ["b", "a"]


def test_equal_contributions_are_in_the_order_of_the_catalogue(recommender):
    (first,) = recommender.recommend(
        ["b", "a"], n=1, explain=2
    ).items  # c was chosen as often with a as with b
    alike = csr_array(np.array([[1, 1, 1]] * 3, dtype=np.float32))
    model = EASE(l2=1.0).fit(alike, show_progress=False)
    (of_twins,) = Recommender(model, IdMap(["p", "q", "r"])).recommend(["q", "p"], n=1, explain=2).items

    assert len(first.explanation) == 2
    assert [reason.item_id for reason in of_twins.explanation] == ["p", "q"]
    assert of_twins.explanation[0].title is None


def test_nothing_is_explained_unless_asked_for(recommender, monkeypatch):
    monkeypatch.setattr(recommender.model, "contributions", None)

    assert all(item.explanation == () for item in recommender.recommend(["a"], n=3).items)


def test_explaining_changes_nothing_else(recommender):
    def without(found):
        return [(item.item_id, item.score, item.rank) for item in found.items]

    plain, explained = (recommender.recommend(["a", "y"], n=4, explain=k) for k in (0, 2))
    assert without(plain) == without(explained)


def test_every_page_of_a_diverse_list_is_explained_item_by_item(recommender):
    whole = recommender.recommend(["a", "x"], n=4, diversity=0.5, explain=2)
    pages = [
        recommender.recommend(["a", "x"], n=2, offset=offset, diversity=0.5, explain=2) for offset in (0, 2)
    ]

    assert pages[0].items + pages[1].items == whole.items


def test_popular_items_have_no_explanation(recommender):
    found = recommender.recommend(user_id="stranger", n=3, explain=3)

    assert found.strategy == "fallback"
    assert [item.explanation for item in found.items] == [(), (), ()]


def test_a_model_that_cannot_tell_answers_without_explanations():
    model = NoFoldIn(l2=1.0).fit(LIKES, show_progress=False)
    found = Recommender(model, ITEMS, users=USERS).recommend(user_id="1", n=2, explain=2)

    assert found.strategy == "model"
    assert [item.explanation for item in found.items] == [(), ()]


@pytest.mark.parametrize("name", ["mult_vae", "autorec", "sequential_vae", "als", "slist"])
def test_deep_and_rating_models_and_models_of_order_explain_with_the_own_taste(name):
    case = Case(name)
    data = csr_array(case.data)
    recommender = Recommender(
        case.fitted(), IdMap.of_range(data.shape[1]), users=IdMap.of_range(data.shape[0])
    )
    (first,) = recommender.recommend(user_id="6", n=1, explain=1).items

    assert first.item_id == "6"
    assert len(first.explanation) == 1
    if name != "autorec":  # a low rating of the other taste speaks for the own one too
        assert int(first.explanation[0].item_id) % 2 == 0


def test_columns_without_history_have_empty_explanations(recommender):
    empty = csr_array((1, 6), dtype=np.float32)
    asked = np.array([0, 4], dtype=np.int32)

    assert explanations_of(recommender.model, empty, asked, 3, ITEMS, CATALOGUE.title) == [(), ()]
    assert explanations_of(recommender.model, LIKES[[0]], asked[:0], 3, ITEMS, CATALOGUE.title) == []


def test_an_explanation_is_a_value():
    assert Explanation("a", None, 1.0) == Explanation("a", None, 1.0)


def test_a_negative_number_of_reasons_is_refused(recommender):
    for call in (
        lambda: recommender.recommend(["a"], explain=-1),
        lambda: recommender.rank_candidates(["a"], ["b"], explain=-1),
    ):
        with pytest.raises(ValueError, match=r"explain is -1.*expected explain >= 0"):
            call()


def test_the_example_of_the_docstring_is_true():
    assert doctest.testmod(attribution).failed == 0
    assert doctest.testmod(attribution).attempted > 0
