"""API keys: who may do what over HTTP. Stored hashed in one file, and read again when it changes.

A key is 256 random bits, so one round of SHA-256 is the right hash: slow hashes (bcrypt, argon2) make guessing
expensive where people choose the secret, and nobody guesses 256 bits. What they would cost here is a hundred
milliseconds in every request.
"""

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Final

from recae import durable
from recae.errors import ConfigError

logger = logging.getLogger(__name__)

FILE: Final = "keys.json"
"""Name of the file in the home folder."""
PREFIX: Final = "recae_"
"""Every key begins with it, so that scanners for leaked secrets can find one."""
FORMAT_VERSION: Final = 1
MIN_LENGTH: Final = 32
"""Fewest characters of a key from elsewhere: hex digits of 128 bits."""
LOOK_EVERY_S: Final = 0.5
"""How often the file is looked at for changes, at most."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


class Role(IntEnum):
    """What a key is good for; each includes those before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> "Role":
        """The role of that name, in lower case.

        Raises:
            ConfigError: if there is none.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            raise ConfigError(
                f"there is no role {name[:20]!r}; roles are read, write (includes read) and admin (includes both)"
            ) from None

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Key:
    """What is kept of a key: enough to recognise it, not enough to use it."""

    name: str
    role: Role
    sha256: str
    created: str
    """ISO 8601, UTC; empty for a key from the settings."""


class KeyFile:
    """The keys in one file, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Key]:
        """All keys, oldest first; none if there is no file.

        Raises:
            ConfigError: if the file is damaged.
        """
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            if stored["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format version {stored['format_version']!r}, expected {FORMAT_VERSION}")  # noqa: TRY301 - one way out for every damage
            return [Key(**entry | {"role": Role.named(entry["role"])}) for entry in stored["keys"]]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{self.path} is damaged ({type(error).__name__}: {error}); restore it, or remove it and make new keys "
                "with `recae keys create`"
            ) from error

    def create(self, name: str, role: Role) -> str:
        """Make a key, store its hash, and return the key itself, which nothing can show again.

        Raises:
            ConfigError: if the name is taken or cannot be one.
        """
        _check_name(name)
        key = PREFIX + secrets.token_urlsafe(32)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with durable.locked(self.path.parent):  # reading and replacing must be one step
            keys = self.read()
            if any(other.name == name for other in keys):
                raise ConfigError(f"there is a key named {name!r} already; revoke it, or choose another name")
            created = datetime.now(UTC).isoformat(timespec="seconds")
            self._write([*keys, Key(name, role, digest_of(key), created)])
        return key

    def revoke(self, name: str) -> None:
        """Forget a key: servers refuse it within a second.

        Raises:
            ConfigError: if there is none of that name.
        """
        keys = self.read()
        if not any(key.name == name for key in keys):
            there = ", ".join(key.name for key in keys) or "none"
            raise ConfigError(f"there is no key named {name!r} in {self.path}; there are: {there}")
        with durable.locked(self.path.parent):
            self._write([key for key in self.read() if key.name != name])

    def _write(self, keys: list[Key]) -> None:
        entries = [asdict(key) | {"role": str(key.role)} for key in keys]
        text = json.dumps({"format_version": FORMAT_VERSION, "keys": entries}, indent=2) + "\n"
        durable.write_file(self.path, text, mode=0o600)


class KeyRing:
    """The keys a server goes by: those of the settings and those of the file, as it is now. Safe between threads.

    Args:
        file: where stored keys are; None for none.
        configured: further keys, ``name:role:key`` with commas between, as in RECAE_API_KEYS.

    Raises:
        ConfigError: if either cannot be read.
    """

    def __init__(self, file: KeyFile | None = None, configured: str = "") -> None:
        self._file = file
        self._configured = _parse(configured)
        self._lock = threading.Lock()
        self._seen = self._signature()
        self._next_look = 0.0
        self._keys = self._read()
        self._protected = bool(self._keys) or self._seen is not None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def protected(self) -> bool:
        """Whether requests need a key. Once there was one, revoking the last does not open the server again."""
        self._look()
        return self._protected

    def find(self, key: str) -> Key | None:
        """The entry of a key that somebody sent, or None."""
        self._look()
        digest = digest_of(key)
        found = self._keys.get(digest)
        # The lookup goes by the digest, whose bytes a caller cannot choose: its timing tells nothing about the key.
        if found is not None and hmac.compare_digest(found.sha256, digest):
            return found
        return None

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look or self._file is None:
            return
        with self._lock:
            self._next_look = now + LOOK_EVERY_S
            signature = self._signature()
            if signature == self._seen:
                return
            self._seen = signature
            try:
                self._keys = self._read()
            except (ConfigError, OSError) as error:  # a damaged file must neither open the server nor lock it
                logger.error("%s; until then the keys before it count on, revoked ones too", error)  # noqa: TRY400 - no bug of ours
                return
            self._protected = self._protected or signature is not None

    def _read(self) -> dict[str, Key]:
        stored = self._file.read() if self._file else []
        return {key.sha256: key for key in [*stored, *self._configured]}

    def _signature(self) -> tuple[int, int, int] | None:
        if self._file is None:
            return None
        try:
            found = os.stat(self._file.path)  # noqa: PTH116 - in the way of requests; half the time of Path.stat
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def digest_of(key: str) -> str:
    """SHA-256 of a key, hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()


def _parse(configured: str) -> list[Key]:
    keys = []
    for number, entry in enumerate(filter(None, map(str.strip, configured.split(","))), start=1):
        name, role, key = [*entry.split(":", 2), "", ""][:3]
        if len(key) < MIN_LENGTH or not _NAME.fullmatch(
            name
        ):  # the entry itself is a secret: the message must not repeat it
            raise ConfigError(
                f"api_keys: entry {number} is not of the form name:role:key with a key of at least {MIN_LENGTH} "
                "characters; `openssl rand -hex 32` makes one"
            )
        keys.append(Key(name, Role.named(role), digest_of(key), ""))
    names = [key.name for key in keys]
    if len(set(names)) < len(names):
        raise ConfigError(f"api_keys: the names {', '.join(names)} are not all different")
    return keys


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:70]!r} cannot name a key; use up to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
