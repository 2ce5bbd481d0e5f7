"""A log that grows from night to night: groups of users with tastes of their own, drawn with a seed."""

import numpy as np

from recae.config import Settings
from recae.data.eventlog import Event, EventLog
from recae.retrain.nightly import retrain

DAY = 86_400
START = 1_700_000_000
N_USERS, N_GROUPS, ITEMS_A_GROUP = 120, 4, 15

CONFIG = """
max_clock_skew_s = 1e12
[retrain]
als_trials = 0
settings = { l2 = 10.0 }
[retrain.gate]
min_users = 5
"""
"""The same as a file."""


def settings(home, **retrain):
    quick = {"als_trials": 1, "retry_s": 0.0, "settings": {"l2": 10.0}, "gate": {"min_users": 5}}
    return Settings(home=home, retrain=quick | retrain, max_clock_skew_s=1e12)


def day(number, *, n=150, seed=0):
    """Events of one day: most users take what their group likes, as popular within it as its place says."""
    rng = np.random.default_rng([seed, number])
    chances = 1 / np.arange(1, ITEMS_A_GROUP + 1)
    events = []
    for place in range(n):
        user = int(rng.integers(N_USERS))
        item = int(rng.choice(ITEMS_A_GROUP, p=chances / chances.sum()))
        events.append(
            Event(
                f"u{user}",
                f"g{user % N_GROUPS}-{item}",
                timestamp=START + number * DAY + place * (DAY // (n + 1)),
                event_id=f"d{number}-{place}",
            )
        )
    return events


def garbage(number, *, n=150, seed=1):
    """A day on which everybody takes anything: nothing of it can be predicted."""
    rng = np.random.default_rng([seed, number])
    return [
        Event(
            f"u{int(rng.integers(N_USERS))}",
            f"g{int(rng.integers(N_GROUPS))}-{int(rng.integers(ITEMS_A_GROUP))}",
            timestamp=START + number * DAY + place * (DAY // (n + 1)),
            event_id=f"garbage{number}-{place}",
        )
        for place in range(n)
    ]


def append(where, events):
    with EventLog.open(where) as log:
        return log.append(events)


def evening(number):
    """The clock of a run after day ``number``."""
    return lambda: START + (number + 1) * DAY


def night(where, number, **options):
    """The run after day ``number``."""
    return retrain(where, show_progress=False, clock=evening(number), **options)


def eight_days(where):
    for number in range(8):
        append(where, day(number))
    return where


def begun(where):
    """Eight days, and a model in service."""
    assert night(eight_days(where), 7).status == "promoted"
    return where
