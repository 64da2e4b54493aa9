"""Keys one after the other: each goes to what has the focus once everything that the key before it did is done.

Textual hands a key to the focused widget as soon as it is read. Of `/conv`, typed faster than the screen keeps up, `c` would still go to
the list that `/` is about to leave, and would be one of its keys. And what is typed for a part that is still being built waits for it.
"""

from __future__ import annotations

from collections import deque

from textual import events
from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump
from textual.timer import Timer

PATIENCE = 0.3
"""Seconds that a key may keep the next one waiting: what it started goes on longer, or its widget has gone."""
TURNS = 10
"""In which that time is measured, one timer after the other: while the program is too busy to handle the key it passes slowly as well."""


class Landed(Message, bubble=True):
    """Follows a key from the focused widget up to the app; what these posted before it is done when it arrives.

    It comes twice: behind the key, whose bindings are looked up in the app, and behind what those posted to the widget.
    """

    def __init__(self, key: events.Event, *, last: bool) -> None:
        super().__init__()
        self.key, self.last = key, last


class KeysInOrder(App[None]):
    """A mixin for the app."""

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[events.Event] = deque()
        """Keys and pasted text that wait; the first one is on its way."""
        self._target: MessagePump = self
        """The widget that the first one went to."""
        self._patience: Timer | None = None
        self._held = False
        """Whether the first one waits for the part that it is meant for."""

    @property
    def holds_keys(self) -> bool:
        """Whether the part that keys are meant for is still to come."""
        return False

    async def act_meanwhile(self, key: str, *, first: bool) -> bool:
        """Do what this key does, if that need not wait for such a part; `first`: no other key waits. Returns whether it was done."""
        return False

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, (events.Key, events.Paste)):
            await super().on_event(event)
        elif not self.screen_stack:  # the app is exiting: no screen is left to take it
            self._typed.clear()
        elif event.is_forwarded:
            await super().on_event(event)
        else:
            if self._held and not self.holds_keys:
                self._forget_held()
            if self._held and isinstance(event, events.Key) and await self.act_meanwhile(event.key, first=False):
                return
            self._typed.append(event)
            if len(self._typed) == 1:
                await self._go_on()

    async def deliver_held(self) -> None:
        """The part that keys waited for is there, or something else has covered it, which they are not meant for."""
        if self._held and len(self.screen_stack) > 1:
            self._forget_held()
        elif self._held:
            await self._go_on()

    def _forget_held(self) -> None:
        self._held = False
        self._typed.clear()

    async def _go_on(self) -> None:
        """Deliver the first one, unless it has to wait."""
        while self._typed and self.screen_stack:
            event = self._typed[0]
            self._held = self.holds_keys
            if not self._held:
                await self._deliver(event)
                return
            if not isinstance(event, events.Key) or not await self.act_meanwhile(event.key, first=True):
                return
            self._typed.popleft()
            self._held = False

    async def _deliver(self, event: events.Event) -> None:
        self._target = self.focused or self.screen
        self._wait(event, TURNS)
        await super().on_event(event)
        self._target.post_message(Landed(event, last=False))

    def _wait(self, event: events.Event, turns: int) -> None:
        """Give the key up after so many turns, unless it lands before."""
        if turns:
            self._patience = self.set_timer(PATIENCE / TURNS, lambda: self._wait(event, turns - 1))
        else:
            self.post_message(Landed(event, last=True))

    async def on_landed(self, landed: Landed) -> None:
        if not self._typed or self._typed[0] is not landed.key:  # it was given up
            return
        if not landed.last:
            self._target.post_message(Landed(landed.key, last=True))
            return
        if self._patience is not None:
            self._patience.stop()
        self._typed.popleft()
        await self._go_on()
