"""Plots as inline SVG: sharp at every size, readable in the dark and on paper, and without a script.

Colours are classes (``s0`` to ``s7``) that the page's style sheet fills from the palette of Okabe and Ito, which people
with any colour vision can tell apart; each series has a marker and a dash pattern of its own besides.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 440, 300
"""Of the drawing, in units of a 12-point text's size: a phone shows it whole, two stand side by side on a screen."""
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 44
N_STYLES = 8

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points of one model."""

    title: str
    style: int
    """Number of its colour and marker: the same model looks the same in every plot."""
    points: Sequence[Point]


@dataclass(frozen=True)
class Interval:
    """A value with what is not known about it."""

    title: str
    style: int
    value: float
    ends: Point | None
    """None where there are too few users to tell; the value is drawn alone."""


def lines(series: Sequence[Series], *, x: str, y: str, log_x: bool = False, about: str) -> Markup:
    """A line for each series, through its points from left to right."""
    points = [point for each in series for point in each.points]
    if not points:
        return Markup()
    frame = _Frame.around(points, log_x=log_x)
    parts = [*frame.axes(x, y)]
    for each in series:
        places = [frame.place(point) for point in each.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        marks = "".join(marker(each.style, a, b) for a, b in places) if len(places) <= 30 else ""
        parts.append(
            f'<g class="s{each.style}"><title>{escape(each.title)}</title><polyline points="{path}"/>{marks}</g>'
        )
    return _svg(parts, about)


def scatter(series: Sequence[Series], *, x: str, y: str, log_x: bool = False, about: str) -> Markup:
    """A marker for each point, with the series' title beside the first one."""
    points = [point for each in series for point in each.points]
    if not points:
        return Markup()
    frame = _Frame.around(points, log_x=log_x, padded=True)
    parts = [*frame.axes(x, y)]
    taken: list[Point] = []
    for each in series:
        for number, point in enumerate(each.points):
            a, b = frame.place(point)
            label = _label(each.title, a, b, taken) if number == 0 else ""
            parts.append(
                f'<g class="s{each.style}"><title>{escape(each.title)}: {escape(x)} {_number(point[0])}, {escape(y)} '
                f"{_number(point[1])}</title>{marker(each.style, a, b, size=5)}{label}</g>"
            )
    return _svg(parts, about)


