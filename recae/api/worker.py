"""gunicorn's threaded worker, made to outlast bad clients, and to answer short requests without a thread.

As it comes, a thread that has read the first bytes of a request waits for the rest as long as the client likes, and
errors in the HTTP itself are answered in HTML. Here a request that is not through in time loses its connection, and
every error has the one JSON shape. What :mod:`recae.api.at_once` finds short is answered in the loop itself, as a task of
:mod:`recae.api.loop`, by :mod:`recae.api.direct` if it is plain.
"""

import contextlib
import gc
import json
import re
import socket
import sys
import time
import uuid
from concurrent.futures import Future
from typing import Any, Final

from gunicorn import SERVER, http, util
from gunicorn.http.body import LengthReader

from recae.api import direct
from recae.api.at_once import Outgoing, short_request
from recae.api.context import EXTENSION
from recae.api.direct import DirectAnswers, Plain, plain_request
from recae.api.errors import RETRY_AFTER_S
from recae.api.item_changes import ItemChanges
from recae.api.loop import Loop
from recae.api.safe_body import with_safe_body
from recae.api.sharing import SharingWorker

STATUSES: Final = {
    http.errors.LimitRequestLine: "414 URI Too Long",
    http.errors.LimitRequestHeaders: "431 Request Header Fields Too Large",
}
"""Of what is no request; 400 for everything else."""

LOAD_PATIENCE_S: Final = 20.0
"""How long a new process lets connections wait for its model; other processes take them meanwhile, if there are any."""

SWITCH_S: Final = 0.0005
"""How long a thread may keep the others waiting for the interpreter: at Python's 5 ms, ten requests long."""

REST_S: Final = 0.002
"""How long the loop looks for the body of a short request before a thread waits for it: many clients send head and body apart,
one right after the other."""

YOUNG_OBJECTS: Final = 50_000
"""Made since the last collection before the next one; a request makes about two thousand."""


