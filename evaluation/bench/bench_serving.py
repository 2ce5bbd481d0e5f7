"""What serving costs: real gunicorn workers, asked over HTTP, each figure in its unit.

    make bench-serving                                          all figures; wrk must be installed
    make bench-serving ARGS="--seconds 4"                       shorter measurements
    make bench-serving ARGS="--brief"                           the small model alone, once, two seconds each
    make bench-serving ARGS="--output evaluation/results/bench" write them there as serving.md too

The server does what it does in use: every request brings a key that is checked, histories come from SQLite, what was seen is
filtered, answers are JSON, each gets a line of the JSON log, and metrics count. Its log goes to /dev/null.

The rates come from wrk with 8 connections on the machine that serves, so both share its cores. The bare route is a Flask
`jsonify` under gunicorn's own threaded worker, 2 processes with 4 threads, and what the other rates are compared with; the
two take turns, since other work on the machine comes and goes. gunicorn sometimes lets one process take all connections,
and then the bare route has half its rate: the higher of its rates is compared with.

Each user is asked for again and again, as after a few minutes of use; a server that remembers no histories shows what a
user costs whose events have changed since.
"""

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array
from tables import markdown_table, parser_of, provenance, publish

from recae.artifacts import ModelStore
from recae.data.eventlog import EventLog
from recae.data.idmap import IdMap
from recae.models import create
from recae.threads import limit_threads

WORKERS, CONNECTIONS = 2, 8
ROUNDS = 3
KEY = secrets.token_hex(16)
ASKED_BEFORE = 3
"""Requests for each user before the measurement: by then nearly all processes have answered for nearly all users."""
WARM_UP_STEP_S = 5
SETTLE_S = 1.0
"""After other connections: while a process still closes those of the last run, it leaves all new ones to the other."""
BARE_ROUTE, RECOMMEND = "bare route", "recommend, EASE of 3,700 items"
UNREMEMBERED = "recommend, no histories remembered"
SMALL = {"n_users": 6_040, "n_items": 3_700, "n_each": 100}
"""As MovieLens 1M with ratings from 4 up."""
LARGE = {"n_users": 20_000, "n_items": 41_000, "n_each": 30}
BARE = """
from flask import Flask, jsonify
app = Flask("bare")
@app.get("/v1/users/<path:user_id>/recommendations")
def bare(user_id):
    return jsonify(user_id=user_id, items=[1, 2, 3])
"""
USERS_LUA = """
counter = 0
request = function()
  counter = counter + 1
  return wrk.format("GET", "/v1/users/" .. (counter * 7919 % {n_users}) .. "/recommendations?n=10")
end
"""
EVENTS_LUA = """
local thread_id = 0
setup = function(thread) thread:set("seed", os.time() * 1000 + math.random(999)) end
wrk.headers["Content-Type"] = "application/json"
counter = 0
request = function()
  local events = {{}}
  for i = 1, {n_each} do
    counter = counter + 1
    events[i] = string.format('{{"user_id":"%d","item_id":"%d","event_id":"{name}-%d"}}',
      counter % 50000, counter % {n_items}, counter)
  end
  return wrk.format("POST", "/v1/events", nil, "[" .. table.concat(events, ",") .. "]")
end
"""


def interactions(n_users: int, n_items: int, n_each: int) -> csr_array:
    """Users with ``n_each`` items each, popularity falling as in logs of films; shape (n_users, n_items)."""
    random = np.random.default_rng(0)
    popularity = 1.0 / np.arange(1, n_items + 1) ** 0.7
    columns = random.choice(n_items, size=n_users * n_each, p=popularity / popularity.sum())
    rows = np.repeat(np.arange(n_users), n_each)
    matrix = csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(n_users, n_items))
    matrix.data[:] = 1.0
    return matrix


def prepare(home: Path, model: Any, matrix: csr_array, *, versions: int = 1) -> list[str]:
    """A home folder with a model in service, and the matrix as the event log; returns the versions."""
    users, items = IdMap.of_range(matrix.shape[0]), IdMap.of_range(matrix.shape[1])
    model.fit(matrix, show_progress=False)
    store = ModelStore(home / "models")
    saved = [store.save(model, items, users=users) for _ in range(versions)]
    store.promote(saved[0])
    entries = matrix.tocoo()
    table = pa.table(
        {
            "user_id": pa.array(map(str, entries.row), pa.string()),
            "item_id": pa.array(map(str, entries.col), pa.string()),
            "timestamp": pa.array(1_600_000_000 + np.arange(matrix.nnz) % 10_000_000),
        }
    )
    with EventLog(f"sqlite:///{home / 'events.db'}", home / "events") as log:
        log.append_table(table)
    return saved


