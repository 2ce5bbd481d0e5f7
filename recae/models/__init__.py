"""Models: from matrices of interactions to scores. ``create("ease", l2=200)`` makes one by name."""

from recae.models.registry import config_class, create, load_model, model_class, names

__all__ = ["config_class", "create", "load_model", "model_class", "names"]
