"""`dlplay`: the playground on the screen."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlplay import architectures
from dlplay.commands.refusal import USAGE, refuse
from dlplay.web import DRIVER

if TYPE_CHECKING:  # with it come the widgets, and textual with them: the help needs neither
    from dlplay.widgets.drawing.glyphs import Characters

_checked: list[bool] | None = None
"""Where it is told that a screen would be opened, while command lines are only checked."""


def open_screen(*, tab: str | None, runs_dir: Path, plain: bool = False, **wishes: Any) -> int:
    """Open the playground at this tab; `plain`: drawn with ASCII characters alone."""
    if _checked is not None:
        _checked.append(True)
        return 0
    in_browser = os.environ.get("TEXTUAL_DRIVER") == DRIVER
    if not in_browser and not (sys.stdin.isatty() and sys.stdout.isatty()):
        return refuse("the playground needs a terminal as standard input and output; run without a screen: dlplay ARCH --headless", USAGE)
    if os.environ.get("TERM", "") in ("", "dumb"):
        return refuse(
            f"the playground cannot draw on TERM={os.environ.get('TERM', '')!r}; run without a screen: dlplay ARCH --headless", USAGE
        )
    from dlplay.runs import launch

    launch.prepare(tab or next(iter(architectures.cards())))  # it imports while the screen does
    from dlplay.screen.app import PlaygroundApp

    app = PlaygroundApp(tab=tab, runs_dir=runs_dir, characters=_characters(plain), **wishes)
    app.run()
    return app.return_code or 0


def _characters(plain: bool) -> Characters:
    return "ascii" if plain else "console" if os.environ.get("TERM") == "linux" else "all"


@contextlib.contextmanager
def only_checked() -> Iterator[list[bool]]:
    """What opens a screen is only checked; an item in the list for each."""
    global _checked
    opened: list[bool] = []
    _checked = opened
    try:
        yield opened
    finally:
        _checked = None
