"""The playground in a test: opened without a terminal and without processes, looked at as text, waited for by condition."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from textual.app import App
from textual.css.query import NoMatches
from textual.pilot import Pilot

from dlplay.lessons import progress
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.run.run_link import RunLink
from dlplay.screen.tab import ArchitectureTab

SECONDS = float(os.environ.get("SECS", "60"))
"""How long a condition may take to hold, unless a test knows better."""


async def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until `condition()` holds. It may ask for widgets that are not there yet."""

    def holds() -> bool:
        try:
            return bool(condition())
        except NoMatches:
            return False

    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def opened(
    runs_dir: Path, size: tuple[int, int] = (140, 42), *, explore: bool = False, first: bool = False, **wishes: Any
) -> AsyncIterator[tuple[PlaygroundApp, Pilot[None]]]:
    """The playground with its first tab on the screen, its focus set. `explore`: a shipped model is opened too, in a process of its own.
    `first`: it is the very first start of all."""
    focused: set[ArchitectureTab] = set()

    def focus_first(tab: ArchitectureTab, new: bool) -> None:
        focus(tab, new)
        tab.call_after_refresh(lambda: focused.add(tab))

    async def nothing(link: RunLink, origin: str = "") -> None:
        return None

    kept, focus = RunLink.explore, ArchitectureTab.focus_first
    ArchitectureTab.focus_first = focus_first  # type: ignore[method-assign]
    if not explore:
        RunLink.explore = nothing  # type: ignore[method-assign]
    try:
        if not first:
            progress.mark_welcomed(runs_dir / "config" / progress.FILE)
        app = PlaygroundApp(runs_dir=runs_dir, config_path=runs_dir / "config" / "screen.json", **wishes)
        async with app.run_test(size=size, notifications=True) as pilot:
            await until(lambda: app.opened in app.tabs)
            await until(lambda: "quit" in screen_text(app) or "columns and" in screen_text(app))
            if size[0] >= 122:
                await until(lambda: app.tab.form.region.width)
            await until(lambda: app.tab in focused)
            try:
                yield app, pilot
            except AssertionError:
                link = app.tab.link
                print(screen_text(app), app.screen_stack, app.focused, app.tab.page, link.state, link.model, link.run, link.past, sep="\n")
                raise
    finally:
        ArchitectureTab.focus_first = focus  # type: ignore[method-assign]
        RunLink.explore = kept  # type: ignore[method-assign]


def screen_text(app: App[Any]) -> str:
    """What stands on the screen, line by line."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines[: app.size.height])


def part_text(app: PlaygroundApp, selector: str) -> str:
    """What stands in the one part of the screen that `selector` finds, as running text."""
    found = app.screen.query(selector)
    if not found:
        return ""
    region = found.first().region
    lines = screen_text(app).splitlines()[region.y : region.bottom]
    return " ".join(" ".join(line[region.x : region.right] for line in lines).split())
