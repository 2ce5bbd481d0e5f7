"""What an evaluation found, and everything needed to find it again."""

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from recae.errors import EvaluationError
from recae.evaluation.metrics import Values
from recae.evaluation.per_user import FILE, read_per_user
from recae.evaluation.protocol import Protocol
from recae.evaluation.records import (
    Comparison,
    DataFacts,
    Example,
    Measured,
    ModelResult,
    Record,
    Segment,
    Significance,
)
from recae.evaluation.specs import DEFINITIONS, MetricSpec
from recae.evaluation.statistics import against, bootstrap_interval, n_pairs


class Results(Record):
    """One evaluation."""

    protocol: Protocol
    command: str
    """Repeats it."""
    started: str
    """UTC, ISO 8601."""
    seconds: float
    threads: int
    """Of matrix products; sums of floats depend on it in the last digits."""
    processor: str | None = None
    """Its name, on which they depend too; None if it is not known, or in results of versions that did not record it."""
    versions: dict[str, str]
    code_sha256: str | None = None
    """Of recae's source files; None in results of versions that did not record it."""
    peak_memory: int | None = None
    """Bytes that the process held at most, data and all models of the protocol included; None if not recorded."""
    data: DataFacts
    models: tuple[ModelResult, ...]
    significance: Significance | None = None
    """None for a single model, for metrics that users have no value of, and in results of older versions."""
    segments: tuple[Segment, ...] = ()
    """Groups of test users; empty for metrics of ratings and in results of older versions."""
    examples: tuple[Example, ...] = ()
    titles: dict[str, str] = Field(default={})
    """Of the items that examples name, where the data have titles."""
    users: tuple[str, ...] = Field(default=(), exclude=True, repr=False)
    """Ids of the judged test users, in the order of ``per_user``; in ``per_user.parquet`` beside the JSON."""

    @property
    def metrics(self) -> list[MetricSpec]:
        """Columns of the table."""
        return self.protocol.metrics.reported

    @property
    def run(self) -> str:
        """Tells this evaluation from every other: when it started and on what."""
        return f"{self.started} {self.seconds!r} {self.data.sha256}"

    @property
    def has_several_seeds(self) -> bool:
        """Whether some row is a mean over seeds; all that is of single users is then of the first seed."""
        return any(model.seeds for model in self.models)

    @property
    def masks(self) -> frozenset[bool]:
        """Whether lists leave out validation items that others may hold, for all rows; empty where no row does."""
        refitted = frozenset(bool(section.refit) for section in self.protocol.models)
        masks_nothing = self.protocol.metrics.of_ratings or self.data.refit_masks is False
        return frozenset() if masks_nothing or True not in refitted else refitted

    @property
    def notices(self) -> list[str]:
        """What to mind about the data and the rows as every report shows it, a line each."""
        return [*self._refitted(), *self.data.notices]

    def _refitted(self) -> Iterator[str]:
        """Which rows met the test after they had learned from validation, too."""
        refitted = [section.title for section in self.protocol.models if section.refit]
        if not refitted:
            return
        whole = f"{self.data.n_train + self.data.n_validation_targets:,} interactions (refit)"
        if len(refitted) == len(self.protocol.models):
            yield f"Before the test, every row learned from train and validation together: {whole}."
        else:
            yield (
                f"Before the test, {', '.join(refitted)} learned from train and validation together, {whole}, and the "
                "other rows from train alone: compare them with care."
            )

    def definitions(self) -> dict[str, str]:
        """What each metric of the table is, by its name."""
        return {spec.name: DEFINITIONS[spec.name].text for spec in self.metrics}

    def best(self, spec: MetricSpec) -> frozenset[str]:
        """Titles of the models with the best test value; empty where more is not simply better, or for one model."""
        if spec.definition.better is None or len(self.models) < 2:
            return frozenset()
        choose = max if spec.definition.better == "higher" else min
        best = choose(model.test[str(spec)].value for model in self.models)
        return frozenset(model.title for model in self.models if model.test[str(spec)].value == best)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Results":
        """Results that `recae.evaluation.report.write` wrote, with the values of single users if they are there.

        Args:
            path: the folder, or its ``results.json``.

        Raises:
            EvaluationError: if the file is missing or holds something else.
        """
        path = Path(path)
        path = path / "results.json" if path.is_dir() else path
        try:
            results = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise EvaluationError(f"cannot read results from {path}: {error.strerror or error}") from error
        except ValidationError as error:
            raise EvaluationError(
                f"{path} holds no results of this version ({error.error_count()} fault(s)); evaluate again"
            ) from None
        beside = path.parent / FILE
        return results.with_users(*read_per_user(beside, run=results.run)) if beside.exists() else results

    def with_users(self, users: tuple[str, ...], per_user: Mapping[str, Mapping[str, Values]]) -> "Results":
        """These results, and the value of every user."""
        models = tuple(
            model.model_copy(update={"per_user": dict(per_user.get(model.title, {}))})
            for model in self.models
        )
        return self.model_copy(update={"users": users, "models": models})


def significance_of(
    models: Sequence[ModelResult], specs: Sequence[MetricSpec], selecting: str
) -> Significance | None:
    """The best model against every other one, on the selecting metric, or the first whose users have values.

    Args:
        models: rows of the table, judged on the same users.
        specs: metrics of the table.
        selecting: the one that chose settings.
    """
    usable = [
        str(spec)
        for spec in sorted(specs, key=lambda spec: str(spec) != selecting)
        if spec.definition.better == "higher" and all(str(spec) in model.per_user for model in models)
    ]
    if not usable or len(models) < 2:
        return None
    metric = usable[0]
    per_user = {model.title: model.per_user[metric] for model in models}
    best = max(models, key=lambda model: model.test[metric].value).title
    found = against(best, per_user)
    others = tuple(Comparison(title=title, **vars(each)) for title, each in found.items())
    return Significance(metric=metric, best=best, others=others, corrected_for=n_pairs(len(models)))


def measured(tests: Sequence[Mapping[str, Any]]) -> dict[str, Measured]:
    """What is kept of the tests of one model.

    Args:
        tests: `scoring.Score` by metric, a test for each seed.
    """
    return {text: _measured([test[text] for test in tests]) for text in tests[0]}


def _measured(scores: Sequence[Any]) -> Measured:
    first, values = scores[0], [score.value for score in scores]
    if len(values) == 1:
        return Measured(
            value=first.value, standard_error=first.standard_error, interval=_interval(first.per_user)
        )
    return Measured(  # no interval: the mean is over seeds, and the users are those of one
        value=statistics.fmean(values),
        standard_error=first.standard_error,
        by_seed=tuple(values),
        deviation=statistics.stdev(values),
    )


def _interval(per_user: Values | None) -> tuple[float, float] | None:
    return None if per_user is None or len(per_user) < 2 else bootstrap_interval(per_user)
