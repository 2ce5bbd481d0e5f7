"""`recae` in processes of its own, which a test stops in the middle of their work."""

import os
import subprocess
import sys
import time

PATIENCE_S = 120


def recae(*arguments, **options):
    """The command, begun."""
    return subprocess.Popen(
        [sys.executable, "-m", "recae", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_until(condition, process, *, what="it took too long"):
    """Wait for a condition, as long as the process lives."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"it ended before it could be stopped: {process.communicate()}"
        assert time.monotonic() < deadline, what
        time.sleep(0.001)


def stopped(process, sent, condition, *, what="it took too long"):
    """Send a signal once a condition holds; the exit code, and what was said on stderr."""
    try:
        wait_until(condition, process, what=what)
        process.send_signal(sent)
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return process.returncode, said
