"""`dlplay`: the playground on the screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from dlplay.commands.parameters import USAGE, Rooms, RunsDir, refuse
from dlplay.runs import directory


def playground(*, runs_dir: RunsDir = None, rooms: Rooms = None) -> int:
    """Open the playground."""
    return open_screen(tab=None, runs_dir=directory.default_runs_dir(runs_dir))


def open_screen(*, tab: str | None, runs_dir: Path, **wishes: Any) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return refuse("the playground needs a terminal as standard input and output; run without a screen: dlplay ARCH --headless", USAGE)
    if os.environ.get("TERM", "") in ("", "dumb"):
        return refuse(
            f"the playground cannot draw on TERM={os.environ.get('TERM', '')!r}; run without a screen: dlplay ARCH --headless", USAGE
        )
    from dlplay.screen.app import PlaygroundApp

    app = PlaygroundApp(tab=tab, runs_dir=runs_dir, **wishes)
    app.run()
    return app.return_code or 0
