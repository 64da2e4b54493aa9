"""The server's end of one client's connection: the events waiting to be sent to it, and the commands it sent."""

from __future__ import annotations

import collections
import socket
import time

import msgspec

from dlplay.engine.commands import AnyCommand
from dlplay.engine.events import Answered, Hello, LiveEvent, Shown, Working
from dlplay.runs.wire import Decoder, WireError, encode

ANSWERS = 256
ANSWER_BYTES = 16 << 20
_RECEIVE = 1 << 18


class ChannelError(Exception):
    """The connection must be closed: the client broke the protocol or does not keep up."""


class Outgoing:
    """An event to be sent, encoded at most once for all clients, and not at all if a newer one replaces it first."""

    def __init__(self, event: LiveEvent) -> None:
        self.event = event
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        """The encoded event; empty when it cannot be encoded and nobody waits for it."""
        if self._data is None:
            try:
                self._data = encode(self.event)
            except (WireError, msgspec.EncodeError, TypeError, ValueError, RecursionError) as error:
                event = self.event
                self._data = encode(Answered(id=event.id, step=event.step, error=str(error)[:500])) if isinstance(event, Answered) else b""
        return self._data


class Channel:
    """Answers are kept in order; of everything else only the newest of its kind is kept."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.id = number
        self.connection = connection
        self.last_progress = time.monotonic()
        """When the client last took something, or something began to wait."""
        self.ended = False
        """The client closed the connection."""
        self.received = 0
        """Commands put into the server's inbox."""
        self.taken = 0
        """How many of them the training thread has taken out."""
        self._decoder: Decoder[AnyCommand] = Decoder(AnyCommand)
        self._answers: collections.deque[bytes] = collections.deque()
        self._answer_bytes = 0
        self._newest: dict[tuple[int, int] | None, Outgoing] = {}
        self._rest = memoryview(b"")

    def greet(self, hello: Hello) -> None:
        """Send this before anything else."""
        self._rest = memoryview(encode(hello))

    @property
    def waiting(self) -> bool:
        """Whether something is waiting to be sent."""
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
        """Queue the event. Raises `ChannelError` when too many answers are queued already."""
        if not self.waiting:
            self.last_progress = time.monotonic()
        event = outgoing.event
        if isinstance(event, Answered):
            if event.view is not None:
                self._newest.pop((event.id, ~event.view), None)
            self._answers.append(outgoing.data)
            self._answer_bytes += len(outgoing.data)
            if len(self._answers) > ANSWERS or self._answer_bytes > ANSWER_BYTES:
                raise ChannelError(f"{len(self._answers)} answers of {self._answer_bytes:,} bytes are waiting for the client")
        elif isinstance(event, Shown):
            for key in [key for key in self._newest if key is not None and key[0] != event.watch]:
                del self._newest[key]  # the client watches something else by now
            self._newest.pop((event.watch, ~event.view), None)
            self._newest[event.watch, event.view] = outgoing
        elif isinstance(event, Working):
            self._newest[event.watch, ~event.view] = outgoing
        else:
            self._newest[None] = outgoing

    def send(self) -> None:
        """Send as much as the client takes. Raises `OSError` when it is gone."""
        while self._rest or self._next():
            try:
                count = self.connection.send(self._rest)
            except (BlockingIOError, InterruptedError):
                return
            self._rest = self._rest[count:]
            self.last_progress = time.monotonic()

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
