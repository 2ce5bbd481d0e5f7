"""The tables of a protocol file: every key with its meaning, its range and its default."""

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

from recae.data.holdout import Feedback
from recae.evaluation.specs import MetricSpec
from recae.models.search_spaces import Choice, Range

SAMPLE = "movielens-small"
"""Source of the bundled sample."""

Settings: TypeAlias = dict[str, JsonValue]
Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
ShareOrNone: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A table of the file: a key it does not know is an error, and nothing changes after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataSection(Section):
    """Where the interactions come from, and which of them count."""

    source: str | None = None
    """``"movielens-small"`` (the bundled sample) or the name of a public benchmark; or else ``path``."""
    path: str | None = None
    """A log (CSV, JSONL, Parquet, or a folder of them), relative to the protocol file."""
    catalogue: str | None = None
    """For ``path``: a Parquet file with item_id, title, year and categories, relative to the protocol file. The report
    shows titles, and calibration compares categories."""
    columns: dict[str, str] = {}
    """For ``path``: recae's column name -> the log's, e.g. ``{ user_id = "userId" }``; ``""`` leaves an optional one out."""
    duplicates: Literal["last", "sum", "max", "count"] | None = None
    """For ``path``: what several events of one user with one item become; without it, the last of them, or in a split by time
    the first, which alone was known then."""
    feedback: Feedback = "implicit"
    """``"implicit"``: what is left after the filters counts as 1; ``"ratings"``: values stay as they are;
    ``"sequences"``: values are places in time, for models that go by order (the others see 1)."""
    min_value: float | None = None
    """Drop interactions with a lower value. Without one, what is not above 0 is dropped, unless values are ratings."""
    min_user_items: NonNegativeInt = 0
    """Drop users with fewer items, and then again until it holds together with ``min_item_users``."""
    min_item_users: NonNegativeInt = 0
    """Drop items with fewer users."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.source is None) == (self.path is None):
            raise ValueError("give either source (the sample or a benchmark) or path (a log of your own)")
        is_default = self.duplicates in (None, "last")  # as kept results have it
        if self.source is not None and (self.columns or not is_default or self.catalogue):
            raise ValueError(f"columns, duplicates and catalogue go with path; {self.source!r} has its own")
        return self

    @property
    def mapping(self) -> dict[str, str | None]:
        """``columns`` as the readers take them: None for what is left out, since TOML has no such value."""
        return {ours: theirs or None for ours, theirs in self.columns.items()}


class HeldOutUsers(Section):
    """Strong generalisation: users nobody was trained on show part of their history and the rest is to be found."""

    kind: Literal["held_out_users"]
    validation_users: NonNegativeInt
    test_users: PositiveInt
    fold_in: Share = 0.8
    """Share of a held-out user's history that the model sees."""
    by: Literal["random", "time"] = "random"
    """Which part it sees: a random one, or the earliest."""


class LeaveLastOut(Section):
    """Each user's last event is the test, the one before it validation."""

    kind: Literal["leave_last_out"]
    with_validation: bool = True


class Temporal(Section):
    """One cut in time for all users."""

    kind: Literal["temporal"]
    validation_share: ShareOrNone = 0.1
    test_share: Share = 0.1
    validation_from: int | None = None
    """First second (since 1970, UTC) of the validation; goes with ``test_from`` and replaces the shares."""
    test_from: int | None = None

    @model_validator(mode="after")
    def _cuts_go_together(self) -> Self:
        if self.validation_from is not None and self.test_from is None:
            raise ValueError("validation_from needs test_from beside it")
        if self.test_from is None:
            _leave_some(self.validation_share, self.test_share)
        elif self.validation_from is not None and self.validation_from > self.test_from:
            raise ValueError(
                f"validation_from {self.validation_from} is after test_from {self.test_from}; validation comes first"
            )
        return self


class RandomRatings(Section):
    """A random part of all ratings is to be predicted."""

    kind: Literal["random_ratings"]
    validation_share: ShareOrNone = 0.1
    test_share: Share = 0.1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        _leave_some(self.validation_share, self.test_share)
        return self


def _leave_some(validation_share: float, test_share: float) -> None:
    if validation_share + test_share >= 1:
        raise ValueError(
            f"validation_share {validation_share:g} and test_share {test_share:g} leave nothing to learn from; "
            "together they must be below 1"
        )


SplitSection: TypeAlias = Annotated[
    HeldOutUsers | LeaveLastOut | Temporal | RandomRatings, Field(discriminator="kind")
]


