"""Day after day: what the models in service suggest is compared with what users then take, and then the night comes.

Four habits live side by side on the same log: nightly and weekly retraining, none after the first, and the oracle,
which refits from scratch every night and asks no gate. The first three go through `recae.retrain`, each in a home of
its own.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recae.artifacts import ModelStore
from recae.config import Settings
from recae.data.eventlog import EventLog
from recae.data.eventlog.ingest import ingest
from recae.data.holdout import Holdout, pattern
from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.specs import MetricSpec
from recae.models import create
from recae.models.fitting import fit_to_everything
from recae.progress import bar
from recae.recommender import Recommender
from recae.retrain.contenders import judge
from recae.retrain.nightly import retrain
from recae.runs import Run
from recae.simulation.world import DAY_S, Day, garbage

HABITS = ("nightly", "weekly", "never", "oracle")
WEEK = 7
WARM_UP = 14
"""Days before the first model."""


@dataclass
class Year:
    """What a simulation found."""

    metric: str
    values: dict[str, dict[int, float]] = field(default_factory=lambda: {habit: {} for habit in HABITS})
    """Habit -> day -> value of what it suggested for that day."""
    nights: dict[int, str] = field(default_factory=dict)
    """Day -> how the nightly run after it ended."""
    messages: dict[int, str] = field(default_factory=dict)
    """Day -> why, where the gate refused."""
    poisoned: tuple[int, ...] = ()
    n_events: int = 0

    def mean(self, habit: str) -> float:
        """Over all days, without those of garbage."""
        kept = [value for number, value in self.values[habit].items() if number not in self.poisoned]
        return float(np.mean(kept)) if kept else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """For a file."""
        return {
            "metric": self.metric,
            "n_events": self.n_events,
            "poisoned": list(self.poisoned),
            "means": {habit: self.mean(habit) for habit in HABITS},
            "values": self.values,
            "nights": self.nights,
            "refusals": self.messages,
        }


def simulate(
    days: Sequence[Day],
    folder: Path,
    settings: Settings,
    *,
    poisoned: Iterable[int] = (),
    poison_times: int = 1,
    show_progress: bool = True,
    seen: Callable[[int, Year], None] = lambda _number, _year: None,
) -> Year:
    """Live through the days.

    Args:
        days: events of each.
        folder: for the log and the homes; what an earlier simulation left there is removed.
        settings: model, gate and whatever else ``retrain`` says.
        poisoned: numbers of days on which garbage comes in place of events.
        poison_times: how many times as many events come then.
        show_progress: show a bar over the days.
        seen: told after each day.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    metric = MetricSpec.parse(settings.retrain.gate.metric)
    year = Year(str(metric), poisoned=tuple(poisoned))
    users, items = (
        IdMap(dict.fromkeys(str(e[name]) for day in days for e in day)) for name in ("user_id", "item_id")
    )
    past = _Past(users, items)
    homes = {habit: _home(settings, folder, habit) for habit in HABITS[:-1]}
    oracle: Recommender | None = None
    with bar("simulating", len(days), show=show_progress) as running:
        for number, clean in enumerate(days):
            day = garbage(clean, number, times=poison_times) if number in year.poisoned else clean
            if number >= WARM_UP and clean:
                serving = {habit: _serving(home) for habit, home in homes.items()} | {"oracle": oracle}
                holdout, facts = past.asked(clean), ItemFacts(past.matrix)
                for habit, recommender in serving.items():
                    if recommender is not None and holdout is not None:
                        year.values[habit][number] = judge(recommender, holdout, items, facts, metric).mean
            _ingest(day, homes["nightly"], folder)
            past.add(day)
            year.n_events += len(day)
            if number >= WARM_UP - 1:
                runs = _night(number, homes)
                year.nights[number] = runs["nightly"].status
                if runs["nightly"].status == "refused":
                    year.messages[number] = runs["nightly"].message
                oracle = _refitted(past, settings)
            running.advance()
            running.note(
                ", ".join(f"{habit} {year.mean(habit):.3f}" for habit in HABITS if year.values[habit])
            )
            seen(number, year)
    return year


class _Past:
    """All that users have taken so far, in the vocabulary of the whole simulation."""

    def __init__(self, users: IdMap, items: IdMap) -> None:
        self.users, self.items = users, items
        self.matrix = self._of([])
        """Ones, shape (n_users, n_items)."""

    def add(self, day: Day) -> None:
        """Remember a day."""
        self.matrix = pattern(csr_array(self.matrix + self._of(day)))

    def asked(self, day: Day) -> Holdout | None:
        """What users with a history took that day and did not have."""
        taken = self._of(day)
        new = csr_array(taken - taken.multiply(self.matrix))
        new.eliminate_zeros()
        rows = np.flatnonzero((np.diff(new.indptr) > 0) & (np.diff(self.matrix.indptr) > 0))
        if not len(rows):
            return None
        histories = self.matrix[rows]
        return Holdout(histories, new[rows], IdMap(self.users.ids[rows]), histories)

    def interactions(self) -> Interactions:
        """Everything, with only the items that somebody has."""
        whole = Interactions(self.matrix, self.users, self.items)
        taken = np.flatnonzero(np.bincount(whole.matrix.indices, minlength=len(self.items)))
        return whole.restrict_items(taken)

    def _of(self, day: Day) -> csr_array:
        """One day's events as ones, whatever their number."""
        rows = self.users.find(str(event["user_id"]) for event in day)
        columns = self.items.find(str(event["item_id"]) for event in day)
        return Interactions.from_positions(
            rows, columns, users=self.users, items=self.items, duplicates="last"
        ).matrix


def _home(settings: Settings, folder: Path, habit: str) -> Settings:
    """A home of its own, and the one log."""
    changed = {
        "home": folder / habit,
        "events": f"sqlite:///{folder / 'events.db'}",
        "max_clock_skew_s": 1e12,
    }
    return settings.model_copy(update=changed)


def _ingest(day: Day, where: Settings, folder: Path) -> None:
    if not day:
        return
    path = folder / "day.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in day))
    with EventLog.open(where) as log:
        ingest(log, path, format_="jsonl")


def _night(number: int, homes: dict[str, Settings]) -> dict[str, Run]:
    """The nightly runs of this night: all habits make a first model."""
    first = number == WARM_UP - 1
    with EventLog.open(homes["nightly"]) as log:
        end_s = float(log.stats().last_timestamp or 0)
    clock = (end_s // DAY_S + 1) * DAY_S
    due = [
        habit
        for habit in homes
        if first or habit == "nightly" or (habit == "weekly" and (number - WARM_UP + 1) % WEEK == 0)
    ]
    return {habit: retrain(homes[habit], show_progress=False, clock=lambda: clock) for habit in due}


def _serving(where: Settings) -> Recommender | None:
    """The version in service, loaded as a server would."""
    store = ModelStore(where.models)
    return None if store.current() is None else store.load().recommender()


def _refitted(past: _Past, settings: Settings) -> Recommender:
    """The oracle: everything learned anew, and served unasked."""
    known = past.interactions()
    model = create(settings.retrain.model, **settings.retrain.settings)
    fitted = fit_to_everything(model, known, show_progress=False)
    return Recommender(fitted, known.items)
