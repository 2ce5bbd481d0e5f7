"""Where a log lies: files of this machine, files behind a URL, standard input, the rows of a query."""

import glob
import hashlib
import io
import os
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from recae.errors import ConfigError, DataError, EmptyFolderError

STANDARD_INPUT = "-"
MAGIC = "*?["
BUFFER_BYTES = 2**20
FRESH_S = 60.0
"""Who writes a log line by line leaves no line half written for longer than this."""


class Place(ABC):
    """One file of a log, or what is read like one. ``str`` of it is what messages and the quarantine call it."""

    can_be_reopened = True
    """Whether a second opening begins at the beginning again."""
    size: int = 0
    """Bytes, for progress; 0 if unknown."""
    format: str | None = None
    """``csv``, ``jsonl.gz``, ...; None if the name tells."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of where it is."""

    @property
    def named_format(self) -> str:
        """A name that ends as files of its format do."""
        return self.name.lower() if self.format is None else f".{self.format}"

    @property
    def fingerprint(self) -> str | None:
        """Differs when the content may differ; None if that cannot be told."""
        return None

    @property
    def is_being_written(self) -> bool:
        """Whether more may come that belongs to what is there."""
        return False


class BinaryPlace(Place):
    """A place that holds bytes."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """Its bytes from the beginning. Raises ``OSError``."""


@dataclass(frozen=True)
class LocalFile(BinaryPlace):
    """A file of this machine."""

    path: Path
    format: str | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size(self) -> int:  # type: ignore[override] # no field: read when asked for
        found = self._found
        return 0 if found is None else found.st_size

    @property
    def fingerprint(self) -> str | None:
        found = self._found
        return None if found is None else f"{found.st_size}-{found.st_mtime_ns}"

    @property
    def is_being_written(self) -> bool:
        found = self._found
        return found is not None and time.time() - found.st_mtime < FRESH_S

    @property
    def _found(self) -> os.stat_result | None:
        """None for a file that was moved away since it was found: whoever opens it says so."""
        try:
            return self.path.stat()
        except OSError:
            return None

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class RemoteFile(BinaryPlace):
    """A file of an object store, or of whatever else fsspec knows."""

    system: Any
    path: str
    format: str | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def size(self) -> int:  # type: ignore[override] # as of LocalFile
        try:
            return int(self.system.info(self.path).get("size") or 0)
        except OSError:  # gone since it was found, as of LocalFile
            return 0

    @property
    def fingerprint(self) -> str | None:
        try:
            return hashlib.sha256(str(self.system.ukey(self.path)).encode()).hexdigest()
        except OSError:
            return None

    def open(self) -> BinaryIO:
        return cast("BinaryIO", self.system.open(self.path, "rb"))

    def __str__(self) -> str:
        return str(self.system.unstrip_protocol(self.path))


@dataclass(frozen=True)
class StandardInput(BinaryPlace):
    """What is piped in; it can be read once."""

    format: str | None
    can_be_reopened = False

    @property
    def name(self) -> str:
        return "standard input"

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Counted(sys.stdin.buffer), BUFFER_BYTES)

    def __str__(self) -> str:
        return self.name


class _Counted(io.RawIOBase):
    """A pipe that knows how much was read of it."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe, self._n_bytes = pipe, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._n_bytes

    def readinto(self, buffer: Any) -> int:
        read = getattr(self._pipe, "read1", self._pipe.read)(
            len(buffer)
        )  # what is there, without waiting for more
        buffer[: len(read)] = read
        self._n_bytes += len(read)
        return len(read)


@dataclass(frozen=True)
class Query(Place):
    """The rows that a database answers with."""

    sql: str
    url: str = field(repr=False)  # it may hold a password
    can_be_reopened = False

    @property
    def name(self) -> str:
        return "query"

    def __str__(self) -> str:
        return f"the query {self.sql!r}"


def find(
    source: str | Path, known: tuple[str, ...], format_: str | None = None
) -> tuple[list[Place], list[Any]]:
    """Places to read, in the order of their names, and what else lies there.

    Args:
        source: a file, a folder, a pattern such as ``logs/*.csv``, a URL of any of these, or "-".
        known: endings of the formats that can be read.
        format_: the format of all of them, whatever their names say.

    Raises:
        EmptyFolderError: if it is a folder without files; names that begin with "." or "_" are no files of a log.
        DataError: if there is nothing to read for another reason.
        ConfigError: for standard input without a format, and a kind of URL that nothing installed can open.
    """
    text = str(source)
    if format_ is not None and f".{format_}" not in known:
        raise ConfigError(f"there is no format {format_!r}; expected {', '.join(end[1:] for end in known)}")
    if text == STANDARD_INPUT:
        if format_ is None:
            raise ConfigError("standard input has no name that tells its format; name it, as in --format csv")
        return [StandardInput(format_)], []
    if isinstance(source, str) and "://" in source:
        return _remote(source, known, format_)
    try:
        return _local(source, known, format_)
    except OSError as error:
        raise DataError(
            f"{source} cannot be looked at: {error}; check the name and the access to it"
        ) from error


def _local(source: str | Path, known: tuple[str, ...], format_: str | None) -> tuple[list[Place], list[Any]]:
    text, path = str(source), Path(source)
    if path.is_file():
        return [LocalFile(path, format_)], []
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        plain = [file for file in inside if not _hidden(file.relative_to(path).parts)]
        logs = [file for file in plain if format_ or file.name.lower().endswith(known)]
        if not logs:
            raise (DataError if plain else EmptyFolderError)(
                f"the folder {source} holds no log; expected files that end in {', '.join(known)}"
            )
        return [LocalFile(file, format_) for file in logs], [file for file in plain if file not in set(logs)]
    matches = glob.glob(text, recursive=True) if set(MAGIC) & set(text) else []  # noqa: PTH207 - may be absolute
    files = [file for file in map(Path, sorted(matches)) if file.is_file()]
    if not files:
        raise DataError(f"there is no file or folder {source}; expected a log ({', '.join(known)})")
    return [LocalFile(file, format_) for file in files], []


def _remote(url: str, known: tuple[str, ...], format_: str | None) -> tuple[list[Place], list[Any]]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"{url} needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise DataError(f"{url} is no URL of a log: {error}") from error
    try:
        if set(MAGIC) & set(path):
            names = [name for name in sorted(system.glob(path)) if system.isfile(name)]
        elif system.isdir(path):
            names = sorted(system.find(path))
        else:
            names = [path] if system.isfile(path) else []
            return _places(system, names, format_, url), []
    except OSError as error:
        raise DataError(
            f"{url} cannot be looked at: {error}; check the address and the access to it"
        ) from error
    start = len(path.rstrip("/")) if not set(MAGIC) & set(path) else 0
    plain = [
        name for name in names if start == 0 or not _hidden(PurePosixPath(name[start:].lstrip("/")).parts)
    ]
    if start and not plain:
        raise EmptyFolderError(
            f"the folder {url} holds no log; expected files that end in {', '.join(known)}"
        )
    logs = [name for name in plain if format_ or name.lower().endswith(known)]
    return _places(system, logs, format_, url), [name for name in plain if name not in set(logs)]


def _places(system: Any, names: list[str], format_: str | None, url: str) -> list[Place]:
    if not names:
        raise DataError(f"there is no log at {url}; expected a file, a folder with files, or a pattern")
    return [RemoteFile(system, name, format_) for name in names]


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part[0] in "._" for part in parts)
