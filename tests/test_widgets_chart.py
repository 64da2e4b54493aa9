"""The line chart in a running app: names of baselines, the readout, zoom, pan and smoothing by keys and mouse."""

import dataclasses

import numpy as np
import pytest
from rich.style import Style
from textual import events

from dlplay.widgets import Band, Curve, Guide, LineChart, Mark
from dlplay.widgets.charts import plot
from dlplay.widgets.drawing.palette import palette
from tests.widget_stage import Stage, text, until


@pytest.fixture(autouse=True)
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


def steps(count: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(count)
    return x, 2.0 * np.exp(-x / count)


async def test_guides_are_named_and_do_not_squash_the_curves() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)):
        x, y = steps(500)
        chart.show(
            [Curve("train", x, y)], [Guide("trigram", 77.1), Guide("bigram", 120.0), Guide("nearest neighbour", 1.1), Guide("PCA", 1.12)]
        )
        seen = "\n".join(text(chart))
        for name in ("↑ trigram 77.1", "↑ bigram 120", "nearest neighbour 1.1", "PCA 1.12"):
            assert seen.count(name) == 1
        assert chart._plot is not None
        assert chart._plot.top <= 2.5


async def test_a_steep_start_may_lie_outside_the_chart_and_nothing_later() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)):
        y = np.full(500, 1.0) + np.linspace(0, 0.1, 500)
        chart.show([Curve("loss", np.arange(500), np.where(np.arange(500) < 30, 9.0, y))])
        assert "start clipped" in text(chart)[0]
        chart.show([Curve("loss", np.arange(500), np.where(np.arange(500) == 250, 9.0, y))])
        assert "clipped" not in text(chart)[0]
        trials = np.arange(1, 7)
        values = np.array([2.69, 2.79, 2.85, 2.67, 2.77, 6.9])
        chart.show([Curve("best so far", trials, np.minimum.accumulate(values)), Curve("trial", trials, values, style="dots")])
        assert "clipped" not in text(chart)[0]
        assert chart._plot is not None
        assert chart._plot.top >= 6.9


def names_of(chart: LineChart) -> list[str]:
    """What stands right of the plot, row by row."""
    rows = text(chart)
    assert chart._plot is not None
    return [row[chart._plot.gutter + chart._plot.width :].strip() for row in rows[1:-1]]


async def test_names_stand_right_of_the_plot_in_order_of_value_and_stay_there() -> None:
    chart = LineChart()
    guides = [Guide("4-gram", 1.13), Guide("trigram", 1.1), Guide("bigram", 9.0), Guide("nothing learnt", 1.6), Guide("all", -2.0)]
    async with Stage(chart).run_test(size=(80, 14)):
        widths = set()
        for count in (300, 320, 340):
            x, y = steps(count)
            chart.show([Curve("train", x, y)], guides)
            seen = [name for name in names_of(chart) if name]
            assert seen == ["↑ bigram 9", "nothing learnt 1.6", "4-gram 1.13", "trigram 1.1", "↓ all -2"]
            widths.add(chart._plot.width if chart._plot else 0)
        assert len(widths) == 1
        assert names_of(chart)[0] == "↑ bigram 9"
        assert names_of(chart)[-1] == "↓ all -2"


async def test_names_without_a_row_of_their_own_are_joined() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 5)):
        chart.show([Curve("train", *steps(500))], [Guide("a", 1.0), Guide("b", 1.01), Guide("c", 1.02), Guide("d", 0.1)])
        assert [name for name in names_of(chart) if name] == ["c 1.02", "a 1 · b 1.01", "d 0.1"]


async def test_a_long_name_takes_two_rows_and_keeps_its_value() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(51, 9)) as pilot:
        guides = [Guide("one broad Gaussian", 1.5), Guide("real against real", 0.8)]
        chart.show([Curve("train", *steps(500))], guides)
        assert [name for name in names_of(chart) if name] == ["one broad", "Gaussian 1.5", "real against", "real 0.8"]
        await pilot.resize_terminal(51, 5)
        assert [name for name in names_of(chart) if name] == ["one broad G… 1.5", "real agains… 0.8"]


async def test_a_narrow_chart_names_its_baselines_in_one_line() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(36, 12)):
        chart.show([Curve("train", *steps(500))], [Guide("PCA", 1.1), Guide("mean", 1.5)])
        assert text(chart)[1].strip() == "┄ mean 1.5 · PCA 1.1"


async def test_steps_are_counted_in_whole_numbers() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 10)):
        chart.show([Curve("train", np.arange(3), np.arange(3.0))])
        assert text(chart)[-1].split() == ["step", "0", "1", "2"]
        chart.show([Curve("share", np.array([0.0, 0.5, 1.0]), np.arange(3.0))])
        assert "0.6" in text(chart)[-1]


