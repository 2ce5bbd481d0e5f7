"""What nightly runs look like."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from recae.api.schemas import INT64, Answer, Figure, Request


class RunsQuery(Request):
    """Query of the runs."""

    n: int = Field(20, ge=1, le=1_000)
    """How many, newest first."""


class Begun(Answer):
    """A run that has begun, or goes on."""

    run_id: str


class StepAnswer(Answer):
    """One step of a run."""

    name: str
    status: Literal["running", "done", "failed"]
    started: AwareDatetime
    seconds: float
    figures: dict[str, Any]
    """What it found: counts, values, settings."""
    message: str | None
    """Why it failed."""


class VerdictAnswer(Answer):
    """What one rule of the gate says."""

    rule: str
    passed: bool
    message: str
    """The numbers, in a sentence."""
    figures: dict[str, Figure]
    forced: bool
    """Whether the candidate went on although the rule refused it."""


class RunAnswer(Answer):
    """The record of one run."""

    run_id: str
    status: Literal["running", "promoted", "refused", "unchanged", "failed", "interrupted"]
    message: str
    """How it ended, in a sentence."""
    started: AwareDatetime
    finished: AwareDatetime | None
    seconds: float
    """Of all steps together."""
    forced: bool
    interruptions: int
    """How often it was killed and gone on with."""
    live_version: str | None
    """Version in service when it started."""
    version: str | None
    """Version it stored."""
    watermark: Annotated[int | None, INT64]
    """Number of the last event it reads, in the order of arrival. The `watermark` of a model is a time."""
    steps: list[StepAnswer]
    gate: list[VerdictAnswer]
    metrics: dict[str, dict[str, float]]
    """Contender -> metric -> value on the held-out events."""
    drift: dict[str, Figure]
    """How the new events differ from those before."""


class RunList(Answer):
    """Runs, newest first."""

    runs: list[RunAnswer]
