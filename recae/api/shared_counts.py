"""The folder through which serving processes share their counts: made at the start, removed at the end.

It lies where temporary files do and not in the home folder: the files are mapped into memory and written in every
request, which a network disk would make slow, and they mean nothing after a restart.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from recae.api.metrics import FOLDER_VARIABLE

PREFIX: Final = "recae-metrics-"


def open_folder() -> Path:
    """Make the folder of this server's processes and name it in the environment, which they inherit.

    Leftovers of servers that were killed go first: the name of each holds the number of its process.
    """
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))  # for this user alone
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def close_folder(folder: Path) -> None:
    """Remove it."""
    os.environ.pop(FOLDER_VARIABLE, None)
    shutil.rmtree(folder, ignore_errors=True)


def forget_process(pid: int) -> None:
    """Take a process that has ended out of the values that count living ones."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)


def sweep() -> None:
    """Remove this user's folders whose server lives no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = re.fullmatch(rf"{PREFIX}(\d+)-\w+", folder.name)
        if owner is None or folder.is_symlink() or _lives(int(owner[1])):
            continue
        try:
            if folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:  # another server swept it
            continue


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
