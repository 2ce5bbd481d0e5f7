"""What the client raises.

ClientError                 base of all below; a RecaeError
├── NoAnswerError           nobody listens, the connection broke, or the time was up
├── BadAnswerError          an answer that is not what the contract says
└── AnswerError             the server answered with an error: status, code, message, field, request_id
    ├── InvalidRequestError     400, 413, 415, 422
    ├── NotPermittedError       401, 403
    ├── NotFoundError           404
    ├── ConflictError           409
    ├── RateLimitedError        429
    └── UnavailableError        502, 503, 504
"""

from recae.client.answers import EventsAccepted
from recae.errors import RecaeError


class ClientError(RecaeError):
    """Base of what the client raises.

    Args:
        message: what was found, what was expected, what to do.
        request_id: under which the server's log has the request.
    """

    sent_before: EventsAccepted | None = None
    """Of ``send_events``: what became of the events in the requests before the one that failed."""

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id


class NoAnswerError(ClientError):
    """Nobody listens, the connection broke, or the time was up. Whether the server did the work is unknown."""


class BadAnswerError(ClientError):
    """An answer that is not what the contract says: another program at this address, or another version."""


class AnswerError(ClientError):
    """The server answered with an error.

    Args:
        status: HTTP status.
        code: for programs; does not change.
        message: for people.
        field: the part of the request that is meant.
        request_id: under which the server's log has it.
        retry_after_s: when to ask again, in seconds, if the server said so.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, request_id)
        self.status = status
        self.code = code
        self.field = field
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message} (request {self.request_id})"


class InvalidRequestError(AnswerError):
    """A request the server cannot use; ``field`` says which part."""


class NotPermittedError(AnswerError):
    """No API key, a wrong one, or one whose role does not suffice."""


class NotFoundError(AnswerError):
    """The server does not know what the request names."""


class ConflictError(AnswerError):
    """Something stands against it now, such as a retraining that runs already."""


class RateLimitedError(AnswerError):
    """Too many requests, after all tries; ``retry_after_s`` says when to ask again."""


class UnavailableError(AnswerError):
    """The server cannot answer now, after all tries: no model is loaded, or it restarts.

    Of ``rollback`` and ``retrain``, which are not tried again, it does not say that nothing was done.
    """


BY_STATUS: dict[int, type[AnswerError]] = {
    400: InvalidRequestError,
    401: NotPermittedError,
    403: NotPermittedError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
"""The class of each status; any other is a plain ``AnswerError``."""
