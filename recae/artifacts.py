"""ModelStore: trained models on disk, versioned, hashed, without pickle.

    <root>/current                   which version is served, and which were before it; see in_service.py
    <root>/<version>/manifest.json   what it is, with the hash of every other file
                     weights.safetensors
                     items.parquet           ids of the columns, with titles and categories
                     users.parquet           ids of the rows, if they were given
                     popularity.parquet      users of each item lately, if they were given

A version never changes after it appears. A crash at any instruction leaves the store readable and the version
in service as it was; two writers at once do not disturb each other. To list versions and to switch between them takes
no library that computes: those are imported where a model is read.
"""

import re
import shutil
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from recae import durable, in_service
from recae.data.catalogue import Catalogue
from recae.data.idmap import IdMap
from recae.errors import ArtifactError, name_some
from recae.forgetting import LogPosition
from recae.history_rule import NEWEST_COUNTS, HistoryRule
from recae.in_service import CURRENT, Change, InService
from recae.manifest import MANIFEST, Manifest, StoredFile

if TYPE_CHECKING:
    from recae.models.base import Model
    from recae.models.ranking import Scores
    from recae.recommender import Recommender

WEIGHTS: Final = "weights.safetensors"
ITEMS: Final = "items.parquet"
USERS: Final = "users.parquet"
POPULARITY: Final = "popularity.parquet"


@dataclass(frozen=True)
class StoredModel:
    """A version, read and checked."""

    version: str
    model: "Model"
    items: IdMap
    users: IdMap | None
    catalogue: Catalogue
    manifest: Manifest
    lately: "Scores | None" = None
    """Users of each item lately, shape (n_items,)."""

    def recommender(self) -> "Recommender":
        """The version, ready to recommend as it was trained to."""
        from recae.recommender import Recommender

        return Recommender(
            self.model,
            self.items,
            users=self.users,
            catalogue=self.catalogue,
            version=self.version,
            history_rule=self.manifest.history,
            lately=self.lately,
            learned_from=self.manifest.learned_from,
        )