def _spare_the_collector() -> None:
    """Leave what was loaded out of garbage collections: half a million objects that stay, looked through again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)


class RequestWorker(SharingWorker):
    """Ends requests that take longer than ``request_timeout_s`` of the settings, whose app it serves.

    A subclass of each server knows the settings, and what its processes share: ``connections`` and ``item_changes``.
    """

    item_changes: ItemChanges

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[Any, float] = {}  # by connection: monotonic time
        self._notified = 0.0  # monotonic time
        self._loop = Loop(self.method_queue.defer)
        self._parked: dict[Any, socket.socket] = {}  # connections whose requests wait for work
        self._given_up: set[Any] = set()  # connections that were closed meanwhile
        self._began: dict[Any, float] = {}  # connections with a part of a short request: monotonic time

    def load_wsgi(self) -> None:
        """Load the application, and stand between it and the bodies it reads."""
        super().load_wsgi()
        self._state = self.wsgi.extensions[EXTENSION]
        self._direct: DirectAnswers | None = self.wsgi.extensions.get(direct.EXTENSION)
        self._state.served.share(self.item_changes)
        self.wsgi.wsgi_app = with_safe_body(self.wsgi.wsgi_app)

    def run(self) -> None:
        """Load the model, then take connections until told to stop.

        A process that takes its share of them before it has a model would answer 503 while others serve: at the start,
        and whenever a process that died is replaced. Where loading takes very long it begins all the same, so that the
        probes get an answer.
        """
        deadline = time.monotonic() + LOAD_PATIENCE_S
        while self.alive and not self._state.served.looked.wait(0.5) and time.monotonic() < deadline:
            self.notify()
        _spare_the_collector()
        sys.setswitchinterval(SWITCH_S)
        try:
            super().run()
        finally:
            self._loop.close()

    @property
    def _may_serve(self) -> bool:
        """As the base class has it, and there is a model: else they would hear 503."""
        return self._state.served.peek() is not None and super()._may_serve

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what comes next, then begin the work that requests wait for."""
        super().wait_for_and_dispatch_events(timeout)
        self._loop.begin_works()

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer the next request of a connection at once, or give it to a thread."""
        self._used.add(conn)
        now = time.monotonic()
        if now - self._notified > 1.0:  # of many that have come at once, each may take its time
            self.notify()
        try:
            takes_long = self._state.takes_long
            asked = short_request(conn.sock, takes_long) if self._may_answer_at_once(conn) else None
            if asked == b"" and now - self._began.setdefault(conn, now) < REST_S:
                return  # what waits in the socket is told of again
            self._began.pop(conn, None)
            if asked:
                self._answer_at_once(conn, asked)
                return
        except Exception as error:  # noqa: BLE001 - the loop of all connections must not end by one
            self._drop(conn, error)
            return
        super().on_client_socket_readable(conn, client)

    def _answer_at_once(self, conn: Any, asked: bytes) -> None:
        """Answer a request in the loop: as a task, if it may have to wait."""
        if asked.startswith(b"GET") and not self._state.served.makes_passes:
            self._answer(conn, asked)  # it can wait for nothing, and a task costs a tenth of it
            return
        sock = conn.sock
        if not self._loop.run(self._answer_as_task, conn, asked):
            # It waits for work, and nobody is to read from the connection meanwhile.
            self._leave_poller(conn)
            self._parked[conn] = sock
            self._deadlines[conn] = time.monotonic() + self.request_timeout_s

    def _answer_as_task(self, conn: Any, asked: bytes) -> None:
        try:
            self._answer(conn, asked)
        except Exception as error:  # noqa: BLE001 - as above
            self._drop(conn, error)

    def _answer(self, conn: Any, asked: bytes) -> None:
        """Answer one request of a connection in the loop, as a task if it may have to wait.

        Args:
            conn: where it waits.
            asked: all its bytes.
        """
        sock = conn.sock
        plain = plain_request(asked) if self._may_answer_directly(conn) else None
        outgoing = Outgoing(sock)
        if plain is not None and self._direct is not None:
            goes_on = self._answer_directly(self._direct, conn, outgoing, plain, len(asked))
        else:
            conn.sock = outgoing
            try:
                goes_on = super().handle(conn)
            finally:
                conn.sock = sock
        if conn in self._given_up:
            self._given_up.discard(conn)
            return
        try:
            rest = outgoing.send()
        except OSError:
            rest, goes_on = b"", False
        waited = conn in self._parked
        more_came = (
            goes_on and conn.parser.unreader.buf.getvalue()
        )  # since it was looked at; no poller tells of it
        if goes_on and not rest and not waited and not more_came and self.alive:
            self.keepalived_conns.remove(conn)  # the one that waits longest stands first
            self.keepalived_conns.append(conn)
            conn.set_timeout()
            return
        if waited:
            del self._parked[conn]
            self._deadlines.pop(conn, None)
        else:
            self._leave_poller(conn)
        if rest:
            self._finish_in_thread(conn, rest, goes_on)
        else:
            done: Future[bool] = Future()
            done.set_result(goes_on)
            self.finish_request(conn, done)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Wait for the next request of a connection, or close it: in a thread, since that waits for its client."""
        if fs.cancelled() or fs.exception() is not None or fs.result():
            super().finish_request(conn, fs)
            return
        self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        self.tpool.submit(conn.close, graceful=True)

    def _drop(self, conn: Any, error: Exception) -> None:
        """Close a connection whose request has met a mistake of ours, and serve the others on."""
        self.log.error("a connection was closed by a mistake of the server", exc_info=error)
        if conn in self._given_up:  # closed already
            self._given_up.discard(conn)
            return
        self._parked.pop(conn, None)
        self._deadlines.pop(conn, None)
        with contextlib.suppress(KeyError, ValueError, OSError):  # it may have left already
            self.poller.unregister(conn.sock)
        with contextlib.suppress(ValueError):
            self.keepalived_conns.remove(conn)
        self._close(conn)

    def _give_up(self, conn: Any) -> None:
        """Refuse a request that has waited too long for work, and give its connection's place to others.

        Its task goes on, and nobody hears of it: what it was to store may be stored all the same.
        """
        sock = self._parked.pop(conn)
        del self._deadlines[conn]
        self._given_up.add(conn)
        request_id = uuid.uuid4().hex
        message = (
            f"the server waited longer than {self.request_timeout_s:g} s for what this needs, the event log perhaps; what was "
            "sent may have been stored all the same. Sent again, events with an event_id or a timestamp are not doubled"
        )
        self.log.warning("request %s waited for %g s, and was refused", request_id, self.request_timeout_s)
        version = self._state.served.version
        answer = _error_bytes(
            "503 Service Unavailable", "event_log_unavailable", message, request_id, version
        )
        with contextlib.suppress(OSError):  # it may be gone
            util.write_nonblock(sock, answer)
        conn.sock = sock
        self._close(conn)

    def _leave_poller(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        self.keepalived_conns.remove(conn)

    def _may_answer_at_once(self, conn: Any) -> bool:
        return (
            self.alive
            and conn.parser is not None
            and not conn.is_http2
            and not self.cfg.is_ssl
            and self._state.is_quick
        )

    def _may_answer_directly(self, conn: Any) -> bool:
        """Whether what waits in the socket is a request, and no rest of one before; and nobody counts, or is to go.

        gunicorn takes the rest out of the socket before the connection comes back to the loop, or closes it. Here is the
        second lock: by a rest that was taken for a request, one client could speak for another behind the same proxy.
        """
        parser = conn.parser
        before = getattr(parser.mesg, "body", None)
        reader = getattr(before, "reader", None)
        return (
            self._direct is not None
            and self._n_to_give == 0
            and self.max_requests == sys.maxsize
            and isinstance(conn.client, tuple)
            and isinstance(reader, LengthReader)
            and reader.length == 0
            and not parser.unreader.buf.getvalue()
        )

    def _answer_directly(
        self, answers: DirectAnswers, conn: Any, outgoing: Outgoing, plain: Plain, n_bytes: int
    ) -> bool:
        """Take a plain request out of the socket, and gather its answer; returns whether the connection goes on."""
        try:
            conn.sock.recv(n_bytes)  # what short_request has seen
            outgoing.sendall(answers.answer(plain, conn.client[0], SERVER))
        except Exception as error:  # noqa: BLE001 - the loop of all connections must not end by one
            self.handle_error(None, outgoing, conn.client, error)
            return False
        return True

    def _finish_in_thread(self, conn: Any, rest: bytes, goes_on: bool) -> None:
        """Let a thread wait for a client that does not take its answer, as long as any request may take."""

        def send() -> bool:
            self._deadlines[conn] = time.monotonic() + self.request_timeout_s
            try:
                conn.sock.setblocking(True)
                conn.sock.sendall(rest)
            except OSError:
                return False
            finally:
                self._deadlines.pop(conn, None)
            return goes_on

        sending = self.tpool.submit(send)
        sending.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)  # on the way to a stop
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
        for listener in self.sockets:
            listener.close()  # or the system would take connections until the end, which nobody answers

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
        self._notified = now = time.monotonic()
        self._began.clear()
        for conn, deadline in list(self._deadlines.items()):
            if now > deadline and conn in self._parked:
                self._give_up(conn)
            elif now > deadline:
                # Its thread wakes up, finds the connection ended, and is free for the next.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what is no HTTP request, or what an application left unanswered."""
        request_id = uuid.uuid4().hex
        if isinstance(exc, http.errors.ParseException | OSError):
            status = STATUSES.get(type(exc), "400 Bad Request")
            # The kind of error alone: its text repeats the line that is wrong, and that may hold a key.
            kind = re.sub("(?<=[a-z])(?=[A-Z])", " ", type(exc).__name__).lower()
            code, message = "bad_request", f"this is no HTTP request that can be read: {kind}"
            self.log.warning("request %s from %s is no HTTP: %s", request_id, addr[0] if addr else "-", kind)
        else:
            status, code = "500 Internal Server Error", "internal_error"
            message = "the server made a mistake; its log tells more under this request_id"
            self.log.error("request %s failed", request_id, exc_info=exc)
        version = self._state.served.version
        with contextlib.suppress(OSError):  # it may be gone
            util.write_nonblock(client, _error_bytes(status, code, message, request_id, version))


def _error_bytes(status: str, code: str, message: str, request_id: str, version: str) -> bytes:
    """An answer in the one shape of errors, after which the connection ends; ``version`` is of the model in service."""
    error = {"code": code, "message": message, "field": None}
    body = json.dumps({"error": error, "request_id": request_id})  # ASCII
    head = [
        f"HTTP/1.1 {status}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Request-ID: {request_id}",
        f"X-Model-Version: {version}",
        "X-Content-Type-Options: nosniff",
    ]
    if status.startswith("503"):
        head.append(f"Retry-After: {RETRY_AFTER_S}")
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("ascii")
