"""The night's own models: the candidate, and the one refitted to everything; taken up again where a run was killed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recae.artifacts import StoredModel
from recae.data.interactions import Interactions
from recae.errors import WarmStartError
from recae.models import create, load_model
from recae.models.base import Model
from recae.models.fitting import fit_to_everything
from recae.models.warm import Earlier
from recae.retrain_settings import RetrainSettings

CANDIDATE = "candidate.safetensors"


@dataclass(frozen=True)
class Candidates:
    """Fits of one run."""

    settings: RetrainSettings
    folder: Path
    """Of the run: what is fitted, and checkpoints of what is being fitted, are kept there until it ends."""
    live: StoredModel | None
    """What to train on from, where the kind allows."""
    show_progress: bool

    def candidate(self, train: Interactions, figures: dict[str, Any]) -> Model:
        """Fitted to what happened before the cut; the one that an interrupted run has fitted, if there is one."""
        kept = self.folder / CANDIDATE
        if kept.is_file():
            figures["taken_up"] = True
            return load_model(kept)
        model = create(self.settings.model, **self.settings.settings)
        fitted = self._fitted(model, train, self.settings.validation_share, "candidate", figures)
        half = self.folder / "candidate.half"
        fitted.save(half)
        half.replace(kept)
        return fitted

    def refitted(self, candidate: Model, everything: Interactions, figures: dict[str, Any]) -> Model:
        """The candidate's settings, with the epochs that were best for it, fitted to everything."""
        return self._fitted(type(candidate)(candidate.settled_config()), everything, 0.0, "refit", figures)

    def _fitted(
        self, model: Model, train: Interactions, validation_share: float, name: str, figures: dict[str, Any]
    ) -> Model:
        def fit(start: Earlier | None) -> Model:
            return fit_to_everything(
                model,
                train,
                validation_share=validation_share,
                seed=self.settings.seed,
                show_progress=self.show_progress,
                checkpoint=self.folder / name,
                warm_start_from=start,
            )

        start = None
        if self.settings.warm_start and self.live is not None and model.supports_warm_start:
            start = Earlier(self.live.model, self.live.items, self.live.users)
        try:
            fitted = fit(start)
            figures["warm_start"] = start is not None
        except WarmStartError as error:
            figures |= {"warm_start": False, "no_warm_start": str(error)}
            fitted = fit(None)
        figures["settings"] = fitted.config.model_dump(mode="json")
        return fitted
