"""The line chart in a running app: names of baselines, the readout, zoom, pan and smoothing by keys and mouse."""

import dataclasses
import re

import numpy as np
import pytest
from rich.style import Style
from textual import events
from textual.app import ComposeResult

from dlplay.widgets import Band, Curve, Guide, LineChart, Mark, Note
from dlplay.widgets.charts import plot
from dlplay.widgets.charts.guide_names import with_room
from dlplay.widgets.charts.stack import stack
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
        for name in ("↑ trigram 77.1 · bigram 120", "nearest neighbour 1.1", "PCA 1.12"):
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


def row_of(chart: LineChart, name: str) -> int:
    """The row of the plot in which this stands, as often as once."""
    rows = [number for number, row in enumerate(text(chart)[1:]) if name in row]
    assert len(rows) == 1, "\n".join(text(chart))
    return rows[0]


def line_of(chart: LineChart, value: float) -> int:
    assert chart._plot is not None
    return chart._plot.row(value) // 4


async def test_a_baseline_has_its_name_on_its_line_and_a_dash_of_its_own() -> None:
    chart = LineChart()
    guides = [Guide("4-gram", 1.9), Guide("nothing learnt", 1.2), Guide("PCA", 0.9), Guide("bigram", 9.0), Guide("all", -2.0)]
    async with Stage(chart).run_test(size=(80, 24)):
        for count in (300, 320, 340):
            chart.show([Curve("train", *steps(count))], guides)
            for name, value in (("4-gram 1.9", 1.9), ("nothing learnt 1.2", 1.2), ("PCA 0.9", 0.9)):
                assert row_of(chart, name) == line_of(chart, value)
                assert text(chart)[1 + line_of(chart, value)].rstrip().endswith(name)
            assert row_of(chart, "↑ bigram 9") == 0
            assert row_of(chart, "↓ all -2") == len(text(chart)) - 3
        lines = [text(chart)[1 + line_of(chart, value)][-60:-30] for value in (1.9, 1.2, 0.9)]
        shapes = {tuple(0 if cell == " " else (ord(cell) - 0x2800 & 0b01010101) > 0 for cell in line) for line in lines}
        assert len(shapes) == 3


async def test_names_that_would_collide_stand_one_above_the_other() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 16)):
        chart.show(
            [Curve("train", *steps(500))], [Guide("trigram", 1.1), Guide("4-gram", 1.12), Guide("a very long name of a baseline", 1.11)]
        )
        rows = [row_of(chart, name) for name in ("4-gram 1.12", "a very long name of a baseline 1.11", "trigram 1.1")]
        assert rows == [rows[0], rows[0] + 1, rows[0] + 2]
        assert line_of(chart, 1.11) in rows


async def test_names_without_a_row_of_their_own_share_one() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 6)):
        chart.show([Curve("train", *steps(500))], [Guide("a", 1.0), Guide("b", 1.01), Guide("c", 1.02), Guide("d", 0.1)])
        assert row_of(chart, "c 1.02 · ⠂ ⠂ b 1.01") < row_of(chart, "a 1 · ⠒⠂⠐ d 0.1")
        chart.show([Curve("train", *steps(500))], [Guide(f"a baseline of number {n}", 1.0 + n / 1000, rank=8 - n) for n in range(9)])
        assert "a baseline of number 8 1.008 +8" in "\n".join(text(chart)), "how many are left out for the best of them"
        assert len(with_room(chart.guides, [1] * 9, False, 70, 4)) == 1, "their lines are not drawn either"
        assert with_room(chart.guides, list(range(2, 38, 4)), False, 40, 4) == {0: 0, 1: 7}, "of those out of sight the nearest"


async def test_guides_leave_curves_that_are_behind_in_sight() -> None:
    """A faint curve, such as the pretrained model's, that runs along a baseline is drawn over its dashes."""
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 12)):
        behind = Curve("pretrained", np.arange(400), np.full(400, 1.0), behind=True)
        own = Curve("train", np.arange(10), np.linspace(3.0, 2.0, 10))
        chart.show([behind, own])
        alone = text(chart)[1 + line_of(chart, 1.0)]
        chart.show([behind, own], [Guide("PCA", 1.0)])
        beside = text(chart)[1 + line_of(chart, 1.0)]
        assert [a for a, b in zip(alone, beside, strict=True) if a != b and b not in " PCA1"] == []


@pytest.mark.parametrize("size", [(51, 9), (36, 12), (51, 5), (24, 8)])
async def test_no_name_is_cut_and_no_row_is_taken_from_the_plot(size: tuple[int, int]) -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=size):
        chart.show([Curve("train", *steps(500))], [Guide("single Gaussian", 1.5), Guide("real vs real", 0.8)])
        seen = "\n".join(text(chart))
        assert "single Gaussian" in seen
        assert "…" not in seen
        assert chart._plot is not None
        assert chart._plot.height == size[1] - 2