async def test_marks_are_named() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)):
        chart.show([Curve("train", *steps(500))], marks=[Mark(250, "lr 0.001 → 0.0003")])
        assert "lr 0.001 → 0.0003" in "\n".join(text(chart))


async def test_a_value_that_is_older_than_the_newest_step_says_of_which_step_it_is() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)):
        x = np.arange(740)
        chart.reach = 739.0
        chart.show([Curve("train", x, x / 1000), Curve("modes covered", x[::500], x[::500] / 500, "held_out", smoothed=False)])
        assert text(chart)[0].startswith("━━ train 0.739")
        assert "modes covered 1 at step 500 " in text(chart)[0]
        chart.reach = 500.0
        chart.show([Curve("modes covered", x[:501:500], x[:501:500] / 500, "held_out", smoothed=False)])
        assert "at step" not in text(chart)[0]


async def test_the_cursor_reads_out_every_curve() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)) as pilot:
        x = np.arange(1000)
        chart.show([Curve("train", x, x / 1000), Curve("held out", x[::100], x[::100] / 500, "held_out", "dots")])
        assert text(chart)[0].startswith("━━ train 0.999")
        await pilot.press("right")
        assert text(chart)[0].startswith("step 999 ")
        await pilot.press(*["left"] * 40)
        line = text(chart)[0]
        step = int(line.split()[1])
        assert 300 < step < 600
        assert f"train {step / 1000:.4g}" in line
        await pilot.press("escape")
        assert text(chart)[0].startswith("━━ train 0.999")


async def test_keys_zoom_pan_and_fit() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)) as pilot:
        chart.show([Curve("train", *steps(1000))])
        assert chart.limits == (0.0, 1000.0)
        await pilot.press("i")
        assert chart.limits == (250.0, 750.0)
        assert "zoomed" in text(chart)[0]
        await pilot.press("shift+right")
        assert chart.limits == (300.0, 800.0)
        await pilot.press("home")
        assert chart.limits == (0.0, 1000.0)
        chart.show([Curve("train", *steps(3000))])
        assert chart.limits == (0.0, 3000.0), "after fitting it follows again"


async def test_the_wheel_zooms_at_the_pointer_and_a_double_click_fits() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)) as pilot:
        chart.show([Curve("train", *steps(1000))])
        text(chart)
        await pilot.hover(chart, (60, 10))
        at = chart.cursor
        assert at is not None
        chart.post_message(events.MouseScrollUp(chart, 60, 10, 0, 0, 0, False, False, False, 60, 10))
        await until(pilot, lambda: chart.zoomed)
        left, right = chart.limits
        assert right - left < 1000
        assert left < at < right
        await pilot.click(chart, (60, 10), times=2)
        await until(pilot, lambda: not chart.zoomed)


async def test_dragging_pans() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)) as pilot:
        chart.show([Curve("train", *steps(1000))])
        await pilot.press("i")
        left, _ = chart.limits
        await pilot.mouse_down(chart, (40, 10))
        chart.post_message(events.MouseMove(chart, 50, 10, 10, 0, 1, False, False, False, 50, 10))
        await until(pilot, lambda: chart.limits[0] < left)
        await pilot.mouse_up(chart, (50, 10))
        assert chart.app.mouse_captured is None


async def test_log_axis_and_smoothing_by_keys() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)) as pilot:
        x = np.arange(1, 400)
        chart.show([Curve("loss", x, 1000.0 / x**2)])
        await pilot.press("l", "k")
        rows = text(chart)
        assert "log · smoothed 0.6" in rows[0]
        labels = [row[:6].strip(" ┤│") for row in rows[1:-1]]
        assert {"1,000", "0.1"} <= set(labels)


async def test_a_chart_of_nothing_says_what_will_appear() -> None:
    chart = LineChart(empty="space starts training")
    async with Stage(chart).run_test(size=(40, 6)):
        for curves in ([], [Curve("a", np.zeros(0), np.zeros(0))], [Curve("a", np.arange(3), np.full(3, np.nan))]):
            chart.show(curves)
            assert "space starts training" in "\n".join(text(chart))


async def test_a_first_evaluation_is_seen_beside_the_nearest_baselines() -> None:
    chart = LineChart(percent=True)
    async with Stage(chart).run_test(size=(80, 14)):
        first = Curve("masked accuracy", np.array([0.0]), np.array([0.0011]), style="dots")
        chart.show([first], [Guide("bigram", 0.2), Guide("trigram", 0.3)])
        assert chart._plot is None or chart._plot.top >= 0.2
        assert [name for name in names_of(chart) if name][-1] == "bigram 20 %"


