"""What every request has: an id, a clock, the limits, and one recommender from its start to its end."""

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from flask import Response, current_app, g, request
from werkzeug.routing import PathConverter

from recae.api.errors import invalid
from recae.api.experiments import ServedRecorder
from recae.api.known_histories import LONGEST_KNOWN, KnownHistories, LongHistories
from recae.api.schemas import HasN, read_id
from recae.api.serving import CURRENT, ServedModel
from recae.api.storage import Storage
from recae.config import Settings
from recae.errors import EventLogError
from recae.recommender import Recommender

if TYPE_CHECKING:
    from recae.api.asking import Asked

EXTENSION = "recae"
ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
SANE_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)


ESCAPED = "recae.escaped"
"""In a request's environment: its path holds slashes and percent signs as they were sent, ``%2F`` and ``%25``."""


class IdConverter(PathConverter):
    """An id in a path, slashes and all, up to the names of what an id has.

    So DELETE /v1/users/u/events does not delete a user called "u/events"; DELETE /v1/users/u%2Fevents does, by
    :func:`keep_escapes`, and :func:`path_id` has the id.
    """

    regex = r"[^/][\s\S]*?(?<!/similar)(?<!/recommendations)(?<!/events)(?<!/)"


@dataclass(frozen=True)
class ApiState:
    """What `create_app` hangs on the application."""

    settings: Settings
    served: ServedModel
    storage: Storage
    recorder: ServedRecorder
    histories: KnownHistories["Asked"]
    long_histories: LongHistories

    @property
    def is_quick(self) -> bool:
        """Whether what the loop answers itself holds up nobody: all models are there, and the events are on this disk."""
        return self.served.version != "none" and self.storage.is_local and self.settings.experiment is None

    def takes_long(self, user_id: str) -> bool:
        """Whether a user's history is so long that its answer holds up whoever waits behind it: 66 ms at 9,000 events.

        Who is not known yet is counted in the index, which is a small part of what answering takes.
        """
        if user_id in self.long_histories:
            return True
        if (self.served.version, user_id) in self.histories:
            return False
        try:
            n_events = self.storage.log.stamp(user_id, LONGEST_KNOWN + 1).n_events
        except (EventLogError, UnicodeError):  # the answer will say so
            return False
        return min(n_events, self.settings.max_history) > LONGEST_KNOWN


def state() -> ApiState:
    """The state of the application that handles this request."""
    found: ApiState = current_app.extensions[EXTENSION]
    return found


def current_recommender(model: str | None = None) -> Recommender:
    """The recommender of a request, the same one throughout.

    Args:
        model: "current", a version or a name of the settings; None for the one chosen before, else "current".

    Raises:
        ApiError: 503, if no model is loaded yet; 404, if there is none of this name.
    """
    if model is not None or "recommender" not in g:
        g.recommender = state().served.recommender(model or CURRENT)
    found: Recommender = g.recommender
    return found


def wanted_n(asked: HasN) -> int:
    """How many items are wanted: what the caller says, or the default, as far as the server's limit goes.

    Raises:
        ApiError: 422, if the caller asks for more than the limit.
    """
    limit = state().settings.max_n
    if asked.n > limit and "n" in asked.model_fields_set:
        raise invalid("n", f"{asked.n} is over this server's limit of {limit} items")
    return min(asked.n, limit)


def check_length(values: Sequence[object] | None, field: str) -> None:
    """Refuse more history or filter items than the server's limit."""
    if not values:
        return
    limit = state().settings.max_history
    if len(values) > limit:
        raise invalid(field, f"{len(values)} items are over this server's limit of {limit}")


def keep_escapes(environ: dict[str, Any]) -> None:
    """Let a slash that was sent as ``%2F`` be a part of an id, and none of the path.

    WSGI's path is decoded, so both would look alike. Where one was sent, it and the percent sign stay encoded until
    :func:`path_id` reads them. Without the path as it was sent, which gunicorn hands over, nothing changes.
    """
    sent = environ.get("RAW_URI") or ""
    if "%2" not in sent:
        return
    path = sent.partition("?")[0]
    if path.startswith("/") and ENCODED_SLASH.search(path):
        kept = re.sub("%(2[fF5])", r"%25\1", path)
        environ["PATH_INFO"] = unquote_to_bytes(kept.encode("latin-1")).decode("latin-1")  # as WSGI has it
        environ[ESCAPED] = True


def path_id(value: str, field: str) -> str:
    """An id from the path, under the same rules as one in a body."""
    if ESCAPED in request.environ:
        value = re.sub("%(2[fF5])", lambda found: "%" if found[1] == "25" else "/", value)
    if "\ufffd" in value and not _is_utf8(request.environ.get("PATH_INFO", "")):
        # werkzeug puts U+FFFD for each byte it cannot read: many ids would be one
        raise invalid(field, "an id in a path is UTF-8, percent-encoded; this one is not")
    try:
        return read_id(value)
    except ValueError as error:
        raise invalid(field, str(error)) from error


def _is_utf8(path: str) -> bool:
    """Whether the bytes of a path, which WSGI gives as Latin-1, are UTF-8."""
    try:
        path.encode("latin-1").decode()
    except UnicodeError:
        return False
    return True


def took_ms() -> float:
    """Milliseconds since the request came in."""
    seconds: float = time.perf_counter() - g.started
    return round(seconds * 1000, 3)


def begin(environ: Mapping[str, Any]) -> None:
    """Start the clock of a request, and give it an id: its own, if its headers have a sane one."""
    g.started = time.perf_counter()
    sent = environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = sent if sent and SANE_ID.fullmatch(sent) else secrets.token_hex(16)


def label(response: Response, noted: Any) -> None:
    """Tell which request an answer is to, and which model gave it, by what was noted in ``g``."""
    headers = response.headers
    headers["X-Request-ID"] = noted.request_id
    used = noted.recommender.version if "recommender" in noted else state().served.version
    headers["X-Model-Version"] = used
