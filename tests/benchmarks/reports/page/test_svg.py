"""Axes, marks and plots: places are where values say, ticks are round, names do not lie on each other."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from uadbench.benchmarks.reports.page.svg.axis import Axis, linear, logarithmic
from uadbench.benchmarks.reports.page.svg.forest import Group, Mean, forest_plot
from uadbench.benchmarks.reports.page.svg.marks import cloud, line, points, text
from uadbench.benchmarks.reports.page.svg.paired import MOST, paired_plot
from uadbench.benchmarks.reports.page.svg.plot import Plot
from uadbench.benchmarks.reports.page.svg.scatter import Named, named_points
from uadbench.benchmarks.reports.page.svg.strip import Strip, centres, strip_plot

_NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-6)


@given(st.lists(_NUMBERS, min_size=1, max_size=20))
def test_an_axis_shows_every_value_and_ends_at_ticks(values: list[float]) -> None:
    axis = linear("x", values, zero=False)
    ticks = [value for value, _ in axis.ticks]
    hair = 1e-8 * (axis.high - axis.low)
    assert axis.low <= min(values) + hair
    assert axis.high >= max(values) - hair
    assert 2 <= len(ticks) <= 8
    assert ticks[0] == pytest.approx(axis.low, abs=1e-9)
    assert ticks[-1] == pytest.approx(axis.high, abs=1e-9)
    assert np.allclose(np.diff(ticks, 2), 0, atol=1e-6 * (axis.high - axis.low))


@given(st.lists(st.floats(1e-5, 1e7), min_size=1, max_size=20))
def test_decades_are_evenly_wide(values: list[float]) -> None:
    axis = logarithmic("x", values)
    assert axis.low <= min(values) * (1 + 1e-8)
    assert axis.high >= max(values) * (1 - 1e-8)
    middle = math.sqrt(axis.low * axis.high)
    assert axis.share([axis.low, middle, axis.high]) == pytest.approx([0, 0.5, 1])
    assert all(round(tick / 10 ** math.floor(math.log10(tick) + 1e-9), 6) in (1, 2, 5) for tick, _ in axis.ticks)


def test_what_is_no_number_has_no_place() -> None:
    axis = linear("x", (0, 10, math.nan, math.inf))
    assert (axis.low, axis.high) == (0, 10)
    assert np.isnan(axis.share([math.nan]))[0]
    assert axis.share([-5, 20]).tolist() == [0, 1]
    assert logarithmic("x", (0, -1, math.nan)).low == 1
    assert str(points([1, math.nan, 3], [1, 2, 3], "s")).count("M") == 2
    assert re.findall("[ML]", str(line([0, 1, 2, 3], [0, 1, math.nan, 3], "s"))) == ["M", "L", "M"]


def test_dots_stand_where_their_values_say() -> None:
    plot = Plot(linear("x", (0, 10)), linear("y", (0, 100)), height=200)
    assert plot.across([0, 5, 10]).tolist() == pytest.approx([plot.left, (plot.left + plot.end) / 2, plot.end])
    assert plot.up([0, 100]).tolist() == pytest.approx([plot.floor, plot.top])
    with pytest.raises(ValueError, match="no vertical axis"):
        Plot(Axis("", 0, 1, ()), None, height=10).up([1])


def test_words_are_escaped() -> None:
    assert "&lt;b&gt;" in text(0, 0, "<b>")
    figure = Plot(linear("<x>", (0, 1)), None, height=50).svg([Markup()], 'says "<this>"')
    assert "<x>" not in figure
    assert 'aria-label="says &#34;&lt;this&gt;&#34;"' in figure


def test_a_crowd_lies_in_several_paths_and_nobody_is_lost() -> None:
    crowd = str(cloud(np.arange(1000.0), np.zeros(1000), "volume"))
    assert crowd.count("<path") == 12
    assert crowd.count("M") == 1000
    assert str(cloud([1, 2], [1, 2], "volume")).count("<path") == 1


def test_a_strip_has_a_dot_per_volume_and_its_mean_where_it_is() -> None:
    values = np.array([10.0, 20.0, 60.0, math.nan])
    drawn = str(strip_plot([Strip("A & B", values, 30.0, 20.0, 50.0)], "DICE", "strips"))
    assert "A &amp; B" in drawn
    (dots,) = re.findall(r'class="dots volume" d="([^"]+)"', drawn)
    xs = [float(x) for x in re.findall(r"M([\d.]+) ", dots)]
    (mean,) = re.findall(r'class="line mean" d="M([\d.]+) ', drawn)
    start, width = 12, 460 - 12 - 18
    assert xs == pytest.approx([start + width * value / 60 for value in values[:3]], abs=0.06)
    assert float(mean) == pytest.approx(start + width / 2, abs=0.06)
    assert len(centres(3)) == 3


def test_pairs_are_sorted_by_who_wins_and_are_not_too_many() -> None:
    a = np.arange(500.0)
    b = a + np.where(np.arange(500) % 2, 3.0, -3.0)
    drawn = str(paired_plot(a, b, ("one", "other"), "DICE", "pairs"))
    lines = {style: len(re.findall("M", d)) for style, d in re.findall(r'class="line pair (\w+)" d="([^"]*)"', drawn)}
    assert sum(lines.values()) == MOST
    assert lines["tie"] == 0
    few = str(paired_plot(np.array([1.0, 2, 3]), np.array([2.0, 2, math.nan]), ("a", "b"), "DICE", "pairs"))
    found = {style: len(re.findall("M", d)) for style, d in re.findall(r'class="line pair (\w+)" d="([^"]*)"', few)}
    assert found == {"tie": 1, "up": 1, "down": 0}


def test_names_of_near_points_do_not_lie_on_each_other() -> None:
    plot = Plot(linear("x", (0, 10)), linear("y", (0, 10)), height=300)
    crowd = [Named(f"method {number}", 5 + 0.01 * number, 5 + 0.01 * number, "front") for number in range(8)]
    words = re.findall(r'x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)"', str(named_points(plot, crowd)))
    boxes = []
    for x, y, anchor in words:
        wide = 6.2 * len("method 0")
        left = float(x) if anchor == "start" else float(x) - wide
        boxes.append((left, left + wide, float(y)))
    for place, (left, right, base) in enumerate(boxes):
        for other_left, other_right, other in boxes[place + 1 :]:
            assert right <= other_left or other_right <= left or abs(base - other) >= 11.9


def test_a_forest_marks_what_is_to_be_pointed_out() -> None:
    groups = [Group("size: small", "9 scans", (Mean(0, 10, 5, 15, True), Mean(1, 20, math.nan, math.nan)))]
    drawn = str(forest_plot(groups, "DICE", "forest"))
    assert drawn.count(">worse<") == 1
    assert drawn.count('class="line c') == 1
    assert drawn.count("knob") == 2


@pytest.mark.parametrize("high", [15.0, 17.5, 20.0])
def test_the_word_beside_a_bar_lies_within_the_figure(high: float) -> None:
    drawn = str(
        forest_plot(
            [Group("a", "", (Mean(0, 15, 12, high, True), Mean(1, 20, 19, 20)))], "DICE", "forest", flag="differs"
        )
    )
    ((x, anchor),) = re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="(\w+)">differs<', drawn)
    ((low, end),) = re.findall(r'class="line c0" d="M([\d.]+) [\d.]+L([\d.]+) ', drawn)
    wide = 6 * len("differs")
    if anchor == "start":
        assert float(end) < float(x) < 460 - wide
    else:
        assert wide < float(x) < float(low)
    assert (anchor == "end") == (high == 20.0)
