"""The WSGI application: ``gunicorn -c api/gunicorn.conf.py wsgi:app --chdir api`` or any other WSGI server."""

from recae.api import create_app

app = create_app()
