"""Every model by its name: ``create("ease", l2=200)``. Importing this imports none of them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recae.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from recae.models.base import Model
    from recae.models.config import ModelConfig
    from recae.models.storage import Source

_PLACES = {
    "popularity": "baselines.Popularity",
    "item_knn": "baselines.ItemKNN",
    "als": "factorisation.ALS",
    "bpr": "trained_users.BPR",
    "lmf": "trained_users.LMF",
    "pure_svd": "factorisation.PureSVD",
    "gf_cf": "graph_filter.GFCF",
    "rating_means": "rating_baselines.MeanPredictor",
    "biased_mf": "rating_baselines.BiasedMF",
    "ease": "linear.EASE",
    "edlae": "linear.EDLAE",
    "rlae": "linear.RLAE",
    "rdlae": "linear.RDLAE",
    "dan": "linear.DAN",
    "slist": "slist.SLIST",
    "sparsified": "sparsified.Sparsified",
    "elsa": "elsa.ELSA",
    "autorec": "autorec.AutoRec",
    "deep_autorec": "deep_rating.DeepAutoRec",
    "sparsefc": "sparsefc.SparseFC",
    "rating_blend": "rating_blend.RatingBlend",
    "dae": "denoising.DAE",
    "cdae": "denoising.CDAE",
    "sparse_ae": "sparse.SparseAE",
    "mult_dae": "multinomial.MultDAE",
    "mult_vae": "multinomial.MultVAE",
    "cosine_dae": "cosine.CosineDAE",
    "recvae": "recvae.RecVAE",
    "hvamp_vae": "hvamp.HVampVAE",
    "sequential_vae": "sequential.SequentialVAE",
    "blend": "blend.Blend",
}


def names() -> list[str]:
    """Names of all models, baselines first."""
    return list(_PLACES)


def check_name(name: str) -> None:
    """Refuse a name that no model has, without loading one.

    Raises:
        ConfigError: naming those that there are.
    """
    if name not in _PLACES:
        raise ConfigError(f"no model is named {name!r}; there are {', '.join(_PLACES)}")


def model_class(name: str) -> type["Model"]:
    """The class of a model.

    Raises:
        ConfigError: if no model has this name.
    """
    check_name(name)
    module, class_name = _PLACES[name].split(".")
    found: type[Model] = getattr(import_module(f"recae.models.{module}"), class_name)
    return found


def config_class(name: str) -> type["ModelConfig"]:
    """The settings class of a model."""
    return model_class(name).config_class


def create(name: str, **settings: Any) -> "Model":
    """A new, unfitted model.

    Args:
        name: one of :func:`names`.
        settings: fields of its config; the rest keep their defaults.

    Raises:
        ConfigError: if the name or a setting is unknown, or a setting is out of range.
    """
    return model_class(name)(**settings)


def load_model(file: "Source") -> "Model":
    """The model of whatever kind that ``Model.save`` stored in a file.

    Raises:
        ArtifactError: if the file is missing or damaged, or its kind is unknown here.
    """
    from recae.models.storage import read_state

    state, metadata = read_state(file)
    name = metadata.get("model", "")
    if name not in _PLACES:
        raise ArtifactError(f"the file holds a model named {name!r}; this version knows {', '.join(_PLACES)}")
    return model_class(name)._from_state(state, metadata)  # noqa: SLF001 - one reading of the file for every kind
