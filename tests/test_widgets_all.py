"""What holds for all widgets: no data, no size and no terminal breaks them, little is sent, and wrong shapes are refused in words."""

import importlib
import itertools
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from textual.app import App, ComposeResult

import dlplay
from dlplay import architectures
from dlplay.runs.history import History, Series
from dlplay.screen.curve_strip import CurveStrip
from dlplay.screen.runs.parallel import ParallelCoordinates
from dlplay.widgets import (
    Bars,
    Curve,
    Facts,
    FrameView,
    Guide,
    HeatMap,
    ImageGrid,
    Layer,
    LayerStrip,
    LineChart,
    PixelPad,
    Plane,
    Scatter,
    Surface,
    TableView,
    TokenStrip,
)
from dlplay.widgets.drawing.palette import Mode, palette
from tests.widget_stage import Stage, text, until


@pytest.fixture(autouse=True)
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


def any_data(random: np.random.Generator) -> list[tuple[Surface, Callable[[], None]]]:
    """Every widget with random data, awkward values among it."""
    chart, heat, images, bars, words, points, table, frame, pad = (
        LineChart(log_scale=bool(random.integers(2)), smoothing=0.9), HeatMap(), ImageGrid(), Bars(numbered=True), TokenStrip(), Scatter(),
        TableView(), FrameView(), PixelPad(8, 8),
    )  # fmt: skip
    places, screen_text, facts, plane, parallel = Scatter(), FrameView(), Facts(), Plane(), ParallelCoordinates()
    layers, card = LayerStrip(), architectures.cards()["convnet"]
    curves, history = CurveStrip(card), History(card.metric)
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, 1e300, -1e-300])

    def some(*shape: int) -> np.ndarray:
        values = random.normal(0, 10 ** random.uniform(-5, 5), shape)
        if values.size:
            values.flat[random.integers(0, values.size, 2)] = random.choice(odd, 2)
        return values

    n, m = int(random.integers(0, 60)), int(random.integers(1, 60))
    guide = Guide("g", float(odd[n % 6]))
    labels = [random.choice(["a", "日本語", "\x1b[2J", "", "a long label of words"]) for _ in range(n)]

    def show_curves() -> None:
        for name, place in (("train_loss", history.training), (card.metric, history.held_out)):
            place[name] = Series()
            place[name].append(np.arange(n), some(n))
        curves.show(history)

    return [
        (chart, lambda: chart.show([Curve("a", np.arange(n), some(n)), Curve("b", some(m), some(m), "3", "dots")], [guide])),
        (heat, lambda: heat.show(some(n, m), labels, labels, signed=bool(n % 2), counts=bool(m % 2))),
        (images, lambda: images.show(some(n, 1 + m % 9, 1 + n % 40), labels, [True] * (n // 2), signed=bool(m % 2), selected=m)),
        (bars, lambda: bars.show(labels, some(n).tolist(), log=bool(m % 2), second=some(n).tolist(), names=["one", "two"], chosen=m)),
        (words, lambda: words.show(labels, [None if i % 5 == 0 else v for i, v in enumerate(some(n).tolist())], selected=None)),
        (points, lambda: points.show(some(n, 2), random.integers(0, 12, n).tolist(), labels[:3], labels, some(m, 7), arrows=some(n, 2))),
        (table, lambda: table.show(labels[:4], [labels[:k] for k in range(n % 7)], [1], np.full((n % 7, 3), 0.5))),
        (frame, lambda: frame.show(random.integers(0, 255, (m, n + 1, 3), dtype=np.uint8))),
        (pad, lambda: pad.set(some(8, 8))),
        (places, lambda: places.show(some(n, 2), names=["a", "b"], background=some(3, 3), arrows=some(n, 2), pick="place")),
        (screen_text, lambda: screen_text.show(np.zeros((0, 0, 3)), "\n".join(labels) + "\x1b[31mred", {"a": "\x1b[2J", "日本": "1"})),
        (facts, lambda: facts.show({f"{label}{i}": label for i, label in enumerate(labels)})),
        (plane, lambda: plane.set(float(n), -float(m))),
        (layers, lambda: layers.show([
            Layer("maps", some(n, 1 + m % 9, 1 + n % 40), signed=bool(m % 2)), Layer("image", some(1, 8, 8)), Layer("words", labels=labels),
            Layer("state", values=some(n).tolist()), Layer("next", labels=labels, values=some(n).tolist(), percent=bool(m % 2)),
        ])),
        (curves, show_curves),
        (parallel, lambda: parallel.show(["lr", "optimizer"], "loss", [
            {"number": i, "value": value if np.isfinite(value) else None, "settings": {"lr": abs(value), "optimizer": labels[i]}}
            for i, value in enumerate(some(n).tolist())
        ], "lower")),
    ]  # fmt: skip


class Wall(App[None]):
    """All widgets, one at a time."""

    def __init__(self, shown: list[Surface]) -> None:
        super().__init__()
        self.shown = shown

    def compose(self) -> ComposeResult:
        yield from self.shown


@pytest.mark.parametrize(
    ("size", "colours"),
    [
        ((10, 3), "truecolor"),
        ((80, 24), "none"),
        pytest.param((31, 7), "16", marks=pytest.mark.slow),
        pytest.param((220, 60), "256", marks=pytest.mark.slow),
    ],
)
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


def test_every_widget_is_tried() -> None:
    for module in pkgutil.walk_packages(dlplay.__path__, "dlplay."):
        if module.name.startswith(("dlplay.screen", "dlplay.widgets")):
            importlib.import_module(module.name)
    known = {kind for kind in Surface.__subclasses__() if kind.__module__.startswith("dlplay.")}
    assert known == {type(widget) for widget, _ in any_data(np.random.default_rng(0))}


@pytest.mark.parametrize("mode", ["full", pytest.param("mono", marks=pytest.mark.slow)])
def test_awkward_data_can_be_painted_at_any_size(mode: Mode) -> None:
    scene = palette((30, 30, 30), (224, 224, 224), (255, 166, 43), mode)
    for seed in range(12):
        for widget, show in any_data(np.random.default_rng(seed)):
            show()
            sizes = [(1, 1), (10, 3), (31, 7), (80, 24), (220, 60)]
            for width, height in [*itertools.product(range(1, 14), range(1, 8)), *sizes] if seed < 3 else sizes:
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


async def test_the_focus_costs_only_the_cells_of_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, bars = FrameView(), Bars()
    frame.styles.height = 5
    app = Wall([frame, bars])
    async with app.run_test(size=(40, 12)) as pilot:
        frame.show(np.zeros((20, 20, 3), dtype=np.uint8))
        bars.show(["a", "b", "c"], [0.5, 0.25, 0.75], high=1.0)
        frame.focus()
        await until(pilot, lambda: frame.has_focus)
        sent: list[Any] = []
        for widget in (frame, bars):
            monkeypatch.setattr(widget, "refresh", lambda *regions, **_: sent.append(regions))
        await pilot.press("tab")
        await until(pilot, lambda: bars.has_focus and not frame.has_focus)
        assert [[region.y for region in regions] for regions in sent] == [[0]]
        assert app.focused is bars


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
    code = "import sys; from dlplay import widgets; print(sorted(m for m in sys.modules if m.split('.')[0] in ('torch', 'sklearn')))"
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
