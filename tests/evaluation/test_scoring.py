"""Scoring one model on one holdout, against answers worked out by hand."""

import math

import numpy as np
import pytest

from recae.data.catalogue import Catalogue, Item
from recae.data.idmap import IdMap
from recae.errors import EvaluationError
from recae.evaluation import lists, scoring
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.scoring import Serving, score_rankings, score_ratings
from recae.evaluation.specs import DEFINITIONS, MetricSpec
from recae.models import ranking, ratings
from recae.recommender import Recommender

from .evaluation_fakes import ByColumn, Constant, held_out_split, holdout, matrix


def specs(*texts):
    return [MetricSpec.parse(text) for text in texts]


@pytest.fixture
def split():
    return held_out_split()


@pytest.fixture
def recommender(split):
    """Ranks column 5 first, then 0, 1, 2, 3, 4."""
    return Recommender(ByColumn(favourite=5).fit(split.train.matrix), split.train.items)


def test_rankings_are_judged_as_worked_out_by_hand(split, recommender):
    # seen left out, the lists are 5 1 2 for two users with 5 held out, and 5 0 2 for one with 4 and 5
    scores = score_rankings(
        Serving(recommender),
        split.test,
        specs("recall@3", "mrr@3", "coverage@3", "novelty@1"),
        ItemFacts(split.train.matrix),
    )

    assert scores["recall@3"].per_user.tolist() == [1.0, 1.0, 0.5], (
        "the user without held-out items is left out"
    )
    assert scores["recall@3"].value == pytest.approx(2.5 / 3)
    assert scores["recall@3"].standard_error == pytest.approx(np.std([1, 1, 0.5], ddof=1) / math.sqrt(3))
    assert scores["mrr@3"].value == 1.0
    assert scores["coverage@3"].value == 4 / 6, "columns 0, 1, 2 and 5"
    assert scores["coverage@3"].standard_error is None
    assert scores["novelty@1"].value == pytest.approx(math.log2(3)), "1 of 3 train users has column 5"


def test_a_list_that_runs_out_of_items_is_filled_up_with_misses(split, recommender):
    [user] = [holdout([[1, 1, 1, 1, 0, 0]], [[0, 0, 0, 0, 1, 1]])]

    scores = score_rankings(
        Serving(recommender),
        user,
        specs("precision@4", "precision@100", "coverage@100"),
        ItemFacts(split.train.matrix),
    )

    assert scores["precision@4"].value == 2 / 4, "only columns 5 and 4 are left to suggest"
    assert scores["precision@100"].value == 2 / 100, "more ranks than the catalogue has items"
    assert scores["coverage@100"].value == 2 / 6, "seen items at the end of a list were not suggested"


def test_what_may_not_be_suggested_is_no_hit_even_if_it_is_held_out(split, recommender):
    contradictory = holdout([[1, 0, 0, 0, 0, 0]], [[0, 0, 0, 0, 0, 1]], seen=matrix([[1, 0, 0, 0, 0, 1]]))

    scores = score_rankings(
        Serving(recommender), contradictory, specs("hit_rate@6"), ItemFacts(split.train.matrix)
    )

    assert scores["hit_rate@6"].value == 0.0


def test_where_a_holdout_names_candidates_only_they_are_ranked(split, recommender):
    # of the candidates the model likes 5 best, then 1, 3, 4; 1 is seen
    asked = holdout(
        [[0, 1, 0, 0, 0, 0]] * 2,
        [[0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0]],
        candidates=matrix([[0, 1, 0, 1, 1, 1], [0, 0, 0, 1, 0, 0]]),
    )

    scores = score_rankings(
        Serving(recommender), asked, specs("mrr@4", "hit_rate@2", "coverage@3"), ItemFacts(split.train.matrix)
    )

    assert scores["mrr@4"].per_user.tolist() == [1 / 3, 1.0]
    assert scores["hit_rate@2"].per_user.tolist() == [0.0, 1.0]
    assert scores["coverage@3"].value == 3 / 6, "5, 3 and 4: what is no candidate was not suggested"


def test_equal_scores_among_candidates_put_the_lower_column_first(monkeypatch, split, recommender):
    monkeypatch.setattr(recommender.model, "_score", lambda rows: np.zeros(rows.shape, dtype=np.float32))
    asked = holdout([[1, 0, 0, 0, 0, 0]], [[0, 0, 0, 1, 0, 0]], candidates=matrix([[0, 0, 1, 1, 0, 1]]))

    scores = score_rankings(Serving(recommender), asked, specs("mrr@3"), ItemFacts(split.train.matrix))

    assert scores["mrr@3"].value == 1 / 2, "column 2 stands before it, column 5 behind"


def test_batches_change_no_value_and_no_block_is_larger_than_the_budget(monkeypatch, split):
    rng = np.random.default_rng(1)
    inputs, targets = rng.random((2, 50, 6)) < 0.3
    many = holdout(inputs, targets & ~inputs)
    asked = specs("ndcg@3", "map@4", "coverage@1", "novelty@5")
    information = ItemFacts(split.train.matrix)
    model = ByColumn(favourite=2).fit(split.train.matrix)
    whole = score_rankings(Serving(Recommender(model, split.train.items)), many, asked, information)

    blocks = []
    monkeypatch.setattr(ranking, "SCORE_BYTES", 4 * 6 * 3)  # three rows of six float32
    monkeypatch.setattr(lists, "ROWS_AT_ONCE", 7)
    scored = model._score
    monkeypatch.setattr(model, "_score", lambda rows: blocks.append(rows.shape[0]) or scored(rows))
    in_batches = score_rankings(Serving(Recommender(model, split.train.items)), many, asked, information)

    assert max(blocks) == 3
    assert sum(blocks) == (targets & ~inputs).any(axis=1).sum(), (
        "users without held-out items are not even scored"
    )
    assert {text: score.value for text, score in in_batches.items()} == pytest.approx(
        {text: score.value for text, score in whole.items()}, abs=1e-12
    )
    np.testing.assert_array_equal(in_batches["ndcg@3"].per_user, whole["ndcg@3"].per_user)


