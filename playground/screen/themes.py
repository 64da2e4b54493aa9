"""The playground's own colour themes, and which theme was chosen last."""

from __future__ import annotations

import json
from pathlib import Path

from textual.theme import Theme

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
