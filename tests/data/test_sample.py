"""The bundled sample."""

import pytest

from recae.data import sample
from recae.data.sample import load_sample, sample_path
from recae.errors import DataError


def test_the_sample_is_movielens_latest_small():
    ratings, movies = load_sample()

    assert (len(ratings), ratings.n_users, ratings.n_items) == (100_004, 671, 9_066)
    assert set(ratings.matrix.data.tolist()) == {half / 2 for half in range(1, 11)}
    assert ratings.times is not None
    assert set(ratings.items) == {item.item_id for item in movies}
    assert movies.title("1") == "Toy Story (1995)"
    assert movies.find_title("Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)") == ["4973"]
    assert sum(movies.title(item) is None for item in ratings.items) == 5, "as the package has them"


def test_the_sample_stays_small_and_comes_with_its_terms():
    folder = sample_path()

    assert sum(file.stat().st_size for file in folder.iterdir()) < 3_000_000
    terms = (folder / "README.md").read_text()
    assert "10.1145/2827872" in terms
    assert "Commercial use" in terms


def test_an_installation_without_the_sample_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "PLACES", (tmp_path,))

    with pytest.raises(DataError, match="the bundled sample is missing"):
        load_sample()
