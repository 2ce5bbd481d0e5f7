"""How long the command line takes to answer."""

import subprocess
import sys
from collections.abc import Callable


def bench_help() -> Callable[[], object]:
    """`recae --help` in a new process"""
    command = [sys.executable, "-m", "recae", "--help"]
    return lambda: subprocess.run(command, check=True, capture_output=True)
