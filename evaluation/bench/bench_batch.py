"""Recommendations for everybody into a file: what `recae recommend-batch` spends its time in."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from bench_ranking import histories

from recae.batch import AllUsers, Batch, Filters, Scorer
from recae.batch.formats import Jsonl, Parquet
from recae.data.filters import keep
from recae.data.idmap import IdMap
from recae.data.sample import load_sample
from recae.models import create
from recae.recommender import Recommender

N_USERS, N_ITEMS = 100_000, 5_000


def bench_batch_sample() -> Callable[[], object]:
    """EASE on the bundled sample: 10 of 6,170 items for each of 671 users, as JSONL; users/s = 671 / seconds"""
    ratings, catalogue = load_sample()
    likes = keep(ratings, min_value=4)
    model = create("ease", l2=200).fit(likes.matrix)
    return batch(Recommender(model, likes.items, users=likes.users, catalogue=catalogue), "sample.jsonl")


def bench_batch_large() -> Callable[[], object]:
    """EASE: 10 of 5,000 items for each of 100,000 users, as Parquet; users/s = 100,000 / seconds"""
    model = create("ease").fit(histories(N_USERS, N_ITEMS), show_progress=False)
    recommender = Recommender(model, IdMap.of_range(N_ITEMS), users=IdMap.of_range(N_USERS))
    return batch(recommender, "large.parquet")


def batch(recommender: Recommender, name: str) -> Callable[[], object]:
    """A whole run, written to a temporary folder."""
    folder = tempfile.TemporaryDirectory(prefix="recae-bench-")  # removed with the work that holds it
    written_as = Parquet() if name.endswith(".parquet") else Jsonl()
    users = AllUsers(recommender.users, None)
    return lambda: Batch(Path(folder.name) / name).run(
        Scorer(recommender, Filters()), users, written_as, {}, show_progress=False
    )
