"""What every answer has before it leaves, whichever way it was made."""

from typing import Any

from flask import Response

from recae.api import context, headers, logs, metrics


def finished(response: Response, method: str, rule: str | None, noted: Any) -> Response:
    """An answer with what every answer has, counted and noted in the log.

    Args:
        response: as the route, or an error, made it.
        method: of the request.
        rule: of the route, as Flask writes it; None where no path matched.
        noted: what was noted in ``g``.
    """
    context.label(response, noted)
    headers.protect(response)
    metrics.count_request(response, method, rule, noted)
    logs.write_line(response, method, rule, noted)
    return response
