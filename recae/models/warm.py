"""Warm start: train on from an earlier model, whose catalogue and users may have been others.

What belongs to one item or one user (a row of a weight matrix, an offset) moves to the item's or user's new place;
the rows of those that the earlier model did not know keep their fresh random start, and what belongs to nobody, such
as a hidden layer, is taken over whole. The optimiser's moments start anew.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from recae.data.idmap import IdMap, Positions
from recae.errors import WarmStartError
from recae.models.devices import outlines
from recae.models.storage import arrays_of

if TYPE_CHECKING:
    from recae.data.interactions import Interactions
    from recae.models.base import Model

Kind: TypeAlias = Literal["user", "item"]
Axes: TypeAlias = Mapping[str, Mapping[int, Kind]]
"""Of each parameter by name: which of its axes count users or items."""


@dataclass(frozen=True, eq=False)
class WarmStart:
    """An earlier model, and where in it the users and items of the new training matrix are."""

    model: "Model"
    """Fitted, of the same kind and with the same sizes of layers; it is not changed."""
    items: Positions
    """The earlier column of each column, or -1 for an item the earlier model did not know, shape (n_items,)."""
    users: Positions | None = None
    """The earlier row of each row, or -1, shape (n_users,); None if nobody is known again. Only models with weights
    of single users look at it."""

    def check(self, model: "Model", shape: tuple[int, int]) -> None:
        """Refuse what cannot be the start of a fit of ``model`` to a matrix of this shape.

        Raises:
            WarmStartError: if ``model`` cannot start from any, or the earlier one is of another kind.
            ValueError: if the positions do not fit the matrix or the earlier model.
            NotFittedError: if the earlier model has learned nothing yet.
        """
        if not model.supports_warm_start:
            raise WarmStartError(
                f"{model.name} keeps nothing that another training could start from; fit it without a warm start"
            )
        if self.model.name != model.name:
            raise WarmStartError(
                f"{model.name} cannot start from a model of another kind, {self.model.name}; "
                "fit it without a warm start"
            )
        known = {"item": self.model.n_items_, "user": self.model.n_users_}
        for kind, n_now in zip(("user", "item"), shape, strict=True):
            earlier = self.positions(kind, n_now)
            if len(earlier) != n_now or not ((earlier >= -1) & (earlier < known[kind])).all():
                raise ValueError(
                    f"expected an earlier position from -1 to {known[kind] - 1} for each of {n_now:,} {kind}s, "
                    f"found {len(earlier):,} from {earlier.min(initial=0)} to {earlier.max(initial=0)}"
                )

    def positions(self, kind: str, n_now: int) -> NDArray[np.int64]:
        """Earlier position of each user or item, -1 for none, shape (n_now,)."""
        given = self.items if kind == "item" else self.users
        return np.full(n_now, -1) if given is None else np.asarray(given, dtype=np.int64)

    def carry_rows(
        self, fresh: NDArray[np.float32], earlier: NDArray[np.float32], kind: Kind
    ) -> NDArray[np.float32]:
        """A copy of ``fresh``, a row for each user or item, with the earlier rows of those that were known.

        Raises:
            WarmStartError: if the rows differ in length.
        """
        if fresh.shape[1:] != earlier.shape[1:]:
            raise _other_sizes(f"{kind} factors", fresh.shape, earlier.shape)
        positions = self.positions(kind, len(fresh))
        known = positions >= 0
        carried = fresh.copy()
        carried[known] = earlier[positions[known]]
        return carried

    @torch.no_grad()
    def carry_weights(self, network: nn.Module, before: Mapping[str, Tensor], axes: Axes) -> None:
        """Write the earlier network's weights into the new one.

        Args:
            network: with fresh weights.
            before: the earlier ones by name: the same parameters, of the same shapes but along ``axes``.
            axes: as :func:`growing_axes` gives them.

        Raises:
            WarmStartError: if the parameters or the sizes of the layers differ.
        """
        weights = network.state_dict()
        if weights.keys() != before.keys():
            changed = sorted(weights.keys() ^ before.keys())
            raise WarmStartError(
                f"the earlier model has other layers: {', '.join(changed)} exist(s) in one of the two only; "
                "take its settings, or fit without a warm start"
            )
        for name, fresh in weights.items():
            self._check_sizes(name, fresh.shape, before[name].shape, axes[name])
        for name, fresh in weights.items():
            self._carry(fresh, before[name].to(fresh.device), axes[name])

    def _check_sizes(
        self, name: str, now: torch.Size, before: torch.Size, growing: Mapping[int, Kind]
    ) -> None:
        sizes = {"item": self.model.n_items_, "user": self.model.n_users_}
        wanted = [sizes[growing[axis]] if axis in growing else size for axis, size in enumerate(now)]
        if list(before) != wanted:
            raise _other_sizes(name, tuple(wanted), tuple(before))

    def _carry(self, fresh: Tensor, before: Tensor, growing: Mapping[int, Kind]) -> None:
        to: list[Any] = [slice(None)] * fresh.ndim
        source: list[Any] = [slice(None)] * fresh.ndim
        for place, (axis, kind) in enumerate(growing.items()):
            positions = torch.from_numpy(self.positions(kind, fresh.shape[axis])).to(fresh.device)
            known = torch.nonzero(positions >= 0).flatten()
            grid = (-1, *[1] * (len(growing) - place - 1))  # of two such axes every pair is meant
            to[axis], source[axis] = known.reshape(grid), positions[known].reshape(grid)
        fresh[tuple(to)] = before[tuple(source)]

    def fingerprint(self) -> str:
        """Names what the start consists of, for the checkpoint of a run that began with it."""
        digest = hashlib.sha256(self.model.config.model_dump_json().encode())
        # by name: a model that was read from a file holds its fields in another order
        learned = dict(arrays_of(self.model._state()))  # noqa: SLF001 - all it has learned
        parts = [learned[name] for name in sorted(learned)]
        for array in [self.items, np.empty(0) if self.users is None else self.users, *parts]:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Earlier:
    """A fitted model with the names of its columns, and of its rows where they are known."""

    model: "Model"
    items: IdMap
    users: IdMap | None = None

    def start_of(self, interactions: "Interactions") -> WarmStart:
        """The warm start of a fit to these interactions."""
        users = None if self.users is None else self.users.find(interactions.users)
        return WarmStart(self.model, self.items.find(interactions.items), users)


def growing_axes(build: Callable[[csr_array], nn.Module], shape: tuple[int, int]) -> Axes:
    """Which axes of a network's parameters count users or items: those that grow when there is one more.

    The network is built three times without memory for its weights, so that no network has to declare this.

    Args:
        build: a training matrix -> a network.
        shape: of the training matrix.
    """
    n_users, n_items = shape
    now, with_user, with_item = (
        _shapes(build, (n_users + more_users, n_items + more_items))
        for more_users, more_items in ((0, 0), (1, 0), (0, 1))
    )
    axes: dict[str, dict[int, Kind]] = {name: {} for name in now}
    grown: tuple[tuple[Kind, dict[str, torch.Size]], ...] = (("user", with_user), ("item", with_item))
    for kind, larger in grown:
        for name, sizes in now.items():
            axes[name] |= {axis: kind for axis, size in enumerate(sizes) if larger[name][axis] != size}
    return axes


def _shapes(build: Callable[[csr_array], nn.Module], shape: tuple[int, int]) -> dict[str, torch.Size]:
    nothing = csr_array(
        (np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(shape[0] + 1, np.int32)), shape
    )
    with torch.random.fork_rng(devices=[]), outlines():
        return {name: weight.shape for name, weight in build(nothing).state_dict().items()}


def _other_sizes(name: str, now: tuple[int, ...], before: tuple[int, ...]) -> WarmStartError:
    return WarmStartError(
        f"the earlier model's layers have other sizes: {name} is {' x '.join(map(str, before))}, "
        f"these settings need {' x '.join(map(str, now))}; take its settings, or fit without a warm start"
    )
