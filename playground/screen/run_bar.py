"""One row that says how the run stands: state, steps, speed, the newest numbers, the last checkpoint, what holds it up."""

from __future__ import annotations

import dataclasses
import time

from textual import events
from textual.content import Content
from textual.widget import Widget

from dlplay.screen import numbers

STATES = {
    "empty": ("○", "nothing yet", "$foreground 60%"),
    "opening": ("◌", "opening", "$foreground 60%"),
    "exploring": ("○", "ready", "$foreground 60%"),
    "starting": ("◌", "starting", "$text-warning"),
    "training": ("▶", "training", "$text-success"),
    "paused": ("‖", "paused", "$text-warning"),
    "finished": ("■", "finished", "$text-success"),
    "stopped": ("□", "stopped", "$text-warning"),
    "interrupted": ("□", "interrupted", "$text-warning"),
    "failed": ("✗", "failed", "$text-error"),
}
"""Glyph, word and colour of every state."""


@dataclasses.dataclass(frozen=True)
class Standing:
    """What the run bar shows."""

    state: str = "empty"
    name: str = ""
    looking_at: str = ""
    """What can be asked while there is no run."""
    trains_on: bool = False
    """Training begins with these weights, not with fresh ones."""
    step: int = 0
    steps: int | None = None
    steps_per_second: float = 0.0
    limit: float = 0.0
    """Steps per second that training is held down to; 0: no limit."""
    train: tuple[str, str] = ("", "")
    held_out: tuple[str, str] = ("", "")
    saved_at: float | None = None
    problem: str = ""


class RunBar(Widget):
    """Everything of constant width, so that nothing jumps while the numbers change."""

    DEFAULT_CSS = "RunBar { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.standing = Standing()
        self._shown = ""

    def show(self, standing: Standing) -> None:
        """Repaints only when something differs, the age of the last checkpoint included."""
        self.standing = standing
        line = self.render()
        if line.plain != self._shown:
            self._shown = line.plain
            self.refresh()

    def render(self) -> Content:
        standing, width = self.standing, self.content_size.width
        glyph, word, colour = STATES.get(standing.state, STATES["empty"])
        parts: list[Content] = [Content.styled(f"{glyph} {word:<12}", colour)]
        if standing.problem:
            parts.append(Content.styled(standing.problem, "$text-error"))
            return Content("  ").join(parts)
        if standing.name:
            parts[0] = Content.assemble(parts[0], (standing.name, "bold"))
            parts += self._numbers(standing, width)
        else:
            looking = f"{standing.looking_at} answers; " if standing.looking_at else ""
            begin = ("trains on from these weights", "trains on") if standing.trains_on else ("trains from fresh weights", "trains afresh")
            words = [f"{looking}space {begin[0]}, o opens a model or a run", f"{looking}space {begin[1]}, o opens"]
            room = width - parts[0].cell_length - 2
            parts.append(Content.styled(next((text for text in words if len(text) <= room), words[-1]), "$foreground 60%"))
        line = parts[0]
        for part in parts[1:]:
            if line.cell_length + 2 + part.cell_length <= width:
                line = Content.assemble(line, "  ", part)
        return line

    def _numbers(self, standing: Standing, width: int) -> list[Content]:
        total = standing.steps or 0
        digits = len(numbers.count(max(total, standing.step)))
        parts = [Content(f"{numbers.count(standing.step):>{digits}}" + (f" / {numbers.count(total)}" if total else ""))]
        if total:
            cells = 10 if width < 120 else 20
            done = min(standing.step / total, 1.0)
            full = int(done * cells)
            half = "╸" if done * cells - full >= 0.5 else ""
            parts.append(Content.assemble(("━" * full + half, "$primary"), ("─" * (cells - full - len(half)), "$foreground 40%")))
        for name, value in (standing.held_out, standing.train):
            if name:
                parts.append(Content.assemble((name + " ", "$foreground 60%"), (f"{value:>8}", "bold")))
        speed = numbers.rate(standing.steps_per_second) if standing.state == "training" else "–"
        limit = f" of {standing.limit:,.0f}" if standing.limit else ""
        parts.append(Content.assemble(f"{speed:>6}{limit}", (" steps/s", "$foreground 60%")))
        if standing.saved_at is not None:
            parts.append(Content.styled(f"saved {numbers.ago(time.time() - standing.saved_at):>6} ago", "$foreground 60%"))
        return parts

    async def on_click(self, event: events.Click) -> None:
        """A click on the state is the key for it."""
        if event.x < 14:
            await self.app.run_action("train")