async def test_a_name_leaves_the_curve_in_sight() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 12)):
        x = np.arange(1000)
        chart.show([Curve("train", x, np.where(x < 200, 2.0, 1.0))], [Guide("PCA", 1.0)])
        row = text(chart)[1 + row_of(chart, "PCA 1")]
        assert not row.rstrip().endswith("PCA 1"), "the curve runs there"
        assert row.index("PCA") < 30


def covered(chart: LineChart, curves: list[Curve], guides: list[Guide]) -> int:
    """Cells of the curves' lines that the names of these guides hide."""
    chart.show(curves, guides)
    named, plot_of = text(chart), chart._plot
    chart.show(curves, [])
    alone = text(chart)
    assert chart._plot == plot_of, "the guides change no limits"
    cells = zip("".join(named[1:]), "".join(alone[1:]), strict=True)
    return sum(0x2800 < ord(before) < 0x2900 and not 0x2800 <= ord(after) < 0x2900 for after, before in cells)


async def test_a_name_goes_to_another_row_where_the_curve_runs_along_all_of_its_line() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 12)):
        x = np.arange(1000)
        curves = [Curve("train", x, np.where(x < 10, 2.0, 1.0)), Curve("test", x, np.linspace(2.0, 1.5, 1000), "held_out")]
        guides = [Guide("PCA", 1.0), Guide("ridge", 1.5)]
        assert covered(chart, curves, guides) == 0
        chart.show(curves, guides)
        assert abs(row_of(chart, "PCA 1") - line_of(chart, 1.0)) == 1
        assert "\u2812" in text(chart)[1 + row_of(chart, "PCA 1")][: -len("PCA 1")], "its dashes stand before it"


async def test_names_keep_off_dim_curves_too_where_there_is_room() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(60, 10)):
        x = np.arange(1000)
        before = Curve("pretrained", x, np.linspace(2.0, 0.9, 1000), "held_out", behind=True, dotted=True)
        curves = [before, Curve("train", x[:300], np.linspace(2.0, 1.9, 300))]
        assert covered(chart, curves, [Guide("logistic regression", 1.0), Guide("nearest neighbour", 1.2)]) == 0


@pytest.mark.parametrize(("at", "size"), [(900, (60, 12)), (60, (60, 12)), (500, (40, 8))])
async def test_a_note_stands_beside_its_step_off_the_curve(at: int, size: tuple[int, int]) -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=size):
        x = np.arange(1000)
        chart.note = Note(at, "✗ the loss is not finite", "r  train again with lr 0.001")
        chart.show([Curve("train", x, 2.0 * np.exp(-x / 300))], [Guide("PCA", 0.1)])
        rows = text(chart)
        seen = " ".join(" ".join(row.split("│")[-1].split("┤")[-1].split()) for row in rows)
        assert all(word in seen for word in ("✗", "finite", "train", "0.001")), "\n".join(rows)
        assert any("┊" in row for row in rows)
        chart.note = None
        chart.show([Curve("train", x, 2.0 * np.exp(-x / 300))])
        assert "✗" not in "".join(text(chart))


async def test_before_there_is_a_curve_the_guides_stand_over_an_axis() -> None:
    chart = LineChart(percent=True)
    async with Stage(chart).run_test(size=(80, 12)):
        chart.show([], [Guide("bigram", 0.2), Guide("trigram", 0.3)])
        row_of(chart, "bigram 20 %")
        assert "step" in text(chart)[-1]


async def test_a_share_is_drawn_on_the_whole_axis_where_its_level_matters() -> None:
    chart = LineChart(percent=True)
    async with Stage(chart).run_test(size=(80, 12)):
        chart.show([Curve("processors", np.arange(10.0), np.linspace(0.994, 1.0, 10))])
        row_of(chart, "99.8 %")
        chart.least = (0.0, 1.0)
        chart.repaint()
        assert row_of(chart, "100 %") < row_of(chart, "25 %")


async def test_a_dotted_curve_does_not_hold_the_axis_back() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 12)):
        before = Curve("pretrained", *steps(4000), "held_out", behind=True, dotted=True, extends=False)
        chart.show([before])
        assert chart.limits == (0.0, 4000.0)
        assert "┈┈ pretrained" in text(chart)[0]
        chart.show([before, Curve("train", *steps(300))])
        assert chart.limits == (0.0, 300.0)


async def test_a_cursor_reads_out_curves_that_are_behind_where_their_names_leave_no_room() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(46, 12)):
        x = np.arange(0, 401, 50)
        chart.show(
            [Curve(f"pretrained {name}", x, np.full(9, at), behind=True, dotted=True) for name, at in (("train", 2.182), ("val", 1.66))]
        )
        assert "pretrained val 1.660  ┈┈ train 2.182" in text(chart)[0]
        chart.place_cursor(150)
        assert text(chart)[0].split() == ["step", "150", "┈┈", "val", "1.660", "┈┈", "train", "2.182"]


