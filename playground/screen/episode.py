"""Watching an agent, or acting in its place: one request is under way at a time, and the next is sent when it was answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import Any, Literal, Protocol

from dlplay.engine.panels import AnyPanel, Frame
from dlplay.runs.client import RunError
from dlplay.screen.stage import Act

Speed = Literal["single step", "slow", "real time", "fast"]
SPEEDS: tuple[Speed, ...] = ("single step", "slow", "real time", "fast")

SLOW_SECONDS = 0.25
"""Between two steps at the slow speed."""
FRAME_SECONDS = 0.05
"""Between two pictures in real time; an environment that is quicker takes several steps from one to the next."""
FAST_SECONDS = 0.12
"""Between two pictures as fast as it goes; as many steps lie between as can be taken."""
OWN_FPS = 10.0
"""Steps a second in real time, of an environment that has no time of its own."""
END_SECONDS = 1.0
"""How long the end of an episode is seen before the next one begins, except as fast as it goes."""
IDLE_SECONDS = 0.1
"""Between two looks whether anybody can see the picture again."""
MOST_STEPS = 1_000
MOST_KEYS = 3
"""Keys that may wait: one that is held down must not go on acting long after it was let go."""


class Viewer(Protocol):
    """Who looks on."""

    act: Act | None
    """How an action is done; None while nobody can do it."""

    def ready(self) -> bool:
        """Whether the next picture would be seen, and the last one is through."""

    def request(self, extra: dict[str, Any]) -> dict[str, Any]:
        """The options of a request, `extra` among them."""

    def shown(self, panel: AnyPanel | None) -> None:
        """What the request was answered with."""

    def stopped(self, words: str) -> None:
        """It cannot go on, and why."""


class Episode:
    """Carries an episode on, for a `viewer`: with the action `advance` while it is watched, with `take` when a person acts."""

    def __init__(self, viewer: Viewer, advance: str, take: str) -> None:
        self.viewer = viewer
        self.advance, self.take = advance, take
        self.speed: Speed = "slow"
        self.watching = False
        self.fps = 0.0
        """Steps a second of the environment's own time, as the last picture says."""
        self.most_steps = MOST_STEPS
        self._singles = 0
        self._keys: deque[int] = deque()
        self._hurry = asyncio.Event()
        self._running = False
        self._steps = 8
        """Steps of the next request as fast as it goes."""
        self._last = 0.0

    # --- what a person does -------------------------------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Watch, or stop; at single step: one step."""
        if self.speed == "single step":
            self.watching = False
            self._singles = min(self._singles + 1, MOST_KEYS)
        else:
            self.watching = not self.watching
        self._hurry.set()

    def choose(self, speed: Speed) -> None:
        """Another speed."""
        self.speed = speed
        if speed == "single step":
            self.watching = False
        self._last = 0.0
        self._hurry.set()

    def press(self, action: int) -> None:
        """Take this action; whoever acts does not watch."""
        self.watching = False
        if len(self._keys) < MOST_KEYS:
            self._keys.append(action)
        self._hurry.set()

    @property
    def wanted(self) -> bool:
        """Whether anything is to be done."""
        return bool(self._keys or self._singles or self.watching)

    # --- doing it -----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Do what is wanted until nothing is; harmless when it is being done already."""
        if self._running:
            return
        self._running = True
        try:
            while self.wanted:
                act = self.viewer.act
                if act is None or not self.viewer.ready():
                    if not self.watching:
                        self._forget()
                    await asyncio.sleep(IDLE_SECONDS)
                    self._last = 0.0
                    continue
                began = time.monotonic()
                name, extra, urgent = self._next(began)
                try:
                    panel = await act(name, self.viewer.request(extra), urgent=urgent)
                except (RunError, OSError) as error:
                    if act is self.viewer.act:  # otherwise another process answers from now on
                        self._forget()
                        self.watching = False
                        self.viewer.stopped(str(error))
                    continue
                self.viewer.shown(panel)
                await self._rest(began, panel)
        finally:
            self._running = False

    def _forget(self) -> None:
        self._keys.clear()
        self._singles = 0

    def _next(self, now: float) -> tuple[str, dict[str, Any], bool]:
        """Name, options and urgency of the next request."""
        if self._keys:
            return self.take, {"action": self._keys.popleft()}, True
        if self._singles:
            self._singles -= 1
            return self.advance, {"steps": 1}, True
        if self.speed == "fast":
            return self.advance, {"steps": min(self._steps, self.most_steps)}, False
        if self.speed == "real time":
            due = (now - self._last) * (self.fps or OWN_FPS) if self._last else 1.0
            self._last = now
            return self.advance, {"steps": max(1, min(round(due), 10, self.most_steps))}, True
        return self.advance, {"steps": 1}, False

    async def _rest(self, began: float, panel: AnyPanel | None) -> None:
        """Until the next request is due, or a person wants something."""
        took = time.monotonic() - began
        ended = isinstance(panel, Frame) and panel.ended
        if isinstance(panel, Frame):
            self.fps = panel.fps
        wait = SLOW_SECONDS
        if self.speed == "fast":
            wait, ended = FAST_SECONDS, False
            self._steps = max(
                1, min(self._steps * 2 if took < FAST_SECONDS / 2 else self._steps // 2 if took > FAST_SECONDS else self._steps, MOST_STEPS)
            )
        elif self.speed == "real time":
            wait = max(FRAME_SECONDS, 1 / (self.fps or OWN_FPS))
        if ended and self.watching:
            wait = END_SECONDS
            self._last = 0.0
        self._hurry.clear()
        if self.watching and not self._keys and not self._singles and wait > took:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), wait - took)