class MetricsSection(Section):
    """What is reported, and what chooses."""

    report: list[str] = Field(min_length=1)
    """Metrics on the test part, e.g. ``["ndcg@100", "recall@20"]``; or, for ratings, ``["rmse", "mae"]``."""
    select: str
    """The metric that chooses settings, on the validation part."""

    @field_validator("report")
    @classmethod
    def _known(cls, report: list[str]) -> list[str]:
        for text in report:
            MetricSpec.parse(text)
        twice = [text for text, times in Counter(report).items() if times > 1]
        if twice:
            raise ValueError(f"{twice[0]} is listed twice")
        if len({MetricSpec.parse(text).of_ratings for text in report}) > 1:
            raise ValueError("metrics of rankings and of ratings need a protocol each")
        return report

    @field_validator("select")
    @classmethod
    def _can_choose(cls, select: str) -> str:
        if MetricSpec.parse(select).definition.better is None:
            raise ValueError(f"more {select} is not simply better, so it cannot choose; take ndcg or recall")
        return select

    @model_validator(mode="after")
    def _same_task(self) -> Self:
        if MetricSpec.parse(self.select).of_ratings != self.of_ratings:
            raise ValueError(
                f"{self.select} cannot choose for {self.report[0]}: one is of rankings, one of ratings"
            )
        return self

    @property
    def of_ratings(self) -> bool:
        """Whether ratings are predicted, rather than items ranked."""
        return MetricSpec.parse(self.report[0]).of_ratings

    @property
    def reported(self) -> list[MetricSpec]:
        """``report``, parsed."""
        return [MetricSpec.parse(text) for text in self.report]

    @property
    def selecting(self) -> MetricSpec:
        """``select``, parsed."""
        return MetricSpec.parse(self.select)


class SegmentsSection(Section):
    """Groups of test users that the report shows apart, beside activity, recency and the popularity of items."""

    users: str | None = None
    """Parquet or CSV file with user_id, relative to the protocol file."""
    columns: list[str] = []
    """Its columns to group by; each value is a group."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.users is None) != (not self.columns):
            raise ValueError("users names a file, and columns what to group by in it; give both or neither")
        return self


RANGE, VALUES = "{ low, high }", "[ values ]"
"""Tags of the two forms; what no setting is called, since they are taken out of messages."""


def _form(space: Any) -> str | None:
    if isinstance(space, dict | Range):
        return RANGE
    return VALUES if isinstance(space, list) else None


SpaceOfOne: TypeAlias = Annotated[
    Annotated[Range, Tag(RANGE)] | Annotated[Choice, Tag(VALUES)],
    Discriminator(
        _form,
        custom_error_type="space",
        custom_error_message="expected values, [1, 10], or a range, { low = 1, high = 10 }, with log = true or whole = true if wanted",
    ),
]


class ModelSection(Section):
    """One row of the table; a baseline is a model like any other."""

    name: str = "table"
    """The model's name in the registry; absent where ``scores`` are given."""
    scores: str | None = None
    """Somebody else's scores for the test users: a Parquet file of user_id, item_id, score, relative to the protocol
    file. An item that is not listed for a user is not suggested; `recae split` writes who and what is asked for."""
    label: str = ""
    """Its name in the table, if one model stands there twice."""
    settings: Settings = {}
    """Fixed settings; the others keep their defaults."""
    search: dict[str, Annotated[list[JsonValue], Field(min_length=1)]] = {}
    """Setting -> values to try. All combinations are tried, so the lists multiply."""
    space: dict[str, SpaceOfOne] = {}
    """For `recae tune`, in place of what is named beside the model: setting -> values, or
    ``{ low = 1, high = 1000, log = true, whole = true }``."""
    refit: bool | Literal["only"] = False
    """After choosing, learn from train and validation, for as many epochs as were best; not for held-out users. ``"only"``: with
    settings that were chosen before, so that there is no fit to train alone, and no value of validation."""

    @model_validator(mode="after")
    def _ours_or_theirs(self) -> Self:
        if self.scores is None and "name" not in self.model_fields_set:
            raise ValueError("name a model, or give scores")
        if self.scores is not None and (self.settings or self.search or self.space or self.refit):
            raise ValueError("scores are what they are: settings, search and refit go with a model of ours")
        return self

    @model_validator(mode="after")
    def _fixed_or_searched(self) -> Self:
        both = sorted(self.settings.keys() & self.search.keys())
        if both:
            raise ValueError(f"{', '.join(both)}: both fixed in settings and listed in search")
        return self

    @property
    def title(self) -> str:
        """Name in the table."""
        return self.label or self.name

    def combinations(self) -> Iterator[Settings]:
        """The searched settings, one combination at a time; a single empty one if nothing is searched."""
        for values in itertools.product(*self.search.values()):
            yield dict(zip(self.search, values, strict=True))
