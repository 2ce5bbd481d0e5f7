"""Results as pandas DataFrames, for a notebook.

With several seeds the values of ``table`` are means over them; all other frames are of the first seed alone.
"""

import pandas as pd

from recae.errors import EvaluationError
from recae.evaluation.results import Results


def table(results: Results) -> pd.DataFrame:
    """The table: a row for each model, a column for each metric of the test part, and what validation chose.

    Columns: the metrics; for each that users have values of ``<metric> low`` and ``<metric> high``, its 95% interval over
    users; ``<metric> sd``, the deviation over seeds, in place of the interval where the row is a mean over several;
    ``chosen`` and ``seconds``.
    """
    rows = []
    for model in results.models:
        row: dict[str, object] = {}
        for metric, measured in model.test.items():
            row[metric] = measured.value
            if measured.interval is not None and not measured.by_seed:
                row[f"{metric} low"], row[f"{metric} high"] = measured.interval
            if measured.deviation is not None:
                row[f"{metric} sd"] = measured.deviation
        rows.append(row | {"chosen": dict(model.chosen), "seconds": model.seconds})
    return pd.DataFrame(rows, index=pd.Index([model.title for model in results.models], name="model"))


def users(results: Results) -> pd.DataFrame:
    """A row for each model and judged test user, a column for each metric that users have a value of.

    Raises:
        EvaluationError: if there are none, as of results read without their ``per_user.parquet``.
    """
    if not results.users:
        raise EvaluationError(
            "these results hold no values of single users: they predict ratings, or were read without per_user.parquet"
        )
    parts = [
        pd.DataFrame({"model": model.title, "user_id": list(results.users)} | dict(model.per_user))
        for model in results.models
    ]
    return pd.concat(parts, ignore_index=True)


def trials(results: Results) -> pd.DataFrame:
    """A row for each combination of settings that was tried on validation: model, the settings, value, seconds, error."""
    return pd.DataFrame(
        {"model": model.title} | dict(trial.settings) | trial.model_dump(exclude={"settings"})
        for model in results.models
        for trial in model.trials
    )


def significance(results: Results) -> pd.DataFrame:
    """A row for each model compared with the best one, which ``frame.attrs["best"]`` names; empty for a single model."""
    found = results.significance
    frame = pd.DataFrame([other.model_dump() for other in found.others] if found else [])
    if found:
        frame.attrs.update(best=found.best, metric=found.metric)
    return frame


def segments(results: Results) -> pd.DataFrame:
    """A row for each group of users, model and metric: by, group, n_users, model, metric, value, standard_error, low, high.

    ``low`` and ``high`` are the ends of the 95% interval; NaN for groups of few users.
    """
    return pd.DataFrame(
        {
            "by": segment.by,
            "group": segment.group,
            "n_users": segment.n_users,
            "model": title,
            "metric": metric,
        }
        | found.model_dump(exclude={"interval"})
        | dict(zip(("low", "high"), found.interval or (None, None), strict=True))
        for segment in results.segments
        for title, metrics in segment.values.items()
        for metric, found in metrics.items()
    )


def curves(results: Results) -> pd.DataFrame:
    """A row for each model, metric and cut-off: model, metric, k, value."""
    return pd.DataFrame(
        {"model": model.title, "metric": metric, "k": k, "value": value}
        for model in results.models
        for metric, values in model.curves.items()
        for k, value in values.items()
    )
