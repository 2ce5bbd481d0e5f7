"""Public benchmark data with the splits their published tables use.

None of it may be bundled, so it is read from a folder of its own: RECAE_DATA, by default ../shared/data.
"""

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recae.data.holdout import Holdout, Split
from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.ncf import ml_1m_ncf
from recae.data.splits import given
from recae.errors import ConfigError, DataError

Pairs = npt.NDArray[np.int32]
"""User and item numbers, shape (n, 2)."""

DEFAULT_ROOT = "../shared/data"


def load_benchmark(name: str, root: str | Path | None = None) -> Split | Interactions:
    """Read one benchmark: a ``Split`` where its tables fix one, else all ``Interactions``.

    Args:
        name: one of ``names()``.
        root: the folder of all benchmarks; None takes RECAE_DATA.

    Raises:
        ConfigError: for another name.
        DataError: if the data is not there or not what it should be.
    """
    if name not in LOADERS:
        raise ConfigError(f"there is no benchmark {name!r}; there are {', '.join(LOADERS)}")
    folder = Path(root if root is not None else os.environ.get("RECAE_DATA", DEFAULT_ROOT))
    try:
        return LOADERS[name](folder)
    except FileNotFoundError as error:
        raise DataError(
            f"benchmark {name} needs {error.filename}, which is not there; "
            "set RECAE_DATA to the folder that holds the benchmark data"
        ) from error
    except (OSError, EOFError, ValueError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"benchmark {name} under {folder} cannot be read: {error}") from error


def names() -> list[str]:
    """All benchmarks."""
    return list(LOADERS)


def _ml_1m_bars_m1(root: Path) -> Split:
    """MovieLens 1M as BARS and RecZoo split it. Its tables remove the training events only."""
    folder = root / "ml-1m-bars_m1"
    with gzip.open(folder / "validation_data.json.gz", "rt", encoding="utf-8") as file:
        validation = _pairs(enumerate(json.load(file)))
    parts = (_adjacency(folder / "train.txt.gz"), validation, _adjacency(folder / "test.txt.gz"))
    return _given(*parts, name="ml-1m-bars_m1", validation_is_seen=False)


def _ml_1m_diffrec(root: Path) -> Split:
    """MovieLens 1M, ratings of 4 and 5, by time as in DiffRec. Its tables remove validation events too.

    The files hold no times, but each user's events one after the other: in the order of time, as far as one can tell from
    them (it is not that of the ids, and its authors do not say). That order serves as times here.
    """
    with np.load(root / "ml-1m-diffrec" / "ml-1m_clean.npz", allow_pickle=False) as parts:
        train, validation, test = (parts[part].astype(np.int32) for part in ("train", "valid", "test"))
    return _given(train, validation, test, name="ml-1m-diffrec", in_order=True, validation_is_seen=True)


def _gowalla(root: Path) -> Split:
    """Gowalla as LightGCN splits it; LightGCN++ names which of the training events validate.

    The published tables train on both parts once settings are chosen.
    """
    folder = root / "gowalla"
    train, test = _adjacency(folder / "train.txt.gz"), _adjacency(folder / "test.txt.gz")
    validation = _adjacency(folder / "lightgcnpp_valid.txt.gz")
    learning = _without(train, validation)
    if len(learning) + len(validation) != len(train):
        raise DataError("validation pairs of gowalla are missing from its training pairs")
    return _given(learning, validation, test, name="gowalla", validation_is_seen=True)


def _gowalla_dan_strong(root: Path) -> Split:
    """Gowalla with 3,000 + 3,000 held-out users as in DAN; everybody else trains with all their events."""
    folder = root / "gowalla"
    events = np.concatenate([_adjacency(folder / "train.txt.gz"), _adjacency(folder / "test.txt.gz")])
    with gzip.open(folder / "dan_strong" / "unique_sid.txt.gz", "rt", encoding="utf-8") as file:
        item_of = np.array([int(line) for line in file], dtype=np.int32)  # DAN's item number -> Gowalla's
    held: dict[str, list[int]] = json.loads(
        (folder / "dan_strong" / "lightgcn_user_ids.json").read_text("utf-8")
    )
    items = IdMap.of_range(len(item_of))
    everybody = np.arange(events[:, 0].max() + 1)
    learning = np.setdiff1d(everybody, [*held["valid"], *held["test"]])
    train = _interactions(events, IdMap.of_range(everybody.size), items).select_users(learning)

    def holdout(part: str) -> Holdout:
        users = IdMap(map(str, held[part]))
        inputs, targets = (
            _interactions(np.column_stack([pairs[:, 0], item_of[pairs[:, 1]]]), users, items).matrix
            for pairs in (_adjacency(folder / "dan_strong" / f"{part}{kind}.txt.gz") for kind in ("_in", ""))
        )
        return Holdout(inputs, targets, users)

    return Split("gowalla-dan-strong", None, train, holdout("valid"), holdout("test"), of_strangers=True)


def _ml_100k(root: Path) -> Interactions:
    """MovieLens 100K: all ratings, with times."""
    return Interactions.from_events(_tabbed(root / "ml-100k" / "u.data.gz"))


def _ml_latest_small_2018(root: Path) -> Interactions:
    """MovieLens latest-small of September 2018: all ratings, with times. The bundled sample is of an earlier year."""
    ratings = pd.read_parquet(root / "ml-latest-small-2018" / "ratings.parquet")
    return Interactions.from_arrays(
        ratings["userId"].astype("str").to_numpy(),
        ratings["movieId"].astype("str").to_numpy(),
        ratings["rating"].to_numpy(),
        ratings["timestamp"].to_numpy(),
    )


