"""Who may ask for what: the role each route needs, and the check before anything of a request is read."""

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from flask import g, request

from recae.api.errors import ApiError
from recae.api.limits import RateLimiter
from recae.config import Settings, is_loopback
from recae.keys import KeyFile, KeyRing, Role

OPEN: Final = None
"""Needs no key: probes, and what describes the API."""

ROLES: Final[dict[str, Role | None]] = {
    "GET /": OPEN,
    "GET /docs": OPEN,
    "GET /docs/style.css": OPEN,
    "GET /health/live": OPEN,
    "GET /health/ready": OPEN,
    "GET /openapi.json": OPEN,
    "GET /static/{}": OPEN,
    "GET /metrics": Role.READ,
    "GET /v1/evaluation/latest": Role.READ,
    "GET /v1/evaluation/latest/report": Role.READ,
    "GET /v1/items": Role.READ,
    "GET /v1/items/{}": Role.READ,
    "GET /v1/items/{}/similar": Role.READ,
    "GET /v1/popular": Role.READ,
    "GET /v1/users/{}/recommendations": Role.READ,
    "POST /v1/rank": Role.READ,
    "POST /v1/recommendations": Role.READ,
    "POST /v1/recommendations/batch": Role.READ,
    "DELETE /v1/items/{}": Role.WRITE,
    "DELETE /v1/users/{}": Role.WRITE,
    "GET /v1/users/{}/events": Role.WRITE,
    "PATCH /v1/items/{}": Role.WRITE,
    "POST /v1/events": Role.WRITE,
    "PUT /v1/items/{}": Role.WRITE,
    "GET /v1/admin/runs": Role.ADMIN,
    "GET /v1/admin/runs/{}": Role.ADMIN,
    "GET /v1/models": Role.ADMIN,
    "POST /v1/admin/retrain": Role.ADMIN,
    "POST /v1/models/rollback": Role.ADMIN,
    "POST /v1/models/{}/promote": Role.ADMIN,
}
"""Method and path, parameters without their names. A route that is missing needs an admin, and a test fails."""

FROM_A_PROXY: Final = {
    "HTTP_FORWARDED": "Forwarded",
    "HTTP_VIA": "Via",
    "HTTP_X_FORWARDED_FOR": "X-Forwarded-For",
    "HTTP_X_FORWARDED_HOST": "X-Forwarded-Host",
    "HTTP_X_FORWARDED_PROTO": "X-Forwarded-Proto",
    "HTTP_X_REAL_IP": "X-Real-IP",
}
"""Headers by which a proxy tells of whoever asked it: name in WSGI -> name."""

ANONYMOUS: Final = "-"
"""Stands for the key's name where there is none."""


def role_of(method: str, rule: str) -> Role | None:
    """The role that a route needs; ``rule`` as Flask writes it, ``/v1/items/<path:item_id>``."""
    method = "GET" if method == "HEAD" else method
    return ROLES.get(f"{method} {re.sub('<[^>]*>', '{}', rule)}", Role.ADMIN)


def key_ring(settings: Settings) -> KeyRing:
    """All keys the settings lead to.

    Raises:
        ConfigError: if they cannot be read.
    """
    return KeyRing(KeyFile(settings.keys), settings.api_keys.get_secret_value())


