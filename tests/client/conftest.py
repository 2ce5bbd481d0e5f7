"""A stub server and clients of it, which wait for nothing between tries."""

import pytest

from recae.client import Client, Retries
from tests.client.stub import serving

AT_ONCE = Retries(tries=3, first_pause_s=0.0)


@pytest.fixture
def stub():
    with serving() as running:
        yield running


@pytest.fixture
def client(stub):
    with Client(stub.address, retries=AT_ONCE) as made:
        yield made
