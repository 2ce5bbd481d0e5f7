"""Somebody else's models: the same numbers as ours where they say the same, and clear refusals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_array, csr_matrix

from recae.data.filters import keep
from recae.data.sample import load_sample
from recae.data.splits import held_out_users, leave_last_out
from recae.errors import ConfigError, EvaluationError
from recae.evaluation import evaluate, frames, judge, load_split
from recae.evaluation.exact_order import in_float32
from recae.evaluation.exports import write_split
from recae.evaluation.outsiders import ScoreTable, outsider
from recae.evaluation.protocol import load_protocol
from recae.models import create
from recae.models.ranking import NEVER

from .evaluation_fakes import held_out_split

METRICS = ["ndcg@20", "recall@5", "auc"]

WEIGHTS = np.triu(np.arange(36, dtype=np.float32).reshape(6, 6) % 7)


@pytest.fixture(scope="module")
def strangers():
    return held_out_users(keep(load_sample()[0], min_value=4), validation_users=20, test_users=60, seed=3)


@pytest.fixture(scope="module")
def ease(strangers):
    return create("ease", l2=200).fit(strangers.train.matrix)


def values(results, title):
    return frames.table(results).loc[title, METRICS].tolist()


def scores_file(path, split, score):
    inputs = split.test.inputs
    table = pd.DataFrame(score(inputs), index=split.test.users.ids, columns=split.train.items.ids)
    long = table.rename_axis("user_id").reset_index().melt("user_id", var_name="item_id", value_name="score")
    long.to_parquet(path)
    return path


def test_our_model_its_scores_as_a_function_and_as_a_file_get_the_same_numbers(strangers, ease, tmp_path):
    path = scores_file(tmp_path / "ease.parquet", strangers, ease.score)

    results = judge({"ours": ease, "function": ease.score, "file": path}, strangers, METRICS)

    assert values(results, "function") == values(results, "ours")
    assert values(results, "file") == values(results, "ours")
    assert results.significance.others[0].ties == 60


def test_what_implicit_recommends_is_judged_like_its_scores(strangers):
    model = AlternatingLeastSquares(factors=8, random_state=0, num_threads=1, dtype=np.float32)
    model.fit(csr_matrix(strangers.train.matrix), show_progress=False)

    def scores(histories):
        rows = np.arange(histories.shape[0])
        factors = model.recalculate_user(rows, csr_matrix(histories))
        return factors @ model.item_factors.T

    results = judge({"object": model, "function": scores}, strangers, METRICS)

    np.testing.assert_allclose(values(results, "object"), values(results, "function"), atol=1e-6)
    assert results.models[0].name == "implicit"


def test_a_user_of_train_is_asked_for_by_row():
    split = leave_last_out(keep(load_sample()[0], min_value=4))
    model = BayesianPersonalizedRanking(factors=8, iterations=3, random_state=0, num_threads=1)
    model.fit(csr_matrix(split.train.matrix), show_progress=False)
    rows = split.train.users.positions(split.test.users.ids)

    results = judge({"object": model}, split, METRICS)
    ids, _ = model.recommend(rows, csr_matrix(split.test.seen), N=5, filter_already_liked_items=True)

    found = [target in row for target, row in zip(split.test.targets.indices, ids, strict=True)]
    assert results.models[0].test["recall@5"].value == pytest.approx(np.mean(found))


def test_a_model_that_needs_its_users_is_refused_among_strangers(strangers):
    model = BayesianPersonalizedRanking(factors=8, iterations=1, random_state=0, num_threads=1)
    model.fit(csr_matrix(strangers.train.matrix), show_progress=False)

    with pytest.raises(EvaluationError, match="cannot score users it was not trained on"):
        judge({"bpr": model}, strangers, METRICS)


def test_an_item_that_a_file_does_not_list_is_not_suggested(tmp_path):
    split = held_out_split()
    path = tmp_path / "scores.parquet"
    rows = [("h0", "5", 1.0), ("h0", "5", 9.0), ("h1", "4", 1.0), ("h2", "0", 3.0), ("h2", "5", 2.0)]
    rows += [("stranger", "5", 1.0), ("h0", "no such item", 1.0)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "score"]).to_parquet(path)

    results = judge({"file": path}, split, ["recall@2", "precision@2", "coverage@2"])

    assert results.models[0].per_user["recall@2"].tolist() == [1.0, 0.0, 0.5]
    assert results.models[0].test["coverage@2"].value == 3 / 6, "columns 5, 4 and 0"


def test_the_highest_score_of_a_pair_counts_and_zero_is_a_score(tmp_path):
    path = tmp_path / "scores.parquet"
    rows = [("h0", "5", 0.0), ("h0", "4", -1.0), ("h0", "4", -2.0)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "score"]).to_parquet(path)
    split = held_out_split()

    scores = ScoreTable.read(path, split).score_rows(split.test, np.array([0]))

    assert scores[0, 4:].tolist() == [-1.0, 0.0]


def among_candidates():
    """h0 is to choose among columns 3, 4 and 5, h1 among 2 and 4, h2 among 0, 4 and 5; all hold the targets."""
    split = held_out_split()
    rows, columns = [0, 0, 0, 1, 1, 2, 2, 2], [3, 4, 5, 2, 4, 0, 4, 5]
    candidates = csr_array((np.ones(8, np.float32), (rows, columns)), shape=split.test.targets.shape)
    candidates = csr_array(candidates.maximum(split.test.targets != 0))
    return replace(split, test=replace(split.test, candidates=candidates))


def test_candidates_go_with_the_split_and_those_that_a_file_leaves_out_are_counted(tmp_path):
    split = among_candidates()
    names = [path.name for path in write_split(split, tmp_path)]
    asked = pd.read_parquet(tmp_path / "test_candidates.parquet")[["user_id", "item_id"]]
    path = tmp_path / "scores.parquet"

    asked.assign(score=1.0).to_parquet(path)
    whole = judge({"file": path}, split, ["ndcg@3"])
    asked.assign(score=1.0)[2:].to_parquet(path)
    partly = judge({"file": path}, split, ["ndcg@3"])

    assert "test_candidates.parquet" in names
    assert len(asked) == split.test.candidates.nnz
    note = "given candidates without a score in scores.parquet, which come last (file)"
    assert note not in whole.data.notes
    assert partly.data.notes[note] == 2
    assert "test_candidates.parquet" not in [path.name for path in write_split(held_out_split(), tmp_path)]
    assert not (tmp_path / "test_candidates.parquet").exists(), "of the earlier split"


ORDERS = {
    "seconds": lambda places: 1.7e9 + places,
    "whole seconds": lambda places: 1_700_000_000 + places.astype(np.int64),
    "huge numbers": lambda places: 2**60 + places.astype(np.int64),
    "unsigned": lambda places: 2**63 + places.astype(np.uint64),
    "probabilities": lambda places: 1 - 1e-9 * (10 - places),
    "beyond float32": lambda places: 1e300 * places,
}
"""From places 0, 1, ... to scores in the same order."""


@pytest.mark.parametrize("scores_of", ORDERS.values(), ids=ORDERS)
def test_scores_that_float32_would_make_equal_keep_their_order_and_their_ties(scores_of, tmp_path):
    split = held_out_split()
    places = np.array([2, 2, 0, 1, 3, 4])  # columns 5 and 4 first, the targets; 0 and 1 tie

    def function(histories):
        return np.tile(scores_of(places), (histories.shape[0], 1))

    class Recommender:
        def recommend(self, users, user_items, N, **_):
            return np.tile(np.arange(N), (len(users), 1)), function(user_items)

    path = scores_file(tmp_path / "scores.parquet", split, function)
    asked, rows = split.test, np.arange(4)
    for each in (function, Recommender(), path):
        scores = outsider(each, split).score_rows(asked, rows)
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(np.argsort(scores, axis=1, kind="stable")[0], [2, 3, 0, 1, 4, 5])
        np.testing.assert_array_equal(scores[:, 0], scores[:, 1])
    results = judge({"function": function, "recommender": Recommender(), "file": path}, split, ["recall@2"])
    assert [row.test["recall@2"].value for row in results.models] == [1.0, 1.0, 1.0]


def test_what_is_never_suggested_stays_so_among_scores_that_become_ranks():
    scores = in_float32(np.array([[1.7e9, -np.inf, 1.7e9 + 1, NEVER, np.inf], [0.5, 0.1, 0.5, np.nan, 0.1]]))

    assert scores[0, [1, 3]].tolist() == [NEVER, NEVER]
    assert NEVER < scores[0, 0] < scores[0, 2] < scores[0, 4]
    assert scores[1, 1] == scores[1, 4] < scores[1, 0] == scores[1, 2]
    assert np.isnan(scores).tolist() == [[False] * 5, [False, False, False, True, False]]


def test_scores_that_float32_holds_stay_as_they_are():
    scores = np.array([[0.5, -2.0, -np.inf, 3.0]])

    np.testing.assert_array_equal(in_float32(scores), scores)
    assert in_float32(scores.astype(np.float32)) is not scores


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"user_id": ["h0"], "item_id": ["5"]}, "expected Parquet with user_id, item_id, score"),
        ({"user_id": ["h0"], "item_id": ["5"], "score": [np.inf]}, "empty or infinite cells"),
        ({"user_id": ["h0"], "item_id": ["5"], "score": [None]}, "cannot read scores|empty or infinite"),
        ({"user_id": ["x"], "item_id": ["5"], "score": [1.0]}, "no score of a test user"),
    ],
)
def test_a_file_of_scores_that_cannot_serve_is_refused(tmp_path, table, complaint):
    path = tmp_path / "scores.parquet"
    pd.DataFrame(table).to_parquet(path)

    with pytest.raises(EvaluationError, match=complaint):
        outsider(path, held_out_split())


def test_a_function_may_give_sparse_scores():
    split = held_out_split()
    dense = {"mine": lambda rows: rows.toarray() @ WEIGHTS}
    sparse = {"mine": lambda rows: rows @ csr_array(WEIGHTS)}

    found = [judge(models, split, ["ndcg@3"]).models[0].test["ndcg@3"].value for models in (dense, sparse)]

    assert found[0] == found[1]


def test_scores_of_the_wrong_shape_and_things_that_are_no_model_are_refused():
    split = held_out_split()

    with pytest.raises(
        EvaluationError, match=r"gave scores of the shape \(3, 5\) for 3 histories over 6 items"
    ):
        judge({"short": lambda rows: np.zeros((rows.shape[0], 5))}, split, ["ndcg@3"])
    with pytest.raises(EvaluationError, match="a int cannot be judged"):
        judge({"number": 7}, split, ["ndcg@3"])
    with pytest.raises(EvaluationError, match="NaN scores"):
        judge({"nan": lambda rows: np.full(rows.shape, np.nan)}, split, ["ndcg@3"])


def test_a_protocol_takes_scores_made_from_its_exported_split(tmp_path):
    (tmp_path / "p.toml").write_text(
        'name = "p"\nseed = 3\n[data]\nsource = "movielens-small"\nmin_value = 4\n'
        '[split]\nkind = "held_out_users"\nvalidation_users = 20\ntest_users = 60\n'
        '[metrics]\nreport = ["ndcg@20", "recall@5", "auc"]\nselect = "ndcg@20"\n'
        '[[models]]\nname = "ease"\nsettings = { l2 = 200 }\n'
        '[[models]]\nlabel = "mine"\nscores = "mine.parquet"\n'
    )
    split = load_split(load_protocol(tmp_path / "p.toml"))
    names = [path.name for path in write_split(split, tmp_path / "split")]
    train = pd.read_parquet(tmp_path / "split" / "train.parquet")
    scores_file(tmp_path / "mine.parquet", split, create("ease", l2=200).fit(split.train.matrix).score)

    results = evaluate(tmp_path / "p.toml", show_progress=False)

    parts = [
        f"{part}_{what}.parquet" for part in ("validation", "test") for what in ("inputs", "seen", "targets")
    ]
    assert names == ["train.parquet", *parts]
    assert train.value.tolist() == [1.0] * len(split.train), "as the models of this protocol see it"
    assert values(results, "mine") == values(results, "ease")


def test_scores_go_without_settings(tmp_path):
    (tmp_path / "p.toml").write_text(
        'name = "p"\n[data]\nsource = "movielens-small"\n[metrics]\nreport = ["ndcg@20"]\nselect = "ndcg@20"\n'
        '[[models]]\nscores = "mine.parquet"\nsettings = { l2 = 1 }\n[[models]]\nlabel = "neither"\n'
    )

    with pytest.raises(
        ConfigError, match=r"models 1: scores are what they are.*models 2: name a model, or give"
    ):
        load_protocol(tmp_path / "p.toml")
