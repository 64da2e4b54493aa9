"""One client's connection as the run's server sees it: what waits to be sent to it, and what it has sent."""

from __future__ import annotations

import collections
import socket
import time

import msgspec

from dlplay.engine.commands import AnyCommand
from dlplay.engine.events import Answered, LiveEvent, Shown
from dlplay.runs.wire import Decoder, WireError, encode

ANSWERS = 256
ANSWER_BYTES = 16 << 20
_RECEIVE = 1 << 18


class ChannelError(Exception):
    """The client is to be dropped."""


class Outgoing:
    """An event on its way out, encoded at most once however many clients get it, and not at all when a newer one comes first."""

    def __init__(self, event: LiveEvent) -> None:
        self.event = event
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        """Empty when the event cannot be sent and nobody waits for it."""
        if self._data is None:
            try:
                self._data = encode(self.event)
            except (WireError, msgspec.EncodeError, TypeError, ValueError, RecursionError) as error:
                event = self.event
                self._data = encode(Answered(id=event.id, step=event.step, error=str(error)[:500])) if isinstance(event, Answered) else b""
        return self._data


class Channel:
    """Answers are kept in order; of everything else only the newest of its kind."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.id = number
        self.connection = connection
        self.moved = time.monotonic()
        """When something was last taken, or began to wait."""
        self.ended = False
        """The client has hung up."""
        self.received = 0
        """Commands handed to the training thread; `taken` of them it has taken."""
        self.taken = 0
        self._decoder: Decoder[AnyCommand] = Decoder(AnyCommand)
        self._answers: collections.deque[bytes] = collections.deque()
        self._answer_bytes = 0
        self._newest: dict[tuple[int, int] | None, Outgoing] = {}
        self._rest = memoryview(b"")

    @property
    def waiting(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._rest or self._answers or self._newest)

    def receive(self) -> list[AnyCommand]:
        """The commands that have arrived. Raises `ChannelError` and `OSError`."""
        try:
            data = self.connection.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return []
        if not data:
            self.ended = True
            return []
        try:
            return self._decoder.feed(data)
        except WireError as error:
            raise ChannelError(str(error)) from None

    def put(self, outgoing: Outgoing) -> None:
        """Line the event up. Raises `ChannelError` when too many answers wait already."""
        if not self.waiting:
            self.moved = time.monotonic()
        event = outgoing.event
        if isinstance(event, Answered):
            self._answers.append(outgoing.data)
            self._answer_bytes += len(outgoing.data)
            if len(self._answers) > ANSWERS or self._answer_bytes > ANSWER_BYTES:
                raise ChannelError(f"{len(self._answers)} answers of {self._answer_bytes:,} bytes wait for the client")
        elif isinstance(event, Shown):
            for key in [key for key in self._newest if key is not None and key[0] != event.watch]:
                del self._newest[key]  # the client wishes to see something else by now
            self._newest[event.watch, event.view] = outgoing
        else:
            self._newest[None] = outgoing

    def send(self) -> None:
        """As much as the client takes. Raises `OSError` when it is gone."""
        while self._rest or self._next():
            try:
                count = self.connection.send(self._rest)
            except (BlockingIOError, InterruptedError):
                return
            self._rest = self._rest[count:]
            self.moved = time.monotonic()

    def _next(self) -> bool:
        while self._answers or self._newest:
            if self._answers:
                data = self._answers.popleft()
                self._answer_bytes -= len(data)
            else:
                data = self._newest.pop(next(iter(self._newest))).data
            if data:
                self._rest = memoryview(data)
                return True
        return False
