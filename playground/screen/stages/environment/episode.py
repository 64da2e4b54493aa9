"""Watching an agent, or playing in its place. One request is in flight at a time; the next is sent once it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import Any, Literal, Protocol

from dlplay.engine.panels import AnyPanel, Frame
from dlplay.runs.client import RunError
from dlplay.screen.stages.stage import Act

Speed = Literal["single step", "slow", "real time", "fast"]
SPEEDS: tuple[Speed, ...] = ("single step", "slow", "real time", "fast")

SLOW_SECONDS = 0.25
"""Between two steps at the slow speed."""
FRAME_SECONDS = 0.05
"""Between two frames in real time; a faster environment takes several steps from one to the next."""
FAST_SECONDS = 0.12
"""Between two frames at full speed; the environment takes as many steps between them as it can."""
DEFAULT_FPS = 10.0
"""Steps per second in real time, for an environment that has no frame rate of its own."""
END_SECONDS = 1.0
"""How long the end of an episode is shown before the next one begins, except at full speed."""
IDLE_SECONDS = 0.1
"""Between two checks whether the frame can be seen again."""
MAX_STEPS = 1_000
MAX_KEYS = 3
"""Key presses that may wait: a key that was held down must not go on acting long after it was released."""


class Viewer(Protocol):
    """Shows the episode."""

    act: Act | None
    """Does an action; None while no model can."""

    def ready(self) -> bool:
        """Whether the next frame would be seen, and the terminal has accepted the last one."""

    def request_options(self, extra: dict[str, Any]) -> dict[str, Any]:
        """The options of a request, `extra` among them."""

    def stepped(self, panel: AnyPanel | None) -> None:
        """A request was answered with this."""

    def stopped(self, why: str) -> None:
        """A request was refused."""


class Episode:
    """Continues an episode for a `viewer`: with the action `advance` while it is watched, with `take` when a person plays."""

    def __init__(self, viewer: Viewer, advance: str, take: str) -> None:
        self.viewer = viewer
        self.advance, self.take = advance, take
        self.speed: Speed = "slow"
        self.watching = False
        self.fps = 0.0
        """The environment's own frame rate, as the last frame says; 0: none."""
        self.max_steps = MAX_STEPS
        self._single_steps = 0
        self._actions: deque[int] = deque()
        self._wake = asyncio.Event()
        self._running = False
        self._steps = 8
        """Steps of the next request at full speed."""
        self._last = 0.0
        """When the last request in real time was sent; 0: none."""

    # --- what a person does -------------------------------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Start or stop watching; in single steps, take one step."""
        if self.speed == "single step":
            self.watching = False
            self._single_steps = min(self._single_steps + 1, MAX_KEYS)
        else:
            self.watching = not self.watching
        self._wake.set()

    def set_speed(self, speed: Speed) -> None:
        """Change the speed."""
        self.speed = speed
        if speed == "single step":
            self.watching = False
        self._last = 0.0
        self._wake.set()

    def take_action(self, action: int) -> None:
        """Take this action in the agent's place, and stop watching."""
        self.watching = False
        if len(self._actions) < MAX_KEYS:
            self._actions.append(action)
        self._wake.set()

    @property
    def has_work(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._actions or self._single_steps or self.watching)

    # --- doing it -----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until there is nothing to do. Does nothing if it is running already."""
        if self._running:
            return
        self._running = True
        try:
            while self.has_work:
                act = self.viewer.act
                if act is None or not self.viewer.ready():
                    if not self.watching:
                        self._clear()
                    await asyncio.sleep(IDLE_SECONDS)
                    self._last = 0.0
                    continue
                began = time.monotonic()
                name, extra, urgent = self._next(began)
                try:
                    panel = await act(name, self.viewer.request_options(extra), urgent=urgent)
                except (RunError, OSError) as error:
                    if act is self.viewer.act:  # otherwise another process answers from now on
                        self._clear()
                        self.watching = False
                        self.viewer.stopped(str(error))
                    continue
                self.viewer.stepped(panel)
                await self._rest(began, panel)
        finally:
            self._running = False

    def _clear(self) -> None:
        self._actions.clear()
        self._single_steps = 0

    def _next(self, now: float) -> tuple[str, dict[str, Any], bool]:
        """Name, options and urgency of the next request."""
        if self._actions:
            return self.take, {"action": self._actions.popleft()}, True
        if self._single_steps:
            self._single_steps -= 1
            return self.advance, {"steps": 1}, True
        if self.speed == "fast":
            return self.advance, {"steps": min(self._steps, self.max_steps)}, False
        if self.speed == "real time":
            due = (now - self._last) * (self.fps or DEFAULT_FPS) if self._last else 1.0
            self._last = now
            return self.advance, {"steps": max(1, min(round(due), 10, self.max_steps))}, True
        return self.advance, {"steps": 1}, False

    async def _rest(self, began: float, panel: AnyPanel | None) -> None:
        """Wait until the next request is due, or a person does something."""
        took = time.monotonic() - began
        ended = isinstance(panel, Frame) and panel.ended
        if isinstance(panel, Frame):
            self.fps = panel.fps
        wait = SLOW_SECONDS
        if self.speed == "fast":
            wait, ended = FAST_SECONDS, False
            self._steps = max(
                1, min(self._steps * 2 if took < FAST_SECONDS / 2 else self._steps // 2 if took > FAST_SECONDS else self._steps, MAX_STEPS)
            )
        elif self.speed == "real time":
            wait = max(FRAME_SECONDS, 1 / (self.fps or DEFAULT_FPS))
        if ended and self.watching:
            wait = END_SECONDS
            self._last = 0.0
        self._wake.clear()
        if self.watching and not self._actions and not self._single_steps and wait > took:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait - took)
