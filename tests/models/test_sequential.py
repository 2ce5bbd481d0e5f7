"""The sequential VAE: right answers that follow from the order alone."""

import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.errors import DataError
from recae.models import create, ranking
from recae.models.fitting import fit_to_everything
from recae.models.neural import SparseBatch
from recae.models.sequential import Sequences
from recae.recommender import Recommender

N_ITEMS = 8
SETTINGS = {
    "n_embedding": 16, "n_hidden": 24, "n_latent": 8, "n_next": 1, "epochs": 40, "batch_size": 8,
    "learning_rate": 0.02, "dropout": 0.0, "kl_weight": 0.0
}  # fmt: skip


def histories(*sequences):
    """One row for each sequence of items, in order."""
    matrix = np.zeros((len(sequences), N_ITEMS), dtype=np.float32)
    for row, items in enumerate(sequences):
        matrix[row, list(items)] = np.arange(1, len(items) + 1)
    return csr_array(matrix)


def walks(length):
    """From each item forwards round the cycle 0 -> 1 -> ... -> 7 -> 0, and from each item backwards."""
    steps = np.arange(length)
    forwards = [(start + steps) % N_ITEMS for start in range(N_ITEMS)]
    return forwards + [(start - steps) % N_ITEMS for start in range(N_ITEMS)]


@pytest.fixture(scope="module")
def walker():
    return create("sequential_vae", **SETTINGS).fit(histories(*walks(5)), show_progress=False)


def next_items(model, asked):
    return model.recommend(np.arange(asked.shape[0]), asked, N=1)[0][:, 0].tolist()


# -------------------------------------------------------------------- order counts


def test_the_next_item_follows_from_the_order_of_the_same_items(walker):
    there_and_back = histories([2, 3, 4, 5], [5, 4, 3, 2])
    assert next_items(walker, there_and_back) == [6, 1]


def test_every_walk_goes_on_round_the_cycle(walker):
    wanted = [(start + 4) % N_ITEMS for start in range(N_ITEMS)]
    wanted += [(start - 4) % N_ITEMS for start in range(N_ITEMS)]
    assert next_items(walker, histories(*walks(4))) == wanted


def test_a_model_that_does_not_see_the_order_is_right_half_of_the_time_at_most():
    ones = histories(*walks(5))
    ones.data[:] = 1.0
    asked = histories([2, 3, 4, 5], [5, 4, 3, 2])
    asked.data[:] = 1.0
    model = create("mult_vae", n_hidden=16, n_latent=8, epochs=10, batch_size=8).fit(ones, False)
    assert len(set(next_items(model, asked))) == 1


def test_only_the_order_of_the_values_counts_not_their_size(walker):
    asked = histories([2, 3, 4, 5])
    later = asked.copy()
    later.data = np.array([-7.0, 0.0, 0.5, 900.0], dtype=np.float32)
    assert_array_equal(walker.score(asked), walker.score(later))


def test_of_equal_values_the_lower_column_comes_first(walker):
    ties = histories([2, 3, 4, 5])
    ties.data[:] = 3.0
    assert_array_equal(walker.score(ties), walker.score(histories([2, 3, 4, 5])))


def test_an_item_that_stands_twice_in_a_row_has_its_later_place(walker):
    columns, places, row = [2, 3, 4, 5, 2, 3], [3.0, 7.0, 1.0, 4.0, 5.0, 6.0], [0, 6]  # 4 2 5 2 3 3
    twice = csr_array((places, columns, row), shape=(1, N_ITEMS))

    assert_array_equal(walker.score(twice), walker.score(histories([4, 5, 2, 3])))


def test_an_older_item_than_the_longest_history_read_changes_nothing():
    model = create("sequential_vae", **SETTINGS | {"max_length": 3, "epochs": 2})
    model.fit(histories(*walks(5)), show_progress=False)
    assert_array_equal(model.score(histories([7, 2, 3, 4])), model.score(histories([0, 2, 3, 4])))


# -------------------------------------------------------------------- the steps and the loss


def test_sequences_are_in_order_and_filled_up_on_the_right():
    matrix = csr_array(np.array([[3, 0, 2, 1], [0, 0, 0, 0], [0, 5, 0, 9]], dtype=np.float32))
    found = Sequences.of(SparseBatch.of(matrix, torch.device("cpu")), max_length=2)
    assert found.items.tolist() == [[2, 0], [0, 0], [1, 3]]
    assert found.lengths.tolist() == [2, 0, 2]


def test_a_step_is_followed_by_the_next_items_up_to_the_end():
    sequences = Sequences(torch.tensor([[4, 6, 5]]), torch.tensor([3]))
    step, item, count = sequences.following(torch.tensor([0, 0]), torch.tensor([0, 2]), 2)
    assert step.tolist() == [0, 0, 1]
    assert item.tolist() == [4, 6, 5]
    assert count.tolist() == [1.0, 1.0, 1.0]


def test_the_loss_is_the_log_likelihood_of_each_next_item_written_out():
    model = create("sequential_vae", **SETTINGS | {"epochs": 1, "loss_steps": None, "n_next": 2})
    data = histories([1, 4, 2], [6], [3, 0])
    model.fit(data, show_progress=False)
    network = model.network_
    with torch.no_grad():  # codes without noise: the same network, step by step and user by user
        network.code.bias[model.config.n_latent :] = -60.0
        network.code.weight[model.config.n_latent :] = 0.0
        terms = []
        for items in ([1, 4, 2], [6], [3, 0]):
            state = torch.zeros(1, 1, model.config.n_hidden)
            for place, item in enumerate(items):
                logits = network.decode(network.normal(state[0])[0])[0]
                terms.append(-sum(torch.log_softmax(logits, 0)[later] for later in items[place : place + 2]))
                _, state = network.recurrent(network.items(torch.tensor([[item]])), state)
        loss = model._loss(model._batch(data), 0.0)
    assert_allclose(loss, torch.stack(terms).mean(), rtol=1e-5)


