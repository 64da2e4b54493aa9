"""A gallery: `python -m dlplay.widgets` shows every widget with synthetic data that changes as it would in training."""

from __future__ import annotations

import numpy as np
from textual.app import App, ComposeResult
from textual.containers import Container, Vertical
from textual.events import DescendantFocus
from textual.widgets import Label

from dlplay import widgets
from dlplay.widgets import Bars, Curve, FrameView, Guide, HeatMap, ImageGrid, LineChart, Mark, PixelPad, Scatter, TableView, TokenStrip

TEXT = "The tower is 324 metres tall , about the same height as an 81-storey building , and the tallest structure in Paris ."
WORDS = TEXT.split()


class Gallery(App[None]):
    """All widgets on one screen."""

    CSS = """
    #grid { layout: grid; grid-size: 4 3; grid-gutter: 1 2; padding: 0 1; }
    .panel { background: $surface; padding: 0 1; }
    .focused { color: $accent; text-style: bold; }
    #charts { column-span: 2; }
    """
    BINDINGS = [("q", "quit", "quit")]

    def __init__(self) -> None:
        super().__init__()
        self.random = np.random.default_rng(0)
        self.step = 0
        self.loss: list[float] = []

    def compose(self) -> ComposeResult:
        shown: list[tuple[str, widgets.Surface]] = [
            ("line chart", LineChart(log_scale=True, smoothing=0.9)),
            ("heat map", HeatMap()),
            ("confusion", HeatMap()),
            ("images", ImageGrid()),
            ("bars", Bars(numbered=True)),
            ("tokens", TokenStrip()),
            ("scatter", Scatter()),
            ("table", TableView()),
            ("frame", FrameView()),
            ("pad", PixelPad(8, 8)),
        ]
        with Container(id="grid"):
            for position, (title, widget) in enumerate(shown):
                with Vertical(classes="panel", id="charts" if position == 0 else None):
                    yield Label(title)
                    yield widget

    def on_mount(self) -> None:
        self.set_interval(0.25, self.advance)
        self.call_after_refresh(self.still)
        self.advance()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        for panel in self.query(".panel"):
            panel.query_one(Label).set_class(event.widget.parent is panel, "focused")

    def advance(self) -> None:
        """Show a little more training."""
        if not self.query(LineChart):  # quitting
            return
        rng = self.random
        for _ in range(20):
            self.step += 1
            self.loss.append(float(0.02 + 2.3 * np.exp(-self.step / 300) * rng.lognormal(0, 0.25)))
        x, y = np.arange(1, self.step + 1), np.array(self.loss)
        every = slice(99, None, 100)
        self.query_one(LineChart).show(
            [Curve("train", x, y), Curve("held out", x[every], y[every] * 1.15 + 0.02, "held_out", "dots")],
            [Guide("nearest neighbour", 0.12), Guide("trigram", 77.1), Guide("chance", 2.303)],
            [Mark(400, "lr 0.001 → 0.0003")],
        )
        logits = rng.normal(0, 1 + self.step / 400, 10)
        shares = np.exp(logits) / np.exp(logits).sum()
        self.query_one(Bars).show([str(i) for i in range(10)], shares.tolist(), high=1, percent=True, chosen=int(shares.argmax()))

    def still(self) -> None:
        """Show the data that does not change."""
        rng = self.random
        attention, confusion = self.query(HeatMap)
        scores = np.tril(rng.random((12, 12))) + 1e-9
        attention.show(scores / scores.sum(1, keepdims=True), WORDS[:12], WORDS[:12], "query", "key", low=0)
        counts = rng.integers(0, 4, (10, 10)) * (rng.random((10, 10)) < 0.3) + np.eye(10) * 34
        digits = [str(i) for i in range(10)]
        confusion.show(counts, digits, digits, "true digit", "predicted", counts=True)
        from_centre = np.hypot(*np.meshgrid(np.arange(8) - 3.5, np.arange(8) - 3.5))
        images = np.stack([np.exp(-((from_centre - radius) ** 2)) for radius in np.linspace(0, 4, 24)])
        labels = [f"{i % 10} {90 - i} %" for i in range(24)]
        self.query_one(ImageGrid).show(images, labels, wrong=[i % 7 == 3 for i in range(24)], selected=2)
        shares = rng.random(len(WORDS))
        values: list[float | None] = [None, *shares[1:].tolist()]
        self.query_one(TokenStrip).show(WORDS, values, [f"{w}: {100 * v:.1f} % expected" for w, v in zip(WORDS, shares, strict=True)])
        centres = rng.normal(0, 3, (4, 2))
        groups = rng.integers(0, 4, 80)
        self.query_one(Scatter).show(centres[groups] + rng.normal(0, 0.6, (80, 2)), groups.tolist(), ["cat", "dog", "cow", "owl"])
        self.query_one(TableView).show(
            ["layer", "shape", "parameters", "norm"],
            [[f"block {i}.weight", "64 x 64", f"{4096 * (i + 1):,}", f"{rng.random():.3f}"] for i in range(20)],
            right=[2, 3],
            shades=np.column_stack([np.full((20, 3), np.nan), rng.random(20)]),
        )
        across, down = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 60))
        frame = np.stack([across, down, 1 - across], axis=2) * 255
        frame[np.hypot(across - 0.5, (down - 0.5) * 0.67) < 0.2] = 255
        self.query_one(FrameView).show(frame.astype(np.uint8))


if __name__ == "__main__":
    Gallery().run()