class Gate:
    """The check before every request.

    Args:
        settings: have the limits.
        ring: the keys that are known.
    """

    def __init__(self, settings: Settings, ring: KeyRing) -> None:
        per_s = settings.rate_limit_per_s
        self._per_s, self._ring = per_s, ring
        self._limiter = RateLimiter(per_s, settings.burst) if per_s else None
        self._roles: dict[tuple[str, str], Role | None] = {}

    def check(self) -> None:
        """Check the current request; what no route answers gets 404, 405 or Allow, and needs no key."""
        rule, method = request.url_rule, request.method
        if rule is None or method == "OPTIONS":
            g.key_name = ANONYMOUS
        else:
            self.admit(method, rule.rule, request.environ, request.remote_addr)

    def admit(self, method: str, rule: str, environ: Mapping[str, Any], remote_addr: str | None) -> None:
        """Let a request to a route pass, and leave the key's name in ``g.key_name``.

        Args:
            method: of the request.
            rule: of the route, as Flask writes it.
            environ: has the headers, by their WSGI names.
            remote_addr: of the caller; None over a Unix socket, which no browser reaches.

        Raises:
            ApiError: 401, 403 or 429.
        """
        g.key_name = ANONYMOUS
        place = (method, rule)
        if place not in self._roles:
            self._roles[place] = role_of(*place)
        needed = self._roles[place]
        if needed is OPEN:
            return
        if self._ring.protected:
            _identify(self._ring, needed, environ)
        elif remote_addr:
            if not is_loopback(remote_addr):
                raise _forbidden(
                    "this server has no API keys, so it answers programs on its own machine only; make one with "
                    "`recae keys create`"
                )
            _refuse_proxies(environ)
            _refuse_other_pages(environ.get("HTTP_HOST"), environ.get("HTTP_ORIGIN"))
        if self._limiter is not None and (wait_s := self._limiter.take(g.key_name)):
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "rate_limited",
                f"more than {self._per_s:g} requests per second; wait as Retry-After says",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )


def _identify(ring: KeyRing, needed: Role, environ: Mapping[str, Any]) -> None:
    sent = environ.get("HTTP_X_API_KEY")  # a plain dictionary: request.headers would make one of its own
    if sent is None:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        sent = token.strip() if scheme.lower() == "bearer" else None
    if not sent:
        raise _unauthorized("this server asks for a key; send one in X-API-Key, or as Authorization: Bearer")
    key = ring.find(sent)
    if key is None:
        raise _unauthorized("this key is not known here; it may have been revoked")
    g.key_name = key.name
    if key.role < needed:
        raise _forbidden(f"the key {key.name!r} has the role {key.role}; this needs {needed}")


def _refuse_proxies(environ: Mapping[str, Any]) -> None:
    """Keep a server that asks for no key from answering the world through a proxy on its own machine.

    Raises:
        ApiError: 403, if a header tells that the request was passed on.
    """
    for name, header in FROM_A_PROXY.items():
        if name in environ:
            raise _forbidden(
                "this server has no API keys, so it answers programs on its own machine only, and this request came "
                f"through a proxy ({header}); make a key with `recae keys create`"
            )


def _refuse_other_pages(host: str | None, origin: str | None) -> None:
    """Keep pages of other sites, which a browser on this machine shows, from using a server that asks for no key.

    A page may send a POST without a body anywhere; and by a name of its own that suddenly leads to 127.0.0.1 it would
    even read the answers (DNS rebinding).

    Raises:
        ApiError: 403, if the request names another host than this machine, or comes from another page than ours.
    """
    if host is not None and not is_loopback(_name_of(host)):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "foreign_host",
            "this server has no API keys, so it answers only under localhost, 127.0.0.1 or [::1]; make a key with "
            "`recae keys create` to serve under another name",
        )
    if origin is not None and origin.partition("://")[2].lower() != (host or "").lower():
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "foreign_origin",
            "this server has no API keys, so it answers no pages but its own; make a key with `recae keys create`",
        )


def _name_of(host: str) -> str:
    """What stands before the port: ``localhost`` of ``localhost:8000``, ``::1`` of ``[::1]:8000``."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower()


def _unauthorized(message: str) -> ApiError:
    return ApiError(
        HTTPStatus.UNAUTHORIZED, "unauthorized", message, headers={"WWW-Authenticate": 'Bearer realm="recae"'}
    )


def _forbidden(message: str) -> ApiError:
    return ApiError(HTTPStatus.FORBIDDEN, "forbidden", message)
