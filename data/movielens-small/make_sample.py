"""Turn the CSV that make_sample.sh takes out of R into the two Parquet files of the bundled sample."""

import sys
from pathlib import Path

import pandas as pd

from recae.data.catalogue import Catalogue, Item

NO_CATEGORIES = "(no genres listed)"


def main(source: Path, folder: Path) -> None:
    """Write ratings.parquet, by user and time, and movies.parquet, by number, into ``folder``."""
    table = pd.read_csv(source, dtype={"movieId": "int64", "userId": "int64"})
    ordered = table.sort_values(["userId", "timestamp", "movieId"])
    ratings = pd.DataFrame(
        {
            "user_id": ordered["userId"].astype("str"),
            "item_id": ordered["movieId"].astype("str"),
            "value": ordered["rating"].astype("float32"),
            "timestamp": ordered["timestamp"].astype("int64"),
        }
    )
    ratings.to_parquet(folder / "ratings.parquet", index=False, compression="zstd", compression_level=19)

    movies = table.drop_duplicates("movieId").sort_values("movieId")
    Catalogue(
        Item(
            str(movie.movieId),
            movie.title if isinstance(movie.title, str) else None,  # five movies came without
            None if pd.isna(movie.year) else int(movie.year),
            () if movie.genres == NO_CATEGORIES else tuple(movie.genres.split("|")),
        )
        for movie in movies.itertuples()
    ).write(folder / "movies.parquet")
    print(
        f"{len(ratings):,} ratings, {ratings['user_id'].nunique():,} users, {len(movies):,} movies in {folder}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
