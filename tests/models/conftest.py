"""Fitted models for the tests of the contract."""

import pytest

from tests.models.cases import CASES, named


@pytest.fixture(scope="session", params=named(CASES))
def case(request):
    return request.param


@pytest.fixture(scope="session")
def fitted(case):
    """The case's model, fitted once for all tests: do not refit it."""
    return case.fitted()


@pytest.fixture(scope="session")
def hastily_fitted(case):
    """The same after few epochs, to compare with others that had as few."""
    return case.fitted(**case.few_epochs)


@pytest.fixture(scope="session", params=named([case for case in CASES if case.is_personal]))
def personal_case(request):
    return request.param


@pytest.fixture(scope="session")
def personal(personal_case):
    return personal_case.fitted()
