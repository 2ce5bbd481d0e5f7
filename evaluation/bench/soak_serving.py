"""A server under mixed load for half an hour, with another model every ten seconds.

    .venv/bin/python evaluation/bench/soak_serving.py                    half an hour
    .venv/bin/python evaluation/bench/soak_serving.py --minutes 3        less

Two models of the bundled sample take turns, on the second. Clients ask for users, histories, rankings, batches and similar
items, send events, and make mistakes. Every answer for a user is compared with what the version it names says offline; a
failed request, a wrong status or a mixed answer is an error, and ends the program with 1. Memory is what the serving
processes hold for themselves plus their share of what is common (PSS), after a warm-up of a fifth of the time and at
the end; Linux only.
"""

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tables import markdown_table, parser_of, provenance, publish

from recae.artifacts import ModelStore
from recae.data.sample import load_sample
from recae.models import create
from recae.recommender import Recommender
from recae.threads import limit_threads

WORKERS, CLIENTS, N = 2, 4, 10
BATCH = 5
SWAP_EVERY_S = 10.0
WARM_UP = 0.2
Ask = tuple[str, str, bytes | None, int]
"""Method, path, body and the status that is right."""


@dataclass
class Tally:
    """What the clients saw."""

    answers: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def prepare(home: Path) -> dict[str, Recommender]:
    """Two versions in a store; the offline recommender of each says what is right."""
    interactions, catalogue = load_sample()
    store = ModelStore(home / "models")
    found = {}
    for l2 in (50.0, 800.0):
        model = create("ease", l2=l2).fit(interactions.matrix, show_progress=False)
        version = store.save(model, interactions.items, users=interactions.users, catalogue=catalogue)
        stored = store.load(version)
        found[version] = Recommender(
            stored.model, stored.items, users=stored.users, catalogue=stored.catalogue, version=version
        )
    store.promote(next(iter(found)))
    return found


def requests_of(users: list[str], items: list[str], rng: random.Random) -> Callable[[], Ask]:
    """A source of mixed requests, nearly one in ten of them wrong."""
    wrong: list[Ask] = [
        ("GET", "/v1/users/1/recommendations?n=0", None, 422),
        ("GET", "/nowhere", None, 404),
        ("POST", "/v1/recommendations", b"{", 400),
        ("GET", "/metrics", None, 200),
    ]

    def event() -> Ask:
        """Of a visitor, so that what the users of the sample get stays what it is offline."""
        sent = {"user_id": f"visitor-{rng.randrange(1_000)}", "item_id": rng.choice(items)}
        return post("/v1/events", {"events": [sent]}, 202)

    def batch() -> Ask:
        whom = [{"user_id": user} for user in rng.sample(users, BATCH)]
        return post("/v1/recommendations/batch", {"requests": whom, "n": N})

    def ranking() -> Ask:
        return post("/v1/rank", {"user_id": rng.choice(users), "candidates": rng.sample(items, 20)})

    shares: dict[Callable[[], Ask], float] = {
        lambda: ("GET", f"/v1/users/{rng.choice(users)}/recommendations?n={N}", None, 200): 0.45,
        lambda: post("/v1/recommendations", {"items": rng.sample(items, 5), "n": N}): 0.15,
        lambda: ("GET", f"/v1/items/{rng.choice(items)}/similar?n={N}", None, 200): 0.1,
        event: 0.1,
        batch: 0.05,
        ranking: 0.05,
        lambda: rng.choice(wrong): 0.1,
    }
    kinds, weights = list(shares), list(shares.values())

    def draw() -> Ask:
        make = rng.choices(kinds, weights)[0]
        return make()

    return draw


def post(path: str, body: Any, status: int = 200) -> Ask:
    """A request with a body."""
    return "POST", path, json.dumps(body).encode(), status


def is_mixed(path: str, answer: Any, right: Recommender) -> bool:
    """Whether an answer for users of the sample differs from what the version it names says offline."""
    if path.endswith("/batch"):
        parts = [part["body"] for part in answer["results"]]
    elif path.startswith("/v1/users/"):
        parts = [answer]
    elif path == "/v1/rank":
        return bool(answer["model_version"] != right.version)
    else:
        return False
    return any(
        part["model_version"] != right.version
        or [item["item_id"] for item in part["items"]]
        != [item.item_id for item in right.recommend(user_id=part["user_id"], n=N).items]
        for part in parts
    )


