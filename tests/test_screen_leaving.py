"""What is answered while a stage or a screen is being taken away: its parts are gone before it is."""

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import Static

from dlplay.engine.card import Card
from dlplay.engine.panels import AnyPanel
from dlplay.screen.dialogs.dialog import Modal
from dlplay.screen.recent_runs import RecentRuns
from dlplay.screen.stages.environment.stage import EnvironmentStage
from dlplay.screen.stages.pad import PadStage
from dlplay.screen.stages.plane import PlaneStage
from dlplay.screen.stages.prompt.stage import PromptStage
from tests.stage_pilot import Asked, StageApp, until
from tests.test_stages import PAD, PROMPT, Model
from tests.test_stages_actions import ENVIRONMENT, PLANE, Maker, World


class Late:
    """Answers as `model` does, once the stage has no parts left."""

    def __init__(self, model: Asked) -> None:
        self.model, self.asked = model, False
        self.stage: Widget | None = None
        self.answered = False

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel:
        self.asked = True
        while self.stage is None or self.stage.children:
            await asyncio.sleep(0)
        self.answered = True
        return await self.model.ask(panel, options)


@pytest.mark.parametrize(
    ("kind", "card", "model"),
    [(PlaneStage, PLANE, Maker), (PadStage, PAD, Model), (EnvironmentStage, ENVIRONMENT, World), (PromptStage, PROMPT, Model)],
)
async def test_an_answer_to_a_stage_without_parts_is_dropped(kind: type[Any], card: Card, model: Callable[[], Asked]) -> None:
    late = Late(model())
    app = StageApp(kind, card, late)
    async with app.run_test(size=(100, 20)) as pilot:
        late.stage = app.stage
        await until(pilot, lambda: late.asked, "a question")
        await app.stage.remove()
        await pilot.pause()
        assert not late.answered


@pytest.mark.filterwarnings("error")
async def test_work_that_is_cancelled_before_it_begins_ends_without_a_word(tmp_path: Path) -> None:
    """A coroutine that nobody awaits warns once it is collected."""

    class Listing(App[None]):
        def compose(self) -> ComposeResult:
            yield RecentRuns(PAD, tmp_path)

    app = Listing()
    async with app.run_test() as pilot:
        runs = app.query_one(RecentRuns)
        await until(pilot, lambda: runs.size.height > 0, "a size")
        runs.poll("", "another state")
        assert runs.workers.cancel_node(runs)
    gc.collect()


class Reader(Modal[None]):
    """Reads something, and shows it."""

    def compose(self) -> ComposeResult:
        yield Static("reading", id="read")

    def on_mount(self) -> None:
        self.begin(self._read, "read")

    async def _read(self) -> None:
        while self.children:
            await asyncio.sleep(0)
        self.query_one("#read", Static).update("read")


async def test_a_screen_that_is_dismissed_reads_no_further() -> None:
    app = App[None]()
    async with app.run_test() as pilot:
        reader = Reader()
        await app.push_screen(reader)
        await pilot.pause()
        reader.dismiss()
        await until(pilot, lambda: not reader.is_attached, "it is gone")
