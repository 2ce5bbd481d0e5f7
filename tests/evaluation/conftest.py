"""Fixtures of the evaluation tests."""

from .evaluation_fakes import fake_models

__all__ = ["fake_models"]
