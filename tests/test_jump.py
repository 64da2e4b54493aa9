"""Jump mode: every pane has a letter, and the next key goes there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual._compositor import LayoutUpdate
from textual._context import visible_screen_stack
from textual.widgets import Input

from dlplay import architectures
from dlplay.screen import changed_cells
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.changed_cells import ChangedCells
from dlplay.screen.jump import OTHERS, JumpScreen, Label, panes
from dlplay.screen.runs.screen import RunsScreen
from tests.screen_pilot import opened, screen_text, until


async def jump(app: PlaygroundApp) -> str:
    """Press f3; what stands on the screen then."""
    app.post_message(events.Key("f3", None))
    await until(lambda: isinstance(app.screen, JumpScreen) and app.screen.query(Label))
    await until(lambda: all(label.region.area for label in app.screen.query(Label)))
    visible_screen_stack.set(app._background_screens)  # the tab below shows through
    return screen_text(app)


async def laid_out(app: PlaygroundApp) -> None:
    """The panels are where they stay."""
    tab = app.tab
    await until(lambda: not tab._page_to_focus and app.focused is not None)
    below = tab.below
    await until(lambda: not below or tab.paged or not {*below.visible_panels()} & {*tab.inspector.panels})
    await until(
        lambda: all(view.region.area for part in tab.inspectors if part.region.area for view in part._views.values() if view.display)
    )


@pytest.mark.parametrize(
    ("size", "labels"),
    [
        ((140, 42), ("sSettings", "tDraw", "cLoss", "yAccuracy", "bForward pass", "dKernels", "eFeature maps", "rRuns")),
        ((220, 60), ("sSettings", "tDraw", "cLoss", "yAccuracy", "bForward pass", "dKernels", "rRuns")),
        ((80, 24), ("tDraw", "c Curves", "i Inspect", "s Settings", "r runs")),
    ],
)
async def test_every_pane_has_a_letter_that_goes_there(tmp_path: Path, size: tuple[int, int], labels: tuple[str, ...]) -> None:
    async with opened(tmp_path, size, tab="convnet") as (app, pilot):
        await laid_out(app)
        text = await jump(app)
        for label in labels:
            assert label in text
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        wanted = {"t": "ActionStage", "c": "ChartColumn", "s": "SettingsForm", "b": "PanelView", "d": "PanelView", "e": "PanelView"}
        wanted |= {"i": "Inspector"} if "i Inspect" in text else {}
        for letter, kind in wanted.items():
            if (pane := next((pane for pane in panes(app.tab, print) if pane.letter == letter), None)) is None:
                assert letter in "bde"  # panels that do not fit, and that no title names
                continue
            await jump(app)
            await pilot.press(letter)
            await until(lambda kind=kind: app.focused and any(kind in node._css_type_names for node in app.focused.ancestors_with_self))  # type: ignore[misc]
            if kind == "PanelView":
                await until(
                    lambda pane=pane: (
                        pane.title in {getattr(node, "card", None) and node.card.title for node in app.focused.ancestors_with_self}
                    )
                )  # type: ignore[misc, union-attr]
        await jump(app)
        await pilot.press("r")
        await until(lambda: isinstance(app.screen, RunsScreen))


async def test_it_works_in_a_line_of_text_and_types_nothing_there(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await laid_out(app)
        line = next(iter(app.tab.stage.query(Input)))
        await pilot.press("slash")
        await until(lambda: app.focused is line and "f3 jump" in screen_text(app).splitlines()[-1])
        value = line.value
        for key in ("f3", "s", "down"):  # without waiting between them
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(lambda: app.focused is app.tab.form.query_one("#form-scroll") and app.tab.form.cursor == 1)
        assert line.value == value


async def test_escape_and_every_key_without_a_pane_change_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await laid_out(app)
        focused = app.focused
        await jump(app)
        await pilot.press("7", "space", "z")
        assert isinstance(app.screen, JumpScreen)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        assert app.focused is focused


async def test_a_label_can_be_clicked_and_leaves_when_the_window_changes(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await laid_out(app)
        await jump(app)
        place = next(label.region.offset for label in app.screen.query(Label) if label.pane.letter == "c")
        await pilot.click(offset=place)
        await until(lambda: len(app.screen_stack) == 1 and app.focused and "LineChart" in app.focused._css_type_names)
        await jump(app)
        await pilot.resize_terminal(100, 30)
        await until(lambda: len(app.screen_stack) == 1)


async def test_of_the_window_only_the_labels_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, bool]] = []

    class Recorded(ChangedCells):
        def __init__(self, *arguments: Any, whole: bool) -> None:
            super().__init__(*arguments, whole=whole)
            if isinstance(self.update, LayoutUpdate):
                drawn.append((type(app.screen).__name__, whole))

    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await laid_out(app)
        monkeypatch.setattr(changed_cells, "ChangedCells", Recorded)
        await jump(app)
        await pilot.press("escape")
        await until(lambda: drawn and drawn[-1][0] == "MainScreen")
        await pilot.pause()
        assert {whole for _, whole in drawn} == {False}
        await pilot.press("f1")
        await until(lambda: ("HelpScreen", True) in drawn)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        app.refresh(layout=True)
        await until(lambda: drawn[-1] == ("MainScreen", False))
        app.post_message(events.Resize(app.size, app.size))  # from the driver, as the process goes on after it was stopped
        await until(lambda: drawn[-1] == ("MainScreen", True))


async def test_a_part_that_fills_the_window_gives_way(tmp_path: Path) -> None:
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await laid_out(app)
        await pilot.press("m")
        await until(lambda: app.screen.maximized is not None)
        assert "sSettings" in await jump(app)


async def test_where_there_is_no_pane_there_is_no_jump(tmp_path: Path) -> None:
    async with opened(tmp_path, (50, 12), tab="convnet") as (app, pilot):
        await until(lambda: "columns and" in screen_text(app))
        assert "jump" not in [active.binding.action for active in app.screen.active_bindings.values() if active.enabled]
        await pilot.press("f3")
        assert len(app.screen_stack) == 1


def test_there_are_letters_for_every_pane_of_every_architecture() -> None:
    assert not set(OTHERS) & set("tcisrn")
    for card in architectures.cards().values():
        assert len(card.panels) + len(card.all_charts) <= len(OTHERS), card.name


async def test_panes_for_which_no_letter_is_left_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room of somebody else's may have more panels and charts than there are letters."""
    monkeypatch.setattr("dlplay.screen.jump.OTHERS", "a")
    monkeypatch.setattr("dlplay.screen.jump.CHARTS", "")
    async with opened(tmp_path, tab="gpt") as (app, pilot):
        await laid_out(app)
        await jump(app)
        assert isinstance(app.screen, JumpScreen)
        assert {pane.letter for pane in app.screen._panes.values()} == {"t", "c", "s", "r"}, "the first panel stands on the stage"
        await pilot.press("c")
        await until(lambda: app.focused and "LineChart" in app.focused._css_type_names)
