"""gunicorn's threaded worker, made to outlast bad clients.

As it comes, a thread that has read the first bytes of a request waits for the rest as long as the client likes, and
errors in the HTTP itself are answered in HTML. Here a request that is not through in time loses its connection, and
every error has the one JSON shape.
"""

import contextlib
import gc
import json
import selectors
import socket
import time
import uuid
from functools import partial
from typing import Any, Final

from gunicorn import http, util  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from recae.api.context import EXTENSION
from recae.api.errors import MAX_SHOWN

STATUSES: Final = {
    http.errors.LimitRequestLine: "414 URI Too Long",
    http.errors.LimitRequestHeaders: "431 Request Header Fields Too Large",
}
"""Of what is no request; 400 for everything else."""

LOAD_PATIENCE_S: Final = 20.0
"""How long a new process lets connections wait for its model; other processes take them meanwhile, if there are any."""


YOUNG_OBJECTS: Final = 50_000
"""Made since the last collection before the next one; a request makes about two thousand."""


def _spare_the_collector() -> None:
    """Leave what was loaded out of garbage collections: half a million objects that stay, looked through again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)


class Body:
    """A request's body, whose faults are the OSError that applications expect of a client that has gone wrong.

    gunicorn raises errors of its own while the application reads a chunked body; to Flask they would be bugs.
    """

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int | None = None) -> bytes:
        """At most ``size`` bytes, or all.

        Raises:
            OSError: if the client broke off, or sent what is no chunk.
        """
        try:
            data: bytes = self._body.read(size)
        except http.errors.ParseException as error:
            raise OSError(f"the body cannot be read: {error}") from error
        return data


class RequestWorker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """Ends requests that take longer than ``request_timeout_s`` of the settings, whose app it serves."""

    request_timeout_s: float = 15.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[Any, float] = {}  # by connection: monotonic time

    def load_wsgi(self) -> None:
        """Load the application, and stand between it and the bodies it reads."""
        super().load_wsgi()
        answer = self.wsgi.wsgi_app

        def with_safe_body(environ: dict[str, Any], start_response: Any) -> Any:
            environ["wsgi.input"] = Body(environ["wsgi.input"])
            return answer(environ, start_response)

        self.wsgi.wsgi_app = with_safe_body

    def run(self) -> None:
        """Load the model, then take connections until told to stop.

        A process that takes its share of them before it has a model would answer 503 while others serve: at the start,
        and whenever a process that died is replaced. Where loading takes very long it begins all the same, so that the
        probes get an answer.
        """
        served = self.wsgi.extensions[EXTENSION].served
        deadline = time.monotonic() + LOAD_PATIENCE_S
        while self.alive and not served.looked.wait(0.5) and time.monotonic() < deadline:
            self.notify()
        _spare_the_collector()
        super().run()

    def accept(self, listener: Any) -> None:
        """Take a connection and wait for its first bytes here, in the loop that waits for all.

        gunicorn gives it to a thread at once, which waits five seconds: a few hundred idle ones would hold them all.
        """
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another process was faster, or the client is gone
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, sock, address, listener.getsockname())
        conn.timeout = time.monotonic() + self.request_timeout_s
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)  # on the way to a stop
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def handle(self, conn: Any) -> Any:
        """Answer one request of a connection, in a thread of the pool."""
        self._deadlines[conn] = time.monotonic() + self.request_timeout_s
        try:
            return super().handle(conn)
        finally:
            self._deadlines.pop(conn, None)

    def notify(self) -> None:
        """Tell the master that this worker lives, at least once a second, and look who is late."""
        super().notify()
        now = time.monotonic()
        for conn, deadline in list(self._deadlines.items()):
            if now > deadline:
                # Its thread wakes up, finds the connection ended, and is free for the next.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what is no HTTP request, or what an application left unanswered."""
        request_id = uuid.uuid4().hex
        if isinstance(exc, http.errors.ParseException | OSError):
            status = STATUSES.get(type(exc), "400 Bad Request")
            code, message = "bad_request", f"this is no HTTP request: {str(exc)[:MAX_SHOWN]}"
            self.log.warning(
                "request %s from %s is no HTTP: %.200r", request_id, addr[0] if addr else "-", str(exc)
            )
        else:
            status, code = "500 Internal Server Error", "internal_error"
            message = "the server made a mistake; its log tells more under this request_id"
            self.log.error("request %s failed", request_id, exc_info=exc)
        error = {"code": code, "message": message, "field": None}
        body = json.dumps({"error": error, "request_id": request_id})  # ASCII
        head = (
            f"HTTP/1.1 {status}",
            "Connection: close",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"X-Request-ID: {request_id}",
            "X-Content-Type-Options: nosniff",
        )
        with contextlib.suppress(OSError):  # it may be gone
            util.write_nonblock(client, ("\r\n".join(head) + "\r\n\r\n" + body).encode("ascii"))
