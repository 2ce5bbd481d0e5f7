"""From a batch of histories to ranked lists, on made-up histories with the popularity curve of real ones."""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.models import create
from recae.models.ranking import top_n
from recae.recommender import Recommender

N_ITEMS = 20_000


def histories(n_users: int, n_items: int = N_ITEMS, per_user: int = 50) -> csr_array:
    """About ``per_user`` items a user, item i drawn in proportion to 1 / (i + 10); shape (n_users, n_items)."""
    rng = np.random.default_rng(1)
    weights = 1.0 / (np.arange(n_items) + 10.0)
    columns = rng.choice(n_items, size=n_users * per_user, p=weights / weights.sum())
    rows = np.repeat(np.arange(n_users), per_user)
    matrix = csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(n_users, n_items))
    matrix.data[:] = 1.0  # several draws of one item are one interaction
    return matrix


def bench_top_n() -> Callable[[], object]:
    """the best 100 of 20,000 scores, for 500 users"""
    scores = np.random.default_rng(1).standard_normal((500, N_ITEMS), dtype=np.float32)
    return lambda: top_n(scores, 100)


def bench_rank_mult_vae() -> Callable[[], object]:
    """Mult-VAE: 10 of 20,000 items for each of 2,000 histories, seen items left out"""
    return ranking_with("mult_vae", epochs=1)


def bench_rank_ease() -> Callable[[], object]:
    """EASE: 10 of 5,000 items for each of 2,000 histories, seen items left out"""
    return ranking_with("ease", n_items=5_000)


def ranking_with(model_name: str, n_items: int = N_ITEMS, **settings: object) -> Callable[[], object]:
    """Fit once; the work is `Recommender.rank`, what a batch request and an evaluation spend their time in."""
    training = histories(2_000, n_items)
    model = create(model_name, **settings).fit(training, show_progress=False)
    recommender = Recommender(model, IdMap.of_range(n_items))
    return lambda: recommender.rank(training, 10, seen=training)