@contextlib.contextmanager
def server(*arguments: str, folder: Path, port: int, path: str, **variables: str) -> Iterator[int]:
    """gunicorn in a process of its own, once it answers; its process id. ``variables`` are of its environment."""
    environment = os.environ | {
        "HOME": str(folder),  # gunicorn would write there
        "RECAE_HOME": str(folder),
        "RECAE_PORT": str(port),
        "RECAE_WORKERS": str(WORKERS),
        "RECAE_MAX_BODY_BYTES": str(2**24),
        "RECAE_LOG_FORMAT": "json",
        "RECAE_API_KEYS": f"bench:admin:{KEY}",
        "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}",
    }
    environment |= variables
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        ready = 0
        while ready < 20:  # every worker in all likelihood
            status = ask(port, "GET", path)[0]
            ready = ready + 1 if status == 200 else 0
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit("the server did not start")
            if status != 200:
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any, float]:
    """Status, JSON and seconds of one request on a connection of its own; status 0 while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.perf_counter()
    try:
        sent = None if body is None else json.dumps(body)
        headers = {"X-API-Key": KEY, **({"Content-Type": "application/json"} if sent else {})}
        connection.request(method, path, sent, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), time.perf_counter() - started
    except OSError:
        return 0, None, 0.0
    finally:
        connection.close()


def wrk(port: int, seconds: float, script: str) -> dict[str, float]:
    """Requests a second and the 99th percentile in ms under ``CONNECTIONS``."""
    time.sleep(SETTLE_S)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", "--latency", "-s", file.name, "-H", f"X-API-Key: {KEY}"]
        command += [f"http://127.0.0.1:{port}"]
        said = subprocess.run([*command, f"-d{seconds}s"], capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    scale = {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]
    return {"rate": rate, "p99_ms": float(value) * scale, "failed": int(failed[1]) if failed else 0}


def warm_up(port: int, script: str, n_requests: int) -> None:
    """Ask until so many requests were answered, and a minute at most: how long that takes is the machine's affair."""
    answered, deadline = 0.0, time.monotonic() + 60
    while answered < n_requests and time.monotonic() < deadline:
        answered += WARM_UP_STEP_S * wrk(port, WARM_UP_STEP_S, script)["rate"]


def measured_wrk(pid: int, port: int, seconds: float, script: str) -> dict[str, float]:
    """As ``wrk``, and the processor time of a request in ms: other work on the machine disturbs it least."""
    before = cpu_s(pid)
    found = wrk(port, seconds, script)
    return found | {"cpu_ms": 1000 * (cpu_s(pid) - before) / (found["rate"] * seconds)}


