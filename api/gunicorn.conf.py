"""gunicorn's settings: ``gunicorn -c api/gunicorn.conf.py``. They follow from recae.toml and RECAE_* variables.

Workers load the model after they are forked and compute with one thread each; `recae serve` runs the same.
"""

from pathlib import Path

from recae.api.server import gunicorn_options
from recae.config import load_settings

wsgi_app = "wsgi:app"
pythonpath = str(Path(__file__).parent)
globals().update(gunicorn_options(load_settings()))
