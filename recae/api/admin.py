"""The nightly run over HTTP: begin one, and read the records."""

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice

from flask import Blueprint

from recae.api.admin_schemas import Begun, RunAnswer, RunList, RunsQuery
from recae.api.context import state
from recae.api.errors import ApiError
from recae.api.spec import documented
from recae.errors import RetrainError
from recae.runs import Run, RunTable

bp = Blueprint("admin", __name__, url_prefix="/v1/admin")

BEGIN_SHARE = 0.95
"""Of the time that a request may take, what a run gets to write its record: a new process imports a lot first."""
POLL_S = 0.05


@bp.post("/retrain")
@documented("begin_retrain", tag="admin", ok=Begun, errors=(409, 503), status=HTTPStatus.ACCEPTED)
def begin_retrain() -> Begun:
    """Begin a nightly run now, in a process of its own; 409 if one is going on.

    A run that was killed is gone on with. How it ends stands in its record, `GET /v1/admin/runs/{run_id}`.
    """
    table = _table()
    if table.is_claimed:
        raise _busy()
    try:
        with table.beginning() as held:
            return _begun(table, held)
    except RetrainError:
        raise _busy() from None
    except OSError as error:
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE, "not_begun", f"no run can be begun: {error}"
        ) from error


def _begun(table: RunTable, held: int) -> Begun:
    """Begin a process that inherits ``held``, and wait for its record."""
    earlier = list(table.newest_first())
    before = {run.run_id: run.interruptions for run in earlier}
    now = datetime.now(UTC)
    n_looked_at = 2 + sum(run.started > now for run in earlier)  # a clock that was ahead left newer names
    environment = os.environ | {"RECAE_HOME": str(state().settings.home.absolute())}
    command = [sys.executable, "-m", "recae", "retrain"]
    process = subprocess.Popen(  # noqa: S603 - recae itself
        command, env=environment, start_new_session=True, pass_fds=(held,)
    )
    threading.Thread(target=process.wait, daemon=True).start()  # or it would stay behind as a zombie
    patience_s = (
        BEGIN_SHARE * state().settings.request_timeout_s
    )  # later the connection would be cut without an answer
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for run in islice(table.newest_first(), n_looked_at):
            if before.get(run.run_id) != run.interruptions:
                return Begun(run_id=run.run_id)
        if process.poll() is not None:
            if table.is_claimed:
                raise _busy()
            message = (
                f"the run ended at once, with exit status {process.returncode}; the server's log tells why"
            )
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_begun", message)
        time.sleep(POLL_S)
    message = (
        f"a run was started, and has not written its record within {patience_s:g} s; it goes on, and GET "
        "/v1/admin/runs will show it, or one that was begun elsewhere in this moment: do not begin another"
    )
    raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_begun", message)


@bp.get("/runs")
@documented("list_runs", tag="admin", ok=RunList)
def list_runs(query: RunsQuery) -> RunList:
    """Records of nightly runs, newest first."""
    return RunList(runs=[_answer(run) for run in islice(_table().newest_first(), query.n)])


@bp.get("/runs/<run_id>")
@documented("show_run", tag="admin", ok=RunAnswer, errors=(404,))
def show_run(run_id: str) -> RunAnswer:
    """One nightly run: its steps, the gate's verdicts, and what each contender reached."""
    try:
        return _answer(_table().read(run_id))
    except RetrainError as error:
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_run", str(error), "run_id") from error


def _table() -> RunTable:
    return RunTable(state().settings.runs)


def _answer(run: Run) -> RunAnswer:
    fields = run.model_dump(exclude={"format_version", "plan", "learning", "gone_on", "values"})
    return RunAnswer(**fields, seconds=run.seconds, metrics=run.values)


def _busy() -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, "busy", "a run is going on; see GET /v1/admin/runs")
