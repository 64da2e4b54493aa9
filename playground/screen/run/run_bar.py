"""One row on the state of the run: state, steps, speed, the newest values, the last checkpoint, or what is wrong."""

from __future__ import annotations

import dataclasses
import time

from textual import events
from textual.content import Content
from textual.widget import Widget

from dlplay.screen import numbers

STATES = {
    "empty": ("○", "no model", "$text-muted"),
    "opening": ("◌", "opening", "$text-muted"),
    "exploring": ("○", "ready", "$text-muted"),
    "starting": ("◌", "starting", "$text-warning"),
    "training": ("▶", "training", "$text-success"),
    "behind": ("▷", "reconnecting", "$text-warning"),
    "paused": ("‖", "paused", "$text-warning"),
    "finished": ("■", "finished", "$text-success"),
    "stopped": ("□", "stopped", "$text-warning"),
    "interrupted": ("□", "interrupted", "$text-warning"),
    "failed": ("✗", "failed", "$text-error"),
}
"""Glyph, word and colour of every state."""
ENDS = {"minutes": "time is up", "until": "goal reached"}
"""Words for a run that ended before its last step."""


@dataclasses.dataclass(frozen=True)
class RunBarState:
    """What the run bar shows."""

    state: str = "empty"
    name: str = ""
    """The run; empty when there is none."""
    phase: str = ""
    """What a run that is starting does just now."""
    beside: str = ""
    """What is done beside it, at the wish of a person who waits for it; up to its first comma where there is little room."""
    showing: str = ""
    """Without a run: the model that is shown, such as `gpt-reference (pretrained)`."""
    from_checkpoint: bool = False
    """Training starts from a checkpoint, not from scratch."""
    past: int | None = None
    """The step whose checkpoint answers; None: the model as it is now."""
    interventions: int = 0
    """How many are on while somebody looks."""
    step: int = 0
    steps: int | None = None
    steps_per_second: float = 0.0
    limit: float = 0.0
    """Steps per second at most; 0: no limit."""
    train: tuple[str, str] = ("", "")
    held_out: tuple[str, str] = ("", "")
    saved_at: float | None = None
    problem: str = ""
    reason: str = ""
    """Why it has ended."""


class RunBar(Widget):
    """Every number has a constant width, so that nothing moves while the numbers change."""

    DEFAULT_CSS = "RunBar { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.state = RunBarState()
        self._shown = ""

    def show(self, state: RunBarState) -> None:
        """Repaints only when something differs; the age of the last checkpoint counts."""
        self.state = state
        line = self.render()
        if line.plain != self._shown:
            self._shown = line.plain
            self.refresh()

    def render(self) -> Content:
        state, width = self.state, self.content_size.width
        glyph, word, colour = STATES.get(state.state, STATES["empty"])
        word = ENDS.get(state.reason, word) if state.state == "finished" else word
        parts: list[Content] = [Content.styled(f"{glyph} {word:<12}", colour)]
        if state.problem:
            return Content("  ").join([*parts, *self._beside(parts, width), Content.styled(state.problem, "$text-error")])
        touched = []
        if count := state.interventions:
            touched = [Content.styled(f"{count} intervention{'s' * (count > 1)} · T", "$text-warning")]
        past = [] if state.past is None else [Content.styled(f"◂ as of step {numbers.count(state.past)}", "$text-accent")]
        if state.name:
            parts[0] = Content.assemble(parts[0], (state.name, "bold"))
            parts += touched
            if state.phase:
                parts.append(Content.styled(f"{state.phase} …", "$text-warning"))
            parts += self._beside(parts, width)
            parts += past
            parts += self._numbers(state, width)
        else:
            parts += touched + past
            if state.phase:
                parts.append(Content.styled(f"{state.phase} …", "$text-warning"))
            parts += self._beside(parts, width)
            room = width - sum(part.cell_length + 2 for part in parts)
            texts = self._next_steps(state)
            parts.append(Content.styled(next((text for text in texts if len(text) <= room), texts[-1]), "$text-muted"))
        line = parts[0]
        for part in parts[1:]:
            if line.cell_length + 2 + part.cell_length <= width:
                line = Content.assemble(line, "  ", part)
        return line

    def _beside(self, parts: list[Content], width: int) -> list[Content]:
        """What is done beside the run, in the longest words that fit behind `parts`; nothing where nothing is."""
        if not (words := self.state.beside):
            return []
        room = width - sum(part.cell_length + 2 for part in parts)
        texts = [f"{words} …", f"{words.partition(',')[0]} …"]
        return [Content.styled(next((text for text in texts if len(text) <= room), texts[-1]), "$text-accent")]

    def _next_steps(self, state: RunBarState) -> list[str]:
        """Without a run: which model is shown and what the keys would do, longest text first."""
        showing = f"Showing: {state.showing} · " if state.showing else ""
        long, short = ("trains from these weights", "trains it further") if state.from_checkpoint else ("trains from scratch", "trains")
        return [
            f"{showing}F5 {long}, o opens a model or a run",
            f"{showing}F5 {long}, o opens",
            f"{showing}F5 {short}, o opens",
            f"{showing}F5 {short}",
            f"F5 {long}, o opens",
            f"F5 {short}",
        ]

    def _numbers(self, state: RunBarState, width: int) -> list[Content]:
        total = state.steps or 0
        total = total if total >= state.step else 0  # the next run may be a shorter one
        digits = len(numbers.count(max(total, state.step)))
        parts = [Content(f"{numbers.count(state.step):>{digits}}" + (f" / {numbers.count(total)}" if total else ""))]
        if total:
            cells = 10 if width < 120 else 20
            done = min(state.step / total, 1.0)
            full = int(done * cells)
            half = "╸" if done * cells - full >= 0.5 else ""
            parts.append(Content.assemble(("━" * full + half, "$primary"), ("─" * (cells - full - len(half)), "$text-muted")))
        for name, value in (state.held_out, state.train):
            if name:
                parts.append(Content.assemble((name + " ", "$text-muted"), (f"{value:>8}", "bold")))
        speed = numbers.rate(state.steps_per_second) if state.state == "training" else "–"
        limit = f" of {state.limit:,.0f}" if state.limit else ""
        parts.append(Content.assemble(f"{speed:>6}{limit}", (" steps/s", "$text-muted")))
        if state.saved_at is not None:
            parts.append(Content.styled(f"saved {numbers.ago(time.time() - state.saved_at):>6} ago", "$text-muted"))
        return parts

    async def on_click(self, event: events.Click) -> None:
        """A click on the state does what space does."""
        if event.x < 14:
            await self.app.run_action("train")
