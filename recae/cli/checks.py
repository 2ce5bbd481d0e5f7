"""What `recae doctor` looks at beside the machine: whether models, log and runs are whole, and what to do if not."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from recae.artifacts import ModelStore
    from recae.config import Settings


class Finding(NamedTuple):
    """What one look found."""

    name: str
    ok: bool
    says: str
    """If it is not ok, with what to do."""


def findings(settings: "Settings") -> Iterator[Finding]:
    """Look at everything that the settings name. Nothing is made that is not there; a model's files are read whole."""
    from recae.artifacts import ModelStore

    store = ModelStore(settings.models)
    yield _home(settings.home)
    yield from _models(store, settings)
    yield _log(settings)
    yield _last_run(settings)
    yield _space(store, settings)


def state_of(home: Path) -> dict[str, Any]:
    """Where all state lies, and whether a command could write there; the folder need not exist yet."""
    folder, existing = home.absolute(), _existing(home)
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return {"path": str(folder), "exists": folder.exists(), "writable": writable}


def _home(home: Path) -> Finding:
    found = state_of(home)
    existence = "exists" if found["exists"] else "will be made when it is needed"
    is_writable = found["writable"]
    writable = "writable" if is_writable else "NOT writable: name another with RECAE_HOME"
    return Finding("home", is_writable, f"{found['path']} ({existence}, {writable})")


def _models(store: "ModelStore", settings: "Settings") -> Iterator[Finding]:
    from recae.errors import ArtifactError

    try:
        current = store.current()
        if current is None:
            yield Finding("model", True, "none is in service yet; `recae train` or `recae retrain` makes one")
        else:
            manifest = store.check(current)
            age = _age(manifest.created)
            yield Finding(
                "model", True, f"{current} is in service, all files as they were saved; made {age} ago"
            )
    except ArtifactError as error:
        yield Finding("model", False, str(error))
    for version in sorted(settings.named_versions):
        try:
            store.check(version)
        except ArtifactError as error:
            yield Finding("named model", False, f"the settings name {version}: {error}")
        else:
            yield Finding("named model", True, f"{version}, all files as they were saved")


def _log(settings: "Settings") -> Finding:
    from recae.data.eventlog import EventLog
    from recae.errors import RecaeError

    if settings.events is None and not (settings.home / "events.db").exists() and not _partitions(settings):
        return Finding("event log", True, "none yet; `recae ingest` makes one")
    try:
        with EventLog.open(settings, create=False) as log:
            problems = log.check_archive()
            if problems:
                return Finding("event log", False, problems[0] + _and_more(len(problems)))
            return Finding(
                "event log", True, f"{log.count():,} events in {log.database.url}, its archive is complete"
            )
    except (RecaeError, OSError) as error:
        return Finding("event log", False, str(error))


def _last_run(settings: "Settings") -> Finding:
    from recae.runs import RECORD, RunTable

    table = RunTable(settings.runs)
    run = next(table.newest_first(), None)
    if run is None:
        if any(table.root.glob(f"*/{RECORD}")):
            return Finding(
                "last run", False, f"no record in {table.root} can be read; remove the folder of each"
            )
        return Finding("last run", True, "none yet; `recae retrain` makes one")
    said = f"{run.run_id} began {_age(run.started)} ago: {run.status}" + (
        f", {run.message}" if run.message else ""
    )
    if run.status != "failed":
        return Finding("last run", True, said)
    served = next((each for each in islice(table.newest_first(), 1, None) if each.status == "promoted"), None)
    since = (
        f"the last one that promoted a model began {_age(served.started)} ago"
        if served
        else "none promoted a model"
    )
    return Finding("last run", False, f"{said}; {since}; mend it, then `recae retrain`")


def _space(store: "ModelStore", settings: "Settings") -> Finding:
    from recae.errors import ArtifactError
    from recae.retrain.upkeep import how_to_make_room, room_wanted

    try:
        live = store.current()
    except ArtifactError:  # said above
        live = None
    wanted = room_wanted(store, live)
    free = shutil.disk_usage(_existing(settings.home)).free
    says = f"{free / 2**20:,.0f} MB free, a nightly run may need {wanted / 2**20:,.0f} MB"
    if free >= wanted:
        return Finding("space", True, says)
    return Finding("space", False, f"{says}: {how_to_make_room(store, settings.named_versions)}")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    absolute = folder.absolute()
    return next(level for level in (absolute, *absolute.parents) if level.exists())


def _partitions(settings: "Settings") -> bool:
    return settings.events_archive.is_dir() and any(settings.events_archive.glob("*.parquet"))


def _and_more(n: int) -> str:
    return f"; and {n - 1:,} more" if n > 1 else ""


def _age(then: datetime) -> str:
    hours = (datetime.now(UTC) - then).total_seconds() / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
