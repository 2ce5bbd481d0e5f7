"""Titles and genres of the public benchmarks that have some."""

import gzip
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from recae.data.benchmarks import DEFAULT_ROOT
from recae.data.catalogue import Catalogue, Item
from recae.errors import DataError

YEAR = re.compile(r"^(.*\S)\s*\((\d{4})\)$")


def benchmark_catalogue(name: str, root: str | Path | None = None) -> Catalogue | None:
    """The items of a benchmark; None if its ids are bare numbers, or the file of titles is not there.

    Args:
        name: of the benchmark.
        root: the folder of all benchmarks; None takes RECAE_DATA.

    Raises:
        DataError: if the file is there and cannot be read.
    """
    if name not in CATALOGUES:
        return None
    folder = Path(root if root is not None else os.environ.get("RECAE_DATA", DEFAULT_ROOT))
    try:
        return Catalogue(CATALOGUES[name](folder))
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the titles of benchmark {name} under {folder} cannot be read: {error}") from error


def _ml_1m(root: Path) -> Iterable[Item]:
    with gzip.open(root / "ml-1m" / "movies.dat.gz", "rt", encoding="latin-1") as file:
        for line in file:
            item_id, title, genres = line.rstrip("\n").split("::")
            yield _item(item_id, title, genres.split("|"))


def _ml_100k(root: Path) -> Iterable[Item]:
    folder = root / "ml-100k"
    with gzip.open(folder / "u.genre.gz", "rt", encoding="latin-1") as file:
        genres = [line.split("|")[0] for line in file if line.strip()]
    with gzip.open(folder / "u.item.gz", "rt", encoding="latin-1") as file:
        for line in file:
            item_id, title, *rest = line.rstrip("\n").split("|")
            flags = rest[-len(genres) :]
            marked = [genre for genre, flag in zip(genres, flags, strict=True) if flag == "1"]
            yield _item(item_id, title, [genre for genre in marked if genre != "unknown"])


def _ml_latest_small_2018(root: Path) -> Iterable[Item]:
    movies = pd.read_parquet(root / "ml-latest-small-2018" / "movies.parquet")
    for item_id, title, genres in zip(movies["movieId"], movies["title"], movies["genres"], strict=True):
        yield _item(str(item_id), title, [] if genres == "(no genres listed)" else genres.split("|"))


def _item(item_id: str, title: str, genres: Iterable[str]) -> Item:
    with_year = YEAR.match(title)
    bare, year = (with_year[1], int(with_year[2])) if with_year else (title, None)
    return Item(item_id, bare, year, tuple(genres))


CATALOGUES: dict[str, Callable[[Path], Iterable[Item]]] = {
    "ml-1m": _ml_1m,
    "ml-1m-ncf": _ml_1m,
    "ml-100k": _ml_100k,
    "ml-100k-u1": _ml_100k,
    "ml-latest-small-2018": _ml_latest_small_2018,
}