def client(
    port: int, draw: Callable[[], Ask], right: dict[str, Recommender], tally: Tally, end: float
) -> None:
    """Ask until the time is over."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.monotonic() < end:
        method, path, body, status = draw()
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            received = response.read()
        except (OSError, http.client.HTTPException) as error:
            tally.errors.append(f"{method} {path}: {error!r}")
            connection.close()
            continue
        version = response.headers["X-Model-Version"]
        with tally.lock:
            tally.answers[response.status] += 1
            tally.versions.add(version)
        if response.status != status:
            tally.errors.append(f"{method} {path}: {response.status}, expected {status}: {received[:200]!r}")
        elif status == 200 and path != "/metrics" and is_mixed(path, json.loads(received), right[version]):
            tally.errors.append(f"{path}: a mixed answer of {version}")
    connection.close()


def pss_mib(server: int) -> float:
    """Memory of the serving processes, their share of what is common included."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    texts = [Path(f"/proc/{child}/smaps_rollup").read_text() for child in children]
    return (
        sum(int(found) for text in texts for found in re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)) / 1024
    )


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(port: int) -> None:
    """Return when the server can recommend."""
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    sys.exit("the server did not get ready within a minute")


def soak(home: Path, minutes: float) -> tuple[Tally, int, float, float, int]:
    """Tally, swaps, MiB after the warm-up, MiB at the end, and the server's return code."""
    right = prepare(home)
    store, versions = ModelStore(home / "models"), list(right)
    port = free_port()
    variables = {"RECAE_HOME": str(home), "RECAE_PORT": str(port), "RECAE_WORKERS": str(WORKERS)}
    command = [sys.executable, "-m", "recae", "serve"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
        wait_until_ready(port)
        tally, swaps, warm = Tally(), 0, None
        users, items = list(right[versions[0]].users or []), list(right[versions[0]].items)
        started = time.monotonic()
        end = started + minutes * 60
        clients = [
            threading.Thread(
                target=client, args=(port, requests_of(users, items, random.Random(seed)), right, tally, end)
            )
            for seed in range(CLIENTS)
        ]
        for thread in clients:
            thread.start()
        while time.monotonic() < end:
            due = (
                started + (swaps + 1) * SWAP_EVERY_S
            )  # by the clock: a promotion under load takes a while itself
            time.sleep(max(0.0, min(due, end) - time.monotonic()))
            swaps += 1
            store.promote(versions[swaps % 2])
            if warm is None and time.monotonic() > started + WARM_UP * minutes * 60:
                warm = pss_mib(server.pid)
        for thread in clients:
            thread.join()
        last = pss_mib(server.pid)
        server.send_signal(signal.SIGTERM)
        returned = server.wait(60)
    return tally, swaps, warm or last, last, returned


def main() -> None:
    """Run it and print a table."""
    parser = parser_of("Half an hour of mixed load while models are swapped.", "soak.md")
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    minutes: float = options.minutes
    limit_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tally, swaps, warm, last, returned = soak(Path(folder), minutes)
    answered = sum(tally.answers.values())
    made = provenance(f"make bench-soak ARGS='--minutes {minutes:g}'", WORKERS)
    rows = [
        ("requests", f"{answered:,}"),
        ("per second", f"{answered / minutes / 60:,.0f}"),
        ("swaps of the model", str(swaps)),
        ("versions that answered", str(len(tally.versions))),
        ("errors", str(len(tally.errors))),
        ("memory after the warm-up, MiB", f"{warm:,.0f}"),
        ("memory at the end, MiB", f"{last:,.0f}"),
        ("the server's return code", str(returned)),
    ]
    table = markdown_table(("", f"{WORKERS} processes, {CLIENTS} clients"), rows)
    publish(("# Mixed load", made, table), options.output, "soak.md")
    for error in tally.errors[:20]:
        print(error, file=sys.stderr)
    sys.exit(bool(tally.errors) or returned != 0)


if __name__ == "__main__":
    main()
