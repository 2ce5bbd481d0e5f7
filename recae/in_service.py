"""Which version is in service, and how it came to be: two small files of the model store.

    <root>/current         the version in service, those before it, and every change
    <root>/current.copy    the same, for the day on which the first is damaged

A change writes the copy first, and is made by replacing `current`. Nothing is served by what the copy says: it is there
for the history, and for whoever puts a damaged store into order.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel

from recae import durable
from recae.errors import ArtifactError

CURRENT: Final = "current"
COPY: Final = "current.copy"
DAMAGED: Final = "current.damaged"
CHANGES_KEPT: Final = 1_000


class Change(BaseModel):
    """One change of the version in service."""

    at: AwareDatetime
    version: str
    """In service from then on."""
    how: Literal["promoted", "rolled back"]


class InService(BaseModel):
    """The version in service, and those before it, newest last; and how all of that came about.

    One file, so that a change and its record appear in the same instant.
    """

    version: str
    before: list[str] = []
    changes: list[Change] = []

    def changed(self, how: Literal["promoted", "rolled back"]) -> "InService":
        """The same with its last change written down."""
        change = Change(at=datetime.now(UTC), version=self.version, how=how)
        return self.model_copy(update={"changes": [*self.changes, change][-CHANGES_KEPT:]})


def read(root: Path) -> InService | None:
    """What is in service; None before the first promotion.

    Raises:
        ArtifactError: if the file is damaged.
    """
    path = root / CURRENT
    try:
        return InService.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} is damaged, so nothing tells which model is in service; see `recae models list`, and put one into "
            "service by `recae models promote VERSION`, which mends the file"
        ) from error


def last_known(root: Path) -> InService | None:
    """As :func:`read`, or if the file is damaged what its copy says; None if neither can be read."""
    try:
        return read(root)
    except ArtifactError:
        try:
            return InService.model_validate_json((root / COPY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def write(root: Path, now: InService) -> None:
    """Change what is in service, in one step. A file that is damaged and has no copy is set aside, not lost."""
    path = root / CURRENT
    if path.exists() and last_known(root) is None:
        aside = root / f"{DAMAGED}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        os.link(path, aside)  # it stays until the one step that replaces it
        durable.sync(root)
    text = now.model_dump_json() + "\n"
    durable.write_file(root / COPY, text)
    durable.write_file(path, text)
