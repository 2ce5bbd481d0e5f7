"""Which requests the loop answers itself, seen in a socket before they are read; and answers that nobody takes."""

import socket

import pytest

from recae.api.at_once import LARGEST, Outgoing, short_request

GET = b"GET /v1/users/1/recommendations HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def pair():
    """The server's end of a connection, and the client's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    "sent",
    [
        GET,
        GET.replace(b" HTTP", b"?n=10&category=Drama HTTP"),
        GET.replace(b"/1/", b"/a%2Fb/c/"),
        POST + b"Content-Length: 2\r\n\r\n[]",
        POST + b"content-length:2\r\nAccept: */*\r\n\r\n[]",
        POST + b"X-Note: length is no matter\r\nContent-Length: 2\r\n\r\n[]",
    ],
)
def test_whole_requests_for_short_work_are_answered_at_once(pair, sent):
    ours, theirs = pair
    theirs.sendall(sent)

    assert short_request(ours) == sent
    assert ours.recv(LARGEST) == sent, "looking takes nothing"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        GET[:-1],
        GET[:20],
        GET + b"G",  # the next one begins
        GET + GET,
        GET.replace(b"Host", b"Content-Length: 3\r\nHost"),
        GET.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        GET.replace(b"Host", b"Upgrade: h2c\r\nHost"),
        GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GET.replace(b" HTTP", b"?explain=3 HTTP"),
        GET.replace(b" HTTP", b"?n=1&diversity=0.5 HTTP"),
        GET.replace(b" HTTP", b"?model=other HTTP"),
        GET.replace(b"recommendations", b"events"),
        GET.replace(b"GET", b"DELETE"),
        POST + b"Content-Length: 1\r\n\r\n[]",
        POST + b"Content-Length: two\r\n\r\n[]",
        POST
        + b"Content-Length: "
        + b"1" * 5_000
        + b"\r\n\r\n[]",  # more digits than Python makes a number of
        GET.replace(b"Host", b"Content-Length: " + b"1" * 5_000 + b"\r\nHost"),
        POST + b"Content-Length: 20000\r\n\r\n",  # its body comes later
        POST + b"Content-Length:\t20000\r\n\r\n",
        POST + b"Content-Length : 20000\r\n\r\n",
        POST + b"Content-Length: 2, 2\r\n\r\n[]",
        GET.replace(b" HTTP", b"?%6dodel=other HTTP"),
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
        POST + b"Content-Length: 8192\r\n\r\n" + b" " * 8_192,  # more than one look shows
        POST.replace(b"events", b"rank") + b"Content-Length: 2\r\n\r\n{}",
        b"\xff" * 100,
    ],
)
def test_all_others_are_left_to_threads(pair, sent):
    ours, theirs = pair
    theirs.sendall(sent)

    assert short_request(ours) is None


def test_a_body_that_is_on_the_way_is_looked_for_again(pair):
    ours, theirs = pair
    sent = POST + b"Content-Length: 2\r\n\r\n[]"
    for byte in (sent[:-2], sent[-2:-1]):
        theirs.sendall(byte)
        assert short_request(ours) == b""
    theirs.sendall(sent[-1:])

    assert short_request(ours) == sent


def test_a_user_whose_history_is_long_is_left_to_threads(pair):
    ours, theirs = pair
    met = []
    theirs.sendall(GET.replace(b"/1/", b"/a%2Fb%C3%A9/"))

    assert short_request(ours, lambda user_id: met.append(user_id) is None) is None
    assert short_request(ours, met.append).startswith(b"GET")
    assert met == ["a/b\u00e9"] * 2, "as the log knows them"
    ours.recv(LARGEST)
    theirs.sendall(POST + b"Content-Length: 2\r\n\r\n[]")
    assert short_request(ours, lambda _: True).startswith(b"POST"), "events have no history"


def test_a_client_that_is_gone_has_sent_nothing(pair):
    ours, theirs = pair
    theirs.close()
    assert short_request(ours) is None
    ours.close()
    assert short_request(ours) is None


def test_an_answer_goes_out_in_one_piece(pair):
    ours, theirs = pair
    outgoing = Outgoing(ours)
    outgoing.setblocking(True)
    outgoing.sendall(b"head")
    outgoing.sendall(b"body")
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(10)

    assert outgoing.send() == b""
    assert theirs.recv(10) == b"headbody"
    assert ours.gettimeout() == 0.0, "it waits for nobody"
    assert outgoing.fileno() == ours.fileno()


def test_what_a_client_does_not_take_is_left(pair):
    ours, theirs = pair
    answer = bytes(range(256)) * 40_000
    outgoing = Outgoing(ours)
    outgoing.sendall(answer)

    rest = outgoing.send()
    taken = b""
    while len(taken) < len(answer) - len(rest):
        taken += theirs.recv(65_536)

    assert rest
    assert taken + rest == answer
    full = Outgoing(ours)
    while not full.send():
        full.sendall(answer)  # until not a byte more goes


def test_a_client_that_broke_off_is_told_of(pair):
    ours, theirs = pair
    theirs.close()
    outgoing = Outgoing(ours)
    outgoing.sendall(b"answer")

    with pytest.raises(OSError, match="pipe"):
        outgoing.send()
