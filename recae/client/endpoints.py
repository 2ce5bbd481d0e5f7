"""The endpoints as methods: each is written once, in calls.py, and is there in both clients."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from recae.client import calls
from recae.client.calls import Call

if TYPE_CHECKING:
    from recae.client.clients import AsyncClient, Client

P = ParamSpec("P")
T = TypeVar("T")


class Endpoint(Generic[P, T]):
    """A method that sends the call which ``make`` describes.

    In a ``Client`` it returns the answer, in an ``AsyncClient`` something to await; both with the arguments of ``make``.
    """

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> "Endpoint[P, T]": ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Awaitable[T]]: ...

    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        @wraps(self._make)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.send(self._make(*args, **kwargs))

        return method


class Endpoints:
    """Every endpoint of the HTTP API but that of events in, for which one request may not be enough."""

    recommend = Endpoint(calls.recommend)
    recommend_for_history = Endpoint(calls.recommend_for_history)
    batch = Endpoint(calls.batch)
    similar = Endpoint(calls.similar)
    popular = Endpoint(calls.popular)
    rank = Endpoint(calls.rank)
    user_events_page = Endpoint(calls.user_events_page)
    delete_user = Endpoint(calls.delete_user)
    put_item = Endpoint(calls.put_item)
    patch_item = Endpoint(calls.patch_item)
    get_item = Endpoint(calls.get_item)
    delete_item = Endpoint(calls.delete_item)
    search_items = Endpoint(calls.search_items)
    models = Endpoint(calls.models)
    promote = Endpoint(calls.promote)
    rollback = Endpoint(calls.rollback)
    retrain = Endpoint(calls.retrain)
    runs = Endpoint(calls.runs)
    run = Endpoint(calls.run)
    evaluation = Endpoint(calls.evaluation)
    live = Endpoint(calls.live)
    ready = Endpoint(calls.ready)
