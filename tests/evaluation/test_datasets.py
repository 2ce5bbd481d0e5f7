"""From a protocol's [data] and [split] to matrices."""

from dataclasses import replace

import numpy as np
import pytest

from recae.data.splits import random_ratings
from recae.errors import ConfigError, DataError, EvaluationError
from recae.evaluation import datasets
from recae.evaluation.datasets import load_split, refitting_split, sha256_of
from recae.evaluation.protocol import Protocol, load_protocol

RANKING = """
[metrics]
report = ["ndcg@10"]
select = "ndcg@10"

[[models]]
name = "popularity"
"""
HELD_OUT = {"kind": "held_out_users", "validation_users": 3, "test_users": 4}


@pytest.fixture
def log(tmp_path):
    """Twenty users rate six items in turn, each starting with another; item 0 gets 2 stars. One row is broken."""
    rows = [
        f"u{user},i{(user + turn) % 6},{2 if (user + turn) % 6 == 0 else 4 + user % 2},{1000 * turn + user}"
        for user in range(20)
        for turn in range(6)
    ]
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "log.csv").write_text("\n".join(["visitor,product,value,timestamp", *rows, ",i1,3,5"]))
    return tmp_path


@pytest.fixture
def split_of(log):
    def split_of(data="", split=HELD_OUT, seed=1):
        columns = 'columns = { user_id = "visitor", item_id = "product" }'
        table = "\n".join(f"{key} = {value!r}" for key, value in split.items())
        text = f'name = "a"\nseed = {seed}\n[data]\npath = "logs/log.csv"\n{columns}\n{data}\n[split]\n{table}\n{RANKING}'
        (log / "a.toml").write_text(text)
        return load_split(load_protocol(log / "a.toml"))

    return split_of


def test_a_log_is_found_beside_its_protocol_and_every_likes_weight_is_1(split_of):
    split = split_of("min_value = 3")

    assert (split.train.n_users, split.train.n_items) == (13, 5), "item 0 has 2 stars only"
    assert set(split.train.matrix.data) == {1.0}
    assert split.notes == {"unreadable rows of the log": 1, "interactions dropped by the filters": 20}


def test_ratings_keep_their_values(split_of):
    assert set(split_of('feedback = "ratings"').train.matrix.data) == {2.0, 4.0, 5.0}


def test_sequences_are_asked_by_places_in_time_and_answered_by_ones(split_of):
    split = split_of('feedback = "sequences"', {"kind": "leave_last_out"})

    for matrix in (split.train.matrix, split.validation.inputs, split.test.inputs):
        assert sorted(matrix[[0]].data.tolist()) == [1.0, 2.0, 3.0, 4.0]
    row = split.train.matrix[[split.train.users.position("u2")]]  # i2 i3 i4 i5, then i0 and i1 are asked for
    assert split.train.items.ids[row.indices[np.argsort(row.data)]].tolist() == ["i2", "i3", "i4", "i5"]
    assert set(split.test.targets.data) == set(split.test.seen.data) == {1.0}


def test_the_validation_event_comes_after_the_training_events_where_a_model_of_sequences_is_refitted(
    split_of,
):
    split = split_of('feedback = "sequences"', {"kind": "leave_last_out"})

    together, test = refitting_split(split, "sequences")
    row = together[[split.train.users.position("u2")]]
    assert split.train.items.ids[row.indices[np.argsort(row.data)]].tolist() == ["i2", "i3", "i4", "i5", "i0"]
    asked = test.inputs[[test.users.position("u2")]]
    assert asked.data.tolist() == row.data.tolist()


def test_a_refit_on_several_events_of_unknown_order_is_refused(split_of):
    shares = {"kind": "temporal", "validation_share": 0.3, "test_share": 0.2}
    with pytest.raises(EvaluationError, match="needs one validation event a user; use leave_last_out"):
        refitting_split(split_of('feedback = "sequences"', shares), "sequences")


def test_sequences_need_times_and_the_error_says_what_to_do(benchmark, monkeypatch):
    timeless = replace(benchmark.train, times=None)
    monkeypatch.setattr(datasets, "load_benchmark", {"a-benchmark": random_ratings(timeless)}.__getitem__)
    with pytest.raises(DataError, match=r"order of events.*no times; map a timestamp column"):
        load_split(ready_made(data={"feedback": "sequences"}))


