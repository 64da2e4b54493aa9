"""The playground under keys, clicks and window sizes drawn at random while a run trains: nothing breaks, nothing of another tab is left."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import unicodedata
from pathlib import Path

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher

from dlplay.runs import directory
from dlplay.runs.lock import holder
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.keys import ACTIONS
from tests.screen_pilot import opened, until

QUICK = {"steps": 10**6, "batch": 8, "channels": "2", "eval_every": 50, "save_every": 50, "threads": 1}
TABS = [">", "<", "ctrl+right", "ctrl+left"]
MOVES = ["up", "down", "left", "right", "tab", "shift+tab", "enter", "escape", "pageup", "pagedown", "home", "end"]
NAMED = [key for action in ACTIONS for key in action.key.split(",") if action.name != "quit"]
TYPED = list("0123456789abcdeghilmnoprstuvwxyz,.[]{}/? +-*")
SIZES = [(140, 42), (80, 24), (111, 30), (60, 14), (40, 10)]
PAUSES = [0.0, 0.0, 0.01, 0.05, 0.3]
"""Seconds between two keys: some come before the last one was answered, some when a tab is half built."""


async def walk(app: PlaygroundApp, pilot: Pilot[None], seed: int, count: int) -> None:
    """Press `count` keys, without waiting until they are answered."""
    pen = random.Random(seed)
    keys = [*TABS * 8, *MOVES * 3, *NAMED, *TYPED]
    for _ in range(count):
        if app._exit:
            return
        chance = pen.random()
        if chance < 0.03:
            await pilot.resize_terminal(*pen.choice(SIZES))
        elif chance < 0.08:
            place = pen.randrange(app.size.width), pen.randrange(app.size.height)
            for kind in (events.MouseDown, events.MouseUp):
                app.post_message(kind(None, *place, 0, 0, 1, False, False, False, *place))
        else:
            key = pen.choice(keys)
            key = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
            app.post_message(events.Key(key, _character(key)))
        await asyncio.sleep(pen.choice(PAUSES))
    await until(lambda: app._exit or not app._typed)


def _character(key: str) -> str | None:
    if len(key) == 1:
        return key
    try:
        return unicodedata.lookup(key.upper().replace("_", " "))
    except KeyError:
        return " " if key == "space" else None


async def settled(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """Out of every dialog, with the tab on the screen that was asked for last, and nothing of another one."""
    await pilot.resize_terminal(140, 42)
    while len(app.screen_stack) > 1:
        above = app.screen
        await pilot.press("escape")
        await until(lambda above=above: app.screen is not above)  # type: ignore[misc]
    await until(lambda: app.opened in app.tabs and app.query_one(ContentSwitcher).current == f"tab-{app.opened}")
    tab = app.tab
    await until(lambda: [other.card.name for other in app.tabs.values() if other.display] == [app.opened])
    await until(lambda: app._tab_bar.active == app.opened)
    await until(lambda: all(part is None or tab in part.ancestors for part in (app.screen.maximized, app.screen.focused)), 10)
    await until(lambda: tab._run_bar.state == tab.run_bar_state())


async def ended(app: PlaygroundApp) -> None:
    """Every run that was started."""
    for name in directory.names(app.runs_dir):
        held = holder(app.runs_dir / name / "lock")
        if held is not None and held.pid > 1:
            os.kill(held.pid, signal.SIGKILL)


async def trained_and_walked(folder: Path, seed: int, count: int) -> None:
    async with opened(folder, tab="convnet", settings=QUICK) as (app, pilot):
        try:
            await pilot.press("space")
            await until(lambda: app.tab.link.history.step > 20)
            await walk(app, pilot, seed, count)
            if not app._exit:
                await settled(app, pilot)
        finally:
            await ended(app)


@pytest.mark.parametrize(("seed", "keys"), [(1, 60), pytest.param(2, 100, marks=pytest.mark.slow)])
async def test_random_keys_while_a_run_trains(tmp_path: Path, seed: int, keys: int) -> None:
    await trained_and_walked(tmp_path, seed, keys)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.long if seed > 101 else pytest.mark.slow) for seed in range(100, 104)]
)
async def test_random_keys_for_minutes(tmp_path: Path, seed: int) -> None:
    await trained_and_walked(tmp_path, seed, 800)