def test_a_curve_is_remembered_as_it_is_drawn() -> None:
    """Zoomed, smoothed and grown it is another one; as before it is the same again."""
    random = np.random.default_rng(0)
    x, y = np.arange(2000.0), random.choice([-1.0, 1.0], 2000)
    chart = LineChart()
    colours = palette((30, 30, 30), (224, 224, 224), (255, 166, 43), "full")

    def drawn(style: Style) -> int:
        """Dots in this style."""
        rows = chart.paint(60, 14, colours)[1:-1]
        cells = [character for row in rows for segment in row if segment.style is style for character in segment.text]
        return sum((ord(cell) - 0x2800).bit_count() for cell in cells if 0x2800 <= ord(cell) < 0x2900)

    line = colours.style("train")
    chart.show([Curve("loss", x, y)])
    raw = drawn(line)
    chart.smoothing = 0.98
    assert drawn(line) < raw / 4, "the line runs through the middle"
    chart.smoothing = 0.0
    assert drawn(line) == raw
    chart.show([Curve("loss", x[:500], y[:500])])
    shorter = drawn(line)
    chart.show([Curve("loss", x, y)])
    assert (shorter, drawn(line)) == (pytest.approx(raw, rel=0.2), raw)
    chart.reach = 8000.0
    assert drawn(line) < raw / 3, "the axis is four times as long"
    chart.reach = 0.0
    assert drawn(line) == raw


async def test_the_cursor_halts_where_it_is_told_and_says_where_it_went() -> None:
    chart, moved = LineChart(), list[float | None]()

    class Listening(Stage):
        def on_line_chart_moved(self, event: LineChart.Moved) -> None:
            assert event.control is chart
            moved.append(event.x)

    async with Listening(chart).run_test(size=(80, 14)) as pilot:
        chart.show([Curve("train", *steps(1000))])
        chart.focus()
        chart.stops = (0, 1, 2, 500, 999)
        chart.place_cursor(600)
        assert moved == []
        await pilot.press("left", "left", "left", "left", "left", "right", "right", "right", "right", "right")
        assert moved == [500, 2, 1, 0, 0, 1, 2, 500, 999, 999]
        await pilot.press("escape")
        assert (moved[-1], chart.cursor) == (None, None)
        chart.stops = ()
        await pilot.press("left", "left")
        assert moved[-1] is not None
        assert 900 < moved[-1] < 999


async def test_a_band_that_has_not_changed_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    real = plot.clean
    monkeypatch.setattr(plot, "clean", lambda *arguments: measured.append(1) or real(*arguments))
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)):
        x, y = steps(500)
        median = Curve("median", x, y, smoothed=False, bands=(Band(x, y - 0.1, y + 0.1),))
        chart.show([median])
        once = text(chart)
        assert measured
        measured.clear()
        chart.show([median], marks=[Mark(250, "lr")])
        assert "lr" in "\n".join(text(chart))
        assert not measured
        chart.show([dataclasses.replace(median, bands=(Band(x, y - 0.5, y + 0.5),))])
        assert text(chart) != once
        assert measured


async def test_markers_tell_apart_what_is_behind_and_the_legend_counts_what_it_has_no_room_for() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(64, 12)):
        x, y = steps(500)
        behind = [Curve(f"run-{n}", x, y + n, "2", smoothed=False, behind=True, marker="▲■◆"[n]) for n in range(3)]
        chart.show([*behind, Curve("train", x, y + 5)])
        assert text(chart)[0].split() == ["━━", "train", "5.737", *["◆", "run-2", "2.737", "■", "run-1", "1.737", "▲", "run-0", "0.7372"]]
        assert all(sum(row.count(marker) for row in text(chart)[1:]) >= 3 for marker in "▲■◆")
        many = [dataclasses.replace(behind[0], name=f"an-earlier-run-{n}") for n in range(9)]
        chart.show([*many, Curve("train", x, y + 5)])
        assert text(chart)[0].split() == ["━━", "train", "5.737", "▲", "an-earlier-run-8", "▲", "an-earlier-run-7", "+7"]


async def test_points_of_one_column_are_not_joined_and_axes_show_choices_and_powers_of_ten() -> None:
    chart = LineChart(x_title="lr")
    async with Stage(chart).run_test(size=(60, 12)) as pilot:
        chart.x_names = ("8,16", "8,16,32", "16,32")
        chart.show([Curve("complete", np.array([0.0, 0.0, 2.0]), np.array([0.1, 0.9, 0.5]), style="dots", marker="x")])
        assert sum(row.count("x") for row in text(chart)[1:]) == 3
        assert text(chart)[0].strip() == "x complete"
        assert text(chart)[-1].split() == ["8,16", "8,16,32", "16,32"]
        chart.x_names, chart.x_powers = (), True
        chart.show([Curve("loss", np.array([-4.0, -2.5, -1.0]), np.array([0.1, 0.9, 0.5]))])
        assert text(chart)[-1].split() == ["lr", "1e-4", "0.001", "0.01", "0.1"]
        assert text(chart)[0].strip() == "━━ loss 0.5000"
        chart.focus()
        await pilot.press("right")
        assert text(chart)[0].startswith("lr 0.1000")