def cpu_s(pid: int) -> float:
    """Processor seconds that the workers of a server have used; Linux only, NaN elsewhere."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        return float("nan")
    ticks = 0
    for child in children.read_text().split():
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def batch_ratio(port: int, n_users: int, repeats: int = 20) -> dict[str, float]:
    """Median ms of one user, of 100 users in a batch, and how many times as long the batch takes."""
    one, many = [], []
    for turn in range(repeats):
        first = turn * 131 % (n_users - 100)
        one.append(ask(port, "POST", "/v1/recommendations", {"user_id": str(first)})[2])
        parts = [{"user_id": str(first + place)} for place in range(100)]
        status, _, seconds = ask(port, "POST", "/v1/recommendations/batch", {"requests": parts})
        _expect(status == 200, "the batch")
        many.append(seconds)
    single, batch = 1000 * statistics.median(one), 1000 * statistics.median(many)
    return {"one_ms": single, "batch_of_100_ms": batch, "ratio": batch / single}


def promotion(port: int, versions: list[str], turns: int = 6) -> dict[str, float]:
    """Seconds from the request to promote until 40 connections in a row are answered by the new version."""
    times = []
    for turn in range(turns):
        wanted = versions[(turn + 1) % len(versions)]
        started = time.perf_counter()
        _expect(ask(port, "POST", f"/v1/models/{wanted}/promote")[0] == 200, "the promotion")
        streak, last_old = 0, started
        while streak < 40:
            if ask(port, "GET", "/health/ready")[1]["model_version"] == wanted:
                streak += 1
            else:
                streak, last_old = 0, time.perf_counter()
        times.append(last_old - started)
    return {"median_s": statistics.median(times), "worst_s": max(times)}


def run(seconds: float, rounds: int, *, small_only: bool) -> dict[str, dict[str, float]]:
    """All figures."""
    found: dict[str, dict[str, float]] = {}
    users = USERS_LUA.format(n_users=SMALL["n_users"])
    serve = ("recae", "serve")
    with tempfile.TemporaryDirectory() as named:
        folder, port = Path(named), _free_port()
        (folder / "bare.py").write_text(BARE)
        bare = (
            "gunicorn",
            "-w",
            str(WORKERS),
            "-k",
            "gthread",
            "--threads",
            "4",
            "--log-level",
            "warning",
            "-b",
            f"127.0.0.1:{port}",
        )
        versions = prepare(folder, create("ease", l2=200.0), interactions(**SMALL), versions=2)
        rates: dict[str, list[dict[str, float]]] = {BARE_ROUTE: [], RECOMMEND: [], UNREMEMBERED: []}
        for _ in range(rounds):
            path = "/v1/users/1/recommendations"
            with server(*bare, "bare:app", folder=folder, port=port, path=path) as pid:
                wrk(port, 1, users)
                rates[BARE_ROUTE].append(measured_wrk(pid, port, seconds, users))
            with server(*serve, folder=folder, port=port, path="/health/ready") as pid:
                warm_up(port, users, ASKED_BEFORE * SMALL["n_users"])
                rates[RECOMMEND].append(measured_wrk(pid, port, seconds, users))
            with server(
                *serve, folder=folder, port=port, path="/health/ready", RECAE_KNOWN_HISTORIES="0"
            ) as pid:
                wrk(port, 1, users)
                rates[UNREMEMBERED].append(measured_wrk(pid, port, seconds, users))
        for name, measured in rates.items():
            in_order = sorted(measured, key=lambda one: one["rate"])
            found[name] = in_order[-1] if name == BARE_ROUTE else in_order[rounds // 2]
        for name in (RECOMMEND, UNREMEMBERED):
            found[name]["share_of_bare"] = found[name]["rate"] / found[BARE_ROUTE]["rate"]
        with server(*serve, folder=folder, port=port, path="/health/ready"):
            found["batch, EASE"] = batch_ratio(port, SMALL["n_users"])
            found["promote"] = promotion(port, versions)
            for name, n_each in (("single events", 1), ("batches of 1,000 events", 1_000)):
                script = EVENTS_LUA.format(n_each=n_each, name=name, n_items=SMALL["n_items"])
                found[name] = wrk(port, seconds, script)
                found[name]["events_per_s"] = found[name]["rate"] * n_each
    if small_only:
        return found
    with tempfile.TemporaryDirectory() as named:
        folder, port = Path(named), _free_port()
        prepare(folder, create("mult_vae", epochs=1), interactions(**LARGE))
        with server(*serve, folder=folder, port=port, path="/health/ready"):
            script = USERS_LUA.format(n_users=LARGE["n_users"])
            wrk(port, 1, script)
            found["recommend, Mult-VAE of 41,000 items"] = wrk(port, seconds, script)
            found["batch, Mult-VAE of 41,000 items"] = batch_ratio(port, LARGE["n_users"])
    return found


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"{what} was refused")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Measure, and print one line a figure."""
    parser = parser_of("What serving costs.", "serving.md")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement")
    parser.add_argument(
        "--brief", action="store_true", help="the small model alone, one round of two seconds each"
    )
    options = parser.parse_args()
    if options.brief and options.output:
        parser.error("--brief measures too little to be kept; leave out --output")
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed (Debian's package: wrk)")
    limit_threads()
    seconds, rounds = (2, 1) if options.brief else (options.seconds, ROUNDS)
    found = run(seconds, rounds, small_only=options.brief)
    rows = [
        (name, ", ".join(f"{figure} {value:,.3f}" for figure, value in figures.items()))
        for name, figures in found.items()
    ]
    command = "make bench-serving" + (" ARGS=--brief" if options.brief else "")
    about = (
        f"gunicorn with {WORKERS} processes, wrk with {CONNECTIONS} connections for {seconds} s on the same cores; "
        "each request with a key that is checked, a line of the JSON log and metrics; the middle of "
        f"{rounds} round(s) of the first three, of the bare route the best."
    )
    table = markdown_table(("what", "measured"), rows)
    publish(("# Serving", provenance(command, WORKERS), about, table), options.output, "serving.md")


if __name__ == "__main__":
    main()