def _ml_100k_u1(root: Path) -> Split:
    """MovieLens 100K, first of its five fixed splits, for rating prediction.

    The split has no validation, so every tenth training rating is drawn for it, by a fixed seed. The published
    tables train on both parts once settings are chosen.
    """
    seed, share = 0, 0.1
    folder = root / "ml-100k"
    everything = Interactions.from_events(_tabbed(folder / "u.data.gz"))
    users, items = everything.users, everything.items
    base = Interactions.from_events(_tabbed(folder / "u1.base.gz"), users=users, items=items)
    test = Interactions.from_events(_tabbed(folder / "u1.test.gz"), users=users, items=items)
    is_validation = np.random.default_rng(seed).permutation(len(base)) < share * len(base)
    return given(base.where(~is_validation), base.where(is_validation), test, name="ml-100k-u1", seed=seed)


def _ml_1m(root: Path) -> Interactions:
    """MovieLens 1M: the 999,721 ratings that are known (488 are not, and are left out), without times."""
    ratings = pd.read_parquet(root / "ml-1m" / "ratings.parquet")
    ratings = ratings[ratings["rating"] > 0]
    return Interactions.from_arrays(
        ratings["user"].astype("str").to_numpy(),
        ratings["movie"].astype("str").to_numpy(),
        ratings["rating"].to_numpy(),
    )


def _monti_douban(root: Path) -> Split:
    """Douban's ratings of 3,000 users for 3,000 items as Monti et al. (2017) split them, for rating prediction.

    The split has no validation, so every tenth training rating is drawn for it, by a fixed seed. The published
    tables train on both parts once settings are chosen.
    """
    seed, share = 0, 0.1
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise DataError(
            "monti-douban is a MATLAB 7.3 file, which h5py reads; install the extra: pip install 'recae[benchmarks]'"
        ) from error
    path = root / "monti" / "douban" / "training_test_dataset.mat.gz"
    with gzip.open(path) as compressed:
        content = io.BytesIO(compressed.read())
    with h5py.File(content) as file:  # MATLAB stores columns first: read, everything is transposed
        ratings, is_base, is_test = (np.asarray(file[key]).T for key in ("M", "Otraining", "Otest"))
    users, items = IdMap.of_range(ratings.shape[0]), IdMap.of_range(ratings.shape[1])

    def part(is_there: npt.NDArray[Any]) -> Interactions:
        rows, columns = np.nonzero(is_there)
        return Interactions.from_positions(
            rows.astype(np.int32),
            columns.astype(np.int32),
            users=users,
            items=items,
            values=ratings[rows, columns],
        )

    base = part(is_base)
    is_validation = np.random.default_rng(seed).permutation(len(base)) < share * len(base)
    return given(
        base.where(~is_validation), base.where(is_validation), part(is_test), name="monti-douban", seed=seed
    )


LOADERS: dict[str, Callable[[Path], Split | Interactions]] = {
    "ml-1m-bars_m1": _ml_1m_bars_m1,
    "ml-1m-diffrec": _ml_1m_diffrec,
    "ml-1m": _ml_1m,
    "ml-1m-ncf": ml_1m_ncf,
    "ml-100k": _ml_100k,
    "ml-latest-small-2018": _ml_latest_small_2018,
    "ml-100k-u1": _ml_100k_u1,
    "monti-douban": _monti_douban,
    "gowalla": _gowalla,
    "gowalla-dan-strong": _gowalla_dan_strong,
}


def _given(train: Pairs, validation: Pairs, test: Pairs, *, in_order: bool = False, **settings: Any) -> Split:
    """A split of bare numbers: ids are their decimal strings; ``in_order``: places in the files serve as times."""
    n_users, n_items = np.concatenate([train, validation, test]).max(axis=0) + 1
    users, items = IdMap.of_range(n_users), IdMap.of_range(n_items)
    parts = (_interactions(pairs, users, items, in_order=in_order) for pairs in (train, validation, test))
    return given(*parts, **settings)


def _interactions(pairs: Pairs, users: IdMap, items: IdMap, *, in_order: bool = False) -> Interactions:
    times = np.arange(len(pairs), dtype=np.int64) if in_order else None
    return Interactions.from_positions(pairs[:, 0], pairs[:, 1], users=users, items=items, times=times)


def _adjacency(path: Path) -> Pairs:
    """Read lines of a user number and that user's item numbers."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = (list(map(int, line.split())) for line in file)
        return _pairs((numbers[0], numbers[1:]) for numbers in lines if numbers)


def _pairs(histories: Iterable[tuple[int, list[int]]]) -> Pairs:
    users, items = zip(*histories, strict=True)
    return np.column_stack([np.repeat(users, list(map(len, items))), np.concatenate(items)]).astype(np.int32)


def _without(pairs: Pairs, removed: Pairs) -> Pairs:
    def cells(numbers: Pairs) -> npt.NDArray[np.int64]:
        return numbers[:, 0].astype(np.int64) << 32 | numbers[:, 1]

    return pairs[~np.isin(cells(pairs), cells(removed))]


def _tabbed(path: Path) -> pd.DataFrame:
    """Read MovieLens 100K's own format: user, item, rating and time between tabs, no header."""
    names = ["user_id", "item_id", "value", "timestamp"]
    return pd.read_csv(path, sep="\t", names=names, dtype={"user_id": "str", "item_id": "str"})
