"""Which requests are plain, and that gunicorn's own parser reads those alike."""

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from recae.api.direct import MOST_HEADERS, plain_request
from tests.api.conftest import PLAIN_GET as GET

BODY = b'[{"user_id":"1","item_id":"a","event_id":"e-1"}]'
POST = (
    b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 48\r\n\r\n"
) + BODY


@pytest.mark.parametrize(
    "asked",
    [
        POST.replace(b"POST", b"PUT"),
        POST.replace(b"events HTTP", b"events?n=1 HTTP"),
        POST.replace(b"events HTTP", b"events/ HTTP"),
        POST.replace(b"1.1", b"1.0"),
        POST.replace(b"application/json", b"text/plain"),
        POST.replace(b"application/json", b"application/json; charset=utf-16"),
        POST.replace(b"Content-Type: application/json\r\n", b""),
        POST.replace(b"Content-Length: 48\r\n", b""),
        POST.replace(b"Length: 48", b"Length: +48"),
        POST.replace(b"Length: 48", b"Length: 47"),
        POST.replace(b"Length: 48", b"Length: 49"),
        POST.replace(b"Length: 48", b"Length: 48\r\nContent-Length: 48"),
        POST.replace(b"Content-Length: 48", b"Transfer-Encoding: chunked"),
        POST.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        POST.replace(b"Host", b"Connection: close\r\nHost"),
        POST.replace(b"Host", b"Content_Length: 48\r\nHost"),
        POST + b"[",
        POST[:-1],
        POST.replace(b"\r\n\r\n", b"\n\n"),
        GET.replace(b"Host", b"Content-Type: application/json\r\nHost"),
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"/1/", b"/a%2Fb/"),
        GET.replace(b"/1/", b"/a/b/"),
        GET.replace(b"/1/", b"/" + b"u" * 257 + b"/"),
        GET.replace(b"/1/", "/\u00e9/".encode()),
        GET.replace(b" HTTP", b"?category=%41 HTTP"),
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"Host: localhost\r\n", b""),
        GET.replace(b"Host", b"Host : x\r\nHost"),
        GET.replace(b"Host", b"Host: x\r\nHost"),
        GET.replace(b"Host", b"X-API-Key: a\r\nx-api-key: b\r\nHost"),
        GET.replace(b"Host", b"X-Note: a\r\n b\r\nHost"),  # one line folded into two
        GET.replace(b"Host", b"X-Note: a\nb\r\nHost"),
        GET.replace(b"Host", b"X-Note: \xff\r\nHost"),
        GET.replace(b"Host", b"X_API_Key: a\r\nHost"),
        GET.replace(b"Host", b"Content-Length: 0\r\nHost"),
        GET.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
        GET.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        GET.replace(b"Host", b"Upgrade: h2c\r\nHost"),
        GET.replace(b"Host", b"Connection: close\r\nHost"),
        GET.replace(b"Host", b"Connection: keep-alive, x-api-key\r\nHost"),
        GET.replace(b"Host", b"X-Forwarded-Ssl: off\r\nHost"),
        GET.replace(b"Host", b"".join(b"X-%d: a\r\n" % n for n in range(MOST_HEADERS)) + b"Host"),
        GET[:-2],
        GET + b"more",
        GET + GET,
        b"",
        b"\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_gunicorn(asked):
    assert plain_request(GET) is not None
    assert plain_request(POST) is not None
    assert plain_request(asked) is None


PIECES = [
    *(
        b"Host: a",
        b"host: b",
        b"X-API-Key: k",
        b"X-API-Key:k ",
        b"Accept:",
        b"Content-Length: 0",
        b"Connection: close",
    ),
    *(
        b"Connection: Keep-Alive",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Ssl: on",
        b"A_b: c",
        b" folded",
        b":",
        b"a",
    ),
    *(
        b"Script-Name: /x",
        b"Path-Info: /y",
        b"Cookie: a=b; c",
        b"X: \x01",
        b"X: \x7f",
        b"Referer: http://a/?b#c",
        b"-: -",
    ),
    *(
        b"TE: trailers",
        b"Transfer-Encoding: identity",
        b"Upgrade: websocket",
        b"Proxy: x",
        b"Forwarded: for=1",
        b"",
    ),
]
TARGETS = [
    b"",
    b"?n=3",
    b"?n=3&category=a+b",
    b"?",
    b"??",
    b"?n=3#part",
    b"?a\x7f",
    b"?\xc3\xa9",
    b"?a b",
    b"?%41",
    b"?n=" + b"3" * 3_900,
    b"?n=" + b"3" * 4_100,
]


@given(
    user_id=st.sampled_from([b"1", b"a.b-c_d~e", b"..", b"a/b", b"a%2Fb", b"", b"a;b", b"a:b", b"\xc3\xa9"]),
    target=st.sampled_from(TARGETS),
    pieces=st.lists(st.sampled_from(PIECES), max_size=5),
    end=st.sampled_from([b"\r\n", b"\n", b"\r"]),
)
@settings(max_examples=400, deadline=None)
def test_what_is_plain_gunicorn_reads_alike(user_id, target, pieces, end):
    line = b"GET /v1/users/" + user_id + b"/recommendations" + target + b" HTTP/1.1"
    sent = end.join([line, b"Host: localhost", *pieces, b"", b""])
    asked = plain_request(sent)
    if asked is None:
        return
    request = next(RequestParser(Config(), iter([sent]), ("127.0.0.1", 1)))

    assert (request.method, request.path) == ("GET", f"/v1/users/{asked.user_id}/recommendations")
    assert request.query == asked.query.decode()
    assert {f"HTTP_{name.replace('-', '_')}": value for name, value in request.headers} == asked.environ
    assert not request.should_close()
    assert request.body.read() == b""


OF_BODIES = [
    b"Content-Length: 2",
    b"Content-Length: 02",
    b"content-length:2 ",
    b"Content-Length: 2, 2",
    b"Content-Length: 4",
    b"Content-Type: application/json",
    b"content-type:  Application/JSON; charset=UTF-8",
    b"Content-Type: text/plain",
]


@given(
    pieces=st.lists(st.sampled_from(OF_BODIES + PIECES), max_size=5),
    body=st.sampled_from([b"[]", b"", b"[]\r\n", b"\r\n\r\n"]),
)
@settings(max_examples=400, deadline=None)
def test_plain_events_gunicorn_reads_alike(pieces, body):
    length, type_ = OF_BODIES[0], OF_BODIES[5]
    for head in ([], [type_], [length, type_]):
        sent = b"\r\n".join([b"POST /v1/events HTTP/1.1", b"Host: localhost", *head, *pieces, b"", body])
        asked = plain_request(sent)
        if asked is None:
            continue
        request = next(RequestParser(Config(), iter([sent]), ("127.0.0.1", 1)))

        assert (request.method, request.path, request.query) == ("POST", "/v1/events", "")
        headers = {name.replace("-", "_"): value for name, value in request.headers}
        assert headers.keys() == {name.removeprefix("HTTP_") for name in asked.environ}
        assert list(headers.values()) == list(asked.environ.values())
        assert not request.should_close()
        assert request.body.read() == asked.body
