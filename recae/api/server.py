"""gunicorn, set up for a model in memory: processes that share nothing, one computing thread each."""

import logging
import math
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from recae.api.access import key_ring
from recae.api.connections import Connections
from recae.api.context import EXTENSION
from recae.api.item_changes import ItemChanges
from recae.api.logs import configuration
from recae.api.shared_counts import close_folder, forget_process, open_folder
from recae.config import Settings, is_loopback
from recae.errors import ConfigError
from recae.threads import available_cores, limit_threads

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask

    from recae.api.worker import RequestWorker

logger = logging.getLogger(__name__)

THREADS: Final = 32
"""Of each process, for all requests but the short ones. They wait for slow clients, which cost a thread each."""
CONNECTIONS: Final = 1_000
KEEPALIVE_S: Final = 75
"""How long an idle connection stays open: longer than the 60 s after which usual proxies give theirs up, so that a proxy
never sends a request into one that is being closed."""


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """What to tell gunicorn.

    Raises:
        ConfigError: if the host is reachable from other machines and there are no API keys.
    """
    ring = key_ring(settings)
    if not is_loopback(settings.host) and not ring:
        raise ConfigError(
            f"host {settings.host!r} can be reached from other machines, and there are no API keys to tell who is "
            "asking; make one with `recae keys create NAME` or set RECAE_API_KEYS, or serve on 127.0.0.1"
        )
    counts: list[Path] = []  # made when gunicorn starts, not when its settings are looked at

    def open_counts(_arbiter: Any) -> None:
        counts.append(open_folder())

    def close_counts(_arbiter: Any) -> None:
        for folder in counts:
            close_folder(folder)

    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": [f"{host}:{settings.port}"],
        "workers": settings.workers or available_cores(),
        "worker_class": _worker_class(settings),
        "threads": THREADS,
        "worker_connections": CONNECTIONS,
        "keepalive": KEEPALIVE_S,
        "graceful_timeout": max(30, math.ceil(settings.request_timeout_s)),  # what runs may run to its end
        "on_starting": open_counts,
        "on_exit": close_counts,
        "child_exit": _forget_worker,
        "logconfig_dict": configuration(settings.log_format),
        "logger_class": _logger_class(),
        "preload_app": False,  # torch may hang in a process forked after it was used
        "post_fork": _limit_worker,
        "post_worker_init": _announce,
        "worker_exit": _leave,
        "timeout": 60,
        "control_socket_disable": True,  # it would write into the home folder
        "loglevel": "warning",
    }


def _worker_class(settings: Settings) -> type["RequestWorker"]:
    from recae.api.worker import RequestWorker

    shared = {
        "request_timeout_s": settings.request_timeout_s,
        "connections": Connections(),
        "item_changes": ItemChanges(),
    }
    return type("RecaeWorker", (RequestWorker,), shared)


def _logger_class() -> type:
    from gunicorn.glogging import Logger

    # Ours says more than its access log, which would gather each line before it finds that nobody wants it.
    return type("RecaeLogger", (Logger,), {"access": lambda *_: None})


def serve(settings: Settings) -> None:
    """Serve until a signal ends it."""
    from gunicorn.app.base import BaseApplication

    options = gunicorn_options(settings)
    check_free(settings)

    class Server(BaseApplication):  # type: ignore[misc] # gunicorn has no types
        def load_config(self) -> None:
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> "Flask":
            from recae.api import create_app

            return create_app(settings)

    Server().run()


def check_free(settings: Settings) -> None:
    """Find out whether the address can be served on, before any longer work.

    Raises:
        ConfigError: if not, with the reason.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that just ended does not count
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigError(
                f"cannot serve on {settings.host} port {settings.port}: {error.strerror or error}; "
                "choose another one with --port or RECAE_PORT"
            ) from error


def _announce(worker: Any) -> None:
    """Tell where the server is, once it can answer: the first worker speaks for all."""
    if worker.age > 1:
        return
    state = worker.wsgi.extensions[EXTENSION]
    served, is_json = state.served, state.settings.log_format == "json"
    host, port = worker.sockets[0].getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def wait_and_tell() -> None:
        served.loaded.wait()
        if is_json:  # whoever reads these lines reads no others
            logger.info("serving %s on %s", served.version, url)
            return
        print(f"serving {served.version} on {url}; Ctrl-C ends it", file=sys.stderr)  # noqa: T201 - for who started it
        print(f"  curl '{url}/v1/users/42/recommendations?n=5'", file=sys.stderr)  # noqa: T201 - as above

    threading.Thread(target=wait_and_tell, name="recae-announce", daemon=True).start()


def _leave(_arbiter: Any, worker: Any) -> None:
    """End a process at once whose thread is reading a model: Python cannot be taken down under a library that is being imported.

    All that was asked is answered by now, or given up.
    """
    if worker.booted and worker.wsgi.extensions[EXTENSION].served.is_loading:
        logging.shutdown()
        os._exit(0)


def _forget_worker(_arbiter: Any, worker: Any) -> None:
    worker.connections.forget(worker.age)
    forget_process(worker.pid)


def _limit_worker(_arbiter: Any, _worker: Any) -> None:
    limit_threads(1)
