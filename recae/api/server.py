"""gunicorn, set up for a model in memory: processes that share nothing, one computing thread each."""

import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from recae.api.context import EXTENSION
from recae.config import Settings, is_loopback
from recae.errors import ConfigError
from recae.threads import available_cores, limit_threads

if TYPE_CHECKING:
    from flask import Flask


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """What to tell gunicorn.

    Raises:
        ConfigError: if the host is reachable from other machines, which nothing protects yet.
    """
    if not is_loopback(settings.host):
        raise ConfigError(
            f"host {settings.host!r} can be reached from other machines, and this version of recae has no API keys "
            "to tell who is asking; serve on 127.0.0.1, behind a proxy that does"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": [f"{host}:{settings.port}"],
        "workers": settings.workers or available_cores(),
        "worker_class": "gthread",
        "threads": 4,  # they wait for slow clients; the computing is one thread's
        "preload_app": False,  # torch may hang in a process forked after it was used
        "post_fork": _limit_worker,
        "post_worker_init": _announce,
        "timeout": 60,
        "control_socket_disable": True,  # it would write into the home folder
        "loglevel": "warning",
    }


def serve(settings: Settings) -> None:
    """Serve until a signal ends it."""
    if sys.platform == "win32":
        raise ConfigError(
            "gunicorn does not run on Windows; give recae.api.create_app() to a server that does"
        )
    from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

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
    served = worker.wsgi.extensions[EXTENSION].served
    host, port = worker.sockets[0].getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def wait_and_tell() -> None:
        served.loaded.wait()
        print(f"serving {served.version} on {url}; Ctrl-C ends it", file=sys.stderr)  # noqa: T201
        print(f"  curl '{url}/v1/users/42/recommendations?n=5'", file=sys.stderr)  # noqa: T201

    threading.Thread(target=wait_and_tell, name="recae-announce", daemon=True).start()


def _limit_worker(_arbiter: Any, _worker: Any) -> None:
    limit_threads(1)
