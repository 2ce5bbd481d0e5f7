"""The results as one HTML file: tables with intervals, plots, and test users to look at. It needs no network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from recae.evaluation import charts
from recae.evaluation.charts import Interval, Series
from recae.evaluation.pages import Plot, correction_of, rendered, signs
from recae.evaluation.records import Measured, ModelResult, Segment
from recae.evaluation.results import Results
from recae.evaluation.segments import FEWEST
from recae.evaluation.specs import DEFINITIONS, MetricSpec

ALPHA = 0.05
"""A difference with a lower (corrected) p is called real."""
MOST_PLOTTED = 4
"""Models whose differences from the best one are drawn user by user."""
N_BINS = 24


def html(results: Results) -> str:
    """The whole page."""
    styles = charts.styles_of([model.title for model in results.models])
    return rendered(
        "recae.evaluation",
        "report.html",
        results=results,
        marks=signs(styles),
        table=_table(results),
        real=_against_best(results),
        correction=correction_of(results.significance) if results.significance else "",
        difference_plot=_difference_plot(results, styles),
        curves=_curves(results, styles),
        trade_offs=_trade_offs(results, styles),
        segments=_segments(results, styles),
        users=_users(results, styles),
        learning=_learning(results, styles),
        first=f", first seed ({results.protocol.seed})" if results.has_several_seeds else "",
        fewest=FEWEST,
        title_of=lambda item: results.titles.get(item, item),
        definitions=results.definitions(),
        text_of=_settings,
    )


def _table(results: Results) -> list[dict[str, Any]]:
    """Rows of the table: cells with value, interval or deviation, and whether they are best or as good as that."""
    as_good = _as_good(results)
    selecting = results.significance.metric if results.significance else None
    rows = []
    for model in results.models:
        cells = []
        for spec in results.metrics:
            measured = model.test[str(spec)]
            spread = ""
            if measured.deviation is not None:
                spread = f"± {measured.deviation:.4f}, {len(model.seeds)} seeds"
            elif measured.interval is not None:
                spread = f"{measured.interval[0]:.4f} to {measured.interval[1]:.4f}"
            cells.append(
                {
                    "value": measured.value,
                    "spread": spread,
                    "best": model.title in results.best(spec),
                    "as_good": str(spec) == selecting and model.title in as_good,
                }
            )
        rows.append({"model": model, "cells": cells})
    return rows


def _as_good(results: Results) -> frozenset[str]:
    """Models that the test cannot tell from the best one."""
    found = results.significance
    return frozenset(other.title for other in found.others if other.p >= ALPHA) if found else frozenset()


def _against_best(results: Results) -> list[dict[str, Any]]:
    found = results.significance
    if found is None:
        return []
    return [
        {"other": other, "verdict": "real" if other.p < ALPHA else "may be chance"} for other in found.others
    ]


def _difference_plot(results: Results, styles: Any) -> Markup:
    found = results.significance
    if found is None:
        return Markup()
    rows = [
        Interval(each.title, styles[each.title], each.mean, (each.low, each.high)) for each in found.others
    ]
    return charts.intervals(
        [("", rows)],
        x=f"{found.metric} less {found.best}'s",
        zero=True,
        about=f"Mean difference from {found.best} and its 95% interval, for each other model",
    )


def _curves(results: Results, styles: Any) -> list[Plot]:
    names = dict.fromkeys(name for model in results.models for name in model.curves if name != "coverage")
    plots = []
    for name in names:
        series = [
            Series(
                model.title,
                styles[model.title],
                [(float(k), value) for k, value in model.curves[name].items()],
            )
            for model in results.models
            if name in model.curves
        ]
        if max((len(each.points) for each in series), default=0) > 1:
            svg = charts.lines(
                series, x="k", y=f"{name}@k", log_x=True, about=f"{name} at each cut-off k, a line a model"
            )
            plots.append(Plot(f"{name}@k", svg, DEFINITIONS[name].text))
    return plots


def _trade_offs(results: Results, styles: Any) -> list[Plot]:
    """The selecting metric, or the first reported one, against what it costs; with several seeds all of the first."""
    texts = [str(spec) for spec in results.metrics]
    metric = results.protocol.metrics.select if results.protocol.metrics.select in texts else texts[0]
    plots = []
    covered = [(model, _coverage(model, MetricSpec.parse(metric))) for model in results.models]
    series = [
        Series(model.title, styles[model.title], [(coverage, _of_first_seed(model.test[metric]))])
        for model, coverage in covered
        if coverage is not None
    ]
    if series:
        k = MetricSpec.parse(metric).k
        svg = charts.scatter(
            series, x=f"coverage@{k}", y=metric, about=f"{metric} against coverage of the catalogue"
        )
        plots.append(
            Plot(
                "Accuracy and coverage", svg, "To the right, more of the catalogue is suggested to somebody."
            )
        )
    timed = [
        Series(
            model.title,
            styles[model.title],
            [(max(_fit_seconds(model), 1e-3), _of_first_seed(model.test[metric]))],
        )
        for model in results.models
    ]
    svg = charts.scatter(
        timed, x="seconds to fit and judge once", y=metric, log_x=True, about=f"{metric} against time"
    )
    plots.append(
        Plot("Accuracy and time", svg, "One fit with the chosen settings, on train, and the judging of it.")
    )
    return plots


def _of_first_seed(measured: Measured) -> float:
    return measured.by_seed[0] if measured.by_seed else measured.value


def _coverage(model: ModelResult, spec: MetricSpec) -> float | None:
    return model.curves.get("coverage", {}).get(spec.k or 0)


def _fit_seconds(model: ModelResult) -> float:
    """Of the trial with the chosen settings."""
    chosen = [
        trial.seconds for trial in model.trials if trial.settings == model.chosen and trial.error is None
    ]
    return chosen[0] if chosen else model.seconds


def _segments(results: Results, styles: Any) -> list[Plot]:
    metric = results.significance.metric if results.significance else None
    plots = []
    by_kind: dict[str, list[Segment]] = {}
    for segment in results.segments:
        by_kind.setdefault(segment.by, []).append(segment)
    for kind, groups in by_kind.items():
        bands = []
        for segment in groups:
            shown = []
            for title, metrics in segment.values.items():
                found = metrics.get(metric or next(iter(metrics), ""))
                if found is not None:
                    shown.append(Interval(title, styles[title], found.value, found.interval))
            bands.append((f"{segment.group} · {segment.n_users:,} users", shown))
        name = metric or "the first metric"
        svg = charts.intervals(bands, x=name, about=f"{name} of every model for users grouped by {kind}")
        plots.append(Plot(f"By {kind}", svg))
    return plots


def _users(results: Results, styles: Any) -> list[Plot]:
    """How single users differ: a histogram of each model's value less the best one's."""
    found = results.significance
    values = {model.title: model.per_user.get(found.metric) for model in results.models} if found else {}
    if found is None or values.get(found.best) is None:
        return []
    plots = []
    for other in sorted(found.others, key=lambda each: -each.mean)[:MOST_PLOTTED]:
        differences = np.asarray(values[other.title]) - np.asarray(values[found.best])
        reach = float(np.abs(differences).max()) or 1.0
        moved = differences[differences != 0]
        counts, edges = np.histogram(moved, bins=N_BINS, range=(-reach, reach))
        svg = charts.histogram(
            counts.tolist(),
            edges.tolist(),
            x=f"{found.metric} of {other.title} less {found.best}'s",
            y="users",
            style=styles[other.title],
            about=f"How many users {other.title} serves worse (left) or better (right) than {found.best}",
        )
        text = (
            f"{other.wins:,} users better, {other.losses:,} worse; {other.ties:,} equal ones are not drawn."
        )
        plots.append(Plot(f"{other.title} against {found.best}", svg, text))
    return plots


def _learning(results: Results, styles: Any) -> list[Plot]:
    plots = []
    for model in results.models:
        log = model.learning
        if log is None or len(log.losses) < 2:
            continue
        watched = log.values or log.losses
        what = "on validation, higher is better" if log.values else "training loss"
        points = [(float(epoch), value) for epoch, value in enumerate(watched, start=1)]
        svg = charts.lines(
            [Series(model.title, styles[model.title], points)],
            x="epoch",
            y=what,
            about=f"{model.title} by epoch: {what}",
        )
        text = f"Best after epoch {log.best_epoch} of {len(log.losses)}; loss {log.losses[0]:.4g} to {log.losses[-1]:.4g}."
        plots.append(Plot(model.title, svg, text))
    return plots


def _settings(settings: dict[str, Any] | Sequence[tuple[str, Any]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in dict(settings).items())
