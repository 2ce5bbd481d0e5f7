"""gunicorn's threaded worker, made to share out connections with the other processes, and to outlast having too many.

As it comes, the first process to wake up takes all connections of a client, which keeps them for hours; and one that may
open no more files ends, with all whom it serves.
"""

import errno
import resource
import selectors
import time
from functools import partial
from typing import Any, Final

from gunicorn.workers.gthread import TConn, ThreadWorker

from recae.api.connections import Connections

PAUSE_S: Final = 0.001
PATIENCE_S: Final = 0.03
"""How long a process that has more connections than another leaves the next one to it, and how often it looks: else the
first to wake up takes all of a client's connections, and the other cores have nothing to do."""

BALANCE_S: Final = 1.0
"""How often a process looks whether it has kept more connections than another for so long. Clients keep theirs for hours:
one that connected while the other processes were loading would have one core for all of them."""

FILES_KEPT: Final = 128
"""Files that a process opens beside its connections: weights, the log of each thread."""
NO_MORE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of a system that has no room for one more connection now."""
FULL_PAUSE_S: Final = 0.5
"""How long none is taken then."""


class SharingWorker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """Takes its share of the connections, as many as it may have files open.

    A subclass of each server knows what its processes share: ``connections``. A subclass notes in ``_used`` which
    connections bring requests.
    """

    request_timeout_s: float = 15.0
    connections: Connections
    worker_connections: int
    max_keepalived: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._accepts_again = self._first_left = self._last_left = 0.0  # monotonic time
        self._balanced = 0.0  # monotonic time
        self._used: set[Any] = set()  # connections with a request since then
        self._n_spare = self._n_to_give = 0  # connections

    def init_process(self) -> None:
        """Begin, with no more connections than files may be open."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.worker_connections + FILES_KEPT
        if soft != resource.RLIM_INFINITY and soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            self.worker_connections = min(self.worker_connections, max(1, soft - FILES_KEPT))
            self.max_keepalived = max(1, self.worker_connections - self.cfg.threads)
        super().init_process()

    @property
    def _may_serve(self) -> bool:
        """Whether clients of other processes may be sent to this one."""
        return bool(self.alive)

    def accept(self, listener: Any) -> None:
        """Take a connection and wait for its first bytes here, in the loop that waits for all.

        gunicorn gives it to a thread at once, which waits five seconds: a few hundred idle ones would hold them all.
        """
        if self._leaves_to_others():
            return
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another process was faster, or the client is gone
            return
        except OSError as error:
            if error.errno not in NO_MORE:
                raise
            self.log.warning("no connection can be taken for %g s: %s", FULL_PAUSE_S, error)
            self._accepts_again = time.monotonic() + FULL_PAUSE_S
            self.set_accept_enabled(False)
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, sock, address, listener.getsockname())
        conn.timeout = time.monotonic() + self.request_timeout_s
        self.connections.tell(self.age, self.nr_conns)
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _leaves_to_others(self) -> bool:
        """Whether another process has fewer connections, and may still come to take the one that waits."""
        if self.nr_conns <= self.connections.fewest():
            return False
        now = time.monotonic()
        if now - self._last_left > 5 * PAUSE_S:  # it was taken: this is another one
            self._first_left = now
        elif now - self._first_left > PATIENCE_S:
            return False
        self._last_left, self._accepts_again = now, now + PAUSE_S
        self.set_accept_enabled(False)
        return True

    def _balance(self, now: float) -> None:
        """Tell how busy this process is, and find out how many connections another should have, at both of two looks.

        A process that may not serve tells nothing: it would answer 503 to whoever was sent to it.
        """
        if self._may_serve:
            self.connections.tell_busy(self.age, len(self._used), now)
        self._used.clear()
        n_spare = self.connections.spare(self.age, now)
        self._n_to_give = min(n_spare, self._n_spare)
        self._balanced, self._n_spare = now, n_spare

    def _gives(self) -> bool:
        """Whether the connection at hand is one that another process should have, still."""
        if self._n_to_give > 0 and self.nr_conns > self.connections.fewest() + 1:
            self._n_to_give -= 1
            return True
        return False

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer one request; on a connection that another process should have, as the last: its client makes a new one."""
        if self._gives():
            req.force_close()
        return super().handle_request(req, conn)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin or cease to take connections; not before a pause is over."""
        if not enabled or time.monotonic() >= self._accepts_again:
            super().set_accept_enabled(enabled)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what comes next, at most until connections may be taken again."""
        if self.alive:
            self.connections.tell(self.age, self.nr_conns)
        else:
            self.connections.forget(self.age)  # it takes none any more
        if self.alive and not self._accepting and self.nr_conns < self.worker_connections:
            timeout = min(timeout, max(self._accepts_again - time.monotonic(), 0.0))
        super().wait_for_and_dispatch_events(timeout)

    def notify(self) -> None:
        """Tell the master that this worker lives, and the others how busy it is, at least once a second."""
        super().notify()
        now = time.monotonic()
        if now - self._balanced > BALANCE_S:
            self._balance(now)
