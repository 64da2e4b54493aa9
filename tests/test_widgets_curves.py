"""Curves, axes, figures and levels as pure functions: no extreme is lost, gaps stay gaps, labels stay short."""

import math

import numpy as np
import pytest

from dlplay.widgets.charts.axis import linear_limits, linear_ticks, log_limits, log_ticks, nice_end, tick_labels
from dlplay.widgets.charts.curves import clean, columns, dots, smooth
from dlplay.widgets.drawing.cells import level_rows, resample
from dlplay.widgets.drawing.palette import LEVELS, SIGNED_LEVELS, Mode, luminance, palette, to_levels
from dlplay.widgets.drawing.text import aligned, figure, fit, narrow, plain
from dlplay.widgets.frame_view import crisp_size

SURROUNDINGS = ((30, 30, 30), (224, 224, 224), (255, 166, 43))


@pytest.mark.parametrize("count", [10, 999, 100_000])
def test_the_extremes_of_a_curve_are_never_lost(count: int) -> None:
    random = np.random.default_rng(0)
    x, y = np.arange(count, dtype=float), random.normal(size=count)
    y[count // 3], y[count // 2] = 50, -50
    span = columns(*clean(x, y, False), 0, count - 1, 160, True)
    assert np.nanmax(span.high) == 50
    assert np.nanmin(span.low) == -50
    grid = dots(span, -50, 50, 10, False)
    assert grid[0].any()
    assert grid[-1].any()


def test_each_column_covers_exactly_its_points() -> None:
    random = np.random.default_rng(1)
    x, y = np.sort(random.random(500)), random.random(500)
    span = columns(*clean(x, y, False), 0.0, 1.0, 20, False)
    for column in range(20):
        inside = y[(x >= column / 20) & (x < (column + 1) / 20)]
        assert span.low[column] == inside.min()
        assert span.high[column] == inside.max()


def test_a_line_reaches_across_columns_without_points() -> None:
    span = columns(*clean(np.array([0.0, 10.0]), np.array([0.0, 1.0]), False), 0, 10, 10, True)
    assert not np.isnan(span.low).any()
    assert np.all(np.diff(span.high) >= 0)
    middle = (span.low[4] + span.high[4]) / 2
    assert middle == pytest.approx(0.45, abs=0.06)


def test_not_a_number_leaves_a_gap() -> None:
    x = np.arange(11.0)
    y = np.where(x == 5, np.nan, 1.0)
    span = columns(*clean(x, y, False), 0, 10, 40, True)
    assert np.isnan(span.high[18:20]).all()
    assert not np.isnan(span.high[:16]).any()


def test_a_log_axis_leaves_out_what_is_not_positive() -> None:
    _, y, piece = clean(np.arange(4.0), np.array([1.0, 0.0, -1.0, 10.0]), True)
    assert y.tolist() == [1.0, 10.0]
    assert piece[0] != piece[1]


def test_unsorted_points_are_put_in_order() -> None:
    x, y, _ = clean(np.array([2.0, 0.0, 1.0]), np.array([3.0, 1.0, 2.0]), False)
    assert x.tolist() == [0, 1, 2]
    assert y.tolist() == [1, 2, 3]


@pytest.mark.parametrize("weight", [0.6, 0.9, 0.98, 0.99])
def test_smoothing_equals_the_recurrence_with_bias_correction(weight: float) -> None:
    values = np.random.default_rng(2).normal(3, 1, 1000)
    values[7] = np.nan
    mean, expected, seen = 0.0, [], 0
    for value in values:
        if math.isnan(value):
            expected.append(math.nan)
            continue
        seen += 1
        mean = weight * mean + (1 - weight) * value
        expected.append(mean / (1 - weight**seen))
    np.testing.assert_allclose(smooth(values, weight), expected, rtol=1e-9)


def test_limits_are_round_and_rarely_change() -> None:
    assert linear_limits(0.03, 0.97) == (0.0, 1.0)
    assert log_limits(0.013, 3.1) == pytest.approx((0.01, 5.0))
    ends = {nice_end(step) for step in range(100, 10_001)}
    assert len(ends) < 25
    for span in (0.0, 1e-12, 1e12):
        low, high = linear_limits(5.0, 5.0 + span)
        assert low <= 5.0 <= high
        assert low < high


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.9, 1), (0, 12_000), (-3, 3), (0, 2e-5), (0, 5e8)])
def test_ticks_have_at_most_four_significant_digits(low: float, high: float) -> None:
    labels = tick_labels(linear_ticks(low, high, 4))
    assert 2 <= len(labels) <= 6
    for label in labels:
        digits = label.split("e")[0].replace(",", "").replace(".", "").replace("-", "").lstrip("0").rstrip("0")
        assert len(digits) <= 4, labels