async def test_charts_on_each_other_share_the_axis_of_the_lowest() -> None:
    class Two(Stage):
        def compose(self) -> ComposeResult:
            yield upper
            yield lower

    upper, lower = LineChart(), LineChart()
    async with Two(upper).run_test(size=(80, 30)):
        marks = [Mark(200, "lr")]
        upper.take([Curve("train", np.arange(300), np.linspace(0, 12_000, 300))], marks=marks)
        lower.take([Curve("train", *steps(400))], marks=marks)
        stack([upper, lower])
        assert upper.limits == lower.limits == (0.0, 400.0)
        assert "step" not in text(upper)[-1]
        assert "step" in text(lower)[-1]
        columns = {row.index("┊") for chart in (upper, lower) for row in text(chart) if "┊" in row}
        assert len(columns) == 1
        stack([upper])
        assert "step" in text(upper)[-1]
        assert upper.limits == (0.0, 300.0)


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
    chart = LineChart(empty="F5 starts training")
    async with Stage(chart).run_test(size=(40, 6)):
        for curves in ([], [Curve("a", np.zeros(0), np.zeros(0))], [Curve("a", np.arange(3), np.full(3, np.nan))]):
            chart.show(curves)
            assert "F5 starts training" in "\n".join(text(chart))


async def test_a_first_evaluation_is_seen_beside_the_nearest_baselines() -> None:
    chart = LineChart(percent=True)
    async with Stage(chart).run_test(size=(80, 14)):
        first = Curve("masked accuracy", np.array([0.0]), np.array([0.0011]), style="dots")
        chart.show([first], [Guide("bigram", 0.2), Guide("trigram", 0.3)])
        assert chart._plot is None or chart._plot.top >= 0.2
        row_of(chart, "bigram 20 %")


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


async def test_where_there_is_little_room_names_come_before_values() -> None:
    chart = LineChart()
    stage = Stage(chart)
    async with stage.run_test(size=(40, 12)) as pilot:
        x, y = steps(500)
        behind = [Curve(f"run-{n}", x, y + n, "2", smoothed=False, behind=True, marker="▲■◆"[n]) for n in range(3)]
        chart.show([*behind, Curve("train", x, y + 5, smoothed=False)])
        assert text(chart)[0].split() == ["━━", "train", "◆", "run-2", "■", "run-1", "▲", "run-0"]
        await pilot.resize_terminal(46, 12)
        await until(pilot, lambda: chart.size.width == 46)
        two = [Curve("discounted return", x, y + 5, smoothed=False), Curve("start Q", x, y + 4, smoothed=False)]
        chart.show([Curve("pretrained", x, y, behind=True, dotted=True, smoothed=False), *two])
        line = text(chart)[0]
        assert "discounted r" in line
        assert "start Q" in line
        assert line.rstrip().endswith("pretrained")


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


async def test_what_all_curves_behind_are_of_is_said_once() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(60, 10)):
        names = ("pretrained train", "pretrained val", "pretrained val without memory")
        chart.show([Curve(name, *steps(300), behind=True) for name in names])
        assert [part.strip() for part in text(chart)[0].split("──")[1:]] == ["pretrained val without memory", "val", "train"]
        chart.show([Curve(name, *steps(300), behind=True) for name in ("narrow test", "wide test")])
        assert "narrow test" in text(chart)[0]
        assert "wide test" in text(chart)[0]


@pytest.mark.parametrize("width", range(30, 60, 3))
async def test_no_line_stands_in_the_legend_without_its_name(width: int) -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(width, 10)):
        names = ["this net", "rnn-tanh", "rnn-relu", "gru", "lstm"]
        chart.show([Curve(name, *steps(300)) for name in names])
        legend = text(chart)[0]
        count = sum(name in legend for name in names)
        assert count == len(names) or f"+{len(names) - count}" in legend, legend


async def test_where_markers_tell_the_curves_apart_values_come_before_names() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(40, 10)):
        chart.show([Curve(f"a run with a long name {mark}", *steps(300), marker=mark) for mark in "●▲■◆▼"])
        assert re.search(r"^● 0\.\d+ .*▲ 0\.\d+ .*\+\d", text(chart)[0]), text(chart)[0]


async def test_no_bin_of_a_histogram_stands_in_the_legend_as_the_newest_value() -> None:
    x = np.arange(4.0)
    shares = Curve("weight", x, np.array([0.1, 0.5, 0.3, 0.1]), colour="0", sequence=False)
    chart = LineChart()
    async with Stage(chart).run_test(size=(60, 10)) as pilot:
        chart.show([shares])
        assert text(chart)[0].split() == ["━━", "weight"]
        chart.focus()
        await pilot.press("left")
        await until(pilot, lambda: "weight 0." in text(chart)[0])  # at the cursor it is read out
