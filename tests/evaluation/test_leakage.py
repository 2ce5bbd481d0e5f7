from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae.data.holdout import Holdout, Split
from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.splits import held_out_users, leave_last_out, random_ratings, temporal
from recae.errors import LeakageError
from recae.evaluation.leakage import refuse_leaks


def log(n_users=30, n_items=8, seed=0):
    rng = np.random.default_rng(seed)
    users = np.repeat([f"u{i}" for i in range(n_users)], 6)
    items = np.concatenate([rng.permutation(n_items)[:6] for _ in range(n_users)])
    times = rng.integers(0, 1_000, size=len(users))
    return Interactions.from_arrays(users.tolist(), [f"i{i}" for i in items], times=times)


def matrix(rows):
    return csr_array(np.asarray(rows, dtype=np.float32))


def honest_strangers():
    items = IdMap(["a", "b", "c", "d"])
    train = Interactions(matrix([[1, 1, 1, 0], [0, 1, 1, 1]]), IdMap(["known", "other"]), items)
    held = [
        Holdout(matrix([[1, 1, 0, 0]]), matrix([[0, 0, 1, 1]]), IdMap([user])) for user in ("valid", "test")
    ]
    return Split("held-out users", None, train, *held, of_strangers=True)


def honest_in_time():
    """One user: a at 1 and b at 2 to learn from, c at 5 to choose on, d at 8 to be judged by."""
    items, users = IdMap(["a", "b", "c", "d"]), IdMap(["u"])
    train = Interactions(matrix([[1, 1, 0, 0]]), users, items, np.array([1, 2]))

    def asked(row, time):
        return Holdout(
            train.matrix, matrix([row]), users, input_times=train.times, target_times=np.array([time])
        )

    return Split("temporal", None, train, asked([0, 0, 1, 0], 5), asked([0, 0, 0, 1], 8), in_time=True, cut=5)


@pytest.mark.parametrize(
    "split",
    [
        lambda log: held_out_users(log, validation_users=5, test_users=5),
        lambda log: held_out_users(log, validation_users=5, test_users=5, by="time"),
        leave_last_out,
        temporal,
        random_ratings,
    ],
    ids=["held out", "held out by time", "last out", "temporal", "ratings"],
)
def test_every_split_of_ours_passes(split):
    refuse_leaks(split(log()))


def test_the_honest_splits_of_this_file_pass():
    refuse_leaks(honest_strangers())
    refuse_leaks(honest_in_time())


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_target_inside_the_input_is_refused(part):
    split = honest_strangers()
    leaky = replace(getattr(split, part), inputs=matrix([[1, 1, 1, 0]]))

    with pytest.raises(
        LeakageError, match=rf"1 {part} targets are inside the input .* of 1 users \('{leaky.users[0]}'\)"
    ):
        refuse_leaks(replace(split, **{part: leaky}))


def test_a_rating_of_0_inside_the_input_is_a_leak_too():
    split = honest_strangers()
    zero = csr_array((np.zeros(1, np.float32), np.array([2]), np.array([0, 1])), shape=(1, 4))

    with pytest.raises(LeakageError, match="1 test targets are inside the input"):
        refuse_leaks(replace(split, test=replace(split.test, inputs=zero)))


def test_a_target_that_may_not_be_recommended_is_refused():
    split = honest_strangers()

    with pytest.raises(LeakageError, match="2 test targets are among what may not be recommended"):
        refuse_leaks(replace(split, test=replace(split.test, seen=matrix([[1, 1, 1, 1]]))))


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_held_out_user_in_train_is_refused(part):
    split = honest_strangers()
    leaky = replace(getattr(split, part), users=IdMap(["known"]))

    with pytest.raises(LeakageError, match=f"1 {part} users are held out and yet in train: 'known'"):
        refuse_leaks(replace(split, **{part: leaky}))


def test_a_user_held_out_twice_is_refused():
    split = honest_strangers()

    with pytest.raises(LeakageError, match="1 users are in validation and in test: 'valid'"):
        refuse_leaks(replace(split, test=replace(split.test, users=IdMap(["valid"]))))


def test_a_target_in_the_users_own_training_row_is_refused():
    split = honest_in_time()
    hidden = replace(split.test, inputs=matrix([[1, 0, 0, 0]]), targets=matrix([[0, 1, 0, 0]]))
    leaky = replace(hidden, seen=hidden.inputs, input_times=None, target_times=None)

    with pytest.raises(LeakageError, match=r"1 test targets are in train: of 1 users \('u'\)"):
        refuse_leaks(replace(split, test=leaky))


def test_a_training_event_from_the_cut_on_is_refused():
    split = honest_in_time()

    with pytest.raises(
        LeakageError, match="1 training events happened at or after the cut at 2, the latest at 2"
    ):
        refuse_leaks(replace(split, cut=2))


def test_a_target_from_before_the_cut_is_refused():
    split = honest_in_time()

    with pytest.raises(
        LeakageError, match="1 validation targets happened before the cut at 6, the earliest at 5"
    ):
        refuse_leaks(replace(split, cut=6))


def test_an_input_that_came_after_its_target_is_refused():
    split = honest_in_time()
    late = replace(split.test, input_times=np.array([1, 9]))

    with pytest.raises(LeakageError, match=r"1 test users \('u'\) are given an event that happened after"):
        refuse_leaks(replace(split, test=late))


def test_an_input_at_the_very_second_of_its_target_passes():
    split = honest_in_time()

    refuse_leaks(replace(split, test=replace(split.test, input_times=np.array([1, 8]))))


def test_rows_without_inputs_have_no_order_to_break():
    users = IdMap(["u", "v"])
    holdout = Holdout(
        matrix([[0, 0], [1, 0]]),
        matrix([[1, 0], [0, 1]]),
        users,
        input_times=np.array([3]),
        target_times=np.array([1, 4]),
    )
    train = Interactions(matrix([[1, 1]]), IdMap(["w"]), IdMap(["a", "b"]))

    refuse_leaks(Split("own", None, train, None, holdout, in_time=True))
