"""What an operator sets for the nightly run: the table ``[retrain]`` of `recae.toml`."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator

from recae.history_rule import HistoryRule

Status = Literal["promoted", "refused", "unchanged", "failed"]
"""How a run can end."""
Told = Literal["promoted", "refused", "unchanged", "failed", "interrupted"]
"""What can be told of a run: its end, or that it was killed, which the next run finds."""


class Section(BaseModel):
    """A table of settings: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GateSettings(Section):
    """When a candidate may take the live model's place."""

    metric: str = "ndcg@20"
    """What is compared, user by user: any metric of lists with a cut-off."""
    margin: float = Field(default=0.02, ge=0, lt=1)
    """How much worse the candidate may be, as a share of the live model's value: what is called as good."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Level of the bootstrap interval whose lower end must stay above the margin."""
    min_users: PositiveInt = 20
    """Fewest users with new events to judge on; where ``holdout_share`` gives fewer, more is held out."""
    coverage_ratio: tuple[PositiveFloat, PositiveFloat] = (0.5, 4.0)
    """Share of the catalogue in the candidate's lists, as a multiple of the live model's: lowest and highest."""
    volume_ratio: tuple[float, PositiveFloat] = (0.2, 5.0)
    """New events a day, as a multiple of the median of the last runs: lowest and highest."""
    max_unknown_share: float = Field(default=0.5, ge=0, le=1)
    """Most of the new events that may be of items nobody had before."""
    unknown_excess: float = Field(default=0.2, ge=0, le=1)
    """How far that share may lie above its median in the last runs."""
    max_quarantined_share: float = Field(default=0.05, ge=0, le=1)
    """Most of the rows ingested since the last run that may have been unreadable, and most of the events that may be of types
    which ``event_weights`` does not name: they are left out."""
    quarantined_excess: float = Field(default=0.02, ge=0, le=1)
    """How far that share may lie above its median in the last runs."""
    min_live_ratio: float = Field(default=0.5, ge=0, le=1)
    """How far the live model's own value may fall, as a share of its median in the last runs. A model that was right
    for weeks and is wrong overnight has met other events, not other tastes."""

    @field_validator("coverage_ratio", "volume_ratio")
    @classmethod
    def _lowest_first(cls, ratio: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= ratio[0] <= ratio[1]:
            raise ValueError("expected the lowest, 0 or more, and then the highest")
        return ratio


class NotifySettings(Section):
    """Who is told how a run ended."""

    command: str | None = None
    """Program with its arguments, split as a shell would, run without one; it gets the run as JSON on standard input.
    What needs a shell is ``sh -c '...'``."""
    webhook: str | None = None
    """URL that the run is posted to as JSON."""
    on: tuple[Told, ...] = ("promoted", "refused", "failed")
    """Ends that are told; "interrupted" is told by the run that finds it."""
    timeout_s: PositiveFloat = 30.0
    """How long to wait for either."""

    @field_validator("webhook")
    @classmethod
    def _is_http(cls, webhook: str | None) -> str | None:
        if webhook is not None and not webhook.startswith(("http://", "https://")):
            raise ValueError("expected a URL that starts with http:// or https://")
        if webhook is not None and not _names_a_host(webhook):
            raise ValueError("expected http:// or https://, a host, a port up to 65535 if any, and no spaces")
        return webhook


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port or 1) > 0 and url.isprintable() and " " not in url
    except ValueError:  # of the port
        return False


class RetrainSettings(HistoryRule):
    """What is learned each night, from which events, and how it is judged."""

    model: str = "ease"
    """Name of the model."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The model's settings, by name."""
    seed: int = Field(default=0, ge=0)
    """Of what is held out, and of the draws of the gate."""

    min_user_items: int = Field(default=1, ge=0)
    """Fewest items of a user to learn from."""
    min_item_users: int = Field(default=1, ge=0)
    """Fewest users of an item to recommend it."""
    popular_days: PositiveFloat | None = 30
    """Whom nothing is known of is recommended what most users had in so many days before the newest event; None for all days."""
    window_days: PositiveFloat | None = None
    """Learn from events of so many days before the newest; None for all. The candidate that is judged learns from as many days
    before those that are held out."""

    holdout_share: float = Field(default=0.1, gt=0, lt=1)
    """Most of the events, the newest, that may be held out to judge on; up to half where fewer than ``gate.min_users`` users
    could be judged on these. Never one that the live model has learned from."""
    max_holdout_users: PositiveInt = 20_000
    """Most users to judge on; more are drawn at random."""
    validation_share: float = Field(default=0.1, ge=0, le=0.5)
    """Users held out of what is left, to find the number of epochs."""
    warm_start: bool = True
    """Train on from the live model, where its kind allows."""
    refit: bool = True
    """Once the gate has opened, learn from the events that were held out too."""
    als_trials: int = Field(default=4, ge=0)
    """Settings that matrix factorisation, the yardstick, is tuned over; 0 leaves it out."""

    keep_versions: PositiveInt = 10
    """Stored versions that stay, beside the live one and the one before it; older ones go with every run."""
    keep_runs: PositiveInt = 400
    """Records of runs that stay."""
    resume_hours: float = Field(default=36.0, ge=0)
    """How long a run that was killed can be gone on with; after that the next one starts anew. More than a day, so that the
    next night still can."""
    retry_s: float = Field(default=600.0, ge=0)
    """How long to try again while the database cannot be reached, in seconds."""

    gate: GateSettings = GateSettings()
    notify: NotifySettings = NotifySettings()
