"""Probes for whoever runs the server, and the description of everything it answers."""

import json
import re

from flask import Blueprint, Response, render_template
from markupsafe import Markup, escape

from recae.api.context import current_recommender, state
from recae.api.metrics import current_metrics
from recae.api.operation_schemas import Live, Ready
from recae.api.spec import document, documented

bp = Blueprint("operations", __name__, template_folder="templates")


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
def metrics() -> Response:
    """What this server counts, for Prometheus."""
    body, media_type = current_metrics().exposition(state().settings)
    return Response(body, content_type=media_type)


@bp.get("/openapi.json")
def openapi() -> Response:
    """This description."""
    return Response(json.dumps(document(), ensure_ascii=False), mimetype="application/json")


@bp.get("/docs")
def docs() -> Response:
    """The description as a page: no script, and nothing from elsewhere."""
    described = document()
    by_tag: dict[str, list[tuple[str, str, dict[str, object]]]] = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    about = {tag["name"]: tag["description"] for tag in described["tags"]}
    page = render_template(
        "docs.html", info=described["info"], by_tag=by_tag, about=about, components=described["components"]
    )
    return Response(page)


@bp.app_template_filter("with_code")
def with_code(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


@bp.get("/docs/style.css")
def docs_style() -> Response:
    """How the page looks."""
    return Response(render_template("docs.css"), mimetype="text/css")
