"""Training, on made-up histories of 5,000 users."""

from collections.abc import Callable

from bench_ranking import histories

from recae.models import create


def bench_fit_ease() -> Callable[[], object]:
    """EASE on 5,000 items"""
    return fitting("ease", n_items=5_000)


def bench_fit_als() -> Callable[[], object]:
    """ALS on 20,000 items"""
    return fitting("als", n_items=20_000)


def bench_fit_mult_vae() -> Callable[[], object]:
    """Mult-VAE, one epoch on 5,000 items"""
    return fitting("mult_vae", n_items=5_000, epochs=1)


def fitting(model_name: str, n_items: int, **settings: object) -> Callable[[], object]:
    """The work is one `fit` of a new model."""
    training = histories(5_000, n_items)
    return lambda: create(model_name, **settings).fit(training, show_progress=False)
