"""Fitted models that a blend of the same protocol has as members: each is fitted once, and waits in a file."""

import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from safetensors import SafetensorError

from recae.data.splits import Split
from recae.evaluation.contenders import Contender
from recae.models import load_model
from recae.models.base import Model
from recae.models.blend import Blend
from recae.models.trainer import Callback


class Shelf:
    """Fits models, and keeps those that a blend wants: two models of Gowalla's size do not always fit into memory.

    A model with a seed is another one with each seed. Only for protocols that draw no new split with each seed.

    Args:
        contenders: of every model of the protocol, to see which models are members of blends.
        is_open: whether to keep any.
    """

    def __init__(self, contenders: Sequence[Sequence[Contender]], *, is_open: bool) -> None:
        blends = [one.unfitted for each in contenders for one in each if isinstance(one.unfitted, Blend)]
        members = [member for blend in blends if is_open for member in blend.config.unfitted()]
        self._wanted = {_without_seed(member) for member in members}
        self._folder = tempfile.TemporaryDirectory(prefix="recae-members-")
        self._files: dict[str, Path] = {}
        self._seconds: dict[str, float] = {}
        self._numbers = count()
        self.spared_s = 0.0
        """Seconds that fitting those would have taken which were there already: they belong to a blend all the same."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def fitted(self, model: Model, split: Split, callback: Callback | None = None) -> Model:
        """The model, fitted to train and validation; a blend from members that were fitted before, as far as there are.

        Raises:
            FitError: if the model could not be fitted.
        """
        described = _described(model)
        if described in self._files:
            self.spared_s += self._seconds.get(described, 0.0)
            return load_model(self._files[described])
        if isinstance(model, Blend) and self._wanted and model.feedback == "implicit":
            members = [self.fitted(member, split, callback) for member in model.config.unfitted()]
            return Blend.of_fitted(model.config, members, split.train.matrix, validation=split.validation)
        started = time.perf_counter()
        model.fit(split.train.matrix, show_progress=False, callback=callback, validation=split.validation)
        self._seconds[described] = time.perf_counter() - started
        self.keep(model)
        return model

    def keep(self, model: Model) -> None:
        """Put a fitted model aside, if a blend wants it and there is room: without, it is fitted once more."""
        described = _described(model)
        if _without_seed(model) in self._wanted and described not in self._files:
            file = Path(self._folder.name) / f"{next(self._numbers)}.safetensors"
            try:
                model.save(file)
            except (OSError, SafetensorError):
                file.unlink(missing_ok=True)
            else:
                self._files[described] = file

    def forget_seeds(self) -> None:
        """Remove the models of a seed, which no later one asks for."""
        for described in [described for described in self._files if '"seed":' in described]:
            self._files.pop(described).unlink()


def _described(model: Model) -> str:
    return f"{model.name} {model.config.model_dump_json()}"


def _without_seed(model: Model) -> str:
    return f"{model.name} {model.config.model_dump_json(exclude={'seed'})}"
