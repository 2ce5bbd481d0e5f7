"""The Flask application."""

from flask import Flask

from recae.api import context, errors, explorer, items, operations, recommendations
from recae.api.serving import ServedModel
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
    if recommender is not None:
        served = ServedModel(recommender=recommender)
    else:
        served = ServedModel(ModelStore(settings.models)).watch(settings.reload_s)
    app.extensions[context.EXTENSION] = context.ApiState(settings, served)
    context.register(app)
    errors.register(app)
    for resource in (recommendations, items, operations, explorer):
        app.register_blueprint(resource.bp)
    return app
