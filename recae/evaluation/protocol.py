"""A protocol: which data, split how, which models, chosen and judged by which metrics. One TOML file each.

    name = "movielens-small"
    seed = 7

    [data]
    source = "movielens-small"      # or path = "log.csv", relative to this file
    min_value = 4                   # the data's own unit: stars

    [split]
    kind = "held_out_users"
    validation_users = 100
    test_users = 100

    [metrics]
    report = ["ndcg@100", "recall@20"]
    select = "ndcg@100"

    [[models]]
    name = "ease"
    search = { l2 = [100, 300] }    # every combination is tried on validation

The same file gives the same numbers: everything that is random is drawn from ``seed``, or from ``seeds`` in turn.
"""

import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, NonNegativeInt, PrivateAttr, ValidationError, field_validator, model_validator

from recae.data import benchmarks
from recae.errors import ConfigError
from recae.evaluation.sections import (
    RANGE,
    SAMPLE,
    VALUES,
    DataSection,
    HeldOutUsers,
    LeaveLastOut,
    MetricsSection,
    ModelSection,
    RandomRatings,
    Section,
    SegmentsSection,
    SplitSection,
)

SPLITS = ("held_out_users", "leave_last_out", "temporal", "random_ratings")
"""Kinds of ``[split]``."""


class Protocol(Section):
    """A whole file; see the module's text."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the folder of the results."""
    about: str = ""
    """What the numbers are comparable with, and where they are not."""
    seed: NonNegativeInt = 0
    """Of the split, and of every model that does not fix its own."""
    seeds: tuple[NonNegativeInt, ...] = ()
    """Several in place of ``seed``: the first chooses settings, then whatever depends on chance is tested with each."""
    data: DataSection
    split: SplitSection | None = None
    """Absent for a benchmark that comes split."""
    metrics: MetricsSection
    segments: SegmentsSection = SegmentsSection()
    models: list[ModelSection] = Field(min_length=1)

    _folder: Path = PrivateAttr(Path())
    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _first_seed(cls, table: Any) -> Any:
        """Let ``seed`` be the first of several, whether the file says so or not."""
        seeds = table.get("seeds") if isinstance(table, dict) else None
        if not (isinstance(seeds, list | tuple) and seeds):
            return table
        if table.get("seed", seeds[0]) != seeds[0]:
            raise ValueError(
                f"seed is {table['seed']} and seeds start with {seeds[0]}; give one or the other"
            )
        return table | {"seed": seeds[0]}

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{list(seeds)} has a seed twice; the same seed gives the same numbers")
        return seeds

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        twice = [title for title, times in Counter(model.title for model in self.models).items() if times > 1]
        if twice:
            raise ValueError(f"two models are called {twice[0]!r}; give one of them a label")
        if self.metrics.of_ratings and self.data.feedback != "ratings":
            raise ValueError(f"{self.metrics.report[0]} needs ratings; set data.feedback = 'ratings'")
        return self

    @property
    def every_seed(self) -> tuple[int, ...]:
        """The seeds of the evaluation, the one that chooses settings first."""
        return self.seeds or (self.seed,)

    @property
    def splits_at_random(self) -> bool:
        """Whether another seed gives another split."""
        return isinstance(self.split, HeldOutUsers | LeaveLastOut | RandomRatings)

    @property
    def folder(self) -> Path:
        """What ``data.path`` is relative to: the folder of the file, or the working folder."""
        return self._folder

    def place_of(self, section: ModelSection) -> str:
        """Where a model stands, ``my.toml: models 2``, for messages; people count from 1."""
        place = f"models {self.models.index(section) + 1}"
        return place if self._file is None else f"{self._file}: {place}"


def load_protocol(path: str | os.PathLike[str]) -> Protocol:
    """Read a protocol file.

    Raises:
        ConfigError: if it is missing, no TOML, or a key is unknown, missing or out of range; the message names
            file and key.
    """
    file = Path(path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the protocol {file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    for complaint in _contradictions(table):
        raise ConfigError(f"{file}: {complaint}")
    protocol = protocol_of(table, str(file))
    protocol._folder = file.parent  # noqa: SLF001 - set here only: what a file says does not depend on its place
    protocol._file = file  # noqa: SLF001 - as the folder
    return protocol


def protocol_of(table: Mapping[str, Any], called: str) -> Protocol:
    """A protocol from its keys.

    Args:
        table: as a protocol file has them.
        called: what errors begin with.

    Raises:
        ConfigError: naming the keys that are unknown, missing or out of range.
    """
    try:
        return Protocol.model_validate(table)
    except ValidationError as error:
        wrong = "; ".join(_complaint(detail["loc"], detail) for detail in error.errors())
        raise ConfigError(f"{called}: {wrong}") from None


def sample_protocol_path() -> Path:
    """The protocol of the bundled sample, inside the wheel or in the checkout.

    Raises:
        ConfigError: if this installation has none.
    """
    package = Path(__file__).parent
    in_wheel = package / "protocols" / "movielens-small.toml"
    in_checkout = package.parent.parent / "evaluation" / "movielens-small.toml"
    for path in (in_wheel, in_checkout):
        if path.is_file():
            return path
    raise ConfigError(
        "this installation lacks movielens-small.toml; install recae again, or name a protocol file"
    )


def _contradictions(table: dict[str, Any]) -> Iterator[str]:
    """What a file may not say, although stored results, where every default is written out, hold it."""
    if table.get("seeds") == []:
        yield "seeds is empty; name at least one, or leave it out"
    split, data = table.get("split"), table.get("data")
    if isinstance(split, dict) and split.get("kind") == "temporal" and "test_from" in split:
        shares = [key for key in ("validation_share", "test_share") if key in split]
        if shares:
            yield f"split: {' and '.join(shares)} would not count beside test_from; give shares or cuts"
    source = data.get("source") if isinstance(data, dict) else None
    if isinstance(source, str) and source not in (SAMPLE, *benchmarks.names()):
        yield (
            f"data.source: there is no {source!r}; there are {', '.join((SAMPLE, *benchmarks.names()))}; "
            "a log of your own goes into path"
        )


def _complaint(where: tuple[int | str, ...], detail: Any) -> str:
    """``models 2.searhc: unknown key``: one fault of a file, in the file's own terms; people count from 1."""
    inner = {*SPLITS, RANGE, VALUES}  # pydantic's names of alternatives, not the file's
    key = "".join(
        f" {part + 1}" if isinstance(part, int) else f".{part}" for part in where if part not in inner
    )
    key = key.removeprefix(".")
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if detail["type"] == "missing":
        return f"{key}: missing"
    if detail["type"] == "union_tag_not_found":
        return f"{key}.kind: missing; the kinds are {', '.join(SPLITS)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
