"""What a search for settings is to try, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recae.errors import ConfigError
from recae.evaluation.protocol import Protocol
from recae.evaluation.sections import ModelSection, Settings
from recae.models import registry


@dataclass(frozen=True)
class Attempt:
    """One trial."""

    number: int
    settings: Settings
    value: float | None
    """Of the selecting metric on validation; None unless it ran to its end."""
    state: str
    """``complete``, ``pruned`` or ``failed``."""
    seconds: float
    error: str | None


@dataclass(frozen=True)
class Tuned:
    """A search so far."""

    model: str
    metric: str
    best: Attempt
    attempts: tuple[Attempt, ...]
    importance: Mapping[str, float]
    """Share of what the settings explain of the values (fANOVA); empty below ten complete trials."""


@dataclass(frozen=True)
class Search:
    """What is searched, where."""

    protocol: Protocol
    title: str
    """Of one model of the protocol."""
    folder: Path
    trials: int | None = None
    """Finished trials of the study at which it ends, earlier runs included; None for no such end."""
    seconds: float | None = None
    """Of this run, after which no further trial starts; None for no such end."""
    workers: int = 1
    threads: int | None = None
    """All workers together; None for all there are."""

    @property
    def section(self) -> ModelSection:
        """The model's table."""
        for section in self.protocol.models:
            if section.title == self.title:
                return section
        there = ", ".join(section.title for section in self.protocol.models)
        raise ConfigError(f"{self.protocol.name} has no model {self.title!r}; its models are: {there}")

    def space(self) -> dict[str, Any]:
        """Setting -> `Range` or values: the protocol's own, or what is named beside the model; without what is fixed.

        Raises:
            ConfigError: if nothing is left to search.
        """
        section = self.section
        chosen = {**section.space} or dict(registry.model_class(section.name).search_space)
        found = {name: space for name, space in chosen.items() if name not in section.settings}
        if not found:
            raise ConfigError(
                f"{self.title} has no setting left to search; name some in its space, or fix fewer in its settings"
            )
        return found
