"""How far a mean over users can be trusted, and whether two models really differ.

Everything here resamples users: a test part is a sample of the people who might have come. Models are compared on the
same users, pair by pair, since users differ far more among themselves than models do on one user. All draws are
seeded: the same values give the same intervals and the same p.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recae.evaluation.metrics import Values

LEVEL = 0.95
"""Of every interval."""
N_RESAMPLES = 2_000
"""Bootstrap samples: the ends of an interval then move by about a hundredth of its width from seed to seed."""
N_FLIPS = 9_999
"""Random sign flips: the smallest p that can be found is 1 / (1 + N_FLIPS)."""
CELLS = 4_000_000
"""Drawn numbers held at a time."""


@dataclass(frozen=True)
class Difference:
    """One model less another on one metric, over the same users."""

    mean: float
    """Of the differences; above 0 where the first has more."""
    low: float
    """Lower end of the bootstrap interval of the mean difference."""
    high: float
    p: float
    """Two-sided, of the sign-flip test: how often chance alone makes as large a mean difference."""
    wins: int
    """Users on whom the first has more."""
    losses: int
    ties: int


def bootstrap_interval(
    values: Values, *, level: float = LEVEL, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over users.

    Percentiles, since the mean of hundreds of values within [0, 1] is close to normal and what BCa corrects is then
    smaller than what the draws leave open.

    Args:
        values: one for each user, shape (n_users,), at least one.
        level: share of such intervals that hold the true mean, between 0 and 1.
        n_resamples: samples of n_users users, drawn with replacement.
        seed: of the draws.

    Returns:
        Lower and upper end. Of a single user, or of equal values, both are the mean.

    Raises:
        ValueError: without a value, or with one that is not finite.

    Source: Efron & Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.

    >>> bootstrap_interval(np.array([0.5, 0.5, 0.5]))
    (0.5, 0.5)
    """
    values = _checked(values)
    rng = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    for rows in _batches(n_resamples, len(values)):
        drawn = rng.integers(len(values), size=(rows.stop - rows.start, len(values)), dtype=np.int32)
        means[rows] = values[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_intervals(
    columns: NDArray[np.float64], *, level: float = LEVEL, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> list[tuple[float, float]]:
    """`bootstrap_interval` of every column from the same draws: users are drawn once, however many columns there are.

    Args:
        columns: shape (n_users, n_columns), finite, at least one user.
        level: as there.
        n_resamples: as there.
        seed: as there.
    """
    n_users = len(columns)
    rng = np.random.default_rng(seed)
    means = np.empty((n_resamples, columns.shape[1]))
    for rows in _batches(n_resamples, n_users):
        n_rows = rows.stop - rows.start
        drawn = rng.integers(n_users, size=(n_rows, n_users), dtype=np.int32)
        places = drawn + n_users * np.arange(n_rows)[:, None]
        times = np.bincount(places.ravel(), minlength=n_rows * n_users).reshape(n_rows, n_users)
        means[rows] = times.astype(np.float64) @ columns / n_users
    ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [(float(low), float(high)) for low, high in ends.T]


def sign_flip_p(differences: Values, *, n_flips: int = N_FLIPS, seed: int = 0) -> float:
    """Two-sided p of "the sign of each user's difference is a matter of chance", for the mean difference.

    Where there are no more than ``n_flips`` ways to flip, all of them are counted and p is exact; else
    ``(1 + flips with at least as large a mean) / (1 + n_flips)``, which is never 0.

    Args:
        differences: one for each user, shape (n_users,).
        n_flips: random flips.
        seed: of the draws.

    Source: Fisher's randomisation test, as Smucker, Allan & Carterette, "A comparison of statistical significance
    tests for information retrieval evaluation", CIKM 2007, recommend it.

    >>> sign_flip_p(np.array([0.1, 0.2, 0.3, 0.4]))  # of 16 ways to flip, 2 are as far from 0
    0.125
    """
    moved = np.abs(_checked(differences))
    observed = abs(float(np.sum(differences)))
    moved = moved[moved > 0]  # a flip changes nothing where the two are equal
    if not len(moved):
        return 1.0
    nearly = observed * (1 - 1e-12)  # equal sums may differ in the last digit
    if len(moved) <= np.log2(n_flips):
        ways = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float(np.mean(np.abs((2 * ways - 1) @ moved) >= nearly))
    rng = np.random.default_rng(seed)
    reached = 0
    for rows in _batches(n_flips, len(moved)):
        n_rows, n_bytes = rows.stop - rows.start, -(-len(moved) // 8)
        drawn = rng.integers(256, size=(n_rows, n_bytes), dtype=np.uint8)
        bits = np.unpackbits(drawn, axis=1, count=len(moved))  # a byte holds eight coins
        sums = 2.0 * (bits @ moved) - moved.sum()
        reached += int(np.count_nonzero(np.abs(sums) >= nearly))
    return (1 + reached) / (1 + n_flips)


def holm(p_values: Sequence[float], *, of: int | None = None) -> list[float]:
    """p corrected for their number: the chance of even one false alarm among all stays below the corrected value.

    The k-th smallest of m is multiplied by m - k + 1, and is never below the one before it.

    Args:
        p_values: those that are asked for.
        of: m, where they are some of more comparisons that could have been asked for; None for their own number. The
            k-th smallest of some is at least the k-th of all, so nothing falls below what Holm gives over all m.

    Raises:
        ValueError: if there are more of them than ``of``.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    m = len(p_values) if of is None else of
    if m < len(p_values):
        raise ValueError(f"{len(p_values)} p values, and corrected for {m}; expected at least as many")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (m - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def difference(first: Values, second: Values, *, seed: int = 0) -> Difference:
    """How the first model differs from the second on the same users.

    Args:
        first: of each user, shape (n_users,).
        second: the same users in the same order.
        seed: of the draws.

    Raises:
        ValueError: if the two are not equally long.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"{len(first)} values against {len(second)}; two models are compared on the same users only"
        )
    differences = _checked(np.asarray(first - second, dtype=np.float64))
    low, high = bootstrap_interval(differences, seed=seed)
    return Difference(
        mean=float(differences.mean()),
        low=low,
        high=high,
        p=sign_flip_p(differences, seed=seed),
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        ties=int((differences == 0).sum()),
    )


def against(
    reference: str, per_user: Mapping[str, Values], *, is_chosen_here: bool = True, seed: int = 0
) -> dict[str, Difference]:
    """Every other model less the reference, with corrected p.

    The best of equal models is above the others by chance, on the very users that judge it. Looking for the best and
    then testing it asks about every pair, so p is corrected for all pairs.

    Args:
        reference: the title of one of the models.
        per_user: title -> value of each user; the users are the same.
        is_chosen_here: whether these users chose the reference, as the best of all; False for one that was named
            before anybody looked, whose p are corrected for the number of the others alone.
        seed: of the draws.
    """
    found = {
        title: difference(values, per_user[reference], seed=seed)
        for title, values in per_user.items()
        if title != reference
    }
    corrected = holm(
        [each.p for each in found.values()], of=n_pairs(len(per_user)) if is_chosen_here else None
    )
    return {
        title: Difference(**vars(each) | {"p": p})
        for (title, each), p in zip(found.items(), corrected, strict=True)
    }


def n_pairs(n_models: int) -> int:
    """Comparisons of any two of so many models."""
    return n_models * (n_models - 1) // 2


def _checked(values: Values) -> Values:
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"expected one finite value for each user, got an array of shape {values.shape}")
    return values


def _batches(n_rows: int, width: int) -> Iterator[slice]:
    step = max(1, CELLS // width)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
