"""How a model is stored: its kind, its settings and what it has learned, in one safetensors file."""

from typing import Any, ClassVar, Self

import numpy as np
from pydantic import ValidationError

from recae.errors import ArtifactError
from recae.models.config import ModelConfig
from recae.models.storage import Source, arrays_of, read_state, write_state


class Storing:
    """The part of the contract that writes models and reads them. Learned fields end in ``_``."""

    name: ClassVar[str]
    config_class: ClassVar[type[ModelConfig]]
    config: ModelConfig

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def save(self, file: Source) -> None:
        """Store the model, fitted or not, in one safetensors file; of a fit that did not end, the settings alone.

        Args:
            file: path, or a file open for writing bytes.
        """
        state = self._state() if "histories_" in vars(self) else {}
        write_state(file, state, model=self.name, config=self.config.model_dump_json())

    @classmethod
    def load(cls, file: Source) -> Self:
        """The model that :meth:`save` stored.

        Args:
            file: path, or a file open for reading bytes.

        Raises:
            ArtifactError: if the file is missing, damaged, or holds a model of another class.
        """
        state, metadata = read_state(file)
        if metadata.get("model") != cls.name:
            raise ArtifactError(
                f"the file holds a model named {metadata.get('model')!r}, {cls.__name__} reads {cls.name!r}; "
                "recae.models.load_model reads every kind"
            )
        return cls._from_state(state, metadata)

    @classmethod
    def _from_state(cls, state: dict[str, Any], metadata: dict[str, str]) -> Self:
        try:
            model = cls(cls.config_class.model_validate_json(metadata["config"]))
        except ValidationError as error:
            raise ArtifactError(
                f"the stored settings of {cls.name} do not fit this version of recae; fit the model anew ({error})"
            ) from error
        model._restore(state)
        return model

    def _state(self) -> dict[str, Any]:
        """Learned fields by name."""
        return {field: value for field, value in vars(self).items() if field.endswith("_")}

    def _restore(self, state: dict[str, Any]) -> None:
        """Set the learned fields from what ``_state`` gave."""
        vars(self).update(state)

    def not_finite(self) -> dict[str, int]:
        """Learned field -> how many NaN or infinite values it holds; empty for a sound model."""
        counts = {field: np.count_nonzero(~np.isfinite(values)) for field, values in arrays_of(self._state())}
        return {field.removeprefix("/"): int(count) for field, count in counts.items() if count}
