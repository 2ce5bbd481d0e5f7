"""What an experiment with users found: rates of each variant, with intervals that know who counted how often."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recae.data.eventlog.served import UserOutcome

Z = 1.959964
"""For intervals of 95 %."""


@dataclass(frozen=True)
class VariantRates:
    """One variant of an experiment."""

    variant: str
    n_users: int
    n_recommendations: int
    n_events: int
    value: float
    """Sum of the events' values."""
    rate: float
    """Share of recommendations that an event names."""
    standard_error: float
    """Of the rate, as its users' differences show it; NaN for a single user."""
    interval: tuple[float, float]
    """Of 95 %, for the rate; both ends NaN for a single user."""


@dataclass(frozen=True)
class Difference:
    """A variant's rate minus that of the first variant."""

    variant: str
    against: str
    difference: float
    interval: tuple[float, float]
    """Of 95 %; both ends NaN where either variant has a single user."""


def rates_of(outcomes: Iterable[UserOutcome]) -> list[VariantRates]:
    """Rates by variant, in the order of their names.

    A rate is a ratio of two sums over users, who decide for themselves and not for each recommendation anew. So the
    standard error is that of the ratio estimator over users: with residuals ``r_u = followed_u - rate n_u``,
    ``sqrt(U / (U - 1) sum r_u^2) / sum n_u``.

    The interval is Wilson's, of as many independent recommendations as would have that error. Unlike one of ``Z`` standard
    errors it stays within 0 and 1 and has a width where nobody followed, or everybody: where users do not differ, the
    error of 0 says nothing. There each user's recommendations count as one, followed together or not at all; and nowhere
    do recommendations count for more than their number.

    Source: Deng, Knoblich & Lu, "Applying the delta method in metric analytics", KDD 2018, for the error; Wilson,
    "Probable inference, the law of succession, and statistical inference", JASA 1927, for the interval; Franco, Little,
    Louis & Slud, "Comparative study of confidence intervals for proportions in complex sample surveys", JSSAM 2019, for the
    effective number in it; Kish, "Survey Sampling", 1965, for that number where all of a user's answers are alike.
    """
    by_variant: dict[str, list[UserOutcome]] = {}
    for outcome in outcomes:
        by_variant.setdefault(outcome.variant, []).append(outcome)
    return [_rates(variant, by_variant[variant]) for variant in sorted(by_variant)]


def differences(rates: list[VariantRates]) -> list[Difference]:
    """Every further variant against the first one.

    The interval is made of those of the two rates, each end of the ends that are farthest apart: it has a width where a
    rate is 0, too.

    Source: Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
    methods", Statistics in Medicine 1998, method 10; with the effective numbers of :func:`rates_of`.
    """
    found = []
    first = rates[0]
    for other in rates[1:]:
        difference = other.rate - first.rate
        below = np.hypot(other.rate - other.interval[0], first.interval[1] - first.rate)
        above = np.hypot(other.interval[1] - other.rate, first.rate - first.interval[0])
        interval = (difference - float(below), difference + float(above))
        found.append(Difference(other.variant, first.variant, difference, interval))
    return found


def _rates(variant: str, outcomes: list[UserOutcome]) -> VariantRates:
    n = np.array([outcome.n_recommendations for outcome in outcomes], dtype=np.float64)
    followed = np.array([outcome.n_followed for outcome in outcomes], dtype=np.float64)
    rate = float(followed.sum() / n.sum())
    error = float("nan")
    if len(outcomes) > 1:
        residuals = followed - rate * n
        error = float(np.sqrt(len(n) / (len(n) - 1) * (residuals**2).sum()) / n.sum())
    return VariantRates(
        variant,
        len(outcomes),
        int(n.sum()),
        sum(outcome.n_events for outcome in outcomes),
        sum(outcome.value for outcome in outcomes),
        rate,
        error,
        _wilson(rate, _effective(rate, error, n)),
    )


def _effective(rate: float, error: float, n: NDArray[np.float64]) -> float:
    """How many independent recommendations tell as much as those of the users, ``n`` of each; NaN for a single user.

    With a recommendation a user it is their number, whatever the rate.
    """
    if len(n) < 2:
        return float("nan")
    total = float(n.sum())
    if rate in (0.0, 1.0):
        return total**2 / float((n**2).sum())
    if error == 0.0:
        return total
    return min(total, total / (total - 1.0) * rate * (1.0 - rate) / error**2)


def _wilson(rate: float, n: float) -> tuple[float, float]:
    """The rates that are less than ``Z`` of their own standard errors away from the one that ``n`` trials had."""
    shrunk = Z**2 / n
    centre = (rate + shrunk / 2) / (1 + shrunk)
    margin = Z * float(np.sqrt(rate * (1 - rate) / n + shrunk / (4 * n))) / (1 + shrunk)
    # Exact where rounding would leave 1e-19 in place of 0.
    low = 0.0 if rate == 0.0 else centre - margin
    high = 1.0 if rate == 1.0 else centre + margin
    return (float("nan"), float("nan")) if np.isnan(n) else (low, high)
