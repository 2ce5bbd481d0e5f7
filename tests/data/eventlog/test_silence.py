"""A network between recae and PostgreSQL that goes silent: nothing comes any more, no word that the connection is gone either."""

import contextlib
import ctypes
import os
import socket
import struct
import threading
import time

import pytest
from sqlalchemy import make_url

from recae.data.eventlog import EventLog, postgres
from recae.errors import EventLogError

SO_ATTACH_FILTER = 26
RETURN = 6
"""Of a packet filter: how many bytes to keep; of 0 the kernel drops the packet, and acknowledges nothing."""


class Line:
    """Passes everything on to a server, until it is cut."""

    def __init__(self, port):
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._ends = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Let every connection of now go silent; new ones are passed on."""
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", RETURN, 0, 0, 0))
        program = struct.pack("HP", 1, ctypes.addressof(drop_all))
        for end in self._ends:
            end.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
        self._listening.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._ends += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source, target):
        try:
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def line(postgres_url):
    line = Line(make_url(postgres_url).port)
    yield line
    line.close()


def options_of(log):
    """What the kernel goes by for a connection of the log: on or off, seconds, seconds, times, milliseconds."""
    with log.database.read() as connection:
        number = os.dup(connection.connection.driver_connection.fileno())
        with socket.socket(fileno=number) as found:
            names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            of_tcp = [found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
            return [found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *of_tcp]


def test_the_kernel_asks_whether_the_server_is_still_there(postgres_url, archive):
    with EventLog(postgres_url, archive) as log:
        assert options_of(log) == [1, 30, 10, 3, 60_000]


def test_what_the_address_says_of_it_counts(postgres_url, archive):
    asked = "keepalives_idle=7&keepalives_count=2&tcp_user_timeout=9000"
    with EventLog(f"{postgres_url}?{asked}", archive) as log:
        assert options_of(log) == [1, 7, 10, 2, 9_000]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the filter of packets is Linux's")
def test_a_question_to_a_server_that_went_silent_ends_and_the_next_one_is_answered(
    line, postgres_url, archive, monkeypatch
):
    quick = {"keepalives_idle": 1, "keepalives_interval": 1, "keepalives_count": 1, "tcp_user_timeout": 1_000}
    monkeypatch.setattr(postgres, "STAYS_AWAKE", quick)
    by_line = make_url(postgres_url).set(host="127.0.0.1", port=line.port)
    with EventLog(by_line.render_as_string(hide_password=False), archive) as log:
        log.append([{"user_id": "u", "item_id": "a"}])
        started = time.monotonic()
        with pytest.raises(EventLogError, match=r"failed: .*; see that its database is up"):  # noqa: PT012, SIM117 - the read begins within
            with log.database.read() as connection:
                line.cut()
                connection.exec_driver_sql("SELECT count(*) FROM events")

        assert time.monotonic() - started < 30
        assert log.count() == 1