def test_nan_scores_are_refused_since_they_have_no_order(monkeypatch, split, recommender):
    monkeypatch.setattr(
        recommender.model, "_score", lambda rows: np.full(rows.shape, np.nan, dtype=np.float32)
    )

    with pytest.raises(EvaluationError, match=r"ByColumn\(favourite=5.* NaN scores, which have no order"):
        score_rankings(Serving(recommender), split.test, specs("ndcg@2"), ItemFacts(split.train.matrix))


def test_a_holdout_without_any_held_out_item_has_no_value(split, recommender):
    nothing = holdout([[1, 0, 0, 0, 0, 0]], [[0] * 6])

    with pytest.raises(EvaluationError, match="no user has a held-out item"):
        score_rankings(Serving(recommender), nothing, specs("ndcg@2"), ItemFacts(split.train.matrix))
    with pytest.raises(EvaluationError, match="no rating is held out"):
        score_ratings(Constant().fit(split.train.matrix), nothing, specs("rmse"))


def test_ratings_are_compared_at_the_held_out_entries_only(monkeypatch, split):
    asked = holdout(np.eye(3, 6), [[0, 4, 0, 0, 0, 0], [0] * 6, [5, 0, 0, 0, 0, 2.5]])
    model = Constant(rating=3.0).fit(split.train.matrix)
    monkeypatch.setattr(ratings, "SCORE_BYTES", 4 * 6)  # one row at a time

    scores = score_ratings(model, asked, specs("rmse", "mae"))

    assert scores["rmse"].value == pytest.approx(math.sqrt((1 + 4 + 0.25) / 3))
    assert scores["mae"].value == pytest.approx((1 + 2 + 0.5) / 3)
    assert scores["rmse"].standard_error is None


def test_a_held_out_rating_of_0_counts(split):
    targets = matrix([[1, 1, 0, 0, 0, 0]])
    targets.data[:] = [0.0, 4.0]
    asked = scoring.Holdout(matrix([[0, 0, 1, 0, 0, 0]]), targets, IdMap(["h"]))

    scores = score_ratings(Constant(rating=2.0).fit(split.train.matrix), asked, specs("mae"))

    assert scores["mae"].value == 2.0


def test_r_precision_looks_as_deep_as_the_user_with_most_targets_needs(split, recommender):
    scores = score_rankings(
        Serving(recommender), split.test, specs("r_precision", "recall@1"), ItemFacts(split.train.matrix)
    )

    # lists 5 1 2 3 4, with one item held out, twice; 5 0 2 3 4 with 4 and 5 held out
    assert scores["r_precision"].per_user.tolist() == [1.0, 1.0, 0.5]
    assert scores["recall@1"].per_user.tolist() == [1.0, 1.0, 0.5]


def test_auc_compares_with_what_may_be_suggested_and_was_not_taken(split, recommender):
    scores = score_rankings(Serving(recommender), split.test, specs("auc"), ItemFacts(split.train.matrix))

    # third user: 5 beats 0, 2, 3 (1 is seen, 4 held out); 4 beats none of the three
    assert scores["auc"].per_user.tolist() == [1.0, 1.0, 0.5]


def test_auc_keeps_to_the_candidates(split, recommender):
    asked = holdout([[1, 0, 0, 0, 0, 0]], [[0, 0, 0, 0, 1, 0]], candidates=matrix([[0, 1, 0, 0, 1, 1]]))

    scores = score_rankings(Serving(recommender), asked, specs("auc"), ItemFacts(split.train.matrix))

    assert scores["auc"].value == 0.0, "5 and 1 are both scored above 4"


def test_groups_of_items_count_their_own_targets_only(split, recommender):
    last = np.arange(6) == 5
    groups = {"last": last, "others": ~last}

    scores = score_rankings(
        Serving(recommender),
        split.test,
        specs("recall@1", "mrr@5", "coverage@1"),
        ItemFacts(split.train.matrix),
        item_groups=groups,
    )

    assert scores["recall@1"].by_group["last"].tolist() == [1.0, 1.0, 1.0]
    others = scores["mrr@5"].by_group["others"]
    assert np.isnan(others[:2]).all(), "they took nothing else"
    assert others[2] == 1 / 5, "column 4 stands last of five"
    assert scores["coverage@1"].by_group == {}


@pytest.mark.parametrize(
    "metric", [name for name, definition in DEFINITIONS.items() if definition.scope != "ratings"]
)
def test_every_metric_of_rankings_has_a_value_within_its_range(split, recommender, metric):
    catalogue = Catalogue([Item(str(n), categories=("even" if n % 2 == 0 else "odd",)) for n in range(6)])
    facts = ItemFacts(split.train.matrix, split.train.items, catalogue)
    text = f"{metric}@3" if DEFINITIONS[metric].has_cut else metric

    score = score_rankings(Serving(recommender), split.test, specs(text), facts)[text]

    assert 0 <= score.value <= 5
    assert (score.per_user is None) == (DEFINITIONS[metric].scope == "exposure")
