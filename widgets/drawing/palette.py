"""Colours with a meaning: a scale for magnitudes, a diverging one, a colour-blind-safe set; and characters that replace them.

Sources: the scale for magnitudes follows viridis (van der Walt and Smith, 2015); curves and classes use the colours of Okabe and Ito
(2008).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.color import Color
from rich.style import Style

from dlplay.widgets.drawing.contrast import LINE, RGB, TEXT, blend, readable

if TYPE_CHECKING:
    from textual.dom import DOMNode

Mode = Literal["full", "256", "16", "mono"]

LEVELS = 32
"""Levels of a magnitude."""
SIGNED_LEVELS = 33
"""Levels of a signed value; the middle one is zero."""
MARKERS = "●▲■◆▼✚○△□◇"
"""Shapes of groups, so that groups are not told apart by colour alone."""

# the low end is darker than viridis, so that zeros are inconspicuous on a dark background
_VIRIDIS: tuple[RGB, ...] = (
    (42, 8, 62), (70, 36, 112), (62, 73, 137), (49, 104, 142), (38, 130, 142),
    (31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37),
)  # fmt: skip
# reversed on a light background, where zero is almost white
_VIRIDIS_ON_LIGHT: tuple[RGB, ...] = (
    (238, 238, 212), (206, 229, 120), (122, 209, 81), (53, 183, 121), (31, 158, 137),
    (38, 130, 142), (49, 104, 142), (62, 73, 137), (72, 40, 120), (68, 1, 84),
)  # fmt: skip
# With 256 colours, a ramp of arbitrary colours would not be even: these are colours of the terminal's cube and greys, each
# brighter than the one before (CIE L*) by at most 17.
_CUBE = ("00005f", "000087", "5f0087", "005f87", "008787", "00af87", "5fd75f", "d7d75f", "ffff5f")
_CUBE_ON_LIGHT = ("ffffd7", "d7d75f", "5fd75f", "00af5f", "008787", "005f87", "5f0087", "000087", "00005f")
_CUBE_BACKDROP = ("000000", "00005f", "262626", "303030", "444444", "005f5f", "626262")
_CUBE_BACKDROP_ON_LIGHT = ("ffffff", "ffffd7", "eeeeee", "dadada", "d7d7af", "afd7af", "bcbcbc")
_CUBE_UNDER = ("00005f", "0000af", "0000d7", "005faf", "0087d7", "5fafff", "87d7ff")
_CUBE_OVER = ("5f0000", "870000", "875f00", "d75f00", "d78700", "ffaf00", "ffd75f")
_CUBE_UNDER_ON_LIGHT = ("afd7ff", "5fafff", "0087d7", "005faf", "0000d7", "000087", "00005f")
_CUBE_OVER_ON_LIGHT = ("ffd7af", "ffaf5f", "d78700", "d75f00", "875f00", "870000", "5f0000")
_ON_DARK: dict[str, RGB] = {
    "train": (86, 180, 233), "held_out": (240, 165, 20), "guide": (160, 160, 160), "mark": (204, 121, 167),
    "0": (86, 180, 233), "1": (240, 165, 20), "2": (0, 178, 130), "3": (240, 228, 66), "4": (226, 104, 28),
    "5": (212, 130, 176), "6": (60, 140, 220), "7": (190, 190, 190), "8": (150, 110, 220), "9": (160, 120, 70),
}  # fmt: skip
_ON_LIGHT: dict[str, RGB] = {
    "train": (0, 114, 178), "held_out": (190, 100, 0), "guide": (110, 110, 110), "mark": (170, 70, 130),
    "0": (0, 114, 178), "1": (190, 120, 0), "2": (0, 130, 95), "3": (150, 138, 0), "4": (200, 80, 0),
    "5": (180, 90, 140), "6": (30, 90, 190), "7": (90, 90, 90), "8": (110, 70, 190), "9": (120, 80, 40),
}  # fmt: skip
_UNDER_ZERO: RGB = (70, 160, 240)
_OVER_ZERO: RGB = (245, 150, 40)
_UNDER_ZERO_ON_LIGHT: RGB = (0, 90, 180)
_OVER_ZERO_ON_LIGHT: RGB = (190, 80, 0)
_SHADES = " ░▒▓█"
_SHADES_UNDER_ZERO = " ·-=≡"
_SHADES_UNDER_ZERO_IN_ASCII = " `-=&"


def luminance(colour: RGB) -> float:
    """How bright a colour looks, 0..1 (Rec. 709 weights on gamma-encoded values: good enough to choose black or white text)."""
    return (0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]) / 255


def _ramp(anchors: tuple[RGB, ...], count: int) -> tuple[RGB, ...]:
    at = np.linspace(0, len(anchors) - 1, count)
    channels = [np.interp(at, range(len(anchors)), [anchor[channel] for anchor in anchors]) for channel in range(3)]
    return tuple((round(r), round(g), round(b)) for r, g, b in zip(*channels, strict=True))


def _steps(names: tuple[str, ...], count: int) -> tuple[RGB, ...]:
    """A ramp of `count` colours made of a few named ones, without blending them."""
    few = [(int(name[:2], 16), int(name[2:4], 16), int(name[4:], 16)) for name in names]
    return tuple(few[i * len(few) // count] for i in range(count))


@dataclass(frozen=True, eq=False)
class Scale:
    """The colours of a scale's levels, the styles of every pair of levels, and the characters that replace them without colour."""

    colours: tuple[RGB, ...]
    """One for each level, then that of the background (index -1), for half a cell that is empty."""
    shades: str
    """One character for each of them."""
    _pairs: dict[tuple[int, int], Style] = field(default_factory=dict)
    _texts: dict[tuple[int, bool], Style] = field(default_factory=dict)

    @property
    def nothing(self) -> int:
        """The index of the background."""
        return len(self.colours) - 1

    def pair(self, top: int, bottom: int) -> Style:
        """Style of a `▀` whose upper half shows level `top` and whose lower half shows level `bottom`."""
        style = self._pairs.get((top, bottom))
        if style is None:
            style = self._pairs[top, bottom] = Style(
                color=Color.from_rgb(*self.colours[top]), bgcolor=Color.from_rgb(*self.colours[bottom])
            )
        return style

    def text(self, level: int, bold: bool = False) -> Style:
        """Style of readable text on a cell of that level."""
        style = self._texts.get((level, bold))
        if style is None:
            background = self.colours[level]
            foreground: RGB = (0, 0, 0) if luminance(background) > 0.45 else (255, 255, 255)
            style = Style(color=Color.from_rgb(*foreground), bgcolor=Color.from_rgb(*background), bold=bold)
            self._texts[level, bold] = style
        return style


