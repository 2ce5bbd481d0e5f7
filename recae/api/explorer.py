"""The page at `/`: try the model in a browser. It asks the same API as everybody, with the key that its reader gives."""

from flask import Blueprint, Response, render_template

import recae
from recae.api.context import state

bp = Blueprint(
    "explorer", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)


@bp.get("/")
def explorer() -> Response:
    """The page itself; it holds nothing of the catalogue, so it needs no key."""
    page = render_template("explorer.html", version=state().served.version, code_version=recae.__version__)
    return Response(page, mimetype="text/html")