def test_at_most_so_many_steps_of_a_history_are_drawn_and_none_beyond_its_end():
    model = create("sequential_vae", loss_steps=2)
    sequences = Sequences(torch.zeros((3, 5), dtype=torch.int64), torch.tensor([5, 1, 0]))
    torch.manual_seed(0)
    drawn = set()
    for _ in range(40):
        rows, steps = model._drawn_steps(sequences)
        assert rows.tolist() == [0, 0, 1]
        assert steps[2] == 0
        drawn |= set(steps[:2].tolist())
    assert drawn == {0, 1, 2, 3, 4}


# -------------------------------------------------------------------- from a log to recommendations


def log_of(sequences, times=True):
    events = [(str(user), f"item {item}", 1000 * place) for user, items in enumerate(sequences)
              for place, item in enumerate(items)]  # fmt: skip
    users, items, when = zip(*events, strict=True)
    known = IdMap(f"item {item}" for item in range(N_ITEMS))
    return Interactions.from_arrays(users, items, times=when if times else None, items=known)


@pytest.fixture(scope="module")
def recommender():
    log = log_of(walks(5))
    model = fit_to_everything(
        create("sequential_vae", **SETTINGS), log, validation_share=0.0, show_progress=False
    )
    return Recommender(model, log.items, users=log.users)


def first(found):
    return found.items[0].item_id


def test_a_model_of_sequences_learns_the_order_from_the_times_of_the_log(recommender):
    assert first(recommender.recommend([f"item {i}" for i in (2, 3, 4, 5)])) == "item 6"
    assert first(recommender.recommend([f"item {i}" for i in (5, 4, 3, 2)])) == "item 1"


def test_what_is_sent_comes_after_what_is_known_of_the_user(recommender):
    assert first(recommender.recommend(user_id="0")) == "item 5"  # 0 1 2 3 4
    assert first(recommender.recommend(["item 5", "item 6"], user_id="0")) == "item 7"


def test_an_item_that_comes_twice_stands_at_its_later_place(recommender):
    twice = recommender.recommend([f"item {i}" for i in (2, 5, 4, 3, 2)])
    assert twice.items == recommender.recommend([f"item {i}" for i in (5, 4, 3, 2)]).items


def test_weights_are_refused_where_the_order_counts(recommender):
    with pytest.raises(DataError, match=r"'item 3' has the weight 2.0; sequential_vae goes by the order"):
        recommender.recommend({"item 2": None, "item 3": 2.0})


def test_a_log_without_times_is_refused_with_the_way_out():
    with pytest.raises(
        DataError, match="have no times; map a timestamp column, or use a model that does not"
    ):
        fit_to_everything(create("sequential_vae"), log_of(walks(5), times=False), show_progress=False)


def test_the_best_epoch_is_chosen_on_what_came_last():
    log = log_of(walks(5) * 4)
    model = create("sequential_vae", **SETTINGS | {"epochs": 4})
    found = fit_to_everything(model, log, validation_share=0.2, show_progress=False)
    assert 1 <= found.config.epochs <= 4


def test_a_stored_model_is_served_and_a_reordered_history_changes_the_answer(tmp_path, recommender):
    from recae.api import create_app
    from recae.artifacts import ModelStore
    from recae.config import Settings

    store = ModelStore(tmp_path)
    version = store.save(recommender.model, recommender.items, users=recommender.users)
    stored = store.load(version)
    served = Recommender(stored.model, stored.items, users=stored.users, version=version)
    client = create_app(Settings(), served).test_client()

    def ask(items):
        answer = client.post("/v1/recommendations", json={"items": items, "n": 1})
        assert answer.status_code == 200, json.dumps(answer.json)
        return answer.json["items"][0]["item_id"]

    names = [f"item {i}" for i in (2, 3, 4, 5)]
    assert ask(names) == "item 6"
    assert ask(names[::-1]) == "item 1"
    timed = [
        {"item_id": name, "timestamp": f"2024-01-0{9 - day}T00:00:00Z"} for day, name in enumerate(names)
    ]
    assert ask(timed) == "item 1", "times order the history, whatever the order of the list"
    refused = client.post("/v1/recommendations", json={"items": [{"item_id": names[0], "weight": 2.0}]})
    assert refused.status_code == 422
    assert "goes by the order" in json.dumps(refused.json)


def test_states_of_many_histories_are_made_in_blocks_within_the_memory_budget(walker, monkeypatch):
    asked = histories(*walks(5), [], [3], *walks(7))
    whole = walker.encode(asked)
    states, sizes = walker.network_.states, []

    def counting(items, dropout=0.0):
        found = states(items, dropout)
        sizes.append(4 * found.numel())
        return found

    monkeypatch.setattr(walker.network_, "states", counting)
    budget = 64 * 1024
    monkeypatch.setattr(ranking, "SCORE_BYTES", budget)

    assert_array_equal(walker.encode(asked), whole)
    assert len(sizes) > 1
    assert max(sizes) < budget
