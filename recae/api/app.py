"""The Flask application."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request

from recae.api import (
    access,
    admin,
    context,
    errors,
    events,
    explorer,
    headers,
    items,
    logs,
    metrics,
    operations,
    recommendations,
    tracing,
    versions,
)
from recae.api.experiments import ServedRecorder
from recae.api.known_histories import KnownHistories, LongHistories
from recae.api.live_items import LiveItems
from recae.api.serving import ServedModel
from recae.api.storage import Storage
from recae.artifacts import ModelStore
from recae.config import Settings, load_settings
from recae.recommender import Recommender


def create_app(settings: Settings | None = None, recommender: Recommender | None = None) -> Flask:
    """Make the application.

    Args:
        settings: None to read them from `recae.toml` and the environment.
        recommender: what to serve; None for the promoted version of the model store, which is loaded in the
            background and replaced whenever another one is promoted.
    """
    settings = settings or load_settings()
    app = Flask("recae", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.merge_slashes = False  # "a//b" is an id, not a redirect
    counters = metrics.Metrics()
    storage = Storage(settings)
    served = ServedModel(
        None if recommender is not None else ModelStore(settings.models),
        recommender,
        live=LiveItems(storage),
        named=settings.named_models,
        max_others=settings.max_models,
        ahead=tuple(settings.experiment.shares) if settings.experiment is not None else (),
        observer=counters,
    )
    app.extensions[context.EXTENSION] = context.ApiState(
        settings,
        served,
        storage,
        ServedRecorder(storage),
        KnownHistories(settings.known_histories),
        LongHistories(),
    )
    app.extensions[metrics.EXTENSION] = counters
    app.url_map.converters["id"] = context.IdConverter
    _hook(app, access.checker(settings, access.key_ring(settings)))
    errors.register(app)
    if settings.tracing:
        tracing.register(app)
    for resource in (recommendations, items, events, versions, admin, operations, explorer):
        app.register_blueprint(resource.bp)
    _read_paths_as_sent(app)
    if recommender is None:
        served.watch(settings.reload_s)
    return app


def _read_paths_as_sent(app: Flask) -> None:
    """Look at each path before Flask finds its route."""
    answer: Callable[[dict[str, Any], Any], Any] = app.wsgi_app

    def with_path_as_sent(environ: dict[str, Any], start_response: Any) -> Any:
        context.keep_escapes(environ)
        return answer(environ, start_response)

    app.wsgi_app = with_path_as_sent  # type: ignore[method-assign] # Flask's documented way


def _hook(app: Flask, check_access: Callable[[], None]) -> None:
    """What happens before and after every request, in this order; one hook each, and one look for the request.

    Flask looks into each hook whether it is a coroutine, and each use of its ``request`` and ``g`` finds the thread's own.
    """

    def before() -> None:
        context.begin()
        check_access()  # before anything of the request is read

    def after(response: Response) -> Response:
        asked, noted = request._get_current_object(), g._get_current_object()  # type: ignore[attr-defined] # noqa: SLF001 - werkzeug's documented way
        context.label(response, noted)
        headers.protect(response)
        metrics.count_request(response, asked, noted)
        logs.write_line(response, asked, noted)
        return response

    app.before_request(before)
    app.after_request(after)
