"""Fixtures of the evaluation tests."""

import pytest

from recae.evaluation import evaluate, runner

from .evaluation_fakes import fake_models

__all__ = ["fake_models"]


@pytest.fixture
def on(monkeypatch):
    """Evaluate a protocol on a split made by hand."""

    def on(split, protocol):
        monkeypatch.setattr(runner, "load_split", lambda _protocol, _seed=None: split)
        return evaluate(protocol, show_progress=False)

    return on
