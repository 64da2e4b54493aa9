"""Widgets in a running app: what stands on the screen, what keys and mouse do, and that nothing breaks them."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot

from widgets import Bars, Curve, FrameView, Guide, HeatMap, ImageGrid, LineChart, Mark, PixelPad, Scatter, Surface, TableView, TokenStrip
from widgets.palette import Mode, palette


@pytest.fixture(autouse=True)
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


class Stage(App[None]):
    """One widget that fills the screen; keeps the messages it posts."""

    def __init__(self, widget: Surface) -> None:
        super().__init__()
        self.widget = widget
        self.heard: list[Message] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_mount(self) -> None:
        self.widget.focus()

    def hear(self, message: Message) -> None:
        self.heard.append(message)

    on_bars_selected = on_heat_map_selected = on_image_grid_selected = on_token_strip_selected = hear
    on_scatter_selected = on_table_view_selected = on_pixel_pad_changed = hear


def text(widget: Surface) -> list[str]:
    """The rows that the widget shows."""
    rows = [widget.render_line(y) for y in range(widget.size.height)]
    assert all(segment.style is not None for row in rows for segment in row)
    assert all(row.cell_length == widget.size.width for row in rows)
    return [row.text for row in rows]


async def until(pilot: Pilot[None], condition: Callable[[], Any]) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("what was waited for did not happen")


def steps(count: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(count)
    return x, 2.0 * np.exp(-x / count)


# --- line chart ---------------------------------------------------------------------------------------------------------------------


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


async def test_marks_are_named() -> None:
    chart = LineChart()
    async with Stage(chart).run_test(size=(80, 20)):
        chart.show([Curve("train", *steps(500))], marks=[Mark(250, "lr 0.001 → 0.0003")])
        assert "lr 0.001 → 0.0003" in "\n".join(text(chart))


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


# --- maps, images, points -----------------------------------------------------------------------------------------------------------


async def test_a_heat_map_prints_counts_and_reads_out_values() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(60, 14)) as pilot:
        counts = np.arange(9).reshape(3, 3)
        widget.show(counts, ["cat", "dog", "cow"], ["cat", "dog", "cow"], "true", "taken for", counts=True)
        rows = text(widget)
        assert "↓ true · → taken for" in rows[-1]
        assert all(str(n) in "\n".join(rows) for n in range(1, 9))
        await pilot.press("right", "right", "down")
        assert text(widget)[-1].startswith("dog → dog: 4")
        await pilot.press("enter")
        stage = widget.app
        assert isinstance(stage, Stage)
        await until(pilot, lambda: stage.heard)
        message = stage.heard[0]
        assert isinstance(message, HeatMap.Selected)
        assert (message.row, message.column) == (1, 1)


async def test_clicking_a_heat_map_chooses_the_value_under_the_pointer() -> None:
    widget = HeatMap()
    stage = Stage(widget)
    async with stage.run_test(size=(60, 14)) as pilot:
        widget.show(np.eye(4))
        text(widget)
        grid = widget._grid
        assert grid is not None
        await pilot.click(widget, (grid.left + 2 * grid.wide, grid.top + 3 * grid.tall // 2))
        await until(pilot, lambda: stage.heard)
        message = stage.heard[0]
        assert isinstance(message, HeatMap.Selected)
        assert (message.row, message.column) == (3, 2)


async def test_a_matrix_that_does_not_fit_says_that_it_shows_means() -> None:
    widget = HeatMap()
    async with Stage(widget).run_test(size=(70, 10)):
        widget.show(np.random.default_rng(0).random((300, 500)))
        assert "300 x 500, means of neighbours" in text(widget)[-1]


async def test_images_carry_labels_and_crosses_and_can_be_chosen() -> None:
    widget = ImageGrid()
    stage = Stage(widget)
    async with stage.run_test(size=(70, 15)) as pilot:
        widget.show(np.random.default_rng(0).random((40, 8, 8)), [f"image{i}" for i in range(40)], [i == 1 for i in range(40)], selected=0)
        seen = "\n".join(text(widget))
        assert "▸image0" in seen
        assert "✗ image1" in seen
        assert "more ↓" in seen
        await pilot.press("right", "enter")
        await until(pilot, lambda: stage.heard)
        await pilot.click(widget, (2, 2))
        await until(pilot, lambda: len(stage.heard) == 2)
        assert [m.index for m in stage.heard if isinstance(m, ImageGrid.Selected)] == [1, 0]
        await pilot.press(*["down"] * 20)
        assert "above ↑" in "\n".join(text(widget))


async def test_a_scatter_plot_names_groups_and_reads_out_points() -> None:
    widget = Scatter()
    stage = Stage(widget)
    async with stage.run_test(size=(60, 14)) as pilot:
        widget.show([[0, 0], [1, 1], [2, 0]], [0, 1, 0], ["cats", "dogs"], ["Tom", "Rex", "Kit"], x_title="size", y_title="noise")
        rows = text(widget)
        assert "● cats" in rows[0]
        assert "▲ dogs" in rows[0]
        assert "Rex" in "\n".join(rows)
        await pilot.press("right", "up", "enter")
        assert text(widget)[-1].startswith("Rex · dogs · size 1, noise 1")
        await until(pilot, lambda: stage.heard)


# --- bars, words, tables ------------------------------------------------------------------------------------------------------------


async def test_bars_are_as_long_as_their_values() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(50, 5)):
        widget.show(["a", "b", "c", "d"], [1.0, 0.5, 0.25, 0.0], high=1.0)
        lengths = [row.count("█") for row in text(widget)]
        assert lengths[0] == pytest.approx(2 * lengths[1], abs=1)
        assert lengths[0] == pytest.approx(4 * lengths[2], abs=3)
        assert lengths[3] == 0


async def test_bars_below_zero_point_the_other_way() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(40, 2)):
        widget.show(["left", "right"], [-1.0, 1.0])
        below, above = text(widget)
        assert below.index("█") < above.index("█")
        assert below.rindex("█") <= above.index("█")


async def test_the_chosen_bar_is_marked_and_digits_pick() -> None:
    widget = Bars(numbered=True)
    stage = Stage(widget)
    async with stage.run_test(size=(50, 12)) as pilot:
        widget.show([f"word{i}" for i in range(10)], [0.1] * 10, percent=True, chosen=2)
        rows = text(widget)
        assert rows[2].startswith("▸3 word2")
        assert rows[9].startswith(" 0 word9")
        await pilot.press("3", "0")
        await pilot.click(widget, (10, 4))
        await until(pilot, lambda: len(stage.heard) == 3)
        assert [m.index for m in stage.heard if isinstance(m, Bars.Selected)] == [2, 9, 4]


async def test_bars_that_do_not_fit_are_scrolled_to() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(40, 5)) as pilot:
        widget.show([f"word{i}" for i in range(10)], list(range(10)))
        assert "6 more ↓" in text(widget)[-1]
        await pilot.press(*["down"] * 9)
        rows = text(widget)
        assert "word9" in rows[-2]
        assert "6 above ↑" in rows[-1]


async def test_words_wrap_and_notes_are_read_out() -> None:
    widget = TokenStrip()
    stage = Stage(widget)
    async with stage.run_test(size=(20, 5)) as pilot:
        widget.show(["the", "tower", "is", "very", "tall"], [None, 0.2, 0.9, 0.5, 1.0], ["first", "", "note on is"])
        rows = text(widget)
        assert "the" in rows[0]
        assert "tall" in rows[1]
        await pilot.press("right")
        assert text(widget)[-1].startswith("tower  20.0 %")
        await pilot.press("right", "enter")
        assert text(widget)[-1].startswith("note on is")
        await until(pilot, lambda: stage.heard)
        assert [m.index for m in stage.heard if isinstance(m, TokenStrip.Selected)] == [2]


async def test_a_table_is_aligned_and_scrolls() -> None:
    widget = TableView()
    stage = Stage(widget)
    async with stage.run_test(size=(40, 6)) as pilot:
        widget.show(["name", "norm"], [[f"layer {i}", f"{10.0**i:,.0f}"] for i in range(8)], right=[1])
        rows = text(widget)
        assert rows[1].rstrip().endswith(" 1")
        assert len({len(row.rstrip()) for row in rows[:5]}) == 1
        assert "4 more ↓" in rows[-1]
        await pilot.press("down", "enter")
        await until(pilot, lambda: stage.heard)
        assert [m.row for m in stage.heard if isinstance(m, TableView.Selected)] == [1]


# --- the pad ------------------------------------------------------------------------------------------------------------------------


async def test_a_quick_drag_leaves_no_holes() -> None:
    pad = PixelPad(8, 8)
    stage = Stage(pad)
    async with stage.run_test(size=(40, 9)) as pilot:
        text(pad)
        left, top, tall, wide = pad._box
        y = top + tall // 4
        await pilot.mouse_down(pad, (left, y))
        pad.post_message(events.MouseMove(pad, left + wide - 1, y, wide - 1, 0, 1, False, False, False, left + wide - 1, y))
        await until(pilot, lambda: len(stage.heard) >= 2)
        await pilot.mouse_up(pad, (left + wide - 1, y))
        assert pad.pixels[4].tolist() == [16.0] * 8
        assert 0 < pad.pixels[3, 4] < 16
        assert pad.pixels.max() == 16


async def test_drawing_and_erasing_with_keys() -> None:
    pad = PixelPad(8, 8)
    stage = Stage(pad)
    async with stage.run_test(size=(40, 9)) as pilot:
        await pilot.press("space", "right", "right", "space", "down")
        assert pad.pixels[4, 4:7].tolist() == [16.0] * 3
        assert pad.pixels[5, 6] < 16
        message = stage.heard[-1]
        assert isinstance(message, PixelPad.Changed)
        assert message.pixels[4, 6] == 16
        await pilot.press("x", "up", "d")
        assert pad.pixels[4, 6] == 0
        await pilot.press("c")
        assert not pad.pixels.any()


async def test_a_drawing_is_set_within_bounds() -> None:
    pad = PixelPad(2, 2, levels=4)
    async with Stage(pad).run_test(size=(20, 5)):
        pad.set([[9, -1], [np.nan, 2]])
        assert pad.pixels.tolist() == [[4, 0], [0, 2]]
        with pytest.raises(ValueError, match="2 x 2 pixels, not \\(3, 3\\)"):
            pad.set(np.zeros((3, 3)))


# --- all --------------------------------------------------------------------------------------------------------------------------------


def any_data(random: np.random.Generator) -> list[tuple[Surface, Callable[[], None]]]:
    """Every widget with random data, awkward values among it."""
    chart, heat, images, bars, words, points, table, frame, pad = (
        LineChart(log_scale=bool(random.integers(2)), smoothing=0.9), HeatMap(), ImageGrid(), Bars(numbered=True), TokenStrip(), Scatter(), TableView(),
        FrameView(), PixelPad(8, 8),
    )  # fmt: skip
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, 1e300, -1e-300])

    def some(*shape: int) -> np.ndarray:
        values = random.normal(0, 10 ** random.uniform(-5, 5), shape)
        if values.size:
            values.flat[random.integers(0, values.size, 2)] = random.choice(odd, 2)
        return values

    n, m = int(random.integers(0, 60)), int(random.integers(1, 60))
    labels = [random.choice(["a", "日本語", "\x1b[2J", "", "a long label of words"]) for _ in range(n)]
    return [
        (chart, lambda: chart.show([Curve("a", np.arange(n), some(n)), Curve("b", some(m), some(m), "3", "dots")], [Guide("g", float(odd[n % 6]))])),
        (heat, lambda: heat.show(some(n, m), labels, labels, signed=bool(n % 2), counts=bool(m % 2))),
        (images, lambda: images.show(some(n, 1 + m % 9, 1 + n % 40), labels, [True] * (n // 2), signed=bool(m % 2), selected=m)),
        (bars, lambda: bars.show(labels, some(n).tolist(), log=bool(m % 2), second=some(n).tolist(), names=["one", "two"], chosen=m)),
        (words, lambda: words.show(labels, [None if i % 5 == 0 else v for i, v in enumerate(some(n).tolist())], selected=None)),
        (points, lambda: points.show(some(n, 2), random.integers(0, 12, n).tolist(), labels[:3], labels, some(m, 7), arrows=some(n, 2))),
        (table, lambda: table.show(labels[:4], [labels[:k] for k in range(n % 7)], [1], np.full((n % 7, 3), 0.5))),
        (frame, lambda: frame.show(random.integers(0, 255, (m, n + 1, 3), dtype=np.uint8))),
        (pad, lambda: pad.set(some(8, 8))),
    ]  # fmt: skip


class Wall(App[None]):
    """All widgets, one at a time."""

    def __init__(self, shown: list[Surface]) -> None:
        super().__init__()
        self.shown = shown

    def compose(self) -> ComposeResult:
        yield from self.shown


@pytest.mark.parametrize(("size", "colours"), [((10, 3), "truecolor"), ((31, 7), "16"), ((80, 24), "none"), ((220, 60), "256")])
async def test_no_size_no_data_and_no_terminal_breaks_a_widget(
    size: tuple[int, int], colours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor" if colours in ("truecolor", "none") else "")
    monkeypatch.setenv("TERM", {"256": "xterm-256color", "16": "screen"}.get(colours, "xterm"))
    if colours == "none":
        monkeypatch.setenv("NO_COLOR", "1")
    shown = any_data(np.random.default_rng(size[0]))
    app = Wall([widget for widget, _ in shown])
    async with app.run_test(size=size) as pilot:
        for widget, show in shown:
            for other, _ in shown:
                other.display = other is widget
            widget.focus()
            await until(pilot, lambda widget=widget: widget.size.width == size[0])  # type: ignore[misc]
            show()
            text(widget)
            await pilot.press("right", "down", "i", "left")
            await pilot.hover(widget, (size[0] // 2, size[1] // 2))
            text(widget)


@pytest.mark.parametrize("mode", ["full", "mono"])
def test_awkward_data_can_be_painted_at_any_size(mode: Mode) -> None:
    scene = palette((30, 30, 30), (224, 224, 224), (255, 166, 43), mode)
    for seed in range(12):
        for widget, show in any_data(np.random.default_rng(seed)):
            show()
            for width, height in ((1, 1), (10, 3), (31, 7), (80, 24), (220, 60)):
                rows = widget.paint(width, height, scene)
                assert all(segment.style is not None for row in rows for segment in row)


async def test_only_cells_that_changed_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(40, 8)) as pilot:
        widget.show(["a", "b", "c"], [0.5, 0.25, 0.75], high=1.0)
        await pilot.pause()
        sent: list[Any] = []
        monkeypatch.setattr(widget, "refresh", lambda *regions, **_: sent.extend(regions))
        widget.show(["a", "b", "c"], [0.5, 0.25, 0.75], high=1.0)
        assert sent == []
        widget.show(["a", "b", "c"], [0.5, 0.50, 0.75], high=1.0)
        assert [region.y for region in sent] == [1]
        assert sent[0].x > 0


async def test_a_theme_on_light_ground_changes_the_colours() -> None:
    widget = Bars()
    async with Stage(widget).run_test(size=(40, 3)) as pilot:
        widget.show(["a"], [1.0])
        dark = widget.render_lines(widget.region.reset_offset)[0]
        widget.app.theme = "textual-light"
        await pilot.pause()
        light = widget.render_lines(widget.region.reset_offset)[0]
        assert dark.text == light.text
        assert list(dark) != list(light)


def test_widgets_know_neither_torch_nor_the_playground() -> None:
    code = (
        "import sys, widgets; print(sorted(m for m in sys.modules if m.split('.')[0] in ('torch', 'playground', 'sklearn', 'checkpoints')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("show", "words"),
    [
        (lambda: HeatMap().show(np.zeros(3)), "a heat map shows a matrix"),
        (lambda: ImageGrid().show(np.zeros((3, 3))), "an image grid shows"),
        (lambda: Scatter().show(np.zeros((3, 3))), "points of shape"),
        (lambda: FrameView().show(np.zeros((3, 3))), "a frame is"),
        (lambda: TableView().show(["a"], [["b"]], shades=np.zeros(3)), "shades are a matrix"),
    ],
)
def test_other_shapes_are_refused_in_words(show: Callable[[], None], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        show()
