import numpy as np

from recae.data.holdout import Split
from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.evaluation.examples import asked_examples, examples_of, mentioned, predicted_for, suggested_for
from recae.evaluation.scoring import Serving
from recae.models.ranking import NEVER
from recae.recommender import Recommender

from .evaluation_fakes import ByColumn, Constant, held_out_split, holdout, matrix


def test_users_are_taken_at_equal_steps_from_the_least_to_the_best_known():
    items = IdMap.of_range(20)
    known = [[1.0] * n + [0.0] * (20 - n) for n in range(1, 19)]
    test = holdout(known, [[0.0] * 19 + [1.0]] * 18)
    train = Interactions(matrix([[1.0] * 20]), IdMap(["t"]), items)

    asked = asked_examples(Split("s", None, train, None, test), np.arange(18))

    assert asked.rows.tolist() == [0, 2, 5, 7, 10, 12, 15, 17]
    assert [user.n_history for user in asked.users] == [1, 3, 6, 8, 11, 13, 16, 18]
    assert all(user.targets == ("19",) for user in asked.users)
    assert len(asked.users[-1].history) == 12, "a long history is cut, and its length is told"


def test_a_history_begins_with_the_latest_event():
    train = Interactions(matrix([[1, 1, 1, 1]]), IdMap(["t"]), IdMap.of_range(4))
    test = holdout([[1, 1, 1, 0]], [[0, 0, 0, 1]], input_times=np.array([5, 9, 7]))

    (user,) = asked_examples(Split("s", None, train, None, test), np.array([0])).users

    assert user.history == ("1", "2", "0")


def test_suggestions_are_what_the_recommender_ranks_without_what_was_seen():
    split = held_out_split()
    model = ByColumn(favourite=5).fit(split.train.matrix)

    ranker = Serving(Recommender(model, split.train.items))
    lists = suggested_for(ranker, split.test, split.train.items, np.array([0, 3]))

    assert lists == (("5", "1", "2", "3", "4"), ("5", "2", "3", "4"))
    assert model.recommend(0, split.test.inputs[[3]], N=6)[1][-1] == NEVER, (
        "what was seen is not in the lists"
    )


def test_predictions_stand_beside_the_targets():
    model = Constant(rating=4.0).fit(matrix([[1, 2]]))
    test = holdout([[3, 0], [0, 0]], [[0, 5], [1, 2]])

    assert predicted_for(model, test, np.array([0, 1])) == ((4.0,), (4.0, 4.0))


def test_examples_hold_what_every_model_said_and_name_their_items():
    split = held_out_split()
    asked = asked_examples(split, np.array([0, 1, 2]))
    lists = [(("5", "1"), ("2",), ("3",)), (("4",), ("4",), ("4",))]

    examples = examples_of(asked, dict(zip("ab", lists, strict=True)), {"a": (), "b": ()})

    assert examples[0].lists == {"a": ("5", "1"), "b": ("4",)}
    assert examples[0].ratings == (), "nothing is rated here"
    assert mentioned(examples) == ["0", "5", "1", "4", "2", "3"]
