"""What probes, versions and evaluations look like."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime

from recae.api.schemas import INT64, Answer


class Live(Answer):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(Answer):
    """The process can recommend."""

    status: Literal["ready"] = "ready"
    model_version: str
    problem: str | None
    """Why a newer model could not be loaded, if so; the one named here goes on serving."""


class Version(Answer):
    """A stored model."""

    version: str
    model: str
    """Name of its class in the registry of models."""
    current: bool
    """Whether it is in service."""
    names: list[str]
    """Further names that requests may use for it."""
    created: AwareDatetime
    n_users: int
    n_items: int
    watermark: Annotated[int | None, INT64]
    """Time of the newest event it learned from, in seconds since 1970. The `watermark` of a run is the number of an event."""
    config: dict[str, Any]
    metrics: dict[str, Any]
    """What it reached on held-out data."""


class VersionList(Answer):
    """All stored models, oldest first."""

    current: str | None
    """The version in service; a promotion reaches every worker within a second or so."""
    previous: str | None = None
    """The version that a rollback would bring back; null if there is none."""
    problem: str | None = None
    """Why nothing tells which version is in service, if so: its file is damaged, and a promotion mends it."""
    versions: list[Version]


class Promoted(Answer):
    """A change of the version in service; every worker follows within a second or so."""

    model_version: str
    """In service from now on."""
    replaced: str | None
    """In service before."""


class LatestEvaluation(Answer):
    """The newest offline evaluation this server knows of."""

    source: Literal["evaluation", "version"]
    """A results.json in the home folder, or the metrics stored with the version in service."""
    name: str
    """The folder of the results, or the version."""
    created: AwareDatetime
    results: dict[str, Any]
    """As in results.json; of a version, its metrics."""
    report: str | None = None
    """Path of the same as a page with plots, if `recae evaluate` has written one beside."""
