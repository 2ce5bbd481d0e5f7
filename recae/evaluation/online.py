"""What an experiment with users found: rates of each variant, with intervals that know who counted how often."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

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
    """Of the rate; NaN for a single user."""
    interval: tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """A variant's rate minus that of the first variant."""

    variant: str
    against: str
    difference: float
    interval: tuple[float, float]


def rates_of(outcomes: Iterable[UserOutcome]) -> list[VariantRates]:
    """Rates by variant, in the order of their names.

    A rate is a ratio of two sums over users, who decide for themselves and not for each recommendation anew. So the
    standard error is that of the ratio estimator over users: with residuals ``r_u = followed_u - rate n_u``,
    ``sqrt(U / (U - 1) sum r_u^2) / sum n_u``.

    Source: Deng, Knoblich & Lu, "Applying the delta method in metric analytics", KDD 2018.
    """
    by_variant: dict[str, list[UserOutcome]] = {}
    for outcome in outcomes:
        by_variant.setdefault(outcome.variant, []).append(outcome)
    return [_rates(variant, by_variant[variant]) for variant in sorted(by_variant)]


def differences(rates: list[VariantRates]) -> list[Difference]:
    """Every further variant against the first one."""
    found = []
    for other in rates[1:]:
        difference = other.rate - rates[0].rate
        margin = Z * float(np.hypot(other.standard_error, rates[0].standard_error))
        interval = (difference - margin, difference + margin)
        found.append(Difference(other.variant, rates[0].variant, difference, interval))
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
        (max(0.0, rate - Z * error), min(1.0, rate + Z * error)),
    )
