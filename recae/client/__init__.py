"""A client of the HTTP API, for programs that have no model of their own.

    from recae.client import Client

    with Client("http://127.0.0.1:8000") as recae:
        print(recae.recommend("42", n=3).item_ids)

It imports nothing of the rest of recae but its error tree, and httpx (the extra ``client``) when a client is made.
"""

from recae.client.answers import (
    BatchAnswer,
    BatchPart,
    CatalogueItem,
    EventPage,
    EventsAccepted,
    FoundItem,
    RankedItem,
    Ranking,
    Recommendations,
    SimilarItems,
    UserEvent,
)
from recae.client.clients import AsyncClient, Client
from recae.client.errors import (
    AnswerError,
    BadAnswerError,
    ClientError,
    ConflictError,
    InvalidRequestError,
    NoAnswerError,
    NotFoundError,
    NotPermittedError,
    RateLimitedError,
    UnavailableError,
)
from recae.client.retries import Retries

__all__ = [
    "AnswerError",
    "AsyncClient",
    "BadAnswerError",
    "BatchAnswer",
    "BatchPart",
    "CatalogueItem",
    "Client",
    "ClientError",
    "ConflictError",
    "EventPage",
    "EventsAccepted",
    "FoundItem",
    "InvalidRequestError",
    "NoAnswerError",
    "NotFoundError",
    "NotPermittedError",
    "RankedItem",
    "Ranking",
    "RateLimitedError",
    "Recommendations",
    "Retries",
    "SimilarItems",
    "UnavailableError",
    "UserEvent",
]
