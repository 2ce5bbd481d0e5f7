"""A real PostgreSQL server in a temporary folder, on loopback, for as long as a block lasts."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.servers import free_port

PATIENCE_S = 60


def programs():
    """The folder with initdb and postgres, where Debian puts them or on the path; None if they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def as_other_user():
    """What to put before a command, since the server refuses to run as root; nothing for other users."""
    if os.geteuid() != 0:
        return []
    other = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={other.pw_uid}", f"--regid={other.pw_gid}", "--clear-groups"]


@contextmanager
def server():
    """The address of a new server; it is stopped and its folder removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="recae-postgres-"))
    before, port = as_other_user(), free_port()
    try:
        if before:
            shutil.chown(folder, "postgres", "postgres")
        init = [
            programs() / "initdb",
            "-D",
            folder / "data",
            "-U",
            "recae",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([*before, *init, "--locale=C"], check=True, capture_output=True, cwd=folder)
        options = [f"-p{port}", "-clisten_addresses=127.0.0.1", f"-k{folder}", "-cmax_connections=60"]
        start = [*before, programs() / "postgres", "-D", folder / "data", *options]
        with (folder / "log").open("wb") as said:
            process = subprocess.Popen(start, cwd=folder, stderr=said, stdout=said)
        try:
            address = f"postgresql://recae@127.0.0.1:{port}"
            _wait_for(address, process, folder / "log")
            yield address
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address, process, log):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, f"the server ended: {log.read_text()}"
        try:
            psycopg.connect(f"{address}/postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, f"the server took too long: {log.read_text()}"
            time.sleep(0.1)
        else:
            return
