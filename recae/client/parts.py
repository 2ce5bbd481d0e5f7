"""Any number of events in requests that a server takes, and what became of all of them together."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from recae.client import calls
from recae.client.answers import EventsAccepted
from recae.client.calls import Call
from recae.client.errors import ClientError

MOST_EVENTS = 1_000
"""In one request: few enough to be stored well within a timeout."""
MOST_BYTES = 2**19
"""Of one request's JSON: half of what a server takes by default. A larger event goes alone, for the server to judge."""
ROOM_OF_AN_ID = 64
"""Bytes for the ``event_id`` that an event may still be given, and for what stands between two events."""


class EventParts:
    """The requests that carry some events, in their order, and the sum of their answers.

    Args:
        events: read as they are sent, so all of them need not be in memory.
    """

    def __init__(self, events: Iterable[Mapping[str, Any]]) -> None:
        self._events = events
        self._n_answered = 0
        self.answer = EventsAccepted(accepted=0, duplicates=0)
        """Of the requests so far; its ``rejected`` are counted over all of them."""

    def calls(self) -> Iterator[Call[EventsAccepted]]:
        """The requests; none without events."""
        part: list[Mapping[str, Any]] = []
        n_bytes = 0
        for event in self._events:
            size = len(json.dumps(dict(event))) + ROOM_OF_AN_ID  # in ASCII: no shorter than what is sent
            if part and (len(part) == MOST_EVENTS or n_bytes + size > MOST_BYTES):
                yield calls.send_events(part)
                part, n_bytes = [], 0
            part.append(event)
            n_bytes += size
        if part:
            yield calls.send_events(part)

    def add(self, call: Call[EventsAccepted], found: EventsAccepted) -> None:
        """Count the answer of the next request."""
        moved = [replace(one, index=one.index + self._n_answered) for one in found.rejected]
        self._n_answered += len(call.body)
        self.answer = EventsAccepted(
            self.answer.accepted + found.accepted,
            self.answer.duplicates + found.duplicates,
            (*self.answer.rejected, *moved),
        )

    @contextmanager
    def told(self) -> Iterator[None]:
        """What goes wrong inside says what had been done before it."""
        try:
            yield
        except Exception as error:
            if isinstance(error, ClientError):
                error.sent_before = self.answer
            if self._n_answered:
                error.add_note(
                    f"the first {self._n_answered:,} events were sent before: {self.answer.accepted:,} stored, "
                    f"{self.answer.duplicates:,} duplicates, {len(self.answer.rejected):,} rejected"
                )
            raise
