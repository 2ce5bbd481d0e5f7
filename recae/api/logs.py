"""The server's log: one line for each request on stdout, everything else on stderr; text or JSON.

A request's line names its route and not its path, so ids of people stay out of the log, and nothing a caller sends
gets in unescaped: keys are named and never shown.
"""

import json
import logging
import time
import traceback
from datetime import UTC, datetime
from typing import Any, Final

from flask import Response

REQUESTS: Final = "recae.requests"
"""Name of the logger with a line for each request."""
UNROUTED: Final = "-"
"""Stands for the route where no path matched."""

SENTENCE: Final = "%(method)s %(route)s %(status)d in %(ms)s ms, model %(model_version)s, key %(key)s, request %(request_id)s"

logger = logging.getLogger(REQUESTS)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a record's ``facts`` stand in the place of its message."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        fields: dict[str, Any] = {
            "time": _instant(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        facts = getattr(record, "facts", None)
        if facts is not None:
            fields.update(facts)
        else:
            fields["message"] = record.getMessage()
        if record.exc_info:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(fields)  # ASCII: no way to start a new line


class TextFormatter(logging.Formatter):
    """Lines for people; whatever follows a message's first line is indented, so that no text can pose as a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        lines = record.getMessage().splitlines() or [""]
        if record.exc_info:
            lines += "".join(traceback.format_exception(*record.exc_info)).splitlines()
        first = f"{_instant(record.created)} {record.levelname.lower()} {_printable(lines[0])}"
        return "\n".join([first, *(f"    {_printable(line)}" for line in lines[1:])])


def configuration(log_format: str) -> dict[str, Any]:
    """Settings for ``logging.config.dictConfig``, as gunicorn takes them.

    Args:
        log_format: "text", "json", or "off" for text without the requests.
    """
    formatter = JsonFormatter if log_format == "json" else TextFormatter

    def handler(stream: str) -> dict[str, Any]:
        return {"class": "logging.StreamHandler", "formatter": "recae", "stream": f"ext://sys.{stream}"}

    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"recae": {"()": formatter}},
        "handlers": {"stdout": handler("stdout"), "stderr": handler("stderr")},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},  # ours says more
            "recae.api": {"level": "INFO"},
            REQUESTS: {
                "level": "CRITICAL" if log_format == "off" else "INFO",
                "handlers": ["stdout"],
                "propagate": False,
            },
        },
    }


def write_line(response: Response, method: str, rule: str | None, noted: Any) -> None:
    """Write the line of a request; last of all, since it tells how long the request took.

    Args:
        response: the answer.
        method: of the request.
        rule: of the route that answered, as Flask writes it; None where no path matched.
        noted: what was noted in ``g``.
    """
    if logger.isEnabledFor(logging.INFO):
        facts = {
            "request_id": noted.request_id,
            "method": method,
            "route": rule or UNROUTED,
            "status": response.status_code,
            "ms": round((time.perf_counter() - noted.started) * 1000, 3),
            "model_version": response.headers.get("X-Model-Version", "none"),
            "key": noted.key_name,
        }
        if "strategy" in noted:
            facts["strategy"] = noted.strategy
        # Not logger.info: looking for the calling line costs more than all the rest, and it is always this one.
        record = logging.LogRecord(REQUESTS, logging.INFO, __file__, 0, SENTENCE, (facts,), None)
        record.facts = facts
        logger.handle(record)


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _printable(text: str) -> str:
    """Text without control characters, which could move a terminal's cursor."""
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    )
