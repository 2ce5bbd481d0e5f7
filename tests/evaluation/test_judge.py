"""Fitted models, judged: on a split of sequences each sees what it goes by."""

from dataclasses import replace

import numpy as np
import pytest

from recae.data.holdout import pattern
from recae.errors import ConfigError, EvaluationError
from recae.evaluation import evaluate, judge, load_protocol, load_split, split_for
from recae.models import create

from .evaluation_fakes import ByColumn, held_out_split


class InOrder(ByColumn):
    name = "in_order"
    feedback = "sequences"


@pytest.fixture(scope="module")
def in_order(tmp_path_factory):
    """A protocol of sequences."""
    path = tmp_path_factory.mktemp("judge") / "p.toml"
    path.write_text(
        'name = "p"\n[data]\nsource = "movielens-small"\nmin_value = 4\nmin_item_users = 20\nfeedback = "sequences"\n'
        '[split]\nkind = "leave_last_out"\n[metrics]\nreport = ["ndcg@10", "hit_rate@10"]\nselect = "ndcg@10"\n'
        '[[models]]\nname = "ease"\nsettings = { l2 = 200 }\n'
    )
    return path


def test_judge_gives_a_model_without_order_the_numbers_that_evaluate_gives_it(in_order):
    split = load_split(load_protocol(in_order))
    model = create("ease", l2=200).fit(split_for("implicit", split).train.matrix)

    judged = judge({"ours": model, "function": model.score}, split, ["ndcg@10", "hit_rate@10"])
    expected = evaluate(in_order, show_progress=False).models[0].test

    assert judged.models[0].test == expected
    assert judged.models[1].test == expected
    assert judged.protocol.data.feedback == "sequences"


def test_a_function_sees_ones_unless_it_says_that_it_goes_by_order(in_order):
    split = load_split(load_protocol(in_order))
    seen = {}

    def scores(histories):
        seen.setdefault("blind", histories.data.max())
        return np.zeros(histories.shape)

    def ordered(histories):
        seen.setdefault("ordered", histories.data.max())
        return np.zeros(histories.shape)

    ordered.feedback = "sequences"
    judge({"blind": scores, "ordered": ordered}, split, ["ndcg@10"])

    assert seen["blind"] == 1
    assert seen["ordered"] > 1


def test_a_model_of_sequences_is_judged_on_places_and_refused_without():
    split = held_out_split()
    model = InOrder().fit(split.train.matrix)

    judge({"model": model}, replace(split, feedback="sequences"), ["ndcg@2"])
    complaint = r"model learns from sequences, but this split counts every.*split_for\('sequences', split\)"
    with pytest.raises(EvaluationError, match=complaint):
        judge({"model": model}, split, ["ndcg@2"])


def test_ones_in_place_of_places_say_so(in_order):
    split = load_split(load_protocol(in_order))
    ones = split_for("implicit", split)

    assert (split.feedback, ones.feedback) == ("sequences", "implicit")
    np.testing.assert_array_equal(ones.train.matrix.toarray(), pattern(split.train.matrix).toarray())


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"metrics": ["foo@1"]}, ConfigError, "no metric is called 'foo'"),
        ({"metrics": ["ndcg"]}, ConfigError, "'ndcg' needs the number of ranks"),
        ({"metrics": ["recall@2", "recall@2"]}, ConfigError, "judge: .*twice"),
        ({"metrics": []}, ConfigError, "a metric at least"),
        ({"models": {}}, ConfigError, "a model and a metric"),
        ({"name": "two words"}, ConfigError, "judge: name"),
        ({"metrics": ["rmse"]}, EvaluationError, "judge ranks"),
    ],
)
def test_what_judge_cannot_do_is_refused_as_documented(asked, error, said):
    split = held_out_split()
    model = create("popularity").fit(split.train.matrix, show_progress=False)
    with pytest.raises(error, match=said):
        judge(**{"models": {"popular": model}, "split": split, "metrics": ["recall@2"]} | asked)
