"""Files that survive a crash: what was written is on the disk before its name appears."""

import fcntl
import glob
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"
"""Prefix of what is not finished: never read, and swept when its writer is gone."""

LOOK_AGAIN_S = 0.02
"""Pause between two looks whether what another one holds is free."""
SWEEP_AFTER_S = 3600.0
"""A leftover this old, in seconds, is removed unless a live writer holds it."""


def write_file(path: Path, text: str, *, mode: int | None = None) -> None:
    """Replace ``path`` in one step: after a crash it holds the old text or the new one.

    Args:
        path: the file.
        text: what it is to hold.
        mode: permissions it has from its first byte on; None for the usual ones.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        if mode is not None:
            temporary.touch(mode=mode)
        temporary.write_text(text, encoding="utf-8")
        sync(temporary)
        os.replace(temporary, path)  # noqa: PTH105 - the one call that makes the new text visible
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write a file to, which replaces ``path`` when the block ends.

    If the block raises, nothing is left; if the process dies, only a leftover that a later call removes.
    """
    prefix = f"{path.name}-"
    sweep(path.parent, prefix)
    temporary = path.with_name(f"{TEMPORARY}{prefix}{uuid.uuid4().hex}")
    temporary.touch()
    try:
        with locked(temporary):  # tells `sweep` that the writer lives
            yield temporary
            sync(temporary)
            os.replace(temporary, path)  # noqa: PTH105 - the one call that makes the file visible
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill, which becomes ``path`` when the block ends, complete and on the disk.

    If the block raises, nothing is left; if the process dies, only a leftover for `sweep`.

    Raises:
        FileExistsError: if ``path`` exists already.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        with locked(temporary):  # tells `sweep` that the writer lives; the kernel frees it if not
            yield temporary
            for file in sorted(temporary.iterdir()):
                sync(file)
            sync(temporary)
            if path.exists():
                raise FileExistsError(f"{path} exists already")
            os.rename(temporary, path)  # noqa: PTH104 - the one call that makes the folder visible
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the file's bytes, or the folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path, *, wait: bool | float = True, shared: bool = False) -> Iterator[int]:
    """Hold the folder against every other process that asks the same.

    Gives the descriptor that holds it: a process that inherits this holds it on, until it ends.

    Args:
        folder: a file will do too.
        wait: until it is free; a number for so many seconds at most.
        shared: hold it beside others that share it; against those that do not.

    Raises:
        BlockingIOError: if another one holds it, and ``wait`` is False or over.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        hold(descriptor, wait=wait, shared=shared)
        yield descriptor
    finally:
        os.close(descriptor)


def hold(descriptor: int, *, wait: bool | float = True, shared: bool = False) -> None:
    """Lock an open file for as long as it is open, as `locked` does; for files that are written through it, too.

    Raises:
        BlockingIOError: if another one holds it, and ``wait`` is False or over.
        OSError: if its file system has no locks, as some over a network.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if wait is True:
        fcntl.flock(descriptor, kind)
        return
    deadline = time.monotonic() + wait  # the kernel itself waits for ever or not at all
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(LOOK_AGAIN_S)
        else:
            return


def sweep(folder: Path, prefix: str = "") -> None:
    """Remove what crashed writers left in ``folder``: old, and held by nobody; of those whose names go on with ``prefix``."""
    for leftover in folder.glob(f"{TEMPORARY}{glob.escape(prefix)}*"):
        try:
            if time.time() - leftover.stat().st_mtime < SWEEP_AFTER_S:
                continue
            with locked(leftover, wait=False):
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
        except (FileNotFoundError, BlockingIOError):  # another sweeper was faster, or its writer lives
            continue


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
