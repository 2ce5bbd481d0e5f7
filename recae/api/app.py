"""The Flask application."""

from flask import Flask

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
        observer=counters,
    )
    app.extensions[context.EXTENSION] = context.ApiState(settings, served, storage, ServedRecorder(storage))
    logs.register(app)
    metrics.register(app, counters)
    headers.register(app)
    context.register(app, access.checker(settings, access.key_ring(settings)))
    errors.register(app)
    if settings.tracing:
        tracing.register(app)
    for resource in (recommendations, items, events, versions, admin, operations, explorer):
        app.register_blueprint(resource.bp)
    if recommender is None:
        served.watch(settings.reload_s)
    return app
