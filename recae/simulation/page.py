"""A simulated year as one page: quality over time of each habit, and what the gate did."""

from collections.abc import Mapping

import numpy as np

from recae.evaluation import charts
from recae.evaluation.charts import Series
from recae.evaluation.pages import Plot, rendered, signs
from recae.simulation.year import HABITS, Year

SMOOTHED_DAYS = 7


def html(year: Year) -> str:
    """The whole page; it needs no network."""
    styles = charts.styles_of(HABITS)
    smooth = {
        habit: _smoothed({day: value for day, value in values.items() if day not in year.poisoned})
        for habit, values in year.values.items()
    }
    oracle = smooth["oracle"]
    below = {
        habit: [(day, value - oracle[day]) for day, value in values.items() if day in oracle]
        for habit, values in smooth.items()
        if habit != "oracle"
    }
    plots = [
        Plot(
            f"{year.metric} of what was suggested for each day",
            charts.lines(
                [
                    Series(habit, styles[habit], [(float(day), value) for day, value in values.items()])
                    for habit, values in smooth.items()
                ],
                x="day",
                y=year.metric,
                about=f"{year.metric} over the days, of each habit",
            ),
            f"means of {SMOOTHED_DAYS} days",
        ),
        Plot(
            "Against refitting from scratch every night",
            charts.lines(
                [
                    Series(habit, styles[habit], [(float(day), value) for day, value in points])
                    for habit, points in below.items()
                ],
                x="day",
                y="difference",
                about="difference from the oracle over the days, of each habit",
            ),
            "0 is the oracle",
        ),
    ]
    return rendered(
        "recae.simulation",
        "year.html",
        year=year,
        habits=HABITS,
        marks=signs(HABITS),
        plots=plots,
        n_days=max((day for values in year.values.values() for day in values), default=0) + 1,
        ends={
            status: sum(end == status for end in year.nights.values())
            for status in dict.fromkeys(year.nights.values())
        },
    )


def _smoothed(values: Mapping[int, float]) -> dict[int, float]:
    """The mean of each day and those before it."""
    days, every = list(values), np.array(list(values.values()))
    return {
        day: float(every[max(0, place - SMOOTHED_DAYS + 1) : place + 1].mean())
        for place, day in enumerate(days)
    }
