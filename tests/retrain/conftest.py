import pytest

from tests.retrain.nights import begun, eight_days, settings


@pytest.fixture
def where(tmp_path):
    """A home with eight days of events and no model."""
    return eight_days(settings(tmp_path))


@pytest.fixture
def live(tmp_path):
    """The same with a model in service."""
    return begun(settings(tmp_path))
