"""Which requests a process answers in the loop that waits for all connections, and how no client can hold that loop.

A request that is here whole, and whose answer is short work, is answered at once; see :mod:`recae.api.loop`. Nothing there
may wait for a client: a request is looked at before it is read, and what a client does not take of the answer at once is
left to a thread.
"""

import re
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

LARGEST: Final = 8_192
"""Bytes of a request that may be answered at once; also what gunicorn reads in one go."""

SHORT_WORK: Final = re.compile(
    rb"(?:GET /v1/users/([^? ]+)/recommendations(?:\?(?![^ ]*(?:explain|diversity|model)=)[^ %]*)?|POST /v1/events) HTTP/1\.1\r\n"
)
"""Suggestions of the model in service, with nothing asked for that takes longer; and a few events."""

LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r\n", re.IGNORECASE)
NO_PLAIN_BODY: Final = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade)", re.IGNORECASE)


def short_request(
    sock: socket.socket, takes_long: Callable[[str], bool] = lambda _user_id: False
) -> bytes | None:
    """A request for short work that waits in a socket, from its first byte to its last.

    Args:
        sock: where it waits.
        takes_long: whether the history of a user is so long that nobody should wait for their answer.

    Returns:
        All its bytes, which still wait; none if its body is on the way; None if something else waits, or more behind it.
    """
    try:
        waiting = sock.recv(LARGEST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return None
    asked = SHORT_WORK.match(waiting)
    if asked is None:
        return None
    end = waiting.find(b"\r\n\r\n") + 4
    n_body = _body_bytes(waiting[:end]) if end >= 4 else None
    if n_body is None:
        return None
    n_missing, user_id = end + n_body - len(waiting), asked[1]
    if user_id is None and 0 < n_missing <= LARGEST - len(waiting):
        return b""
    if n_missing or (user_id is not None and takes_long(unquote(user_id.decode("latin-1")))):
        return None
    return waiting


def _body_bytes(head: bytes) -> int | None:
    """Bytes of the body that a head announces; None where that is for gunicorn to find out."""
    if NO_PLAIN_BODY.search(head):
        return None
    length = LENGTH.search(head)
    if length is not None:
        return int(length[1])
    return None if b"\r\ncontent-length" in head.lower() else 0  # written in another way


class Outgoing:
    """A socket that never waits: it gathers an answer, head and body, for one ``send``."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parts: list[bytes] = []

    def setblocking(self, _blocking: bool) -> None:
        """Stay as it is."""

    def sendall(self, data: bytes) -> None:
        """Put more of the answer behind what there is."""
        self._parts.append(data)

    def send(self) -> bytes:
        """Send what can be sent now, and return the rest.

        Raises:
            OSError: if the client is gone.
        """
        gathered = b"".join(self._parts)
        try:
            return gathered[self._sock.send(gathered) :] if gathered else gathered
        except BlockingIOError:
            return gathered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
