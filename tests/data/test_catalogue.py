"""Catalogue: titles and categories of items."""

import io

import pandas as pd
import pytest

from recae.data.catalogue import Catalogue, Item
from recae.errors import DataError

MOVIES = Catalogue(
    [
        Item("1", "Toy Story", 1995, ("Animation", "Comedy")),
        Item("2", "Matrix, The", 1999, ("Action",)),
        Item("3", "Hamlet", 1996),
        Item("4", "Hamlet", 2000),
        Item("5", "2001: A Space Odyssey"),
        Item("6"),
    ]
)


def test_a_title_is_shown_with_its_year():
    assert MOVIES.title("1") == "Toy Story (1995)"
    assert MOVIES.title("5") == "2001: A Space Odyssey"
    assert MOVIES.title("6") is MOVIES.title("unknown") is None


def test_categories_of_an_unknown_item_are_none_at_all():
    assert MOVIES.categories("1") == ("Animation", "Comedy")
    assert MOVIES.categories("unknown") == ()


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("Toy Story (1995)", ["1"]),
        ("  toy   STORY ", ["1"]),
        ("The Matrix", ["2"]),
        ("matrix, the (1999)", ["2"]),
        ("Hamlet", ["3", "4"]),
        ("Hamlet (2000)", ["4"]),
        ("Hamlet (2001)", []),
        ("2001: a space odyssey", ["5"]),
        ("", []),
    ],
)
def test_a_title_is_found_in_any_spelling(title, found):
    assert MOVIES.find_title(title) == found


def test_a_misspelt_title_gets_suggestions():
    assert MOVIES.suggest_titles("Toy Stori") == ["Toy Story (1995)"]
    assert MOVIES.suggest_titles("qqqqq") == []


def test_it_reads_what_it_wrote(tmp_path):
    MOVIES.write(tmp_path / "movies.parquet")
    buffer = io.BytesIO()
    MOVIES.write(buffer)

    assert Catalogue.read(tmp_path / "movies.parquet") == MOVIES
    assert buffer.getvalue() == (tmp_path / "movies.parquet").read_bytes()


def test_ids_alone_are_a_catalogue(tmp_path):
    pd.DataFrame({"item_id": ["a"], "year": [1999.0]}).to_parquet(tmp_path / "items.parquet")

    assert list(Catalogue.read(tmp_path / "items.parquet")) == [Item("a", None, 1999, ())]


def test_what_is_hidden_or_unavailable_is_read_as_it_was_written(tmp_path):
    shop = Catalogue([Item("a"), Item("b", available=False), Item("c", hidden=True)])
    shop.write(tmp_path / "shop.parquet")

    assert Catalogue.read(tmp_path / "shop.parquet") == shop


def test_a_file_without_these_columns_hides_nothing(tmp_path):
    pd.DataFrame({"item_id": ["a"], "title": ["Alien"]}).to_parquet(tmp_path / "old.parquet")
    pd.DataFrame({"item_id": ["a", "b"], "available": [None, False], "hidden": [True, None]}).to_parquet(
        tmp_path / "gaps.parquet"
    )

    assert list(Catalogue.read(tmp_path / "old.parquet")) == [Item("a", "Alien")]
    assert list(Catalogue.read(tmp_path / "gaps.parquet")) == [
        Item("a", hidden=True),
        Item("b", available=False),
    ]


def test_a_selection_follows_the_ids_and_has_a_line_for_each():
    assert list(MOVIES.select(["2", "unknown"])) == [MOVIES.item("2"), Item("unknown")]
    assert len(MOVIES) == 6
    assert "2" in MOVIES
    assert repr(MOVIES) == "Catalogue(6 items)"


def test_an_item_may_stand_there_once_only():
    with pytest.raises(DataError, match="more than once: 'a'"):
        Catalogue([Item("a"), Item("a")])


def test_files_that_are_no_catalogue_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no catalogue at .*nowhere"):
        Catalogue.read(tmp_path / "nowhere")
    (tmp_path / "text").write_text("no Parquet")
    with pytest.raises(DataError, match="text is no catalogue"):
        Catalogue.read(tmp_path / "text")
    pd.DataFrame({"title": ["x"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"has the columns \['title'\]; a catalogue needs item_id"):
        Catalogue.read(tmp_path / "b.parquet")
    pd.DataFrame({"item_id": ["x"], "year": ["ninety"]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"c\.parquet is no catalogue"):
        Catalogue.read(tmp_path / "c.parquet")
