"""NCF's leave-one-out: files made by hand, and the authors' own where they are."""

import gzip

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from recae.data import ncf
from recae.data.benchmarks import load_benchmark
from recae.data.holdout import Holdout
from recae.data.idmap import IdMap
from recae.errors import DataError

from .test_benchmarks import loaded

MOVIES = [30, 10, 20, 50, 40, 60]  # NCF's item n is this movie


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two users; user 1 has movies 10, 20, 30 and user 2 has 10, 40. Tested are 20 and 40, among two others."""
    monkeypatch.setattr(ncf, "N_NEGATIVES", 2)
    folder = tmp_path / "ml-1m" / "ncf"
    folder.mkdir(parents=True)
    events = {"user": [1, 1, 1, 2, 2], "movie": [30, 10, 20, 40, 10], "rating": [5, 0, 3, 4, 1]}
    pd.DataFrame(events).to_parquet(tmp_path / "ml-1m" / "ratings.parquet")
    pd.DataFrame({"ncf_item": range(6), "movie": MOVIES}).to_parquet(folder / "item_map.parquet")

    def write(tested="0\t2\t3\t99\n1\t4\t4\t98\n", others="(0,2)\t3\t5\n(1,4)\t4\t0\n"):
        (folder / "ml-1m.test.rating.gz").write_bytes(gzip.compress(tested.encode()))
        (folder / "ml-1m.test.negative.gz").write_bytes(gzip.compress(others.encode()))
        return tmp_path

    return write


def test_the_test_is_the_authors_and_an_item_given_twice_counts_once(files):
    split = load_benchmark("ml-1m-ncf", files())

    assert list(split.train.items) == [str(movie) for movie in MOVIES]
    assert list(split.train.users) == ["1", "2"]
    assert split.test.targets.toarray().tolist() == [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]]
    assert split.test.candidates.toarray().tolist() == [[0, 0, 1, 1, 0, 1], [1, 0, 0, 0, 1, 0]]
    assert split.test.seen.toarray().tolist() == [[1, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]
    assert list(split.notes.values()) == [1], "user 2 has the test item among the others"


def test_a_user_with_the_test_item_alone_is_refused(files):
    root = files()
    path = root / "ml-1m" / "ratings.parquet"
    pd.read_parquet(path).drop(4).to_parquet(path)  # user 2 has the test item only

    with pytest.raises(DataError, match="a user of ml-1m-ncf has no event beside the test item"):
        load_benchmark("ml-1m-ncf", root)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"tested": "0\t3\t3\t99\n1\t4\t4\t98\n"}, "1 of the 2 test items of ml-1m-ncf are events"),
        ({"tested": "0\t2\t3\t99\n2\t4\t4\t98\n"}, "should have a row and 2 negatives a user"),
        ({"others": "(0,2)\t3\n(1,4)\t4\n"}, "should have a row and 2 negatives a user"),
    ],
)
def test_files_that_contradict_each_other_are_named(files, wrong, complaint):
    with pytest.raises(DataError, match=complaint):
        load_benchmark("ml-1m-ncf", files(**wrong))


def test_the_validation_asks_for_a_training_item_among_items_the_user_does_not_have(files):
    split = load_benchmark("ml-1m-ncf", files())
    validation = split.validation

    assert (np.diff(validation.targets.indptr) == 1).all()
    assert (np.diff(validation.candidates.indptr) == 1 + 2).all()
    assert validation.candidates.multiply(split.test.seen).nnz == 2, "of train there is the target alone"
    assert validation.targets.multiply(split.test.targets).nnz == 0


def test_negatives_are_drawn_from_what_a_row_does_not_have_and_all_of_it_can_come():
    history = csr_array(np.array([[1, 1, 0, 0, 0], [0, 0, 0, 0, 1]], dtype=np.float32))
    targets = csr_array(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]], dtype=np.float32))
    drawn = np.zeros((2, 5))
    for seed in range(30):
        drawn += ncf.with_negatives(targets, history, 2, np.random.default_rng(seed)).toarray()

    assert drawn[:, [0, 4]][[0, 1], [0, 1]].tolist() == [30, 30], "the target is always there"
    assert drawn[0, 1] == 0, "the rest of the history never"
    assert (drawn[0, 2:] > 0).all()
    assert (drawn[1, :4] > 0).all()
    assert drawn.sum() == 30 * 2 * 3
    with pytest.raises(DataError, match="a user has 2 of 5 items; 4 others cannot be drawn"):
        ncf.with_negatives(targets, history, 4, np.random.default_rng(0))


def test_targets_outside_the_candidates_are_refused():
    row = csr_array(np.array([[1.0, 0.0]], dtype=np.float32))
    other = csr_array(np.array([[0.0, 1.0]], dtype=np.float32))

    with pytest.raises(DataError, match="1 targets are not among the candidates"):
        Holdout(row, other, IdMap(["a"]), candidates=row)
    with pytest.raises(DataError, match=r"candidates have the shape \(1, 3\), the inputs \(1, 2\)"):
        Holdout(row, other, IdMap(["a"]), candidates=csr_array((1, 3), dtype=np.float32))


def test_the_authors_files_have_a_hundred_candidates_none_of_which_is_in_train():
    split = loaded("ml-1m-ncf")

    sizes = np.diff(split.test.candidates.indptr)
    assert (sizes == 100).sum() == 6_040 - 156
    assert (sizes == 99).sum() == 156
    assert (np.diff(split.validation.candidates.indptr) == 100).all()
    train = split.test.seen
    assert split.test.candidates.multiply(train).nnz == 0
    assert split.validation.candidates.multiply(train).nnz == 6_040, "the targets of the validation"
    assert split.validation.candidates.multiply(split.test.targets).nnz > 100, (
        "drawn without a look at the test"
    )
