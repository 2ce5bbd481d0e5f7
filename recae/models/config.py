"""Settings of a model: what every config shares, and the error for what does not fit it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from recae.errors import ConfigError


class ModelConfig(BaseModel):
    """Settings of a model: frozen, an unknown name is an error, the text under a field is its help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def validated(config_class: type[ModelConfig], name: str, settings: dict[str, Any]) -> ModelConfig:
    """The config of a model's settings, the others at their defaults.

    Args:
        config_class: of the model.
        name: of the model, for the error.
        settings: by name.

    Raises:
        ConfigError: if a setting is unknown or out of range; names it, and the known ones.
    """
    try:
        return config_class(**settings)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())
        known = ", ".join(config_class.model_fields) or "none"
        raise ConfigError(f"settings of {name}: {wrong} (settings are: {known})") from None
