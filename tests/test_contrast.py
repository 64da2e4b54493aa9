"""Text has a contrast of 4.5:1 and a line of 3:1 in every theme; scales rise evenly in lightness, with few colours too."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from textual._context import visible_screen_stack
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from dlplay import widgets
from dlplay.engine.panels import Bars
from dlplay.screen import themes
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.jump import Label
from dlplay.screen.themes import COLOURED, CYCLE, readable_variables
from dlplay.widgets.drawing.contrast import LINE, RGB, TEXT, contrast, lightness, of_256
from dlplay.widgets.drawing.palette import SIGNED_LEVELS, Mode, Palette, luminance, palette
from tests.screen_pilot import opened, screen_text, until

THEMES = {theme.name: theme for theme in (themes.DARK, themes.LIGHT, *BUILTIN_THEMES.values()) if not theme.name.startswith("ansi")}
GROUNDS = ("background", "surface", "panel")
NAMED = ("text", "muted", "faint", "accent", "train", "held_out", "guide", "mark", *map(str, range(10)))
ROOT = Path(__file__).parents[1]

each_theme = pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)


def variables(theme: Theme) -> dict[str, str]:
    return readable_variables(theme.to_color_system().generate())


def seen(colour: RGB, mode: Mode) -> RGB:
    """The colour that a terminal of this mode shows."""
    return of_256(colour) if mode == "256" else colour


def drawn_on(theme: Theme, ground: str, mode: Mode, quiet: bool = False) -> Palette:
    found = variables(theme)
    return palette(Color.parse(found[ground]).rgb, (224, 224, 224), Color.parse(found["accent"]).rgb, mode, quiet=quiet)


@each_theme
def test_the_text_of_a_theme_can_be_read_on_each_of_its_backgrounds(theme: Theme) -> None:
    found = variables(theme)
    for name in ("foreground", "text-muted", "text-disabled", *COLOURED):
        for ground in GROUNDS:
            assert contrast(Color.parse(found[name]).rgb, Color.parse(found[ground]).rgb) >= TEXT, (name, ground)


@each_theme
@pytest.mark.parametrize("mode", ["full", "256"])
@pytest.mark.parametrize("quiet", [False, True])
def test_what_widgets_draw_can_be_told_from_the_background(theme: Theme, mode: Mode, quiet: bool) -> None:
    for ground in GROUNDS:
        scene = drawn_on(theme, ground, mode, quiet)
        behind = seen(scene.background, mode)
        for name in NAMED:
            for dim, least in ((False, TEXT), (True, LINE)):
                style = scene.style(name, dim=dim)
                assert style.color is not None
                found = style.color.get_truecolor()
                colour = seen((found.red, found.green, found.blue), mode)
                assert contrast(colour, behind) >= least, (ground, name, dim)


@pytest.mark.parametrize(("theme", "foreground"), [(themes.DARK, (224, 224, 224)), (themes.LIGHT, (32, 32, 32))], ids=["dark", "light"])
def test_what_is_quiet_is_seen_to_be(theme: Theme, foreground: RGB) -> None:
    ground = Color.parse(variables(theme)["surface"]).rgb
    plain, quiet = (palette(ground, foreground, foreground, "full", quiet=quiet) for quiet in (False, True))
    assert contrast(quiet.colour("text"), ground) < 0.5 * contrast(plain.colour("text"), ground)


def test_no_text_is_a_share_of_the_foreground() -> None:
    """Such as `$foreground 40%`, or opacity, which no theme can make readable."""
    for path in [*(ROOT / "playground").rglob("*.py"), *(ROOT / "playground").rglob("*.tcss"), *(ROOT / "widgets").rglob("*.py")]:
        for line in path.read_text().splitlines():
            if "scrollbar-color:" not in line:
                assert not re.search(r"\$(foreground|text)(-\w+)? \d+%|opacity:", line), f"{path.name}: {line.strip()}"


@pytest.mark.parametrize("ground", [(14, 17, 22), (30, 30, 30), (230, 230, 230), (251, 251, 252)])
def test_with_256_colours_every_scale_rises_or_falls_in_lightness(ground: RGB) -> None:
    scene = palette(ground, (224, 224, 224), (255, 166, 43), "256")
    away = 1 if luminance(ground) < 0.5 else -1
    half = SIGNED_LEVELS // 2
    ramps = (
        scene.levels.colours[:-1],
        scene.backdrop.colours[:-1],
        scene.signed.colours[half + 1 : -1],
        scene.signed.colours[half - 1 :: -1],
    )
    for ramp in ramps:
        steps = [away * (lightness(b) - lightness(a)) for a, b in pairwise(dict.fromkeys(ramp))]
        assert min(steps) > 0
        assert max(steps) <= 17


@pytest.mark.parametrize("name", [name for name in CYCLE if name in THEMES])
async def test_every_letter_on_the_screen_can_be_read(name: str, tmp_path: Path) -> None:
    async with opened(tmp_path) as (app, pilot):
        app.theme = name
        await until(lambda: app.theme_variables["surface"] == variables(THEMES[name])["surface"])
        await pilot.pause()
        every_letter_can_be_read(app)
        view = next(view for view in app.tab.inspector._views.values() if view.display)
        view.show(Bars(labels=["a bar", "another"], values=[0.75, 0.25]), step=7)
        view.fail("the run is gone")
        candidates = app.tab.stage.query_one(widgets.Bars)
        candidates.show(["three", "eight"], [0.75, 0.25])
        app.tab.stage.add_class("-stale")
        await until(lambda: "the run is gone · shown: as of step 7" in screen_text(app) and "eight" in screen_text(app))
        await until(lambda: all(Palette.of(bars).quiet for bars in (candidates, *view.query(widgets.Bars))))
        every_letter_can_be_read(app)
        await pilot.press("f3")
        await until(lambda: app.screen.query(Label) and all(label.region.area for label in app.screen.query(Label)))
        every_letter_can_be_read(app)


def every_letter_can_be_read(app: PlaygroundApp) -> None:
    visible_screen_stack.set(app._background_screens)
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style
            if style is None or style.color is None or style.bgcolor is None or not re.search(r"\w", segment.text):
                continue
            assert not style.dim, segment.text  # the terminal would make it fainter
            front, back = (colour.get_truecolor() for colour in (style.color, style.bgcolor))
            if style.reverse:
                assert not style.dim, segment.text  # the terminal would make it fainter
            front, back = back, front
            assert contrast((front.red, front.green, front.blue), (back.red, back.green, back.blue)) >= TEXT, segment.text
