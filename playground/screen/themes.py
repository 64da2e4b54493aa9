"""The playground's own colour themes, and which theme was chosen last."""

from __future__ import annotations

import json
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.theme import Theme

from dlplay.widgets.drawing.contrast import RGB, TEXT, blend, readable

DARK = Theme(
    name="playground-dark",
    primary="#56B4E9",
    secondary="#009E73",
    accent="#E69F00",
    warning="#E6A23C",
    error="#E5635A",
    success="#5FB37A",
    foreground="#D8DCE2",
    background="#0E1116",
    surface="#14181F",
    panel="#1B2029",
    boost="#262D39",
    dark=True,
)
LIGHT = Theme(
    name="playground-light",
    primary="#0072B2",
    secondary="#00795A",
    accent="#B35C00",
    warning="#9A6700",
    error="#B3261E",
    success="#1A7F4B",
    foreground="#1C2128",
    background="#F3F4F6",
    surface="#FBFBFC",
    panel="#E8EAEE",
    boost="#DADEE5",
    dark=False,
)
CYCLE = (DARK.name, LIGHT.name, "nord", "gruvbox", "solarized-light", "textual-ansi")
"""The themes that ctrl+t cycles through; the palette offers all."""
MUTED = 0.38
"""How much of the background is in text that says less."""
COLOURED = ("text-primary", "text-secondary", "text-accent", "text-warning", "text-error", "text-success")


def remembered(path: Path) -> str:
    """The theme chosen last; empty when none was, or the file cannot be read."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(65_536))
        return str(found.get("theme", "")) if isinstance(found, dict) else ""
    except (OSError, ValueError, RecursionError):
        return ""


def remember(path: Path, theme: str) -> None:
    """Save the choice; where it cannot be written, it is lost and nothing else happens."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"theme": theme}) + "\n", encoding="utf-8")
    except OSError:
        return


def config_path() -> Path:
    """The file that keeps the choice."""
    import platformdirs

    return Path(platformdirs.user_config_dir("dlplay", appauthor=False)) / "screen.json"


def readable_variables(variables: dict[str, str]) -> dict[str, str]:
    """A theme's variables, with those for text moved until they can be read on each of its backgrounds.

    Those of a theme that leaves its colours to the terminal stay as they are.
    """
    grounds = [_rgb(variables[name]) for name in ("background", "surface", "panel")]
    foreground = _rgb(variables["foreground"])
    known = [ground for ground in grounds if ground is not None]
    if foreground is None or len(known) < len(grounds):
        return variables
    muted = blend(foreground, known[1], MUTED)
    wanted = {"foreground": foreground, "text-muted": muted, "text-disabled": muted}
    for name in COLOURED:
        if (colour := _rgb(variables[name])) is not None:
            wanted[name] = colour
    return variables | {name: "#{:02X}{:02X}{:02X}".format(*readable(colour, known, TEXT)) for name, colour in wanted.items()}


def _rgb(value: str) -> RGB | None:
    """None for what depends on where it stands, or on the terminal."""
    try:
        colour = Color.parse(value)
    except ColorParseError:
        return None
    return None if colour.ansi is not None or colour.auto or colour.a < 1 else colour.rgb
