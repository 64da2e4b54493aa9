"""The client's end of a run's socket, for asyncio: commands and panels. The curves are read from the journal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dlplay.engine.commands import AnyCommand, Ask, View, Watch
from dlplay.engine.events import Answered, Hello, LiveEvent
from dlplay.engine.panels import AnyPanel
from dlplay.runs.wire import Decoder, WireError, encode, peer_uid, socket_at

OnEvent = Callable[[LiveEvent], None]
OnClosed = Callable[[str], None]
_RECEIVE = 1 << 18
_RETRY_SECONDS = 0.02


class RunError(Exception):
    """The run refused a command, or does not answer; the message says why."""


class NotAnswered(RunError):
    """The run does not answer in time; it may later."""


class NotListening(RunError, OSError):
    """No run is listening at that socket."""


class RunClient:
    """A connection to a run. `on_event` gets every `Shown` and `Status`, and every `Answered` that nobody waits for; `on_closed` is
    called once if the run closes the connection, with the reason (empty when the run just ended)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_event: OnEvent, on_closed: OnClosed) -> None:
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._on_closed = on_closed
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        self._last_id = 0
        self.closed = False
        self._hello: asyncio.Future[Hello | None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._listen())

    @classmethod
    async def connect(
        cls,
        socket_path: Path,
        on_event: OnEvent = lambda event: None,
        on_closed: OnClosed = lambda reason: None,
        timeout: float = 10.0,
    ) -> RunClient:
        """Connect to the run that listens at `socket_path`. Raises `NotListening`."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.wait_for(_connect(connection, socket_path), timeout)
            if (uid := peer_uid(connection)) != os.geteuid():
                raise NotListening(f"the process that listens at {socket_path} belongs to user {uid}, not to you")
            reader, writer = await asyncio.open_unix_connection(sock=connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise NotListening(f"the run {socket_path.parent.name} did not answer within {timeout:g} s") from None
            if isinstance(error, OSError) and not isinstance(error, NotListening):
                raise NotListening(f"the run {socket_path.parent.name} does not listen: {error.strerror or error}") from None
            raise
        return cls(reader, writer, on_event, on_closed)

    async def hello(self, timeout: float = 10.0) -> Hello:
        """Who answers on this connection. Raises `RunError` when nobody says so."""
        with contextlib.suppress(TimeoutError):
            if (hello := await asyncio.wait_for(asyncio.shield(self._hello), timeout)) is not None:
                return hello
        raise RunError("the process at the other end does not say who it is; it may be of another version of dlplay")

    async def ask(self, panel: str, options: Mapping[str, Any] | None = None, timeout: float = 10.0, along: Sequence[str] = ()) -> AnyPanel:
        """One panel, now; those of the watched ones that are named in `along` come as of the same step. Raises `RunError`."""
        answer = await self.command(Ask(panel=panel, options=dict(options or {}), along=list(along)), timeout)
        if answer is None:
            raise RunError(f"the run's answer has no panel {panel}")
        return answer

    async def command(self, command: AnyCommand, timeout: float = 10.0) -> AnyPanel | None:
        """Send a command and wait for the reply, which may carry a panel. Raises `RunError` when the run refuses or does not answer."""
        return (await self.answer(command, timeout)).panel

    async def answer(self, command: AnyCommand, timeout: float = 10.0) -> Answered:
        """Send a command and wait for the reply. Raises `RunError` when the run refuses or does not answer."""
        number = self._next_id()
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self.send(msgspec.structs.replace(command, id=number))
            answer = await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise NotAnswered(f"the run did not answer within {timeout:g} s; it may be in a long step or evaluation") from None
        finally:
            self._waiting.pop(number, None)
        if answer.error:
            raise RunError(answer.error)
        return answer

    def send(self, command: AnyCommand) -> None:
        """Send a command without waiting for a reply. Raises `RunError` when the connection is closed or the command is too large."""
        if self.closed:
            raise RunError("the connection to the run is closed")
        try:
            self._writer.write(encode(command))
        except WireError as error:
            raise RunError(str(error)) from None

    def watch(self, views: Sequence[View], rate: float = 4.0) -> int:
        """Watch these panels, instead of earlier ones; returns the number in the `watch` of every `Shown` of theirs. Raises `RunError`."""
        number = self._next_id()
        self.send(Watch(id=number, views=list(views), rate=rate))
        return number

    def close(self) -> None:
        """Close the connection; `on_closed` is not called. May be called twice."""
        self._on_closed = lambda reason: None
        self._task.cancel()
        self._end("")

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _listen(self) -> None:
        decoder: Decoder[LiveEvent] = Decoder(LiveEvent)
        reason = ""
        try:
            while data := await self._reader.read(_RECEIVE):
                for event in decoder.feed(data):
                    self._deliver(event)
        except WireError as error:
            reason = f"the run sent {error}"
        except OSError as error:
            reason = error.strerror or str(error)
        self._end(reason)

    def _deliver(self, event: LiveEvent) -> None:
        if isinstance(event, Hello):
            if not self._hello.done():
                self._hello.set_result(event)
        elif isinstance(event, Answered) and (future := self._waiting.pop(event.id, None)) is not None:
            if not future.done():
                future.set_result(event)
        else:
            self._on_event(event)

    def _end(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._writer.close()
        if not self._hello.done():
            self._hello.set_result(None)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RunError("the run ended before it answered"))
        self._waiting.clear()
        self._on_closed(reason)


async def _connect(connection: socket.socket, socket_path: Path) -> None:
    """A Unix socket connects at once or not at all: while its backlog is full, try again."""
    with socket_at(socket_path) as path:
        while True:
            try:
                connection.connect(path)
                return
            except BlockingIOError:
                await asyncio.sleep(_RETRY_SECONDS)
