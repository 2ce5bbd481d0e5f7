"""The table of results in a console: several below each other where one would be too wide to read."""

from collections.abc import Iterator

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from recae.evaluation.report import deviation_of, value_of
from recae.evaluation.results import Results
from recae.evaluation.specs import MetricSpec

NAME_WIDTH = 24
"""Characters that a model's name gets at least, if it has so many: a longer one is folded."""
AROUND = 3
"""Characters of a column besides its text: a space on each side, and a line."""


def tables(results: Results, *, width: int) -> Iterator[Table]:
    """The test metrics: one row a model, the best of each column bold.

    Args:
        results: at least one metric.
        width: characters of a line. Metrics that do not fit go into further tables, with the names again.
    """
    rest = results.metrics
    name_width = min(NAME_WIDTH, max(cell_len(model.title) for model in results.models))
    about = "test part"
    while rest:
        left, shown = width - 1 - (name_width + AROUND), 0
        for spec in rest:
            left -= _width(results, spec) + AROUND
            if left < 0:
                break
            shown += 1
        shown = max(shown, 1)  # where nothing fits, one at a time
        yield _table(results, rest[:shown], name_width, f"{results.protocol.name}: {about}")
        rest, about = rest[shown:], "test part, further metrics"


def _table(results: Results, metrics: list[MetricSpec], name_width: int, title: str) -> Table:
    shown = Table(title=title, title_justify="left")
    shown.add_column("model", overflow="fold", min_width=name_width)
    for spec in metrics:
        shown.add_column(_heading(spec), justify="right", no_wrap=True)
    for model in results.models:
        cells = [
            Text(
                value_of(model, spec) + deviation_of(model, spec, before="\n"),
                style="bold green" if model.title in results.best(spec) else "",
            )
            for spec in metrics
        ]
        shown.add_row(Text(model.title), *cells)
    return shown


def _heading(spec: MetricSpec) -> str:
    return str(spec).replace("@", "\n@")


def _width(results: Results, spec: MetricSpec) -> int:
    """Of the widest line of a metric's column."""
    texts = [_heading(spec)]
    for model in results.models:
        texts += [value_of(model, spec), deviation_of(model, spec, before="")]
    return max(cell_len(line) for text in texts for line in text.split("\n"))
