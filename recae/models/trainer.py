"""Epochs, batches, early stopping, checkpoints. Knows no model: it drives whatever can take a step.

Everything random follows from (seed, epoch), so that a run continued from a checkpoint ends with the model
an unbroken run would have given.
"""

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.data.holdout import Holdout
from recae.errors import ArtifactError, CheckpointError, FitError
from recae.models.storage import read_state, write_state
from recae.progress import bar

Callback = Callable[[int, float, float | None], None]
"""Called after each epoch with its number from 0, the seconds it took and its loss (None in closed form)."""
Watch = Callable[[int, float], None]
"""Called after each epoch that was judged on validation with its number from 0 and the value, higher is better; may raise
to end the fit."""


class Trainee(Protocol):
    """What the trainer needs of a model under training."""

    def update(self, rows: NDArray[np.int64]) -> float:
        """Take one step on these training rows; the loss before it, mean over the rows."""

    def weights(self) -> dict[str, Any]:
        """What the model scores with: nested dicts of tensors. May be the live ones."""

    def load_weights(self, weights: dict[str, Any]) -> None:
        """Go back to such weights."""

    def optimiser_state(self) -> dict[str, Any]:
        """What else the next step depends on."""

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        """Go back to such a state."""


@dataclass(frozen=True)
class Schedule:
    """How long to train, and on what."""

    n_rows: int
    epochs: int
    batch_size: int
    seed: int
    patience: int | None = None
    """Epochs without a better validation value after which training stops; None for never."""
    passes: int = 1
    """Passes over the rows that make an epoch, each in an order of its own."""


@dataclass
class Log:
    """What happened, epoch by epoch."""

    losses: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    """Validation value of each epoch, higher is better; empty without validation."""

    @property
    def best_epoch(self) -> int:
        """Number of epochs after which validation was best; all of them without validation."""
        return int(np.argmax(self.values)) + 1 if self.values else len(self.losses)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, to be stored with the model. Without times: the same run gives the same file."""
        return {"losses": self.losses, "values": self.values, "best_epoch": self.best_epoch}


def train(
    trainee: Trainee,
    schedule: Schedule,
    *,
    validate: Callable[[], float] | None = None,
    callback: Callback | None = None,
    watch: Watch | None = None,
    checkpoint: str | None = None,
    fingerprint: str = "",
    description: str = "training",
    show_progress: bool = True,
) -> Log:
    """Train to the end of the schedule, or until validation has not improved for ``patience`` epochs.

    Afterwards the trainee holds the weights of its best epoch (of the last one without ``validate``).

    Args:
        trainee: takes the steps.
        schedule: how long, and on what.
        validate: the value to maximise, asked for after each epoch.
        callback: called after each epoch with its number from 0, its seconds and its loss.
        watch: called after each epoch with its number and validation value, if there is one.
        checkpoint: file for the state after each epoch; if it is there, training goes on from it.
        fingerprint: what the state depends on (settings and data); a checkpoint with another one is refused.
        description: text before the progress bar.
        show_progress: show a bar with loss and validation value.

    Raises:
        FitError: if a loss, or a validation value, is not finite.
        CheckpointError: if the checkpoint is damaged, or belongs to another run.
    """
    # best: a copy of the best epoch's weights, if there is a validation to tell it from the last
    log, best = Log(), None
    if checkpoint is not None and Path(checkpoint).exists():
        log, best = _resume(trainee, checkpoint, fingerprint)
    with _denormals_are_zero(), bar(description, schedule.epochs, show=show_progress) as running:
        running.advance(len(log.losses))
        for epoch in range(len(log.losses), schedule.epochs):
            if _is_over(log, schedule.patience):
                break
            started = time.perf_counter()
            with _seeded(schedule.seed, epoch):
                losses = [trainee.update(rows) for rows in _batches(schedule, epoch)]
            log.losses.append(_mean_loss(losses, epoch))
            if validate is not None:
                log.values.append(_valid(validate(), epoch))
                if log.best_epoch == epoch + 1:
                    best = copy.deepcopy(trainee.weights())
            if checkpoint is not None:
                state = {"log": log.as_dict(), "weights": trainee.weights(), "best": best}
                write_state(
                    checkpoint, state | {"optimiser": trainee.optimiser_state()}, fingerprint=fingerprint
                )
            if callback is not None:
                callback(epoch, time.perf_counter() - started, log.losses[-1])
            if watch is not None and validate is not None:
                watch(epoch, log.values[-1])
            running.note(_summary(log))
            running.advance()
    if validate is not None and best is not None:
        trainee.load_weights(best)
    return log


def fingerprint(settings: str, histories: csr_array, validation: Holdout | None) -> str:
    """Names the settings and the data of a run, for its checkpoint; what it is validated on, too, since its log has the values."""
    digest = hashlib.sha256(settings.encode())
    asked = validation and (validation.inputs, validation.targets, validation.seen, validation.candidates)
    for matrix in (histories, *(asked or ())):
        if matrix is not None:
            for part in (np.asarray(matrix.shape), matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _valid(value: float, epoch: int) -> float:
    if not math.isfinite(value):
        raise FitError(
            f"the validation value of epoch {epoch + 1} is {value}, so no epoch could be chosen; "
            "validate on rows that have something to find"
        )
    return value


def _is_over(log: Log, patience: int | None) -> bool:
    return patience is not None and bool(log.values) and len(log.values) - log.best_epoch >= patience


def _batches(schedule: Schedule, epoch: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng([schedule.seed, epoch])
    for _ in range(schedule.passes):
        order = rng.permutation(schedule.n_rows)
        for start in range(0, schedule.n_rows, schedule.batch_size):
            yield order[start : start + schedule.batch_size]


@contextmanager
def _seeded(seed: int, epoch: int) -> Iterator[None]:
    """Torch's random numbers follow from (seed, epoch) inside, and are as before outside."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]) >> 1)
        yield


@contextmanager
def _denormals_are_zero() -> Iterator[None]:
    """Denormal numbers count as 0 inside: they make products ten times slower. Outside, the caller's program has them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _mean_loss(losses: list[float], epoch: int) -> float:
    loss = float(np.mean(losses))
    if not math.isfinite(loss):
        raise FitError(
            f"the loss became {loss} in epoch {epoch + 1}; "
            "raise the regularisation, or lower the learning rate where there is one"
        )
    return loss


def read_checkpoint(checkpoint: str, fingerprint: str) -> dict[str, Any]:
    """The state that a training wrote.

    Args:
        checkpoint: its file.
        fingerprint: of the settings and the data of the run that is to go on.

    Raises:
        CheckpointError: if the file is damaged, or belongs to another run.
    """
    try:
        state, metadata = read_state(checkpoint)
    except ArtifactError as error:
        raise CheckpointError(
            f"checkpoint {checkpoint} is damaged; delete it to start anew ({error})"
        ) from error
    if metadata.get("fingerprint") != fingerprint:
        raise CheckpointError(
            f"checkpoint {checkpoint} belongs to a run with other settings or data; "
            "go back to those, or delete it to start anew"
        )
    return state


def _resume(trainee: Trainee, checkpoint: str, fingerprint: str) -> tuple[Log, dict[str, Any] | None]:
    state = read_checkpoint(checkpoint, fingerprint)
    trainee.load_weights(state["weights"])
    trainee.load_optimiser_state(state["optimiser"])
    log = state["log"]
    return Log(log["losses"], log["values"]), state["best"]


def _summary(log: Log) -> str:
    text = f"loss {log.losses[-1]:.4f}"
    return text + (f"  validation {log.values[-1]:.4f} (best {max(log.values):.4f})" if log.values else "")
