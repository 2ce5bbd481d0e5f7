"""Suggestions for a user from bytes to bytes: the most frequent request, where it is plainly written.

gunicorn makes objects of a request, Flask finds its route and hangs it into a context, and together that takes as long as the
suggestions do. What is plain needs none of it, and meets the same functions: the check of keys, the route's own, the headers,
the metrics and the line of the log. Whatever is not plain (an escaped id, a header that frames a body, one that comes twice)
is left to gunicorn and Flask, before anything of it was done; so is everything else that this server answers.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flask import Flask, Response, g
from werkzeug.http import http_date

from recae.api import context, errors
from recae.api.access import Gate
from recae.api.finish import finished
from recae.api.recommendations import suggested
from recae.api.schemas import TopNQuery
from recae.api.spec import answer_with, read_query

EXTENSION: Final = "recae-direct"
RULE: Final = "/v1/users/<id:user_id>/recommendations"
PLAIN_LINE: Final = re.compile(
    rb"GET /v1/users/([A-Za-z0-9_.~-]{1,256})/recommendations(?:\?([!$&-~]*))? HTTP/1\.1"
)
PLAIN_HEADER: Final = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([\x20-\x7e]*)")
MOST_HEADERS: Final = 50
FRAMING: Final = frozenset(
    {b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"}
)
"""Headers of which more follows than this head."""
OF_THE_SCHEME: Final = frozenset({b"x-forwarded-protocol", b"x-forwarded-ssl"})
"""Headers that may contradict each other about https, which gunicorn refuses."""


@dataclass(frozen=True)
class Plain:
    """A request as it was understood."""

    user_id: str
    query: bytes
    environ: Mapping[str, str]
    """Its headers, by their WSGI names."""


def plain_request(head: bytes) -> Plain | None:
    """Read a request for a user's suggestions.

    Args:
        head: from its first byte to the empty line that ends it.

    Returns:
        None if it is another one, or not plain.
    """
    lines = head.split(b"\r\n")
    asked = PLAIN_LINE.fullmatch(lines[0])
    if asked is None or len(lines) > MOST_HEADERS or lines[-2:] != [b"", b""]:
        return None
    environ: dict[str, str] = {}
    for line in lines[1:-2]:
        header = PLAIN_HEADER.fullmatch(line)
        if header is None:
            return None
        name, value = header[1].lower(), header[2].strip()
        key = f"HTTP_{name.decode().upper().replace('-', '_')}"
        is_other = name in FRAMING or name in OF_THE_SCHEME or key in environ
        if is_other or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        environ[key] = value.decode()
    if "HTTP_HOST" not in environ:
        return None
    return Plain(asked[1].decode(), asked[2] or b"", environ)


class DirectAnswers:
    """Answers plain requests of one application.

    Args:
        app: whose answers these are.
        gate: the one of the application, so that there is one count of how often a key asks.
    """

    def __init__(self, app: Flask, gate: Gate) -> None:
        self._app, self._gate = app, gate
        self._date = (0, "")  # the second since 1970, and as HTTP writes it

    def answer(self, asked: Plain, remote_addr: str, server: str) -> bytes:
        """The whole answer, head and body, of a connection that stays open.

        Args:
            asked: the request.
            remote_addr: where it comes from.
            server: what the header ``Server`` says.
        """
        with self._app.app_context():
            noted = g._get_current_object()  # noqa: SLF001 - werkzeug's documented way
            context.begin(asked.environ)
            try:
                self._gate.admit("GET", RULE, asked.environ, remote_addr)
                response = answer_with(suggested(asked.user_id, read_query(TopNQuery, asked.query)))
            except Exception as error:  # noqa: BLE001 - a bug, too, is an answer
                response = errors.response_of(error)
            return self._as_bytes(finished(response, "GET", RULE, noted), server)

    def _as_bytes(self, response: Response, server: str) -> bytes:
        second = int(time.time())
        if self._date[0] != second:
            self._date = (second, http_date(second))
        lines = [
            f"HTTP/1.1 {response.status}",
            f"Server: {server}",
            f"Date: {self._date[1]}",
            "Connection: keep-alive",
            *(f"{name}: {value}" for name, value in response.headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.get_data()
