"""Headers that keep a browser from doing more with an answer than it should."""

from typing import Final

from flask import Response

PAGE_POLICY: Final = (
    "default-src 'none'; "
    "script-src 'self'; "  # no inline script: a title from the catalogue cannot become one
    "style-src 'self'; "
    "img-src 'self' data:; "
    "connect-src 'self'; "
    "base-uri 'none'; "
    "form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy of pages: everything from this server, nothing written into the page."""


def protect(response: Response) -> None:
    """Put the headers on an answer."""
    headers, media_type = response.headers, response.mimetype
    headers["X-Content-Type-Options"] = "nosniff"
    if media_type == "text/html":
        headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        headers["Referrer-Policy"] = "no-referrer"
        headers["X-Frame-Options"] = "DENY"  # for browsers that do not know frame-ancestors
    elif media_type == "application/json":
        headers.setdefault("Cache-Control", "no-store")  # answers differ by key, and by the second
