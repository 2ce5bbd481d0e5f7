"""The night's own models: the candidate, and the one refitted to everything; taken up again where a run was killed.

    <run>/candidate.data          fingerprint of what the candidate is fitted to
          candidate.safetensors   the fitted candidate
          candidate.*             checkpoints of its fit
          refit.*                 the same of the refitted model

A user who is deleted, or events that expire, after a run was killed change which item a column stands for. So what is kept
is taken up only for the very rows, columns and values that it was fitted to.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recae import durable
from recae.artifacts import StoredModel
from recae.data.interactions import Interactions
from recae.errors import ArtifactError, CheckpointError, WarmStartError
from recae.models import create, load_model
from recae.models.base import Model
from recae.models.fitting import fit_to_everything
from recae.models.warm import Earlier
from recae.retrain_settings import RetrainSettings

CANDIDATE = "candidate"
REFIT = "refit"
MODEL = ".safetensors"
FINGERPRINT = ".data"


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
        self._prepare(CANDIDATE, train, figures)
        kept = self.folder / f"{CANDIDATE}{MODEL}"
        if kept.is_file():
            try:
                model = load_model(kept)
            except ArtifactError as error:
                figures["fitted_anew"] = f"what was kept is damaged: {error}"
            else:
                figures["taken_up"] = True
                return model
        model = create(self.settings.model, **self.settings.settings)
        fitted = self._fitted(model, train, self.settings.validation_share, CANDIDATE, figures)
        half = self.folder / f"{CANDIDATE}.half"
        fitted.save(half)
        durable.sync(half)
        half.replace(kept)
        return fitted

    def refitted(self, candidate: Model, everything: Interactions, figures: dict[str, Any]) -> Model:
        """The candidate's settings, with the epochs that were best for it, fitted to everything."""
        self._prepare(REFIT, everything, figures)
        return self._fitted(type(candidate)(candidate.settled_config()), everything, 0.0, REFIT, figures)

    def _prepare(self, name: str, interactions: Interactions, figures: dict[str, Any]) -> None:
        """Remove what was kept of this name if it was fitted to something else, and note what is fitted to now."""
        noted = self._noted(name)
        before = noted.read_text(encoding="utf-8") if noted.is_file() else None
        if before == fingerprint(interactions):
            return
        self._begin_anew(name, interactions)
        if before is not None:
            figures["fitted_anew"] = "the events have changed since the run was killed"

    def _begin_anew(self, name: str, interactions: Interactions) -> None:
        for file in self.folder.glob(f"*{name}.*"):  # half-written checkpoints begin with a dot
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()
        durable.write_file(self._noted(name), fingerprint(interactions))

    def _noted(self, name: str) -> Path:
        return self.folder / f"{name}{FINGERPRINT}"

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

        def fit_or_begin_anew(start: Earlier | None) -> Model:
            try:
                return fit(start)
            except CheckpointError as error:  # damaged, or of other code: at night nobody can delete it
                self._begin_anew(name, train)
                figures["fitted_anew"] = str(error)
                return fit(start)

        start = None
        if self.settings.warm_start and self.live is not None and model.supports_warm_start:
            start = Earlier(self.live.model, self.live.items, self.live.users)
        try:
            fitted = fit_or_begin_anew(start)
            figures["warm_start"] = start is not None
        except WarmStartError as error:
            figures |= {"warm_start": False, "no_warm_start": str(error)}
            fitted = fit_or_begin_anew(None)
        figures["settings"] = fitted.config.model_dump(mode="json")
        return fitted


def fingerprint(interactions: Interactions) -> str:
    """Names the users, the items, every value and its time: what is the same where a fitted model is still right."""
    digest = hashlib.sha256()
    for ids in (interactions.users, interactions.items):
        digest.update(json.dumps(list(ids)).encode())
    matrix, times = interactions.matrix, interactions.times
    parts = [matrix.indptr, matrix.indices, matrix.data, *([] if times is None else [times])]
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
