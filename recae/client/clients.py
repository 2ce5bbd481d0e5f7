"""`Client` and `AsyncClient`: how calls are sent, and how long is waited between tries."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from recae.client.answers import EventsAccepted, UserEvent
from recae.client.calls import Call, Id
from recae.client.endpoints import Endpoints
from recae.client.errors import ClientError
from recae.client.exchange import Exchange
from recae.client.parts import EventParts
from recae.client.retries import Retries

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

ADDRESS = "http://127.0.0.1:8000"
TIMEOUT_S = 10.0


class Client(Endpoints):
    """Asks a recae server, and waits for the answers. Safe between threads.

    Requests that got no answer, or 429, 502, 503 or 504, are repeated after a pause, as long as repeating does no harm:
    ``rollback`` and ``retrain`` are repeated only if they never arrived or were refused with 429.

    Args:
        address: of the server, up to the ``/v1``.
        api_key: sent as X-API-Key.
        timeout_s: longest wait for a connection, and for each part of an answer, in seconds; per try.
        retries: how often and when a request is repeated.
        options: further arguments of ``httpx.Client``, such as ``verify`` or ``proxy``.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: Retries | None = None,
        **options: Any,
    ) -> None:
        self._http = _httpx().Client(**_options(address, api_key, timeout_s, options))
        self._retries = retries or Retries()

    def send(self, call: Call[T]) -> T:
        """Send a call, again if need be, and read its answer.

        Raises:
            ClientError: if there is none, or it is an error.
        """
        httpx, exchange = _httpx(), Exchange(call, self._retries)
        while True:
            try:
                pause = exchange.after(self._http.request(**exchange.next_try()))
            except httpx.TransportError as failure:
                pause = exchange.after_failure(failure, was_sent=_was_sent(failure))
            except httpx.RequestError as failure:
                raise exchange.unreadable(failure) from failure
            if pause is None:
                return exchange.answer
            time.sleep(pause)

    def send_events(self, events: Iterable[Mapping[str, Any]]) -> EventsAccepted:
        """Tell what users did; accepted events are on the server's disk.

        Any number of events, in as many requests as they need: at most 1,000 in each, and half a mebibyte. An event that
        has no ``event_id`` is given one, so that a repeated request counts once; only events with an ``event_id`` of
        yours can be sent in a further call without counting twice.

        Args:
            events: each with user_id and item_id, and maybe event_type, value, timestamp, event_id, recommendation_id.

        Returns:
            The sum of all answers; ``index`` of a rejected event counts over all that was sent. Zeros without events.

        Raises:
            ClientError: whose ``sent_before`` says what became of the events in the requests before the one that failed;
                those after it were not sent.
        """
        parts = EventParts(events)
        with parts.told():
            for call in parts.calls():
                parts.add(call, self.send(call))
        return parts.answer

    def user_events(self, user_id: Id, *, n_a_page: int | None = None) -> Iterator[UserEvent]:
        """All events of a user, newest first, asked for page by page."""
        cursor: str | None = None
        while True:
            page = self.user_events_page(user_id, n=n_a_page, cursor=cursor)
            yield from page.events
            cursor = page.next_cursor
            if cursor is None:
                return

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncClient(Endpoints):
    """The same for asyncio: every method is awaited. Arguments as those of ``Client``."""

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: Retries | None = None,
        **options: Any,
    ) -> None:
        self._http = _httpx().AsyncClient(**_options(address, api_key, timeout_s, options))
        self._retries = retries or Retries()

    async def send(self, call: Call[T]) -> T:
        """As ``Client.send``."""
        httpx, exchange = _httpx(), Exchange(call, self._retries)
        while True:
            try:
                pause = exchange.after(await self._http.request(**exchange.next_try()))
            except httpx.TransportError as failure:
                pause = exchange.after_failure(failure, was_sent=_was_sent(failure))
            except httpx.RequestError as failure:
                raise exchange.unreadable(failure) from failure
            if pause is None:
                return exchange.answer
            await asyncio.sleep(pause)

    async def send_events(self, events: Iterable[Mapping[str, Any]]) -> EventsAccepted:
        """As ``Client.send_events``."""
        parts = EventParts(events)
        with parts.told():
            for call in parts.calls():
                parts.add(call, await self.send(call))
        return parts.answer

    async def user_events(self, user_id: Id, *, n_a_page: int | None = None) -> AsyncIterator[UserEvent]:
        """All events of a user, newest first, asked for page by page."""
        cursor: str | None = None
        while True:
            page = await self.user_events_page(user_id, n=n_a_page, cursor=cursor)
            for event in page.events:
                yield event
            cursor = page.next_cursor
            if cursor is None:
                return

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


def _httpx() -> Any:
    """The library, when the first client is made: importing it takes longer than all of this package."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise ClientError(
            "the client needs httpx, which is not installed; run: pip install 'recae[client]'"
        ) from error
    return httpx


def _options(address: str, api_key: str | None, timeout_s: float, options: dict[str, Any]) -> dict[str, Any]:
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"the address is {address!r}; expected one that starts with http:// or https://")
    headers = {"Accept": "application/json", **({"X-API-Key": api_key} if api_key else {})}
    return {"base_url": address, "headers": headers, "timeout": timeout_s, **options}


def _was_sent(failure: "httpx.TransportError") -> bool:
    """Whether the server may have got the request: not if there was no connection to send it through."""
    httpx = _httpx()
    unsent = httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol
    return not isinstance(failure, unsent)
