"""From tab to tab: those that are passed by are not built, and keys for a tab that is still opening wait for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from textual import events
from textual.widgets import ContentSwitcher, Input
from textual.worker import WorkerState

from dlplay.screen import app as app_module
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.run.controls import RunControls
from tests.screen_pilot import opened, screen_text, until


def typed(app: PlaygroundApp, *keys: str) -> None:
    """Without waiting until they are answered."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


def slow_to_build(app: PlaygroundApp, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """No tab is built before this event is set."""
    may, build = asyncio.Event(), app._build_tab

    async def slowly(name: str, switcher: ContentSwitcher) -> None:
        await may.wait()
        await build(name, switcher)

    monkeypatch.setattr(app, "_build_tab", slowly)
    return may


async def test_tabs_that_are_passed_by_are_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        names = list(app.cards)
        passed, last = ((names.index("convnet") + by) % len(names) for by in (6, 7))
        monkeypatch.setattr(app_module, "REST_SECONDS", 3600.0)
        typed(app, *["ctrl+pagedown"] * 6)
        await until(lambda: app._tab_bar.active == names[passed])
        assert list(app.tabs) == ["convnet"]  # the tab bar does not wait
        monkeypatch.setattr(app_module, "REST_SECONDS", 0.15)
        await pilot.press("ctrl+pagedown")
        await until(lambda: names[last] in app.tabs and app.tab.display)
        assert list(app.tabs) == ["convnet", names[last]]
        monkeypatch.setattr(app_module, "REST_SECONDS", 3600.0)
        await pilot.press(*["ctrl+pageup"] * 7)
        await until(lambda: app.opened == "convnet" and app.tab.display)
        assert list(app.tabs) == ["convnet", names[last]]


async def test_a_worker_that_wakes_while_the_screen_is_taken_down_ends_without_a_word(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet") as (app, _):
        await app.screen_stack[0].remove_children()
        app.opened = "gpt"
        worker = app._show_tab("gpt", 0.0)
        await until(lambda: worker.is_finished)
        assert worker.state is WorkerState.ERROR
        assert app._exception is None


async def test_a_tab_that_was_built_is_shown_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await pilot.press("ctrl+pagedown")
        await until(lambda: len(app.tabs) == 2 and app.tab.display)
        monkeypatch.setattr(app_module, "REST_SECONDS", 3600.0)
        await pilot.press("ctrl+pageup")
        await until(lambda: app.opened == "convnet" and app.tab.display)
        await pilot.press("alt+9")  # nothing is passed by
        await until(lambda: app.opened == list(app.cards)[8] and app.opened in app.tabs and app.tab.display)


async def test_keys_wait_for_the_tab_that_they_are_meant_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        line = next(iter(app.tab.stage.query(Input)))
        await pilot.press("slash")
        await until(lambda: app.focused is line)
        before, may = line.value, slow_to_build(app, monkeypatch)
        typed(app, "alt+8", "slash", "a", "q")
        await until(lambda: app._held and len(app._typed) == 3)
        typed(app, "ctrl+c")
        await until(lambda: "ctrl+q quits" in screen_text(app))  # that waits for nothing
        may.set()
        await until(lambda: "bert" in app.tabs and app.tab.display)
        written = next(iter(app.tabs["bert"].stage.query(Input)))
        await until(lambda: app.focused is written and written.value.endswith("aq"))
        assert line.value == before
        assert len(app.screen_stack) == 1


async def test_keys_that_follow_each_other_act_on_the_tabs_where_they_were_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    async def train(controls: RunControls) -> None:
        trained.append(controls.link.card.name)

    monkeypatch.setattr(RunControls, "train", train)
    async with opened(tmp_path, tab="convnet") as (app, _):
        names = list(app.cards)
        at = names.index("convnet")
        typed(app, "ctrl+pagedown", "f5", "ctrl+pagedown", "ctrl+pagedown", "f5")
        await until(lambda: len(trained) == 2)
        assert trained == [names[at + 1], names[at + 3]]
        assert list(app.tabs) == ["convnet", *trained]


async def test_a_dialog_that_comes_up_meanwhile_gets_no_key_that_was_meant_for_the_tab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        left, may = app.tab, slow_to_build(app, monkeypatch)
        typed(app, "alt+8", "escape")
        await until(lambda: app._held)
        left.problem("The run was interrupted", "it was killed", "")
        await until(lambda: "it was killed" in screen_text(app))
        may.set()
        await until(lambda: "bert" in app.tabs and not app._typed)
        assert len(app.screen_stack) == 2
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)


async def test_no_key_overtakes_the_one_before_it_while_the_screen_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="convnet") as (app, _):
        may, loop = slow_to_build(app, monkeypatch), asyncio.get_running_loop()

        def busy(turns: int) -> None:
            time.sleep(0.1)
            if turns:
                loop.call_soon(busy, turns - 1)

        typed(app, "alt+8", "escape")
        busy(20)
        await until(lambda: app._held, 5)  # the second waits for the tab that the first one opens
        may.set()
        await until(lambda: "bert" in app.tabs and not app._typed)
