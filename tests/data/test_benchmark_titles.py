"""Titles and genres of public benchmarks, from files made by hand and from the real ones where they are."""

import gzip
import os
from pathlib import Path

import pytest

from recae.data.benchmark_titles import CATALOGUES, benchmark_catalogue
from recae.data.benchmarks import DEFAULT_ROOT, load_benchmark, names
from recae.data.catalogue import Item
from recae.data.holdout import Split
from recae.errors import DataError

ROOT = Path(os.environ.get("RECAE_DATA", DEFAULT_ROOT))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode("latin-1")))


def test_movielens_1m_has_titles_with_accents_and_genres(tmp_path):
    write(
        tmp_path / "ml-1m" / "movies.dat.gz",
        "1::Toy Story (1995)::Animation|Comedy\n73::Misérables, Les (1995)::Drama\n9::No Year::Drama\n",
    )

    assert list(benchmark_catalogue("ml-1m", tmp_path)) == [
        Item("1", "Toy Story", 1995, ("Animation", "Comedy")),
        Item("73", "Misérables, Les", 1995, ("Drama",)),
        Item("9", "No Year", None, ("Drama",)),
    ]


def test_movielens_100k_flags_its_genres_and_an_unknown_one_is_none(tmp_path):
    folder = tmp_path / "ml-100k"
    write(folder / "u.genre.gz", "unknown|0\nAction|1\nComedy|2\n\n")
    write(folder / "u.item.gz", "1|Heat (1995)|1995||url|0|1|1\n2|unknown||||1|0|0\n")

    assert list(benchmark_catalogue("ml-100k", tmp_path)) == [
        Item("1", "Heat", 1995, ("Action", "Comedy")),
        Item("2", "unknown"),
    ]


def test_a_benchmark_of_bare_numbers_or_without_its_file_has_no_catalogue(tmp_path):
    assert benchmark_catalogue("gowalla", tmp_path) is None
    assert benchmark_catalogue("ml-1m", tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [b"not compressed", gzip.compress(b"1::Toy Story (1995)\n"), gzip.compress(b"1::A::Drama\n" * 2)],
    ids=["no gzip", "a field is missing", "an id comes twice"],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, content):
    write(tmp_path / "ml-1m" / "movies.dat.gz", "")
    (tmp_path / "ml-1m" / "movies.dat.gz").write_bytes(content)

    with pytest.raises(DataError, match=r"titles of benchmark ml-1m under .* cannot be read|more than once"):
        benchmark_catalogue("ml-1m", tmp_path)


def test_every_catalogue_belongs_to_a_benchmark():
    assert set(CATALOGUES) <= set(names())


@pytest.mark.parametrize("name", list(CATALOGUES))
def test_every_item_of_a_real_benchmark_has_its_title_and_nearly_all_have_genres(name):
    if not (ROOT / name.split("-u1")[0].removesuffix("-ncf")).is_dir():
        pytest.skip(f"set RECAE_DATA to the folder that holds {name}")
    loaded = load_benchmark(name, ROOT)
    items = loaded.train.items if isinstance(loaded, Split) else loaded.items

    found = benchmark_catalogue(name, ROOT).select(list(items.ids))

    assert all(item.title for item in found), "ids of the catalogue are those of the data"
    assert sum(not item.categories for item in found) <= len(found) / 100
