"""A stage on a screen of its own, over a model that is made up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from dlplay.engine.card import ActionCard, Card, PanelCard, Stage
from dlplay.engine.panels import AnyPanel
from dlplay.engine.settings import Settings
from dlplay.screen.stages.stage import ActionStage
from tests.screen_pilot import SECONDS


def card_of(stage: Stage, *panels: PanelCard, actions: tuple[ActionCard, ...] = ()) -> Card:
    """A card with nothing but a stage."""
    return Card("made-up", "Made up", "", Settings, "nowhere:Nothing", "loss", "lower", (), panels, stage, actions)


class Asked(Protocol):
    """A model that answers questions."""

    async def ask(self, panel: str, options: dict[str, Any]) -> AnyPanel: ...


class StageApp(App[None]):
    """One stage; keeps what it tells. A model that can `act` is told to as well."""

    def __init__(self, kind: type[Any], card: Card, model: Asked | None) -> None:
        super().__init__()
        self.options: dict[str, Any] = {}
        self.kind, self.card = kind, card
        self.model = model
        self.told: list[dict[str, Any]] = []
        self.chosen: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.kind(self.card, self.options)

    @property
    def stage(self) -> Any:
        return self.query_one(self.kind)

    def on_mount(self) -> None:
        if self.model is not None:
            self.stage.act = getattr(self.model, "act", None)
            self.stage.ask = self.model.ask

    def on_action_stage_options_changed(self, event: ActionStage.OptionsChanged) -> None:
        self.told.append(event.values)

    def on_action_stage_action_chosen(self, event: ActionStage.ActionChosen) -> None:
        self.chosen.append(event.name)


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await pilot.pause(0.01)


def message(app: StageApp) -> str:
    """The stage's message line."""
    line = app.query_one(".message", Static)
    return str(line.content) if line.display else ""


def stage_text(app: StageApp) -> str:
    """What stands on the screen, line by line."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines[: app.size.height])