class ModelStore:
    """All stored versions under one folder, which the first `save` makes."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def save(
        self,
        model: "Model",
        items: IdMap,
        *,
        users: IdMap | None = None,
        catalogue: Catalogue | None = None,
        metrics: Mapping[str, Any] | None = None,
        watermark: int | None = None,
        history: HistoryRule = NEWEST_COUNTS,
        lately: "Scores | None" = None,
        learned_from: LogPosition | None = None,
    ) -> str:
        """Store a fitted model as a new version, and return its name; `promote` puts it into service.

        Args:
            model: a fitted model.
            items: its columns.
            users: the rows it was fitted on, to recommend by user id.
            catalogue: titles and categories to serve with it.
            metrics: what it reached on held-out data.
            watermark: time of the newest event that its training read, in seconds since 1970 (UTC).
            history: how the rows it was fitted to were made of events.
            lately: users of each item lately, shape (n_items,): whom nothing is known of gets what most of them have.
            learned_from: up to where of which event log it was fitted; None if to something else.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        durable.sweep(self.root)
        created = datetime.now(UTC)
        stamp = f"{created:%Y%m%d-%H%M%S-%f}"[:-3]  # to the millisecond: names sort by age
        version = f"{stamp}-{model.name}-{uuid.uuid4().hex[:4]}"
        with durable.new_folder(self.root / version) as folder:
            model.save(folder / WEIGHTS)
            (catalogue or Catalogue(())).select(list(items)).write(folder / ITEMS)
            if users is not None:
                pq.write_table(pa.table({"user_id": pa.array(users, type=pa.string())}), folder / USERS)
            if lately is not None:
                pq.write_table(pa.table({"users": pa.array(lately, type=pa.float32())}), folder / POPULARITY)
            Manifest(
                version=version,
                model=model.name,
                config=model.config.model_dump(mode="json"),
                created=created,
                n_users=model.n_users_,
                n_items=model.n_items_,
                watermark=watermark,
                metrics=dict(metrics or {}),
                measured=model.measured,
                history=history,
                learned_from=learned_from,
                files={file.name: StoredFile.of(file) for file in sorted(folder.iterdir())},
            ).write(folder)
        return version

    def versions(self) -> list[str]:
        """Names of all stored versions, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(path.parent.name for path in self.root.glob(f"[!.]*/{MANIFEST}"))

    def current(self) -> str | None:
        """The version in service, or None before the first `promote`.

        Raises:
            ArtifactError: if the file that says so is damaged.
        """
        now = in_service.read(self.root)
        return now.version if now else None

    def previous(self) -> str | None:
        """The version that `rollback` would put back into service, or None.

        Raises:
            ArtifactError: as for `current`.
        """
        return next(reversed(self._stored_before(in_service.read(self.root))), None)

    def promote(self, version: str) -> str | None:
        """Put a version into service, and return the one it replaces. A damaged `current` is mended by it.

        Raises:
            ArtifactError: if the version does not exist or one of its files is damaged.
        """
        self.check(version)
        with durable.locked(self.root):  # reading and replacing `current` must be one step
            self._folder(version)  # checking takes long: it may have been pruned meanwhile
            old = in_service.last_known(self.root)
            if old is not None and self._is_damaged:
                in_service.write(self.root, old)
            return self._put_into_service(version, old)

    def promote_over(self, version: str, live: str | None) -> None:
        """Put a version into service if ``live`` is what it would replace, or if it is in service already.

        Raises:
            ArtifactError: if another version is in service now, or as for `promote`.
        """
        self.check(version)
        with durable.locked(self.root):
            self._folder(version)  # as above
            now = in_service.read(self.root)
            serving = now.version if now else None
            if serving not in (live, version):
                raise ArtifactError(
                    f"{serving} is in service now, and {version} was compared with {live}; compare it anew"
                )
            self._put_into_service(version, now)

    def prune(self, keep: int, spare: Collection[str] = ()) -> list[str]:
        """Remove the oldest versions beyond ``keep``, and return their names.

        The version in service stays, and so does the one before it, which a rollback brings back.

        Args:
            keep: how many of the newest stay.
            spare: versions that stay whatever their age, see ``Settings.named_versions``.

        Raises:
            ArtifactError: if `current` is damaged, and so nothing tells which version is in service.
        """
        if not self.root.is_dir():
            return []
        with durable.locked(self.root):
            now = in_service.read(self.root)
            gone = self.prunable(keep, spare)
            for version in gone:
                hidden = self.root / f"{durable.TEMPORARY}{version}"  # out of sight in one step, then removed
                (self.root / version).rename(hidden)
                shutil.rmtree(hidden, ignore_errors=True)
            if now is not None and gone:
                before = [version for version in now.before if version not in gone]
                in_service.write(self.root, now.model_copy(update={"before": before}))
        return gone

    def prunable(self, keep: int, spare: Collection[str] = ()) -> list[str]:
        """Names of what `prune` would remove now, oldest first.

        Raises:
            ArtifactError: as for `prune`.
        """
        now = in_service.read(self.root)
        kept = set(spare) | ({now.version, *now.before[-1:]} if now else set())
        versions = self.versions()
        return [version for version in versions[: max(0, len(versions) - keep)] if version not in kept]

    def rollback(self) -> str:
        """Put the version before the current one back into service, and return it.

        Raises:
            ArtifactError: if there is none that can be served.
        """
        if not self.root.is_dir():
            raise ArtifactError(f"there are no models in {self.root}; run `recae train`")
        with durable.locked(self.root):
            now = in_service.read(self.root)
            before = self._stored_before(now)
            if not before:
                raise ArtifactError(
                    f"no model was in service before this one in {self.root}; promote a version by name"
                )
            self.check(before[-1])
            back = InService(version=before[-1], before=before[:-1], changes=now.changes if now else [])
            in_service.write(self.root, back.changed("rolled back"))
            return before[-1]

    def changes(self) -> list[Change]:
        """How the version in service changed, oldest first; the last thousand times, a damaged `current` or not."""
        known = in_service.last_known(self.root)
        return known.changes if known else []

    def manifest(self, version: str) -> Manifest:
        """What a version is, without reading its weights.

        Raises:
            ArtifactError: if it does not exist, or its manifest is damaged or of another format.
        """
        return Manifest.read(self._folder(version))

    def check(self, version: str) -> Manifest:
        """The manifest, after every file has been compared with it.

        Raises:
            ArtifactError: naming the file that is missing or differs.
        """
        manifest = self.manifest(version)
        manifest.verify(self.root / version)
        return manifest

    def load(self, version: str = CURRENT) -> StoredModel:
        """Read a version, all of it checked against its hashes first.

        Args:
            version: its name, or "current" for the one in service.

        Raises:
            ArtifactError: if there is none, or a file is missing, damaged or of another format.
        """
        from recae.models.registry import load_model

        name = self.current() if version == CURRENT else version
        if name is None:
            raise ArtifactError(
                f"no model is in service in {self.root}; run `recae train`, or promote a version"
            )
        manifest = self.check(name)
        folder = self.root / name
        catalogue = Catalogue.read(folder / ITEMS)
        items = IdMap(item.item_id for item in catalogue)
        if len(items) != manifest.n_items:
            raise ArtifactError(
                f"{folder / ITEMS} has {len(items):,} ids, the manifest says {manifest.n_items:,}; train again"
            )
        users = None
        if USERS in manifest.files:
            users = IdMap(pq.read_table(folder / USERS).column("user_id").to_pylist())
        lately = None
        if POPULARITY in manifest.files:
            lately = pq.read_table(folder / POPULARITY).column("users").to_numpy()
        return StoredModel(name, load_model(folder / WEIGHTS), items, users, catalogue, manifest, lately)

    def _stored_before(self, now: InService | None) -> list[str]:
        return [version for version in (now.before if now else []) if (self.root / version).is_dir()]

    @property
    def _is_damaged(self) -> bool:
        try:
            in_service.read(self.root)
        except ArtifactError:
            return True
        return False

    def _folder(self, version: str) -> Path:
        folder = self.root / version
        # A version comes from a command line or a URL: it must not lead out of the store.
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", version, re.ASCII) or not folder.is_dir():
            known = self.versions()
            there = (
                f"there are: {name_some(reversed(known))}" if known else "there are none; run `recae train`"
            )
            raise ArtifactError(f"no version {version!r} in {self.root}; {there}")
        return folder

    def _put_into_service(self, version: str, old: InService | None) -> str | None:
        if old is None:
            in_service.write(self.root, InService(version=version).changed("promoted"))
            return None
        if old.version != version:
            new = InService(version=version, before=[*old.before, old.version], changes=old.changes)
            in_service.write(self.root, new.changed("promoted"))
        return old.version
