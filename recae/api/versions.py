"""Stored models: which there are, and which one serves; and the latest evaluation."""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Blueprint, Response

from recae.api.context import state
from recae.api.errors import ApiError
from recae.api.operation_schemas import LatestEvaluation, Promoted, Version, VersionList
from recae.api.spec import documented
from recae.artifacts import ModelStore
from recae.errors import ArtifactError

bp = Blueprint("versions", __name__, url_prefix="/v1")

RESULTS = ("evaluation/**/results.json", "evaluations/**/results.json")
REPORT = "results.html"
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
)
"""The page is one file with its style and plots inside, and without a script: none is run, whatever titles it shows."""


@bp.get("/models")
@documented("list_models", tag="models", ok=VersionList)
def list_models() -> VersionList:
    """All stored versions, oldest first, with what each reached on held-out data."""
    store = _store()
    current, previous, problem = None, None, None
    try:
        current, previous = store.current(), store.previous()
        if current is not None:
            store.manifest(current)
    except ArtifactError as error:  # the list is what one needs to mend it
        problem = str(error)
    names = state().settings.named_models
    versions = []
    for name in store.versions():
        try:
            manifest = store.manifest(name)
        except ArtifactError:  # one damaged version does not hide the others
            continue
        versions.append(
            Version(
                **manifest.model_dump(
                    include={
                        "version",
                        "model",
                        "created",
                        "n_users",
                        "n_items",
                        "watermark",
                        "config",
                        "metrics",
                    }
                ),
                current=name == current,
                names=sorted(called for called, version in names.items() if version == name),
            )
        )
    return VersionList(current=current, previous=previous, problem=problem, versions=versions)


@bp.post("/models/<version>/promote")
@documented("promote_model", tag="models", ok=Promoted, errors=(404, 409))
def promote_model(version: str) -> Promoted:
    """Serve a stored version from now on; every worker follows within a second, plus the time to read the model."""
    store = _store()
    if version not in store.versions():
        message = f"there is no version {version!r}; see GET /v1/models"
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_model", message, "version")
    try:
        replaced = store.promote(version)
    except ArtifactError as error:
        raise _refused(error) from error
    return Promoted(model_version=version, replaced=replaced)


@bp.post("/models/rollback")
@documented("rollback_model", tag="models", ok=Promoted, errors=(409,))
def rollback_model() -> Promoted:
    """Serve the version again that was in service before the current one."""
    store = _store()
    try:
        replaced = store.current()
        return Promoted(model_version=store.rollback(), replaced=replaced)
    except ArtifactError as error:
        raise _refused(error) from error


@bp.get("/evaluation/latest")
@documented("latest_evaluation", tag="models", ok=LatestEvaluation, errors=(404, 503))
def latest_evaluation() -> LatestEvaluation:
    """The newest results.json in the home folder, or the metrics stored with the version in service."""
    found = _newest()
    if found is not None:
        file, results = found
        return LatestEvaluation(
            source="evaluation",
            name=str(file.parent.relative_to(state().settings.home)),
            created=datetime.fromtimestamp(_written(file), UTC),
            results=results,
            report="/v1/evaluation/latest/report" if file.with_name(REPORT).is_file() else None,
        )
    store = _store()
    current = store.current()
    if current is not None:
        manifest = store.manifest(current)
        if manifest.metrics:
            return LatestEvaluation(
                source="version", name=current, created=manifest.created, results=manifest.metrics
            )
    message = (
        "no evaluation was stored yet; run `recae evaluate PROTOCOL --output HOME/evaluation/NAME`, "
        "or train a version with metrics"
    )
    raise ApiError(HTTPStatus.NOT_FOUND, "no_evaluation", message)


@bp.get("/evaluation/latest/report")
def latest_report() -> Response:
    """The page that `recae evaluate` wrote beside the newest results."""
    found = _newest()
    try:
        page = found[0].with_name(REPORT).read_bytes() if found else None
    except FileNotFoundError:
        page = None
    if page is None:
        message = f"there is no {REPORT} beside the latest evaluation; `recae evaluate PROTOCOL --output FOLDER` writes it"
        raise ApiError(HTTPStatus.NOT_FOUND, "no_evaluation", message)
    response = Response(page, mimetype="text/html")
    response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response


def _newest() -> tuple[Path, dict[str, Any]] | None:
    """The newest file of results in the home folder, and what it holds."""
    home = state().settings.home
    files = (file for pattern in RESULTS for file in home.glob(pattern))
    for file in sorted(files, key=_written, reverse=True):
        results = _read(file)
        if results is not None:
            return file, results
    return None


def _written(file: Path) -> float:
    """When a file was written, in seconds since 1970; 0 if it is gone since it was found."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _store() -> ModelStore:
    return ModelStore(state().settings.models)


def _refused(error: ArtifactError) -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, "not_promoted", str(error))


def _read(file: Path) -> dict[str, Any] | None:
    """The results of a file; None for one that is being written, damaged or no results."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
