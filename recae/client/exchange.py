"""One call, try by try, without sending anything: what to send, what an outcome means, how long to wait.

`Client` and `AsyncClient` share it, so that they can differ in nothing but how they send and sleep.
"""

import json
import uuid
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from recae.client.answers import ErrorDetail
from recae.client.calls import Call
from recae.client.errors import BY_STATUS, AnswerError, BadAnswerError, ClientError, NoAnswerError
from recae.client.reading import read
from recae.client.retries import Retries, retry_after_s

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

LIMITED = 429
"""Refused before anything was done; any request may be sent again."""
UNSURE = (502, 503, 504)
"""A server that cannot answer now, or a proxy that got no answer: what was done is unknown."""
NOTHING_THERE = ("unknown_item",)
"""Codes of the server itself for what is not there; a proxy's 404 is none of them."""


class Exchange(Generic[T]):
    """One call and its tries.

    Args:
        call: what to do.
        retries: when to repeat it.
    """

    def __init__(self, call: Call[T], retries: Retries) -> None:
        self._call = call
        self._retries = retries
        self._tried = 0
        self._may_be_done = False  # by a try whose answer was lost
        self.request_id = uuid.uuid4().hex  # one for all tries: the server's log shows them together
        self.answer: T

    def next_try(self) -> dict[str, Any]:
        """Count a try, and give its arguments for httpx's ``request``."""
        self._tried += 1
        call = self._call
        asked: dict[str, Any] = {
            "method": call.method,
            "url": call.path,
            "params": call.params or None,
            "headers": {"X-Request-ID": self.request_id},
        }
        if call.method in ("POST", "PUT", "PATCH"):
            asked["json"] = {} if call.body is None else call.body
        return asked

    def after(self, response: "httpx.Response") -> float | None:
        """Seconds to wait before the next try; None if ``answer`` is there.

        Raises:
            AnswerError: if it is an error, and there is no next try.
            BadAnswerError: if it is not what the contract says.
        """
        if response.is_success:
            self.answer = self._read(response)
            return None
        error = self._error(response)
        gone = self._call.once_gone
        if gone is not None and self._may_be_done and error.code in NOTHING_THERE:
            self.answer = gone
            return None
        self._may_be_done |= error.status in UNSURE
        repeats = error.status == LIMITED or (error.status in UNSURE and self._call.repeatable)
        pause = self._retries.pause_s(self._tried, error.retry_after_s) if repeats else None
        if pause is None:
            raise error
        return pause

    def after_failure(self, failure: "httpx.TransportError", *, was_sent: bool) -> float:
        """Seconds to wait before the next try.

        Args:
            failure: what httpx raised.
            was_sent: whether the server may have got the request.

        Raises:
            NoAnswerError: if there is no next try.
        """
        may_repeat = self._call.repeatable or not was_sent
        self._may_be_done |= was_sent
        pause = self._retries.pause_s(self._tried) if may_repeat else None
        if pause is not None:
            return pause
        said = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
        why = "" if may_repeat else "; it is not repeated, since the server may have done it"
        raise NoAnswerError(
            f"no answer to {self._call.method} {self._call.path} after {self._tried} tries ({said}){why}; "
            "is the server up, and its address right?",
            self.request_id,
        ) from failure

    def unreadable(self, failure: "httpx.RequestError") -> BadAnswerError:
        """The error to raise for an answer that httpx itself can make nothing of: badly packed, or led round in circles.

        It is not repeated: the server would most likely answer the same again.
        """
        return BadAnswerError(
            f"{self._call.method} {self._call.path} got an answer that cannot be read "
            f"({type(failure).__name__}: {failure}); is the address right?",
            self.request_id,
        )

    def _read(self, response: "httpx.Response") -> T:
        try:
            return read(self._call.answer, response.json())
        except json.JSONDecodeError as error:
            text = (
                f"{self._call.method} {self._call.path} was answered with {_kind(response)}, expected JSON; "
                "is the address right?"
            )
            raise BadAnswerError(text, self.request_id) from error
        except UnicodeDecodeError as error:
            raise BadAnswerError(f"the answer is not UTF-8: {error}", self.request_id) from error
        except ClientError as error:
            error.request_id = error.request_id or self.request_id
            raise

    def _error(self, response: "httpx.Response") -> AnswerError:
        status = response.status_code
        body: Any = None
        try:
            body = response.json()
            detail = read(ErrorDetail, body["error"])
        except (ValueError, TypeError, KeyError, BadAnswerError):  # a proxy's page, or another program
            detail = ErrorDetail(f"http_{status}", f"answered with {_kind(response)}; is the address right?")
        request_id = body.get("request_id") if isinstance(body, dict) else None
        return BY_STATUS.get(status, AnswerError)(
            status,
            detail.code,
            detail.message,
            detail.field,
            request_id or response.headers.get("X-Request-ID") or self.request_id,
            retry_after_s(response.headers.get("Retry-After")),
        )


def _kind(response: "httpx.Response") -> str:
    kind = response.headers.get("Content-Type", "no declared type")
    return f"{response.status_code}, {len(response.content):,} bytes of {kind}"
