"""MovieLens 1M as NCF evaluates on it: each user's held-out item is to be found among 99 given others.

Source: He et al., "Neural Collaborative Filtering", WWW 2017, with the authors' own test items and negatives.
"""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

from recae.data.holdout import Split
from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.splits import given
from recae.errors import DataError

N_NEGATIVES = 99
VALIDATION_SEED = 0
"""Of the training item that each user's validation asks for, and of its negatives."""

Columns = npt.NDArray[np.int64]


def ml_1m_ncf(root: Path) -> Split:
    """Leave one out, 100 candidates a user. Every event counts, those of unknown rating too.

    The test asks for the item the authors held out, among it and the 99 they drew. In 156 rows one of the 99 is the
    user's own test item: a candidate counts once, so these have 99, as in the authors' code.

    The authors chose settings on the test. Here a training item of each user, drawn at random, is the validation,
    with 99 negatives drawn from what the user does not have in train; that the test item may be among them is as it
    should be, for whoever chooses settings does not know it.

    Args:
        root: holds ``ml-1m/ratings.parquet`` and ``ml-1m/ncf``.

    Raises:
        DataError: if files contradict each other.
    """
    folder = root / "ml-1m"
    ratings = pd.read_parquet(folder / "ratings.parquet", columns=["user", "movie"])
    movies = pd.read_parquet(folder / "ncf" / "item_map.parquet").sort_values("ncf_item")["movie"]
    columns = pd.Series(
        np.arange(len(movies), dtype=np.int32), index=movies
    )  # NCF's item number is the column
    users = IdMap(map(str, range(1, int(ratings["user"].max()) + 1)))  # NCF's user number is the row
    everything = Interactions.from_positions(
        ratings["user"].to_numpy() - 1,
        columns.loc[ratings["movie"]].to_numpy(dtype=np.int32),
        users=users,
        items=IdMap(movies.astype("str")),
    )
    tested, candidates = _test_rows(folder / "ncf")
    row, column = _cells(everything.matrix)
    is_test = column == tested[row]
    if tested.size != len(users) or is_test.sum() != tested.size:
        raise DataError(
            f"{int(is_test.sum()):,} of the {tested.size:,} test items of ml-1m-ncf are events of "
            f"their users; expected one for each of the {len(users):,} users"
        )
    rng = np.random.default_rng(VALIDATION_SEED)
    train = everything.where(~is_test)
    is_validation = _one_of_each_row(train.matrix, rng)
    split = given(
        train.where(~is_validation),
        train.where(is_validation),
        everything.where(is_test),
        name="ml-1m-ncf",
        seed=VALIDATION_SEED,
        validation_is_seen=True,
    )
    n_twice = int((np.diff(candidates.indptr) <= N_NEGATIVES).sum())
    notes = {"test users with their own test item among the 99 others: it counts once": n_twice}
    asked = split.validation
    if asked is None or len(asked) < len(users) or len(split.test) < len(users):
        raise DataError("a user of ml-1m-ncf has no event beside the test item; the files are incomplete")
    return replace(
        split,
        validation=replace(asked, candidates=with_negatives(asked.targets, train.matrix, N_NEGATIVES, rng)),
        test=replace(split.test, candidates=candidates),
        notes={reason: n for reason, n in notes.items() if n},
    )


def with_negatives(targets: csr_array, history: csr_array, n: int, rng: np.random.Generator) -> csr_array:
    """Candidates: each row's targets, and ``n`` columns drawn without repetition from those it has no entry in.

    Args:
        targets: shape (n_rows, n_items).
        history: what a row has, its targets among it; same shape.
        n: how many others.
        rng: draws them.

    Returns:
        Same shape, ones.

    Raises:
        DataError: if a row has fewer than ``n`` other columns.
    """
    n_rows, n_items = targets.shape
    most = int(np.diff(history.indptr).max(initial=0))
    if most + n > n_items:
        raise DataError(f"a user has {most:,} of {n_items:,} items; {n} others cannot be drawn")
    is_free = np.ones(n_items, dtype=np.bool_)
    drawn = np.empty((n_rows, n), dtype=np.int64)
    for row in range(n_rows):
        own = history.indices[history.indptr[row] : history.indptr[row + 1]]
        is_free[own] = False
        drawn[row] = rng.choice(np.flatnonzero(is_free), n, replace=False)
        is_free[own] = True
    rows, columns = _cells(targets)
    return _ones(
        np.concatenate([rows, np.repeat(np.arange(n_rows), n)]),
        np.concatenate([columns, drawn.ravel()]),
        targets.shape,
    )


def _test_rows(folder: Path) -> tuple[Columns, csr_array]:
    """The test item of each user, shape (n_users,), and the candidates, shape (n_users, n_items)."""
    items = pd.read_parquet(folder / "item_map.parquet")
    ratings = pd.read_csv(folder / "ml-1m.test.rating.gz", sep="\t", header=None)
    with gzip.open(folder / "ml-1m.test.negative.gz", "rt", encoding="utf-8") as file:
        negatives = np.array([line.split("\t")[1:] for line in file], dtype=np.int64)  # after "(user,item)"
    tested = ratings[1].to_numpy(dtype=np.int64)
    n_users = tested.size
    if negatives.shape != (n_users, N_NEGATIVES) or not np.array_equal(ratings[0], np.arange(n_users)):
        raise DataError(f"the test files of ml-1m-ncf should have a row and {N_NEGATIVES} negatives a user")
    columns = np.column_stack([tested, negatives])
    rows = np.repeat(np.arange(n_users), columns.shape[1])
    return tested, _ones(rows, columns.ravel(), (n_users, len(items)))


def _one_of_each_row(matrix: csr_array, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draws an entry of each row that has any, shape (nnz,)."""
    sizes = np.diff(matrix.indptr)
    starts = matrix.indptr[:-1][sizes > 0]
    chosen = np.zeros(matrix.nnz, dtype=np.bool_)
    chosen[starts + rng.integers(sizes[sizes > 0])] = True
    return chosen


def _cells(matrix: csr_array) -> tuple[Columns, Columns]:
    """Row and column of each entry, in storage order."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return rows, matrix.indices.astype(np.int64)


def _ones(rows: Columns, columns: Columns, shape: tuple[int, int]) -> csr_array:
    """A matrix of ones, each cell once."""
    matrix = csr_array((np.ones(rows.size, dtype=np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
