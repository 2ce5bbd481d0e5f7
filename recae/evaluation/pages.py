"""What all pages share: a layout and a style sheet, plots under headings, and the signs of what is drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recae.evaluation import charts
from recae.evaluation.records import Significance


@dataclass(frozen=True)
class Plot:
    """A drawing under its heading."""

    title: str
    svg: Markup
    text: str = ""


def rendered(package: str, template: str, **values: Any) -> str:
    """One HTML page that needs no network.

    Args:
        package: whose folder ``templates`` holds the template; it extends ``layout.html`` of this package.
        template: name of the file.
        values: what it shows; a name that is missing is an error.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("recae.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["value"] = lambda value: f"{value:.4f}"
    environment.filters["signed"] = lambda value: f"{value:+.4f}"
    environment.filters["p"] = shown_p
    return environment.get_template(template).render(**values)


def signs(titles: Iterable[str]) -> dict[str, Markup]:
    """The colour and marker of each title, as plots show it, to stand beside its name."""
    return {
        title: Markup(  # noqa: S704 - numbers only
            f'<svg class="key s{style}" viewBox="-7 -7 14 14" aria-hidden="true">{charts.marker(style, 0, 0, 4)}</svg>'
        )
        for title, style in charts.styles_of(list(titles)).items()
    }


def correction_of(found: Significance) -> str:
    """What was done to p, as tables say it."""
    if found.corrected_for is None:
        return f"corrected (Holm) for {len(found.others)} comparison{'s' if len(found.others) > 1 else ''}"
    if found.corrected_for == 1:
        return "not corrected, since there is one pair"
    return f"corrected (Holm) for all {found.corrected_for} pairs, since the best is chosen on the same users"


def shown_p(value: float) -> str:
    """A p value as tables have it: three places, and no more than that claimed below .001."""
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
