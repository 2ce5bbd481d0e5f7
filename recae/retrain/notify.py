"""Tell somebody how a run ended. What goes wrong here is written down, and never changes how the run ended."""

import os
import shlex
import subprocess
import time
from contextlib import ExitStack, suppress
from tempfile import TemporaryFile
from typing import IO
from urllib.request import Request, urlopen

from recae.retrain_settings import NotifySettings
from recae.runs import Run

TRIES = 3
PAUSE_S = 1.0
MOST_SAID = 200
"""Characters of a command's last line that are told of: it goes into a record and into logs."""
TAIL_BYTES = 4_096
"""Where that line is looked for."""


def notify(run: Run, settings: NotifySettings) -> str:
    """Call the command and the webhook, if this end of a run is one that is told.

    Both get the record as JSON; the command also has ``RECAE_RUN_ID``, ``RECAE_RUN_STATUS`` and ``RECAE_RUN_MESSAGE``.

    Returns:
        What went wrong, or nothing.
    """
    if run.status not in settings.on:
        return ""
    told = run.model_dump_json()
    wrong = []
    if settings.command is not None:
        wrong.append(_call(settings.command, run, told, settings.timeout_s))
    if settings.webhook is not None:
        wrong.append(_post(settings.webhook, told, settings.timeout_s))
    return "; ".join(problem for problem in wrong if problem)


def _call(command: str, run: Run, told: str, timeout_s: float) -> str:
    environment = os.environ | {
        "RECAE_RUN_ID": run.run_id,
        "RECAE_RUN_STATUS": run.status,
        "RECAE_RUN_MESSAGE": run.message,
    }
    with ExitStack() as held:
        said: IO[bytes] | None = None
        with suppress(OSError):  # on a full disk somebody has to be told all the same
            # a file, for a pipe would be waited for until the last process that holds it ends
            said = held.enter_context(TemporaryFile())
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
                shlex.split(command),
                input=told.encode(),
                env=environment,
                timeout=timeout_s,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if said is None else said,
                check=False,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has ended as it has
            return f"the command to notify failed: {error}{_last_line(said)}"
        return (
            f"the command to notify ended with {done.returncode}{_last_line(said)}" if done.returncode else ""
        )


def _last_line(said: IO[bytes] | None) -> str:
    """What a command said last, to be put behind how it ended; nothing if it said nothing."""
    if said is None:
        return ""
    end = said.seek(0, os.SEEK_END)
    said.seek(max(0, end - TAIL_BYTES))
    text = said.read(TAIL_BYTES).decode(errors="replace")
    lines = [" ".join(_printable(line).split()) for line in text.splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    shown = last if len(last) <= MOST_SAID else last[:MOST_SAID] + "..."
    return f": {shown}" if shown else ""


def _printable(line: str) -> str:
    """Without what would colour or clear a terminal."""
    return "".join(character if character.isprintable() else " " for character in line)


def _post(url: str, told: str, timeout_s: float) -> str:
    problem = ""
    for attempt in range(TRIES):
        try:
            request = Request(  # noqa: S310 - settings allow http only
                url, told.encode(), {"Content-Type": "application/json"}, method="POST"
            )
            with urlopen(request, timeout=timeout_s):  # noqa: S310 - as above
                return ""
        except Exception as error:  # noqa: BLE001 - what answers need not speak HTTP
            problem = f"the webhook failed: {' '.join(str(error).split()) or type(error).__name__}"
        if attempt < TRIES - 1:
            time.sleep(PAUSE_S)
    return problem
