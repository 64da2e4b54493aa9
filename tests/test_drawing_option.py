"""An option that is a drawing: drawn on a pad that its value opens, and read by every model of images."""

import numpy as np
import pytest
from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from dlplay import widgets
from dlplay.engine.settings import SettingsError, fields
from dlplay.parts.image_options import InputImage
from dlplay.parts.ink import parse_drawing
from dlplay.screen.panels.options_bar import OptionsBar
from tests.screen_pilot import until


class BarApp(App[None]):
    """One bar, and what it told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, object]] = []

    def compose(self) -> ComposeResult:
        yield OptionsBar([field for field in fields(InputImage) if field.name == "drawing"], "Input")

    @on(OptionsBar.Changed)
    def _changed(self, event: OptionsBar.Changed) -> None:
        self.told.append((event.name, event.value))


async def draw(app: BarApp, pilot: Pilot[None], *keys: str) -> None:
    app.query_one(OptionsBar).edit()
    await until(lambda: app.screen.query(widgets.PixelPad))
    await until(lambda: app.screen.focused is app.screen.query_one(widgets.PixelPad))
    await pilot.press(*keys, "enter")
    await until(lambda: not app.screen.query(widgets.PixelPad))


async def test_a_drawing_is_drawn_on_a_pad_and_an_empty_one_takes_it_away() -> None:
    app = BarApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await draw(app, pilot, "p")
        (name, text) = app.told[-1]
        assert name == "drawing"
        ink = parse_drawing(str(text))
        assert ink.shape == (16, 16)
        assert ink.max() > 0
        await draw(app, pilot, "c")
        assert app.told[-1] == ("drawing", "")


def test_hex_rows_and_numbers_are_the_same_drawing() -> None:
    np.testing.assert_allclose(parse_drawing("0f/f0"), parse_drawing("0,16;16,0"))
    assert not parse_drawing("00/00").any()
    with pytest.raises(SettingsError, match="hex digit"):
        parse_drawing("0g/00")
