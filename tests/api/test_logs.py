"""One line for each request, for people or for programs; nothing a caller sends can start a line of its own."""

import json
import logging
import logging.config

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recae.api.logs import REQUESTS, JsonFormatter, TextFormatter, configuration


@pytest.fixture
def lines(caplog):
    """The lines of the requests, as JSON."""
    logger = logging.getLogger(REQUESTS)
    before = (logger.level, logger.propagate)
    logger.propagate = True
    caplog.set_level(logging.INFO, logger=REQUESTS)
    yield lambda: [json.loads(JsonFormatter().format(r)) for r in caplog.records if r.name == REQUESTS]
    logger.level, logger.propagate = before


def test_a_request_is_one_line_that_names_its_route_and_not_the_user(client, lines):
    client.get("/v1/users/1/recommendations?n=1", headers={"X-Request-ID": "job-7"})
    (line,) = lines()

    assert line.pop("ms") >= 0
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": REQUESTS,
        "request_id": "job-7",
        "method": "GET",
        "route": "/v1/users/<id:user_id>/recommendations",
        "status": 200,
        "model_version": "v1",
        "key": "-",
        "strategy": "model",
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nowhere", 404), ("/v1/items/q/similar", 404), ("/v1/users/1/recommendations?n=0", 422)],
)
def test_errors_have_their_line_too(client, lines, path, status):
    client.get(path)

    assert [line["status"] for line in lines()] == [status]


@pytest.mark.parametrize(
    "injected", ["a%0A2026 forged", "..%2F..%2Fetc%2Fpasswd", "%01", "%1B[31m", "a%0D%0Ab"]
)
def test_ids_with_newlines_and_ways_out_lead_nowhere_and_into_no_log(client, lines, injected):
    response = client.get(f"/v1/users/{injected}/recommendations")
    similar = client.get(f"/v1/items/{injected}/similar")

    assert response.json["strategy"] == "fallback", "an id like any other"
    assert similar.status_code == 404
    assert all("forged" not in json.dumps(line) and "passwd" not in json.dumps(line) for line in lines())


@given(st.text())
def test_a_message_never_starts_a_second_record(text):
    record = logging.LogRecord("recae", logging.WARNING, "", 0, "%s", (text,), None)
    first, *more = TextFormatter().format(record).split("\n")

    assert " warning " in first
    assert all(line.startswith("    ") for line in more)
    assert "\n" not in JsonFormatter().format(record)
    assert json.loads(JsonFormatter().format(record))["message"] == text


def test_an_exception_is_told_in_full_and_indented():
    try:
        raise ValueError("bad\n2026 forged")  # noqa: TRY301 - it is caught to be logged
    except ValueError as error:
        record = logging.LogRecord(
            "recae", logging.ERROR, "", 0, "failed", (), (ValueError, error, error.__traceback__)
        )

    assert "\n2026" not in TextFormatter().format(record)
    assert "ValueError: bad" in TextFormatter().format(record)
    assert "ValueError: bad" in json.loads(JsonFormatter().format(record))["exception"]


@pytest.mark.parametrize(("log_format", "n_lines"), [("text", 1), ("json", 1), ("off", 0)])
def test_requests_go_to_stdout_and_everything_else_to_stderr(client, capsys, log_format, n_lines):
    names = ("", REQUESTS, "recae.api", "gunicorn.error", "gunicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(found.level, found.handlers[:], found.propagate) for found in loggers]
    try:
        logging.config.dictConfig(configuration(log_format))
        client.get("/health/live")
        logging.getLogger("recae").warning("look")
    finally:
        for found, (level, handlers, propagate) in zip(loggers, before, strict=True):
            found.setLevel(level)
            found.handlers[:], found.propagate = handlers, propagate
    out, err = capsys.readouterr()

    assert len(out.splitlines()) == n_lines
    assert len(err.splitlines()) == 1
    assert "look" in err
    if log_format == "json":
        assert json.loads(out)["status"] == 200
        assert json.loads(err)["message"] == "look"