def test_ticks_of_a_log_axis_lie_on_it() -> None:
    ticks = log_ticks(0.01, 5.0, 3)
    assert ticks == pytest.approx([0.01, 0.1, 1.0])
    assert tick_labels(ticks) == ["0.01", "0.1", "1"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.99999, "1"),
        (0.0312, "0.0312"),
        (1240, "1,240"),
        (12.414, "12.41"),
        (3.1e-7, "3.1e-7"),
        (math.nan, "–"),
        (-math.inf, "-∞"),
        (None, "–"),
    ],
)
def test_figures_have_at_most_four_significant_digits(value: float | None, words: str) -> None:
    assert figure(value, short=True).replace("3.10e", "3.1e") == words
    assert figure(0.5, percent=True) == "50.0 %"


def test_figures_of_one_column_have_the_same_decimals() -> None:
    assert aligned([12.3456, 1.0, 0.001]) == ["12.35", "1.00", "0.00"]
    assert aligned([1.0, 20.0]) == ["1", "20"]
    assert aligned([0.0, 1.39e-4, -5.33e-7]) == ["0", "1.39e-4", "-5.33e-7"]


def test_labels_cannot_disturb_the_terminal() -> None:
    assert plain("a\x1b[31mb\nc") == "a·[31mb↵c"
    assert narrow("日本\u0301") == "□□"
    assert fit("perplexity", 6) == "perpl…"
    assert fit("日本語", 4) == "日 …"
    assert fit("7", 3, right=True) == "  7"


def test_levels_span_the_scale_and_zero_is_the_background() -> None:
    assert to_levels([0.0, 1.0, np.nan], 0, 1).tolist() == [0, LEVELS - 1, LEVELS]
    assert to_levels([-2.0, 0.0, 1.0], -2, 1, signed=True).tolist() == [0, 16, 24]
    colours = palette(*SURROUNDINGS, "full").signed.colours
    assert colours[SIGNED_LEVELS // 2] == (30, 30, 30)


def test_known_matrix_gives_known_cells() -> None:
    scene = palette(*SURROUNDINGS, "full")
    rows = level_rows(np.array([[0, 31], [31, 31], [0, 0]]), scene.levels, scene)
    (first, second), (third,) = rows
    assert first.text == "▀"
    assert first.style is scene.levels.pair(0, 31)
    assert second.text == " "  # both halves alike: the ground alone
    assert third.text == "▀▀"
    assert third.style is scene.levels.pair(0, LEVELS)  # the lower half holds nothing


def test_without_colours_magnitudes_are_characters() -> None:
    scene = palette(*SURROUNDINGS, "mono")
    (row,) = level_rows(np.array([[0, 8, 16, 24, 31]] * 2), scene.levels, scene)
    assert row[0].text == " ░▒▓█"
    (row,) = level_rows(np.array([[0, 16, 32]] * 2), scene.signed, scene)
    assert row[0].text == "≡ █"  # below zero, zero and above differ


def test_resampling_repeats_or_averages() -> None:
    image = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert resample(image, 4, 4)[0].tolist() == [0, 0, 1, 1]
    assert resample(image, 1, 1).tolist() == [[1.5]]
    assert crisp_size(8, 8, 10, 100) == (16, 16)
    assert crisp_size(400, 600, 20, 40) == (27, 40)


@pytest.mark.parametrize("mode", ["full", "256"])
@pytest.mark.parametrize("ground", [(30, 30, 30), (230, 230, 230)])
def test_levels_are_even_in_brightness_and_lead_away_from_the_ground(ground: tuple[int, int, int], mode: Mode) -> None:
    scene = palette(ground, (128, 128, 128), (255, 166, 43), mode)
    levels = [luminance(colour) for colour in scene.levels.colours[:-1]]
    steps = np.diff(levels) * (1 if scene.dark else -1)
    assert steps.min() >= -0.03
    assert levels[-1] - levels[0] > 0.6 if scene.dark else levels[0] - levels[-1] > 0.6
    if mode == "256":  # colours of the terminal's own cube come out as they are
        assert {channel for colour in scene.levels.colours[:-1] for channel in colour} <= {0, 95, 135, 175, 215, 255}
