"""`recae items`: files of items come in whole or not at all."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from recae.data.eventlog.items import StoredItems
from tests.cli.conftest import run, run_json

CSV = """item_id,title,year,categories,available,hidden,price
a,Alien,1979,Horror|Sci-Fi,true,,9.5
b,[REC],2007,Horror,false,,
c,,,,,yes,
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(CSV)
    return path


def test_items_are_imported_listed_and_shown(database, file):
    assert run("items", "import", file) == "imported 3 items; there are 3\n"

    listed = run("items", "list")
    assert "[REC]" in listed
    assert "unavailable" in listed
    assert "3 of 3 items" in listed
    assert json.loads(run("items", "show", "a")) == {
        "item_id": "a",
        "title": "Alien",
        "year": 1979,
        "categories": ["Horror", "Sci-Fi"],
        "available": True,
        "hidden": False,
        "extra": {"price": "9.5"},
    }


def test_an_import_replaces_what_it_names_and_keeps_the_rest(database, file, tmp_path):
    run("items", "import", file)
    more = tmp_path / "more.parquet"
    pa.parquet.write_table(pa.table({"item_id": ["d", "a"], "title": ["Dune", "Aliens"]}), more)

    assert run("items", "import", more) == "imported 2 items; there are 4\n"
    shown = json.loads(run("items", "show", "a"))
    assert (shown["title"], shown["year"], shown["extra"]) == ("Aliens", None, {})
    assert json.loads(run("items", "show", "b"))["title"] == "[REC]"


@pytest.mark.parametrize("year", ['"soon"', "1e400", "-1e400", "NaN", "2001.5"])
def test_one_bad_row_and_nothing_is_imported(database, file, tmp_path, year):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(f'{{"item_id": "x"}}\n{{"item_id": "y", "year": {year}}}\n')

    assert "line 2: year is not a whole number" in run("items", "import", bad, code=1)
    assert "no items are stored" in run("items", "list")


def test_a_list_has_pages_and_may_be_of_what_can_be_shown(file):
    run("items", "import", file)

    assert [item["item_id"] for item in run_json("items", "list", "-n", "2")] == ["a", "b"]
    assert "next: --after b" in run("items", "list", "-n", "2")
    assert [item["item_id"] for item in run_json("items", "list", "--after", "b")] == ["c"]
    assert [item["item_id"] for item in run_json("items", "list", "--available")] == ["a"]


def test_an_unknown_item_is_an_error_in_one_line(file):
    run("items", "import", file)
    assert run("items", "show", "z", code=1).startswith("Error: 1 item id(s) outside the 3 known: 'z'")


def test_the_catalogue_says_what_is_unavailable_and_hidden(log, file):
    run("items", "import", file)
    catalogue = StoredItems(log.database).catalogue()

    states = [(item.item_id, item.available, item.hidden) for item in catalogue]
    assert states == [("a", True, False), ("b", False, False), ("c", True, True)]
    assert catalogue.title("a") == "Alien (1979)"
