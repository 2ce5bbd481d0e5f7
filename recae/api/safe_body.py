"""Between gunicorn and the application: bodies whose faults an application expects, and connections that end where one is left."""

from collections.abc import Callable
from typing import Any, Final

from gunicorn import http
from gunicorn.http.body import LengthReader

DRAINED: Final = 32 * 2**10
"""Bytes of a body that nobody read which gunicorn is left to take out of the socket: it does so up to 64 KiB, and closes the
connection where there are more."""


class Body:
    """A request's body, whose faults are the OSError that applications expect of a client that has gone wrong.

    gunicorn raises errors of its own while the application reads a chunked body; to Flask they would be bugs.
    """

    def __init__(self, body: Any) -> None:
        self._body = body

    @property
    def is_nearly_read(self) -> bool:
        """Whether so little is left of it that the connection can serve another request."""
        reader = getattr(self._body, "reader", None)
        if isinstance(reader, LengthReader):
            return bool(reader.length <= DRAINED)
        return getattr(reader, "parser", None) is None  # of chunks nobody knows how many are to come

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


def with_safe_body(answer: Callable[..., Any]) -> Callable[..., Any]:
    """A WSGI application that reads its bodies through :class:`Body`.

    Who is refused before a large body was read is told that the connection ends.

    Args:
        answer: the application; gunicorn calls it.
    """

    def safely(environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"] = Body(environ["wsgi.input"])

        def start(*head: Any) -> Any:
            if not body.is_nearly_read:
                start_response.__self__.force_close()  # gunicorn's response
            return start_response(*head)

        return answer(environ, start)

    return safely
