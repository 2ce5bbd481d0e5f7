"""Plots: where values land, that nothing of a title gets into the markup, and that signs differ."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recae.evaluation import charts
from recae.evaluation.charts import Interval, Series


def drawn(svg):
    return ET.fromstring(str(svg))


def points_of(svg):
    line = drawn(svg).find(".//polyline").get("points")
    return [tuple(map(float, pair.split(","))) for pair in line.split()]


def test_a_line_goes_right_with_x_and_up_with_y():
    points = points_of(
        charts.lines([Series("a", 0, [(1, 0.1), (2, 0.4), (3, 0.2)])], x="k", y="v", about="p")
    )

    xs, ys = zip(*points, strict=True)
    assert list(xs) == sorted(xs)
    assert ys[1] < ys[2] < ys[0], "SVG counts from the top"


def test_tenfolds_are_equally_far_apart_on_a_logarithmic_axis():
    svg = charts.lines([Series("a", 0, [(1, 1), (10, 2), (100, 3)])], x="k", y="v", log_x=True, about="p")

    (first, _), (second, _), (third, _) = points_of(svg)
    assert second - first == pytest.approx(third - second, abs=0.2)


def test_no_text_becomes_markup():
    nasty = '<script>"x"</script> & more'
    for svg in (
        charts.lines([Series(nasty, 0, [(1, 2), (2, 3)])], x=nasty, y=nasty, about=nasty),
        charts.scatter([Series(nasty, 0, [(1, 2)])], x=nasty, y=nasty, about=nasty),
        charts.intervals([(nasty, [Interval(nasty, 0, 1, (0, 2))])], x=nasty, about=nasty),
        charts.histogram([1, 2], [0, 1, 2], x=nasty, y=nasty, style=0, about=nasty),
    ):
        assert drawn(svg).get("aria-label") == nasty
        assert "<script" not in svg


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_every_point_lands_on_the_drawing(points):
    svg = charts.scatter([Series("a", 0, points)], x="x", y="y", about="p")

    for circle in drawn(svg).iter("circle"):
        assert 0 <= float(circle.get("cx")) <= charts.WIDTH
        assert 0 <= float(circle.get("cy")) <= charts.HEIGHT


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_an_axis_has_a_few_round_numbers(low, width):
    ticks = charts._ticks(low, low + width)

    assert 1 <= len(ticks) <= 12


def test_an_interval_reaches_from_low_to_high_around_its_value():
    svg = charts.intervals([("", [Interval("a", 0, 0.5, (0.25, 1.0))])], x="x", zero=True, about="p")

    line, circle = drawn(svg).find(".//g/line"), drawn(svg).find(".//circle")
    low, at, high = float(line.get("x1")), float(circle.get("cx")), float(line.get("x2"))
    assert (at - low) == pytest.approx((high - at) / 2, rel=0.01)
    assert float(drawn(svg).find(".//line[@class='zero']").get("x1")) < low


def test_a_value_whose_interval_is_not_known_is_drawn_alone():
    svg = charts.intervals([("few", [Interval("a", 0, 0.5, None)])], x="x", about="p")

    assert drawn(svg).find(".//g/line") is None
    assert drawn(svg).find(".//g/title").text == "a: 0.5"


def test_bars_are_as_high_as_their_counts():
    svg = charts.histogram([1, 0, 4], [0, 1, 2, 3], x="x", y="n", style=2, about="p")

    one, four = (float(bar.get("height")) for bar in drawn(svg).iter("rect"))
    assert four == pytest.approx(4 * one, rel=0.02)


def test_eight_models_have_eight_signs():
    signs = {re.sub(r"-?\d+\.\d", "", charts.marker(style, 0, 0)) + str(style % 4) for style in range(8)}

    assert len(signs) == 8


def test_nothing_to_draw_is_no_drawing():
    assert charts.lines([], x="k", y="v", about="p") == ""
    assert charts.scatter([], x="k", y="v", about="p") == ""
    assert charts.intervals([], x="k", about="p") == ""