@dataclass(frozen=True, eq=False)
class Palette:
    """All colours of a widget on its background. Get one with `Palette.of(widget)`; widgets on the same background share one."""

    background: RGB
    foreground: RGB
    accent: RGB
    mode: Mode
    levels: Scale
    signed: Scale
    backdrop: Scale
    """The levels, blended with the background: points and arrows are drawn over them."""
    halves: bool = True
    """Whether the terminal has half blocks, two pixels in a cell; without them, a cell shows the mean of the two."""
    quiet: bool = False
    """Whether text and bars are as faint as text may be, for an answer that is out of date."""
    _styles: dict[tuple[str, bool, bool, bool], Style] = field(default_factory=dict)
    _on_backdrop: dict[tuple[str, int, bool], Style] = field(default_factory=dict)

    @property
    def shaded(self) -> bool:
        """Whether magnitudes are shown with shade characters, since the terminal has too few colours (or none were wanted)."""
        return self.mode in ("16", "mono")

    @property
    def dark(self) -> bool:
        """Whether the background is dark."""
        return luminance(self.background) < 0.5

    def colour(self, name: str) -> RGB:
        """A named colour: text, muted, faint, accent, background, train, held_out, guide, mark, or a class "0".."9" (taken modulo 10).

        All can be read as text on the background.
        """
        if name == "background":
            return self.background
        colour = self._named(name)
        return self._readable(blend(colour, self.background, 0.55) if self.quiet else colour, TEXT)

    def _readable(self, colour: RGB, least: float) -> RGB:
        return readable(colour, (self.background,), least, few=self.mode == "256")

    def _named(self, name: str) -> RGB:
        match name:
            case "text":
                return self.foreground
            case "muted":
                return blend(self.foreground, self.background, 0.38)
            case "faint":
                return blend(self.foreground, self.background, 0.68)
            case "accent":
                return self.accent
        if name == "held_out" and self.mode == "16":
            return (255, 255, 85)  # orange would become red, which is for failures
        table = _ON_DARK if self.dark else _ON_LIGHT
        if name.isdecimal():
            name = str(int(name) % 10)
        return table.get(name, self.foreground)

    def style(self, name: str, bold: bool = False, dim: bool = False, reverse: bool = False) -> Style:
        """Style of text in a named colour on the widget's background; `dim` blends it towards the background as far as a line may."""
        key = (name, bold, dim, reverse)
        style = self._styles.get(key)
        if style is None:
            colour = self.colour(name)
            if dim:
                colour = self._readable(blend(colour, self.background, 0.6), LINE)
            pair = (self.background, colour) if reverse else (colour, self.background)
            # without colours, only the attribute itself is sure to be visible
            attribute = reverse and self.shaded
            if attribute:
                pair = (colour, self.background)
            style = Style(color=Color.from_rgb(*pair[0]), bgcolor=Color.from_rgb(*pair[1]), bold=bold, reverse=attribute or None)
            self._styles[key] = style
        return style

    def on_backdrop(self, name: str, level: int, bold: bool = False) -> Style:
        """Style of text in a named colour on a cell of `backdrop` at that level."""
        key = (name, level, bold)
        style = self._on_backdrop.get(key)
        if style is None:
            background = self.backdrop.colours[level]
            style = Style(color=Color.from_rgb(*self.colour(name)), bgcolor=Color.from_rgb(*background), bold=bold)
            self._on_backdrop[key] = style
        return style

    @staticmethod
    @lru_cache(maxsize=256)
    def inverse(style: Style) -> Style:
        """The same style with foreground and background exchanged."""
        return style + Style(reverse=True)

    @property
    def blank(self) -> Style:
        """Style of empty space."""
        return self.style("text")

    @classmethod
    def of(cls, widget: DOMNode) -> Palette:
        """The palette for a widget's background, its theme and the colours that the terminal can show; quiet with `text-style: dim`."""
        background = widget.background_colors[1].rgb
        dark = luminance(background) < 0.5
        foreground = (224, 224, 224) if dark else (32, 32, 32)
        accent = _theme_colour(widget.app.theme_variables.get("accent", ""), dark)
        halves = getattr(widget.app, "characters", "all") != "ascii"
        return palette(background, foreground, accent, terminal_mode(widget), halves, bool(widget.styles.text_style.dim))


