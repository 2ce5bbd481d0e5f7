"""Bytes on a socket, for clients that keep to no protocol."""

import re
import socket
from contextlib import contextmanager


@contextmanager
def connected(port, timeout=30):
    """A socket to this machine's port; it is gone after the block, whoever closed it."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        yield sock


def exchange(port, *parts, finish=True):
    """Send bytes, say that there are no more, and return all that comes back until the server closes."""
    with connected(port) as sock:
        try:
            for part in parts:
                sock.sendall(part)
            if finish:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all was sent: the answer is there to read
        return read_all(sock)


def read_all(sock):
    """Everything until the server closes the connection."""
    received = b""
    try:
        while part := sock.recv(65_536):
            received += part
    except ConnectionResetError:
        pass  # it did not read what was sent too much
    return received


def statuses(received):
    """Status of every answer in a stream of bytes."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
