"""What results consist of: plain records, JSON and back without loss, but for what is too large to keep there."""

from pydantic import BaseModel, ConfigDict, Field

from recae.evaluation.metrics import Values
from recae.evaluation.sections import Settings


class Record(BaseModel):
    """Part of the results; JSON and back without loss, but for what is too large to keep."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Trial(Record):
    """One combination of settings, fitted to train and judged on validation."""

    settings: Settings
    """The searched ones only."""
    value: float | None
    """Of the selecting metric; None without validation, or if fitting failed."""
    seconds: float
    """To fit and to judge."""
    error: str | None = None
    """Why fitting failed."""


class Measured(Record):
    """A metric on the test part."""

    value: float
    """With several seeds: the mean over them."""
    standard_error: float | None
    """Of the mean over test users, with the first seed; None for a metric that is no such mean."""
    interval: tuple[float, float] | None = None
    """Bootstrap interval of 95% of the mean over test users; None where there is no such mean, with several seeds, whose
    users may differ (results of earlier versions have the first seed's), or in results that did not compute it."""
    by_seed: tuple[float, ...] = ()
    """The value with each of the row's seeds; empty if there is one test only."""
    deviation: float | None = None
    """Standard deviation over seeds (n - 1); None if there is one test only."""


class Learning(Record):
    """How the chosen settings were trained, epoch by epoch, on train with validation beside it."""

    losses: tuple[float, ...]
    """Mean training loss of each epoch."""
    values: tuple[float, ...]
    """What the model watched on validation after each epoch, higher is better; empty if it watched nothing."""
    best_epoch: int
    """Counted from 1."""


class ModelResult(Record):
    """One row of the table."""

    title: str
    name: str
    settings: Settings
    """All of them, as fitted for the test."""
    chosen: Settings
    """The searched ones that validation chose."""
    trials: tuple[Trial, ...]
    test: dict[str, Measured]
    """Metric -> value, each scored once with every seed."""
    seeds: tuple[int, ...] = ()
    """Fitted and tested with each of these, with what the first one chose; empty if nothing depends on chance."""
    seconds: float
    """For everything: all trials, the refit and the test."""
    curves: dict[str, dict[int, float]] = {}
    """Metric without its cut-off -> cut-off -> test value with the first seed; empty for metrics of ratings."""
    learning: Learning | None = None
    """None for what is fitted in closed form, and for blends, whose members have curves of their own."""
    measured: dict[str, float] = {}
    """What the fit measured of the model that met the test part, with the first seed, such as how sparse it came out."""
    per_user: dict[str, Values] = Field(default={}, exclude=True, repr=False)
    """Metric -> value of every judged test user, with the first seed; in memory only."""


class Comparison(Record):
    """One model less the best one, over the same test users; fields as `statistics.Difference` has them."""

    title: str
    mean: float
    low: float
    high: float
    p: float
    """Corrected by Holm; `Significance.corrected_for` says for how many comparisons."""
    wins: int
    losses: int
    ties: int


class Significance(Record):
    """Whether the best model of a table is really better than the others."""

    metric: str
    best: str
    """Title of the model with the best value of the table, which with several seeds is the mean over them."""
    others: tuple[Comparison, ...]
    """Over the test users of the first seed."""
    corrected_for: int | None = None
    """Comparisons that each p is corrected for: all pairs, since the same users chose the best; None in results of
    versions that corrected for ``len(others)``."""


class DataFacts(Record):
    """What was evaluated on."""

    split: str
    n_users: int
    """Users to train on."""
    n_items: int
    """Size of the catalogue; every item is ranked, unless ``n_candidates`` says otherwise."""
    n_train: int
    n_validation_users: int
    n_validation_targets: int
    n_test_users: int
    """Users judged."""
    n_test_targets: int
    n_left_out: int
    """Test users without held-out items; they have no value."""
    n_candidates: int | None = None
    """The most items ranked for one test user, where the split names the candidates."""
    notes: dict[str, int]
    """What the filters and the split could not use, and where scores of others do not meet the test."""
    remarks: tuple[str, ...] = ()
    """What to mind when rows are compared, a sentence each; empty in results of versions that did not say."""
    refit_masks: bool | None = None
    """Whether rows with refit leave items out of their lists that those of others may hold; None in results of versions that
    did not say."""
    sha256: str
    """Of the train, validation and test matrices: equal hashes, equal data."""
    more_sha256: tuple[str, ...] = ()
    """Of the splits drawn with the further seeds; the other facts are those of the first."""

    @property
    def notices(self) -> list[str]:
        """Remarks and notes as every report shows them, a line each."""
        return [*self.remarks, *(f"{count:,} {reason}" for reason, count in self.notes.items())]


class SegmentValue(Record):
    """A metric of one model on one group of users, with the first seed."""

    value: float
    standard_error: float | None
    """Of the mean over the users of the group; None for a single one."""
    interval: tuple[float, float] | None = None
    """Bootstrap interval of 95% of that mean; None for groups of few users, and in results that did not compute it."""


class Segment(Record):
    """Test users, or held-out items, of one kind."""

    by: str
    """What they are grouped by: ``"activity"``, ``"recency"``, ``"item popularity"`` or a column of the users."""
    group: str
    n_users: int
    """Users that have a value in this group."""
    values: dict[str, dict[str, SegmentValue]]
    """Title of a model -> metric -> its value."""


class Example(Record):
    """One test user: what they had, what each model suggests or predicts, and what they took."""

    user_id: str
    history: tuple[str, ...]
    """Item ids that the models were given, the latest first where times are known."""
    n_history: int
    """How many there are; ``history`` is cut."""
    targets: tuple[str, ...]
    """What was held out."""
    ratings: tuple[float, ...] = ()
    """Of the targets, where ratings are predicted."""
    lists: dict[str, tuple[str, ...]] = {}
    """Title of a model -> its first suggestions."""
    predicted: dict[str, tuple[float, ...]] = {}
    """Title of a model -> its rating of each target."""
