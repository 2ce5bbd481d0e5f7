"""A real server in a process of its own, for tests that ask over HTTP."""

import http.client
import json
import os
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    """Status, headers and JSON of one answer; (None, None, None) while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, json.loads(response.read())
    except OSError:
        return None, None, None
    finally:
        connection.close()


def children(pid):
    """Process ids of the processes that one has started, as a server its workers."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def n_sockets(pid):
    """Sockets that a process has open."""
    number = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            number += str(file.readlink()).startswith("socket:")
    return number


def until(condition, process):
    """Wait for ``condition``, as long as the process lives."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"the server ended with {process.returncode}: {process.stderr.read()}"
        assert time.monotonic() < deadline, "the server took too long"
        time.sleep(0.05)


@contextmanager
def running(command, home, port, **variables):
    """A server process over the state in ``home``, ready to answer; ended by the block's end if not before.

    ``variables`` are further ones of its environment.
    """
    environment = os.environ | {
        "RECAE_HOME": str(home),
        "RECAE_PORT": str(port),
        "RECAE_WORKERS": "1",
        "RECAE_RELOAD_S": "0.05",
        "HOME": str(home),  # gunicorn must not write there
    }
    environment |= variables
    process = subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: get(port, "/health/ready")[0] == 200, process)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