def _theme_colour(name: str, dark: bool) -> RGB:
    from textual.color import Color as ThemeColour
    from textual.color import ColorParseError

    try:
        return ThemeColour.parse(name).rgb
    except ColorParseError:
        return _ON_DARK["held_out"] if dark else _ON_LIGHT["held_out"]


def terminal_mode(widget: DOMNode) -> Mode:
    """The colours that the terminal can show; mono when the user asked for none."""
    if widget.app.no_color:
        return "mono"
    return {"256": "256", "standard": "16", "windows": "16"}.get(widget.app.console.color_system or "", "full")  # type: ignore[return-value]


@lru_cache(maxsize=64)
def palette(background: RGB, foreground: RGB, accent: RGB, mode: Mode, halves: bool = True, quiet: bool = False) -> Palette:
    """The palette for these colours; the same object each time."""
    under_zero = _SHADES_UNDER_ZERO if halves else _SHADES_UNDER_ZERO_IN_ASCII
    nothing = (background,)
    half = SIGNED_LEVELS // 2
    dark = luminance(background) < 0.5
    if mode == "256":
        ramp = _steps(_CUBE if dark else _CUBE_ON_LIGHT, LEVELS)
        under = _steps(_CUBE_UNDER if dark else _CUBE_UNDER_ON_LIGHT, half)[::-1]
        over = _steps(_CUBE_OVER if dark else _CUBE_OVER_ON_LIGHT, half)
    else:
        ramp = _ramp(_VIRIDIS if dark else _VIRIDIS_ON_LIGHT, LEVELS)
        under = tuple(blend(background, _UNDER_ZERO if dark else _UNDER_ZERO_ON_LIGHT, (half - i) / half) for i in range(half))
        over = tuple(blend(background, _OVER_ZERO if dark else _OVER_ZERO_ON_LIGHT, (i + 1) / half) for i in range(half))
    shades = "".join(_SHADES[round(i / (LEVELS - 1) * 4)] for i in range(LEVELS))
    steps = (
        [under_zero[round((half - i) / half * 4)] for i in range(half)] + [" "] + [_SHADES[round((i + 1) / half * 4)] for i in range(half)]
    )
    return Palette(
        background,
        foreground,
        accent,
        mode,
        Scale(ramp + nothing, shades + " "),
        Scale((*under, background, *over, background), "".join(steps) + " "),
        Scale(_backdrop(ramp, background, mode) + nothing, shades + " "),
        halves,
        quiet,
    )


def _backdrop(ramp: tuple[RGB, ...], background: RGB, mode: Mode) -> tuple[RGB, ...]:
    """A less intense ramp, on which the colours of points can be told apart."""
    if mode == "256":
        return _steps(_CUBE_BACKDROP if luminance(background) < 0.5 else _CUBE_BACKDROP_ON_LIGHT, LEVELS)
    return tuple(blend(colour, background, 0.5) for colour in ramp)


BAND = 4
"""Levels that look alike in a picture of bands."""


def in_bands(levels: NDArray[np.intp], scale: Scale) -> NDArray[np.intp]:
    """Every `BAND`th level alone: edges read as contours, and a picture that changes a little has few cells to send."""
    return np.where(levels == scale.nothing, levels, levels // BAND * BAND)


def to_levels(values: ArrayLike, low: float, high: float, signed: bool = False) -> NDArray[np.intp]:
    """Values as levels of a `Scale` that runs from `low` to `high`; when signed, from -max(|low|, |high|) to max(|low|, |high|).

    A value that is not finite becomes the last index, that of the background.
    """
    array = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(array)
    count = SIGNED_LEVELS if signed else LEVELS
    if signed:
        high = max(abs(low), abs(high))
        low = -high
    span = high - low
    share = np.full(array.shape, 0.5 if signed else 0.0) if not span > 0 else (np.where(finite, array, low) - low) / span
    index = np.rint(np.clip(share, 0, 1) * (count - 1)).astype(np.intp)
    return np.where(finite, index, count)
