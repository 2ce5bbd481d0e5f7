"""The manifest of a stored model: what it is, where it comes from, and what each of its files must hold."""

import json
from pathlib import Path
from typing import Any, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

import recae
from recae import durable
from recae.errors import ArtifactError
from recae.forgetting import LogPosition
from recae.history_rule import NEWEST_COUNTS, HistoryRule

FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"


class StoredFile(BaseModel):
    """What a file must be."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int
    """In bytes."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """What the file at ``path`` is now."""
        return cls(sha256=durable.sha256_of(path), size=path.stat().st_size)


class Manifest(BaseModel):
    """What a stored version is and where it comes from."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    format_version: int = FORMAT_VERSION
    version: str
    model: str
    """Name in the registry of models."""
    config: dict[str, Any]
    code_version: str = recae.__version__
    created: AwareDatetime
    n_users: int
    n_items: int
    watermark: int | None = None
    """Time of the newest event that its training read, in seconds since 1970 (UTC); what is newer is new to it."""
    metrics: dict[str, Any] = {}
    """What it reached on held-out data."""
    measured: dict[str, float] = {}
    """What the fit measured of the model, such as how sparse it came out; empty where a model measures nothing."""
    history: HistoryRule = NEWEST_COUNTS
    """How the rows it learned from were made of events; histories to recommend from are made likewise."""
    learned_from: LogPosition | None = None
    """Up to where of which event log it has learned, by which deletions of users are later or earlier; None for a model of
    something else, and of an older recae."""
    files: dict[str, StoredFile]

    def write(self, folder: Path) -> None:
        """Write it into a version's folder."""
        (folder / MANIFEST).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it from a version's folder.

        Raises:
            ArtifactError: if it is missing, damaged, or of another format.
        """
        path = folder / MANIFEST
        try:
            data = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ArtifactError(
                f"{path} cannot be read: {error}; promote another version, or train again"
            ) from error
        if data.get("format_version") != FORMAT_VERSION:
            raise ArtifactError(
                f"{path} has the format version {data.get('format_version')!r}, recae {recae.__version__} reads "
                f"{FORMAT_VERSION}; train again, or serve it with the recae that wrote it"
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, found["loc"])) for found in error.errors())
            raise ArtifactError(
                f"{path} is damaged at {wrong}; promote another version, or train again"
            ) from error

    def verify(self, folder: Path) -> None:
        """Compare every file of ``folder`` with what was saved.

        Raises:
            ArtifactError: naming the file that is missing or differs.
        """
        for name, expected in self.files.items():
            path = folder / name
            if not path.is_file():
                raise ArtifactError(f"{path} is missing; promote another version, or train again")
            found = StoredFile.of(path)
            if found != expected:
                raise ArtifactError(
                    f"{path} is not what was saved: expected {expected.size:,} bytes with sha256 "
                    f"{expected.sha256[:12]}..., found {found.size:,} with {found.sha256[:12]}...; "
                    "promote another version, or train again"
                )
