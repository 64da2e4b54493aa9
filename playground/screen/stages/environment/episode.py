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

FRAME_SECONDS = 0.08
"""Between two frames in real time; a faster environment takes several steps from one to the next. At 140x42 one of CartPole sends 2 KB."""
FAST_SECONDS = 0.12
"""Between two frames at full speed; the environment takes as many steps between them as it can."""
STEPS_PER_SECOND = 4.0
"""Of an environment that has no time of its own, such as a grid, and of any other at the slow speed."""
HOLD_SECONDS = 0.2
"""For which a key counts as held after the terminal has repeated it, as terminals do about 30 times a second; its end they do not tell."""
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
    """Continues an episode for a `viewer`: with the action `advance` while it is watched, with `take` when a person plays.

    A key is a step. Where the environment has a time of its own, a key that is held goes on at that speed, and so does the episode
    without a key if one of the actions does nothing; otherwise it waits.
    """

    def __init__(self, viewer: Viewer, advance: str, take: str) -> None:
        self.viewer = viewer
        self.advance, self.take = advance, take
        self.speed: Speed = "real time"
        self.watching = False
        self.fps = 0.0
        """The environment's own frame rate, as the last frame says; 0: none."""
        self.idle: int | None = None
        """The action that does nothing."""
        self.ended = False
        self.max_steps = MAX_STEPS
        self._by_hand = False
        """A person has the controls."""
        self._pressed: tuple[int, float] = (-1, 0.0)
        """The action that was taken by key last, and when."""
        self._held_until = 0.0
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
            self._last = 0.0
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
        now = time.monotonic()
        before, at = self._pressed
        self._pressed = (action, now)
        self.watching, self._by_hand = False, True
        if self.pace != "keys" and action == before and now < at + HOLD_SECONDS:
            if now >= self._held_until:
                self._last = now
            self._held_until = now + HOLD_SECONDS
        else:
            self._held_until = 0.0
            if len(self._actions) < MAX_KEYS:
                self._actions.append(action)
        self._wake.set()

    def hand_over(self) -> None:
        """Nobody plays any more."""
        self._by_hand = False
        self._held_until = 0.0

    def follow(self, frame: Frame) -> None:
        """Take over what a frame says of its environment."""
        self.fps, self.idle, self.ended = frame.fps, frame.idle, frame.ended

    @property
    def in_real_time(self) -> bool:
        """Whether it is the environment's own time that counts."""
        return self.fps > 0 and self.speed in ("real time", "fast")

    @property
    def pace(self) -> Literal["keys", "held", "time"]:
        """What carries the episode on when a person plays: every key, a key that is held too, or time."""
        if self.fps <= 0 or self.speed == "single step":
            return "keys"
        return "held" if self.idle is None else "time"

    @property
    def has_work(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._actions or self._single_steps or self.watching or self._goes_on)

    @property
    def _goes_on(self) -> bool:
        """Whether time carries on an episode that a person plays."""
        if not self._by_hand or self.ended or self.pace == "keys":
            return False
        return self.pace == "time" or time.monotonic() < self._held_until

    @property
    def _rate(self) -> float:
        """Steps per second."""
        return self.fps if self.in_real_time else STEPS_PER_SECOND

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
            self._last = now
            return self.take, {"action": self._actions.popleft()}, True
        if self._single_steps:
            self._single_steps -= 1
            return self.advance, {"steps": 1}, True
        if self.watching and self.speed == "fast":
            return self.advance, {"steps": min(self._steps, self.max_steps)}, False
        due = (now - self._last) * self._rate if self._last else 1.0
        self._last = now
        steps = max(1, min(round(due), 10, self.max_steps))
        if self.watching:
            return self.advance, {"steps": steps}, self.in_real_time
        held = now < self._held_until
        return self.take, {"action": self._pressed[0] if held or self.idle is None else self.idle, "steps": steps}, True

    async def _rest(self, began: float, panel: AnyPanel | None) -> None:
        """Wait until the next request is due, or a person does something."""
        took = time.monotonic() - began
        if isinstance(panel, Frame):
            self.follow(panel)
        wait = max(FRAME_SECONDS, 1 / self._rate)
        if self.watching and self.speed == "fast":
            wait = FAST_SECONDS
            self._steps = max(
                1, min(self._steps * 2 if took < FAST_SECONDS / 2 else self._steps // 2 if took > FAST_SECONDS else self._steps, MAX_STEPS)
            )
        elif self.watching and self.ended:
            wait = END_SECONDS
            self._last = 0.0
        self._wake.clear()
        if (self.watching or self._goes_on) and not self._actions and not self._single_steps and wait > took:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait - took)
