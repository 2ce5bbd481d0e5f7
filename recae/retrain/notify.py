"""Tell somebody how a run ended. What goes wrong here is written down, and never changes how the run ended."""

import os
import shlex
import subprocess
import time
from urllib.request import Request, urlopen

from recae.retrain_settings import NotifySettings
from recae.runs import Run

TRIES = 3
PAUSE_S = 1.0


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
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
            shlex.split(command),
            input=told,
            env=environment,
            timeout=timeout_s,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has ended as it has
        return f"the command to notify failed: {error}"
    return f"the command to notify ended with {done.returncode}" if done.returncode else ""


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