def intervals(
    rows: Sequence[tuple[str, Sequence[Interval]]], *, x: str, zero: bool = False, about: str
) -> Markup:
    """Values with their intervals, a band of rows for each label.

    Args:
        rows: label of a band, and its intervals from top to bottom.
        x: what the axis shows.
        zero: whether to draw a line at 0, which tells better from worse.
        about: the plot in words.
    """
    every = [each for _, band in rows for each in band]
    if not every:
        return Markup()
    step, gap, head = 15, 8, 16
    named = any(label for label, _ in rows)
    height = TOP + BOTTOM + sum(len(band) * step + gap + (head if label else 0) for label, band in rows)
    ends = [(value, 0.0) for each in every for value in each.ends or (each.value,)]
    ends += [(0.0, 0.0)] if zero else []
    frame = _Frame.around(ends, left=16 if named else LEFT + 62, height=height, padded=True)
    parts = [*frame.x_axis(x)]
    if zero:
        at = frame.place((0.0, 0.0))[0]
        parts.append(f'<line class="zero" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
    top = float(TOP)
    for label, band in rows:
        if label:
            parts.append(f'<text class="band" x="4" y="{top + 11:.1f}">{escape(label)}</text>')
            top += head
        for each in band:
            y = top + step / 2
            at = frame.place((each.value, 0.0))[0]
            name = "" if named else _row_name(each.title, y)
            about_ends, line = "", ""
            if each.ends is not None:
                low, high = (frame.place((value, 0.0))[0] for value in each.ends)
                about_ends = f", from {_number(each.ends[0])} to {_number(each.ends[1])}"
                line = f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            parts.append(
                f'<g class="s{each.style}"><title>{escape(each.title)}: {_number(each.value)}{about_ends}</title>'
                f"{line}{marker(each.style, at, y)}</g>{name}"
            )
            top += step
        top += gap
    return _svg(parts, about, height=height)


def histogram(
    counts: Sequence[int], edges: Sequence[float], *, x: str, y: str, style: int, about: str
) -> Markup:
    """Bars of counts between edges; ``len(edges) == len(counts) + 1``."""
    frame = _Frame.around([(edges[0], 0.0), (edges[-1], float(max(*counts, 1)))], height=200, from_zero=True)
    parts = [*frame.axes(x, y)]
    base = frame.place((0.0, 0.0))[1]
    for count, low, high in zip(counts, edges, edges[1:], strict=False):
        (left, top), (right, _) = frame.place((low, float(count))), frame.place((high, 0.0))
        if count:
            parts.append(
                f'<rect class="s{style}" x="{left + 0.5:.1f}" y="{top:.1f}" width="{max(right - left - 1, 1):.1f}" '
                f'height="{base - top:.1f}"><title>{count:,} from {_number(low)} to {_number(high)}</title></rect>'
            )
    return _svg(parts, about, height=200)


def marker(style: int, x: float, y: float, size: float = 3.6) -> str:
    """The sign of a series: eight shapes, so that colour is never all that tells two apart."""
    if style % 4 == 0:
        shape = f'<circle class="m" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'
    elif style % 4 == 1:
        shape = f'<rect class="m" x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}"/>'
    else:
        turns = {2: (0, 120, 240), 3: (0, 90, 180, 270)}[style % 4]
        corners = " ".join(
            f"{x + 1.3 * size * math.sin(math.radians(turn)):.1f},{y - 1.3 * size * math.cos(math.radians(turn)):.1f}"
            for turn in turns
        )
        shape = f'<polygon class="m" points="{corners}"/>'
    return shape.replace('class="m"', 'class="m hollow"') if style >= N_STYLES // 2 else shape


@dataclass(frozen=True)
class _Frame:
    """Where values land on the drawing."""

    low: Point
    high: Point
    log_x: bool
    left: float
    height: float

    @classmethod
    def around(
        cls,
        points: Sequence[Point],
        *,
        log_x: bool = False,
        left: float = LEFT,
        height: float = HEIGHT,
        padded: bool = False,
        from_zero: bool = False,
    ) -> "_Frame":
        xs, ys = [point[0] for point in points], [point[1] for point in points]
        log_x = log_x and min(xs) > 0
        low_x, high_x = _widened(min(xs), max(xs), padded=padded, log=log_x)
        low_y, high_y = (0.0, max(ys) * 1.05 or 1.0) if from_zero else _widened(min(ys), max(ys), padded=True)
        return cls((low_x, low_y), (high_x, high_y), log_x, left, height)

    def place(self, point: Point) -> Point:
        """Drawing coordinates of a value."""
        scale: Callable[[float], float] = math.log10 if self.log_x else float
        share = (scale(point[0]) - scale(self.low[0])) / (scale(self.high[0]) - scale(self.low[0]))
        up = (point[1] - self.low[1]) / (self.high[1] - self.low[1])
        bottom = self.height - BOTTOM
        return self.left + share * (WIDTH - self.left - RIGHT), bottom - up * (bottom - TOP)

    def axes(self, x: str, y: str) -> Iterator[str]:
        """Grid, numbers and names of both axes."""
        for value in _ticks(self.low[1], self.high[1]):
            at = self.place((self.low[0], value))[1]
            yield f'<line class="grid" x1="{self.left}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            yield f'<text class="tick" x="{self.left - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        middle = (self.height - BOTTOM + TOP) / 2
        yield f'<text class="axis" transform="translate(12 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'
        yield from self.x_axis(x)

    def x_axis(self, x: str) -> Iterator[str]:
        """Grid, numbers and name of the lower axis."""
        bottom = self.height - BOTTOM
        for value in (
            _log_ticks(self.low[0], self.high[0]) if self.log_x else _ticks(self.low[0], self.high[0])
        ):
            at = self.place((value, self.low[1]))[0]
            yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>'
            yield f'<text class="tick" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(value)}</text>'
        middle = (self.left + WIDTH - RIGHT) / 2
        yield f'<text class="axis" x="{middle:.0f}" y="{bottom + 36}" text-anchor="middle">{escape(x)}</text>'


def _widened(low: float, high: float, *, padded: bool, log: bool = False) -> Point:
    """Ends of an axis: never equal, with some air where markers would lie on the edge."""
    if log:
        return (low / 1.4, high * 1.4) if padded or low == high else (low, high)
    if low == high:
        room = abs(low) * 0.1 or 1.0
        return low - room, high + room
    room = 0.06 * (high - low) if padded else 0.0
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between the ends."""
    raw = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = unit * min((1, 2, 2.5, 5, 10), key=lambda factor: abs(factor * unit - raw))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 and their tenfolds between the ends; whole tens alone where those would crowd."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    inside = [value for value in found if low * 0.999 <= value <= high * 1.001]
    return inside if len(inside) <= 8 else [value for value in inside if math.log10(value) % 1 < 1e-9]


def _number(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.2g}"
    return (
        f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:,.2f}".rstrip("0").rstrip(".")
    )


def _label(title: str, x: float, y: float, taken: list[Point]) -> str:
    """The title beside its marker, on the side with room, and moved down while another one is in the way."""
    to_left = x > WIDTH * 0.62
    at = y + 4
    while any(abs(at - other) < 12 and abs(x - place) < 120 for place, other in taken):
        at += 12
    taken.append((x, at))
    anchor, side = ("end", x - 9) if to_left else ("start", x + 9)
    return f'<text class="name" x="{side:.1f}" y="{at:.1f}" text-anchor="{anchor}">{escape(_cut(title, 28))}</text>'


def _row_name(title: str, y: float) -> str:
    return f'<text class="tick" x="{LEFT + 56}" y="{y + 4:.1f}" text-anchor="end">{escape(_cut(title, 18))}</text>'


def _cut(text: str, at_most: int) -> str:
    return text if len(text) <= at_most else text[: at_most - 1] + "…"


def _svg(parts: Sequence[str], about: str, height: float = HEIGHT) -> Markup:
    return Markup(  # noqa: S704 - every text in it went through escape
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(about, quote=True)}">{"".join(parts)}</svg>'
    )


def styles_of(titles: Sequence[str]) -> Mapping[str, int]:
    """A colour and a marker for each title, in order; they repeat after eight."""
    return {title: place % N_STYLES for place, title in enumerate(titles)}
