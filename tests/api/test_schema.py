"""The description holds for whatever is sent: schemathesis tries every operation, with good data and bad."""

import tempfile
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from recae.api import create_app
from recae.artifacts import ModelStore
from recae.config import Settings
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

load_all_checks()
BEYOND_A_SCHEMA = CHECKS.get_by_names(["positive_data_acceptance"])
"""What a schema cannot say: a model of likings refuses a weight of -1, and the server has limits of its own."""

OF_PARTS = CHECKS.get_by_names(["negative_data_rejection"])
"""Events, and requests of a batch, are refused each for itself: the answer as a whole is a good one, with their errors in it.
test_events.py and test_batch.py send bad ones."""
HAVE_PARTS = {"/v1/events", "/v1/recommendations/batch"}

FOLDER = tempfile.TemporaryDirectory(
    prefix="recae-schema-"
)  # before any fixture: the operations become parameters
HOME = Path(FOLDER.name)


KEY = "k" * 40
NOT_HERE = "/v1/admin/retrain"
"""Starts a process each time; test_admin.py asks for it."""


def application():
    store = ModelStore(HOME / "models")
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE, metrics={"ndcg": 0.5}))
    app = create_app(Settings(home=HOME, reload_s=3_600, api_keys=f"tester:admin:{KEY}"))
    app.extensions["recae"].served.refresh()
    return app


schema = schemathesis.openapi.from_wsgi("/openapi.json", application()).exclude(path=NOT_HERE)


@pytest.mark.timeout(600)  # a few seconds alone
@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_answers_as_it_is_described(case):
    excluded = [*BEYOND_A_SCHEMA, *(OF_PARTS if case.operation.path in HAVE_PARTS else [])]
    case.call_and_validate(headers={"X-API-Key": KEY}, excluded_checks=excluded)
