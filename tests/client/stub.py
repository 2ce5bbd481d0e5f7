"""A server on a real port that answers by the contract, and fails when told to."""

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from flask import Flask, Response, jsonify, request

EVENTS = [
    {
        "item_id": f"i{number}",
        "title": None,
        "event_type": "view",
        "value": 1.0,
        "timestamp": 1_700_000_000 - number,
        "event_id": f"e{number}",
        "recommendation_id": None,
    }
    for number in range(5)
]
ITEM = {"item_id": "i9", "score": 3, "rank": 1, "title": "Nine", "explanation": []}
REASON = {"item_id": "i1", "title": "One", "contribution": 0.42}
RUN = {"run_id": "run-1", "status": "promoted", "gate": {"passed": True}}
VERSION = {"version": "v1", "model": "ease", "current": True, "n_users": 7, "n_items": 6, "config": {"l2": 1}}
CATALOGUE_ITEM = {
    "item_id": "i1",
    "title": "One",
    "year": 1999,
    "categories": ["a"],
    "available": True,
    "hidden": False,
}


@dataclass
class Stub:
    """What was asked, and the failures that come before the next answers."""

    address: str = ""
    asked: list = field(default_factory=list)
    """(method, path, query, body, headers) of every request."""
    failures: deque = field(default_factory=deque)
    """Functions that make a response in place of the contract's, first come, first used."""
    released: threading.Event = field(default_factory=threading.Event)

    def paths(self):
        return [(method, path) for method, path, *_ in self.asked]

    def bodies(self):
        return [body for *_, body, _ in self.asked]


def error(status, code="some_code", message="what was found", field=None, **headers):
    """A failure of the contract's shape."""
    body = {"error": {"code": code, "message": message, "field": field}, "request_id": "server-side"}

    def make():
        response = jsonify(body)
        response.status_code = status
        response.headers.extend({name.replace("_", "-"): value for name, value in headers.items()})
        return response

    return make


def page_of_a_proxy(status=502):
    return lambda: Response("<html>Bad Gateway</html>", status=status, mimetype="text/html")


def truncated():
    """Half a body, and then the end of the connection."""
    response = Response(b'{"items": [', mimetype="application/json")
    response.automatically_set_content_length = False
    response.headers["Content-Length"] = "1000"
    return response


def undecodable():
    """A body that is not packed as its header says."""
    return Response(b"no gzip at all", mimetype="application/json", headers={"Content-Encoding": "gzip"})


def elsewhere():
    """A redirection to where the request was sent."""
    return Response(status=307, headers={"Location": request.url})


def silence(stub):
    """No answer until the test is over."""

    def make():
        stub.released.wait()
        return Response(status=204)

    return make


def ranked(**more):
    return {"items": [ITEM], "model_version": "v1", "short": None, "unknown_items": [], "took_ms": 1, **more}


def recommended(user_id, explain=0):
    item = ITEM | {"explanation": [REASON][: int(explain)]}
    more = {
        "recommendation_id": "r_1",
        "user_id": user_id,
        "strategy": "model",
        "next_offset": 1,
        "new_field": 1,
    }
    return ranked(**more) | {"items": [item]}


def application(stub):
    app = Flask("stub")
    app.url_map.merge_slashes = False

    @app.before_request
    def note_or_fail():
        body = request.get_json(silent=True)
        stub.asked.append(
            (request.method, request.path, request.args.to_dict(flat=False), body, dict(request.headers))
        )
        return stub.failures.popleft()() if stub.failures else None

    @app.get("/v1/users/<path:user_id>/recommendations")
    def recommend(user_id):
        return recommended(user_id, request.args.get("explain", 0))

    @app.post("/v1/recommendations")
    def for_history():
        return recommended(request.json.get("user_id"), request.json.get("explain", 0))

    @app.post("/v1/recommendations/batch")
    def batch():
        bad = {
            "status": 404,
            "error": {"code": "unknown_user", "message": "no such user", "field": "user_id"},
        }
        parts = [
            bad if asked.get("strict") else {"status": 200, "body": recommended(asked.get("user_id"))}
            for asked in request.json["requests"]
        ]
        return {"results": parts, "took_ms": 2.5}

    @app.get("/v1/items/<path:item_id>/similar")
    def similar(item_id):
        return ranked(item_id=item_id, title="One")

    @app.get("/v1/popular")
    def popular():
        return ranked()

    @app.post("/v1/rank")
    def rank():
        answer = recommended(request.json.get("user_id"), request.json.get("explain", 0))
        return answer | {"unknown_items": ["new"]}

    @app.post("/v1/events")
    def events():
        bad = [at for at, event in enumerate(request.json) if event.get("timestamp") == "never"]
        rejected = [{"index": at, "code": "bad_timestamp", "message": "no time"} for at in bad]
        return {"accepted": len(request.json) - len(bad), "duplicates": 0, "rejected": rejected}, 202

    @app.get("/v1/users/<path:user_id>/events")
    def user_events(user_id):
        start, n = int(request.args.get("cursor", 0)), int(request.args.get("n", 100))
        rest = start + n < len(EVENTS)
        page = {"user_id": user_id, "events": EVENTS[start : start + n]}
        return page | {"next_cursor": str(start + n) if rest else None}

    @app.delete("/v1/users/<path:user_id>")
    def delete_user(user_id):
        return {"user_id": user_id, "deleted_events": 5, "remains": "what the weights learned"}

    @app.route("/v1/items/<path:item_id>", methods=["PUT", "PATCH", "GET"])
    def item(item_id):
        return CATALOGUE_ITEM | {"item_id": item_id} | (request.get_json(silent=True) or {})

    @app.delete("/v1/items/<path:item_id>")
    def delete_item(item_id):
        return {"item_id": item_id, "deleted": True}

    @app.get("/v1/items")
    def search():
        return {"items": [{"item_id": "i1", "title": "One (1999)"}]}

    @app.get("/v1/models")
    def models():
        return {"current": "v1", "versions": [VERSION]}

    @app.post("/v1/models/<version>/promote")
    def promote(version):
        return {"model_version": version, "replaced": "v0"}

    @app.post("/v1/models/rollback")
    def rollback():
        return {"model_version": "v0", "replaced": "v1"}

    @app.post("/v1/admin/retrain")
    def retrain():
        return {"run_id": "run-2"}, 202

    @app.get("/v1/admin/runs")
    def runs():
        return {"runs": [RUN]}

    @app.get("/v1/admin/runs/<run_id>")
    def run(run_id):
        return RUN | {"run_id": run_id}

    @app.get("/v1/evaluation/latest")
    def evaluation():
        return {"source": "evaluation", "name": "nightly", "created": "2026-11-22", "results": {"models": []}}

    @app.get("/health/live")
    def live():
        return {"status": "live"}

    @app.get("/health/ready")
    def ready():
        return {"status": "ready", "model_version": "v1", "problem": None}

    return app


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """Answers the next while one waits."""

    daemon_threads = False  # joined at the end, so that none outlives its test


class QuietHandler(WSGIRequestHandler):
    """Without a line for each request."""

    def log_message(self, *_line):
        pass


@contextmanager
def serving():
    """A stub on a free port of this machine, until the block ends."""
    stub = Stub()
    server = make_server("127.0.0.1", 0, application(stub), ThreadingServer, QuietHandler)
    stub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        stub.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
