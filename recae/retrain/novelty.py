"""When there is something new: events that happened after all that the live model's run has read.

Late events, deleted users and other settings make no night by themselves. They are learned with the next new event, or by
force; a night that ends without a new model says so.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recae.retrain.reading import Reading
from recae.retrain_settings import RetrainSettings
from recae.runs import Run

LEARNING = frozenset(
    {
        *("model", "settings", "seed", "min_user_items", "min_item_users", "popular_days", "window_days"),
        *("event_weights", "other_weight", "half_life_days", "duplicates", "min_value"),
        *("validation_share", "warm_start", "refit"),
    }
)
"""Settings that a model follows from."""
LEARN_NOW = "`recae retrain --force` learns now"


@dataclass(frozen=True)
class HowMade:
    """What is known of how the live model was made."""

    watermark: int | None
    """Second of the newest event that its training has read."""
    created: datetime
    run: Run | None
    """The nightly run that made it; None if none did, or its record is gone."""
    first_met: int | None = None
    """Second of the newest event of the log when a nightly run first compared with it; None if none has yet."""

    @property
    def known_until(self) -> int:
        """Number of the last event that its run has read; 0 if that is not known."""
        return 0 if self.run is None else self.run.watermark or 0

    def learned_until(self, reading: Reading) -> tuple[int | None, str]:
        """Second of the newest event that it can have learned from, and what is to be said of it.

        A clock that was ahead, or one bad row, can have put that second into the future, and no event would be newer for as
        long. Then the newest event that its run has read counts; without such a run the newest of the log when a nightly run
        first met the model, so that what has come since is new, or the second in which it was stored if that is earlier.

        Returns:
            The second, None if the version does not say; a sentence, or nothing.
        """
        if self.watermark is None or self.watermark <= reading.now:
            return self.watermark, ""
        taken, what = reading.newest_known, "the newest event its run has read"
        if taken is None:
            met, stored = self.first_met, int(self.created.timestamp())
            taken, what = (
                reading.newest if met is None else met,
                "the newest event of the log when a run first met it",
            )
            if stored < taken:
                taken, what = stored, "the second in which it was stored"
        return taken, (
            f"the live model says it has learned from events up to second {self.watermark}, which lies in the future; "
            f"{taken}, {what}, is taken"
        )


def learning_of(settings: RetrainSettings) -> dict[str, Any]:
    """The settings that a model follows from, for the record."""
    return settings.model_dump(mode="json", include=set(LEARNING))


def nothing_new(made: HowMade, reading: Reading, learned_until: int, settings: RetrainSettings) -> str:
    """Why a night ends without a new model, and what has changed nonetheless."""
    counts = "that counts " if reading.newest > learned_until else ""
    told = f"no event {counts}is newer than what the live model has learned from"
    if made.run is None:
        return (
            f"{told}; it was made by no run on record, so whether older events or settings have changed is not known: "
            f"{LEARN_NOW}"
        )
    changes = _changes(
        made.run, reading, settings, "events that are older or do not count" if counts else "older events"
    )
    if not changes:
        return told
    return f"{told}; but since then {', '.join(changes)}: learned with the next new event; {LEARN_NOW}"


def _changes(run: Run, reading: Reading, settings: RetrainSettings, arrived: str) -> list[str]:
    """What is different from when the run read the log."""
    found = []
    n_arrived = reading.n_read - reading.n_known
    if n_arrived:
        found.append(f"{n_arrived:,} {arrived} have arrived")
    n_gone = run.figures_of("data").get("read", 0) - reading.n_known
    if n_gone > 0:
        found.append(f"{n_gone:,} events that it learned from are gone, with their users or by age")
    now = learning_of(settings)
    changed = sorted(
        name for name, value in now.items() if name in run.learning and run.learning[name] != value
    )
    if changed:
        found.append(f"settings have changed ({', '.join(changed)})")
    return found
