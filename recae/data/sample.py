"""The bundled sample: MovieLens latest-small, for demonstrations and tests. Its terms lie beside it."""

from pathlib import Path

import pandas as pd

from recae.data.catalogue import Catalogue
from recae.data.interactions import Interactions
from recae.errors import DataError

PLACES = (
    Path(__file__).parent / "movielens-small",  # in an installed wheel
    Path(__file__).parents[2] / "data" / "movielens-small",  # in a checkout
)


def sample_path() -> Path:
    """The folder with ratings.parquet, movies.parquet and README.md.

    Raises:
        DataError: if this installation comes without the sample.
    """
    for place in PLACES:
        if (place / "ratings.parquet").is_file():
            return place
    raise DataError(
        f"the bundled sample is missing, looked at {PLACES[0]}; install recae from its wheel or a checkout"
    )


def load_sample() -> tuple[Interactions, Catalogue]:
    """100,004 ratings (0.5 to 5 stars, with times) of 671 users for 9,066 movies, and the movies' catalogue."""
    folder = sample_path()
    ratings = pd.read_parquet(folder / "ratings.parquet")
    return Interactions.from_events(ratings), Catalogue.read(folder / "movies.parquet")
