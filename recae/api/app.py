"""The Flask application."""

from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request

from recae.api import (
    access,
    admin,
    context,
    direct,
    errors,
    events,
    explorer,
    items,
    metrics,
    operations,
    recommendations,
    tracing,
    versions,
)
from recae.api.experiments import ServedRecorder
from recae.api.finish import finished
from recae.api.known_histories import KnownHistories, LongHistories
from recae.api.live_items import LiveItems
from recae.api.serving import ServedModel
from recae.api.storage import Storage
from recae.artifacts import ModelStore
from recae.config import Settings, load_settings
from recae.recommender import Recommender

if TYPE_CHECKING:
    from collections.abc import Callable


def create_app(settings: Settings | None = None, recommender: Recommender | None = None) -> Flask:
    """Make the application.

    Args:
        settings: None to read them from `recae.toml` and the environment.
        recommender: what to serve; None for the promoted version of the model store, which is loaded in the
            background and replaced whenever another one is promoted.
    """
    settings = settings or load_settings()
    app = Flask("recae", static_folder=None)
    # One more, since werkzeug refuses a stream that reaches it.
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes + 1
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
    gate = access.Gate(settings, access.key_ring(settings))
    _hook(app, gate)
    errors.register(app)
    if settings.tracing:
        tracing.register(app)
    for resource in (recommendations, items, events, versions, admin, operations, explorer):
        app.register_blueprint(resource.bp)
    _read_paths_as_sent(app)
    if not settings.tracing:  # which looks at every request on its way into Flask
        app.extensions[direct.EXTENSION] = direct.DirectAnswers(app, gate)
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


def _hook(app: Flask, gate: access.Gate) -> None:
    """What happens before and after every request, in this order; one hook each, and one look for the request.

    Flask looks into each hook whether it is a coroutine, and each use of its ``request`` and ``g`` finds the thread's own.
    """

    def before() -> None:
        context.begin(request.environ)
        gate.check()  # before anything of the request is read

    def after(response: Response) -> Response:
        asked, noted = request._get_current_object(), g._get_current_object()  # type: ignore[attr-defined] # noqa: SLF001 - werkzeug's documented way
        rule = asked.url_rule
        return finished(response, asked.method, rule.rule if rule else None, noted)

    app.before_request(before)
    app.after_request(after)
