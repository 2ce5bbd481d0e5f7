"""One run as a page to open: how it ended, the gate's verdicts, the values, and how this night stands among the others."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from recae import durable
from recae.evaluation import charts
from recae.evaluation.charts import Series
from recae.evaluation.pages import Plot, rendered
from recae.evaluation.specs import MetricSpec
from recae.runs import REPORT, Run

MOST_RUNS = 90
"""Runs that the plots go back."""
DAY_S = 86_400
CONTENDERS = ("candidate", "live", "popularity", "als")


def write(run: Run, runs: Sequence[Run], folder: Path, metric: MetricSpec) -> Path:
    """Write ``report.html`` beside the record, and return its path.

    Args:
        run: the one to report.
        runs: all of them, newest first, for the plots over time.
        folder: of this run.
        metric: what the gate compared.
    """
    path = folder / REPORT
    durable.write_file(path, html(run, runs, metric))
    return path


def html(run: Run, runs: Sequence[Run], metric: MetricSpec) -> str:
    """The whole page."""
    earlier = [other for other in runs if other.run_id != run.run_id and other.started <= run.started]
    shown = [*reversed(earlier[: MOST_RUNS - 1]), run]
    return rendered(
        "recae.retrain",
        "run.html",
        run=run,
        metric=str(metric),
        contenders=[name for name in CONTENDERS if name in run.values],
        metrics=sorted({text for values in run.values.values() for text in values}),
        plots=[plot for plot in (*_values(shown, metric), *_drift(shown)) if plot.svg],
    )


def _values(runs: Sequence[Run], metric: MetricSpec) -> list[Plot]:
    """Each contender's value from night to night."""
    series = [
        Series(
            name,
            style,
            [
                (_days_before(run, runs), run.values[name][str(metric)])
                for run in runs
                if str(metric) in run.values.get(name, {})
            ],
        )
        for style, name in enumerate(CONTENDERS)
    ]
    drawn = [each for each in series if each.points]
    svg = charts.lines(
        drawn, x="days before this run", y=str(metric), about=f"{metric} of each contender over time"
    )
    names = ", ".join(each.title for each in drawn)
    return [
        Plot(f"{metric} on new events", svg, f"{names}; each on the events that no model had seen that night")
    ]


def _drift(runs: Sequence[Run]) -> list[Plot]:
    """Figures of the new events from night to night."""
    plots = []
    for style, (name, title) in enumerate(
        (
            ("events_per_day", "New events a day"),
            ("popularity_shift", "Shift of popularity"),
            ("new_users", "New users"),
            ("new_items", "New items"),
        )
    ):
        points = [
            (_days_before(run, runs), float(value))
            for run in runs
            if (value := run.drift.get(name)) is not None
        ]
        svg = (
            charts.lines(
                [Series(title, style, points)],
                x="days before this run",
                y=title.lower(),
                about=f"{title} over time",
            )
            if points
            else Markup()
        )
        plots.append(Plot(title, svg))
    return plots


def _days_before(run: Run, runs: Sequence[Run]) -> float:
    return (run.started - runs[-1].started).total_seconds() / DAY_S
