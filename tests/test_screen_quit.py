"""The keys that quit, which work everywhere: over a tab, in a line of text and in every dialog."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlplay.screen.dialogs.dialog import Modal
from dlplay.screen.dialogs.quit import QuitDialog
from tests.screen_pilot import opened, until


@pytest.mark.parametrize("key", ["ctrl+q", "f10"])
@pytest.mark.parametrize("dialog", ["T", "f1", "f4", "o", "n", "ctrl+p"])
async def test_they_quit_from_a_dialog(tmp_path: Path, dialog: str, key: str) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        await pilot.press(dialog)
        await until(lambda: len(app.screen_stack) == 2 and app.screen.is_current)
        await pilot.press(key)
        await until(lambda: app._exit)


async def test_while_something_trains_they_ask_once_and_a_second_time_is_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, tab="convnet") as (app, pilot):
        monkeypatch.setattr(type(app.tab.link), "busy", property(lambda link: True))
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, Modal) and app.screen.is_current)
        await pilot.press("ctrl+q")
        await until(lambda: isinstance(app.screen, QuitDialog))
        await pilot.press("ctrl+q")
        await until(lambda: len(app.screen_stack) == 2)
        assert not app._exit
        await pilot.press("f10")
        await until(lambda: isinstance(app.screen, QuitDialog))
        assert len(app.screen_stack) == 3
        await pilot.press("k")
        await until(lambda: app._exit)
