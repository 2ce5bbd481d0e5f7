"""Probes for whoever runs the server, and the description of everything it answers."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from recae.api.context import current_recommender, state
from recae.api.metrics import current_metrics
from recae.api.schemas import Live, Ready
from recae.api.spec import document, documented

bp = Blueprint("operations", __name__)


@bp.get("/health/live")
@documented("live", tag="operations", ok=Live)
def live() -> Live:
    """Whether the process answers at all; restart it if not."""
    return Live()


@bp.get("/health/ready")
@documented("ready", tag="operations", ok=Ready, errors=(503,))
def ready() -> Ready:
    """Whether a model is loaded; send no requests before."""
    return Ready(model_version=current_recommender().version, problem=state().served.problem)


@bp.get("/metrics")
def metrics() -> ResponseReturnValue:
    """What this server counts, for Prometheus."""
    body, media_type = current_metrics().exposition(state().settings)
    return Response(body, content_type=media_type)


@bp.get("/openapi.json")
def openapi() -> ResponseReturnValue:
    """This description."""
    return document()