def test_users_and_items_below_the_limits_are_dropped_and_counted(log):
    # besides the twenty users with six items each, one has a single item of his own
    path = log / "logs" / "log.csv"
    path.write_text(path.read_text() + "\nu99,i99,5,7\n")
    (log / "b.toml").write_text(
        'name = "b"\n[data]\npath = "logs/log.csv"\nmin_item_users = 2\nmin_user_items = 6\n'
        'columns = { user_id = "visitor", item_id = "product" }\n'
        f'[split]\nkind = "held_out_users"\nvalidation_users = 0\ntest_users = 4\n{RANKING}'
    )
    split = load_split(load_protocol(log / "b.toml"))

    assert (split.train.n_users, split.train.n_items, split.validation) == (16, 6, None)
    assert split.notes["interactions dropped by the filters"] == 1


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (HELD_OUT | {"fold_in": 0.5, "by": "time"}, "held-out users, 50% fold-in by time"),
        ({"kind": "leave_last_out"}, "leave last out"),
        (
            {"kind": "temporal", "validation_from": 4000, "test_from": 5000},
            "temporal, cut at 4000 and 5000",
        ),
        (
            {"kind": "random_ratings", "validation_share": 0.2, "test_share": 0.3},
            "random ratings, 20% validation and 30% test",
        ),
    ],
)
def test_every_kind_of_split_is_made_with_the_settings_of_its_table(split_of, section, name):
    assert split_of(split=section).name == name


@pytest.mark.parametrize(
    ("data", "purpose"),
    [("min_value = 4", r"data\.min_value = 4"), ('feedback = "ratings"', r"data\.feedback = 'ratings'")],
)
def test_values_that_the_log_does_not_have_are_not_gone_by(log, split_of, data, purpose):
    path = log / "logs" / "log.csv"
    path.write_text(path.read_text().replace("value", "stars", 1))

    complaint = (
        rf"{purpose} goes by values, and logs/log\.csv has no column value: it has visitor, product, stars, "
        r"timestamp; map the one .* data\.columns = \{ value ="
    )
    with pytest.raises(DataError, match=complaint):
        split_of(data)
    split_of(f'{data}\nduplicates = "count"'.replace("4", "1"))  # counts are values of their own


BY_TIME = [
    {"kind": "temporal", "test_from": 4000},
    {"kind": "leave_last_out"},
    {"kind": "held_out_users", "validation_users": 0, "test_users": 4, "by": "time"},
]


@pytest.mark.parametrize("section", BY_TIME, ids=lambda section: section["kind"])
@pytest.mark.parametrize("data", ["min_value = 3", 'feedback = "ratings"'])
def test_what_is_said_of_a_pair_later_changes_nothing_in_a_split_by_time(log, split_of, section, data):
    """Item 0, of 2 stars, gets 5 of everybody in the end."""
    before = split_of(data, section)
    with (log / "logs" / "log.csv").open("a") as file:
        file.writelines(f"\nu{user},i0,5,9000" for user in range(20))
    after = split_of(data, section)

    assert sha256_of(after) == sha256_of(before)


@pytest.mark.parametrize("section", BY_TIME[:1], ids=lambda section: section["kind"])
def test_a_split_by_time_takes_no_values_that_later_events_make(split_of, section):
    with pytest.raises(
        ConfigError, match=r"data\.duplicates = 'count' goes by events that come later.* leave it out"
    ):
        split_of('duplicates = "count"', section)


def test_the_seed_of_the_protocol_decides_the_split(split_of):
    assert sha256_of(split_of(seed=1)) == sha256_of(split_of(seed=1))
    assert sha256_of(split_of(seed=1)) != sha256_of(split_of(seed=2))


def ready_made(**data):
    return Protocol.model_validate(
        {
            "name": "a",
            "data": {"source": "a-benchmark"} | data.pop("data", {}),
            "metrics": {"report": ["ndcg@10"], "select": "ndcg@10"},
            "models": [{"name": "popularity"}],
        }
        | data
    )


@pytest.fixture
def benchmark(monkeypatch, split_of):
    """A public benchmark of ratings that comes split."""
    everything = split_of('feedback = "ratings"').train
    split = random_ratings(everything, seed=1)
    monkeypatch.setattr(datasets, "load_benchmark", {"a-benchmark": split, "unsplit": everything}.__getitem__)
    return split


def test_a_ready_made_split_is_taken_as_it_is_or_as_likes(benchmark):
    ratings = load_split(ready_made(data={"feedback": "ratings"}))
    assert (ratings.train, ratings.test) == (benchmark.train, benchmark.test)
    assert ratings.feedback == "ratings"

    likes = load_split(ready_made())
    assert likes.feedback == "implicit"
    for matrix in (
        likes.train.matrix,
        likes.validation.targets,
        likes.test.inputs,
        likes.test.targets,
        likes.test.seen,
    ):
        assert set(matrix.data) == {1.0}
    assert likes.test.targets.nnz == benchmark.test.targets.nnz


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"split": HELD_OUT}, "split"),
        ({"data": {"min_value": 3}}, r"data\.min_value"),
        ({"data": {"min_user_items": 3}, "split": HELD_OUT}, r"data\.min_user_items and split"),
    ],
)
@pytest.mark.usefixtures("benchmark")
def test_a_ready_made_split_is_neither_filtered_nor_split_again(changes, keys):
    with pytest.raises(ConfigError, match=rf"'a-benchmark' comes split, .* leave out {keys}"):
        load_split(ready_made(**changes))


@pytest.mark.usefixtures("benchmark")
def test_unsplit_data_need_a_split_table():
    with pytest.raises(ConfigError, match=r"unsplit does not come split; add a \[split\] table"):
        load_split(ready_made(data={"source": "unsplit"}))
