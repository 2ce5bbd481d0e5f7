"""The two most frequent requests from bytes to bytes, where they are plainly written: a user's suggestions, and new events.

gunicorn makes objects of a request, Flask finds its route and hangs it into a context, and together that takes longer than the
work itself does. What is plain needs none of it, and meets the same functions: the check of keys, the route's own, the headers,
the metrics and the line of the log. Whatever is not plain (an escaped id, a body in chunks, a header that comes twice)
is left to gunicorn and Flask, before anything of it was done; so is everything else that this server answers.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, Final

from flask import Flask, Response, g
from werkzeug.http import http_date

from recae.api import context, errors
from recae.api.access import Gate
from recae.api.bodies import json_of
from recae.api.event_schemas import EventList
from recae.api.events import stored
from recae.api.finish import finished
from recae.api.recommendations import suggested
from recae.api.schemas import TopNQuery
from recae.api.spec import answer_with, read_query, validated

EXTENSION: Final = "recae-direct"
PLAIN_LINE: Final = re.compile(
    rb"GET /v1/users/([A-Za-z0-9_.~-]{1,256})/recommendations(?:\?([!$&-~]*))? HTTP/1\.1"
)
EVENTS_LINE: Final = b"POST /v1/events HTTP/1.1"
PLAIN_HEADER: Final = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([\x20-\x7e]*)")
PLAIN_LENGTH: Final = re.compile("[0-9]{1,9}")
PLAIN_TYPES: Final = frozenset({"application/json", "application/json; charset=utf-8"})
MOST_HEADERS: Final = 50
LONGEST_LINE: Final = 4_000
"""Bytes of the first line; gunicorn refuses more than 4,094."""
FRAMING: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"})
"""Headers of which more follows than this head, and than a length tells."""
OF_THE_SCHEME: Final = frozenset({b"x-forwarded-protocol", b"x-forwarded-ssl"})
"""Headers that may contradict each other about https, which gunicorn refuses."""
OF_THE_BODY: Final = frozenset({"CONTENT_LENGTH", "CONTENT_TYPE"})
"""Their names in WSGI begin with no HTTP."""


@dataclass(frozen=True)
class Plain(ABC):
    """A request as it was understood."""

    method: ClassVar[str]
    rule: ClassVar[str]
    """Of its route, as Flask writes it."""
    environ: Mapping[str, str]
    """Its headers, by their WSGI names."""

    @abstractmethod
    def answer(self) -> Response:
        """What its route answers.

        Raises:
            Exception: what the route raises.
        """


@dataclass(frozen=True)
class PlainSuggestions(Plain):
    """Asks for a user's suggestions."""

    method = "GET"
    rule = "/v1/users/<id:user_id>/recommendations"
    user_id: str
    query: bytes

    def answer(self) -> Response:
        """As its base tells."""
        return answer_with(suggested(self.user_id, read_query(TopNQuery, self.query)))


@dataclass(frozen=True)
class PlainEvents(Plain):
    """Brings events."""

    method = "POST"
    rule = "/v1/events"
    body: bytes

    def answer(self) -> Response:
        """As its base tells."""
        return answer_with(stored(validated(EventList, json_of(self.body))), HTTPStatus.ACCEPTED)


def plain_request(asked: bytes) -> Plain | None:
    """Read a request for a user's suggestions, or one that brings events.

    Args:
        asked: all of it, from its first byte to the last of its body.

    Returns:
        None if it is another one, or not plain.
    """
    head, end, body = asked.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    suggestions = PLAIN_LINE.fullmatch(line)
    is_small = len(lines) <= MOST_HEADERS and len(line) <= LONGEST_LINE
    if not end or not is_small or (suggestions is None and line != EVENTS_LINE):
        return None
    environ = _headers(lines)
    if environ is None:
        return None
    if suggestions is not None:
        has_body = body or environ.keys() & OF_THE_BODY
        return None if has_body else PlainSuggestions(environ, suggestions[1].decode(), suggestions[2] or b"")
    length, type_ = environ.get("CONTENT_LENGTH", ""), environ.get("CONTENT_TYPE", "").lower()
    if not PLAIN_LENGTH.fullmatch(length) or int(length) != len(body) or type_ not in PLAIN_TYPES:
        return None
    return PlainEvents(environ, body)


def _headers(lines: Iterable[bytes]) -> dict[str, str] | None:
    """By their WSGI names; None where one is not plain, or there is no host."""
    environ: dict[str, str] = {}
    for line in lines:
        header = PLAIN_HEADER.fullmatch(line)
        if header is None:
            return None
        name, value = header[1].lower(), header[2].strip()
        key = name.decode().upper().replace("-", "_")
        key = key if key in OF_THE_BODY else f"HTTP_{key}"
        is_other = name in FRAMING or name in OF_THE_SCHEME or key in environ
        if is_other or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        environ[key] = value.decode()
    return environ if "HTTP_HOST" in environ else None


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
                self._gate.admit(asked.method, asked.rule, asked.environ, remote_addr)
                response = asked.answer()
            except Exception as error:  # noqa: BLE001 - a bug, too, is an answer
                response = errors.response_of(error)
            return self._as_bytes(finished(response, asked.method, asked.rule, noted), server)

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
