"""The process at the other end of a run's socket: start it or find it, connect to it, and notice when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any

from dlplay.engine.events import Hello, LiveEvent
from dlplay.runs.client import NotListening, RunClient, RunError
from dlplay.runs.directory import RunDirectory
from dlplay.runs.launch import Launched, launch
from dlplay.runs.launcher import ENDED_UNSEEN
from dlplay.runs.lock import holder

RETRY_SECONDS = 0.05
NO_WORD = "its process ended before it answered"


class PeerDied(Exception):
    """The process ended before there was a connection; the message is the end of its output."""


class Peer:
    """One process and the connection to it: to that process alone, whoever else may listen at its socket.

    `on_closed` is called once, when an established connection breaks.
    """

    def __init__(
        self, directory: RunDirectory, architecture: str, on_event: Callable[[LiveEvent], None], on_closed: Callable[[], None]
    ) -> None:
        self.directory = directory
        self.architecture = architecture
        self.client: RunClient | None = None
        self.hello: Hello | None = None
        """Who answers; None before there was a connection."""
        self.process: Launched | None = None
        self.launched = False
        """The process was started, or is being started, from here."""
        self._on_event = on_event
        self._on_closed = on_closed
        self._left = False

    async def launch(self, arguments: list[str]) -> None:
        """Start `dlplay ARGUMENTS` and connect to it. Raises `PeerDied` and `OSError`."""
        self.launched = True
        self.process = await launch(arguments, self.directory.log_path)
        await self.connect()

    async def connect(self, timeout: float = 60.0) -> None:
        """Connect as soon as the socket is there. Raises `PeerDied` when the process ended before that, or after `timeout` seconds.

        The process is the one that was launched, else whichever holds the run.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            try:
                client = await RunClient.connect(self.directory.socket_path, self._on_event, self._closed)
                await self._take(client)
                return
            except NotListening:
                if self._left:
                    raise PeerDied("") from None
                if self.process is not None and self.process.returncode is not None:
                    raise PeerDied(self.last_output() or self.exit_reason or NO_WORD) from None
                if self.process is None and holder(self.directory.lock_path) is None:
                    raise PeerDied(NO_WORD) from None
                if asyncio.get_running_loop().time() > deadline:
                    raise PeerDied(f"no process answers at {self.directory.socket_path}") from None
            except RunError as error:
                raise PeerDied(str(error)) from None
            await asyncio.sleep(RETRY_SECONDS)

    async def _take(self, client: RunClient) -> None:
        """Keep a connection to the right process. Raises `NotListening` for another one, `PeerDied` and `RunError`."""
        try:
            hello = await client.hello()
            if self._left:
                raise PeerDied("")
            held = holder(self.directory.lock_path)
            pid = self.process.pid if self.process is not None else held.pid if held is not None else 0
            if client.closed:
                raise NotListening("the connection broke")
            if hello.architecture != self.architecture or pid not in (0, hello.pid):
                raise NotListening(f"{hello.name} ({hello.architecture}, process {hello.pid}) answers there")
        except BaseException:
            client.close()
            raise
        self.client, self.hello = client, hello

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self.client is not None

    def leave(self) -> None:
        """Disconnect from the process, which continues by itself."""
        self._left = True
        if self.client is not None:
            self.client.close()
            self.client = None

    def last_output(self) -> str:
        """The end of what the process wrote, without a traceback's frames: one or two lines that say why it ended."""
        lines = [line.rstrip() for line in (self.process.last_words() if self.process else "").splitlines() if line.strip()]
        messages = [line for line in lines if not line.startswith((" ", "\t", "Traceback"))]
        return "\n".join(messages[-2:]).removeprefix("dlplay: ")

    async def describe_death(self, step: int) -> str:
        """A message that the process ended at `step`, and how."""
        if self.process is not None:
            await self.process.wait()
        how = f" ({self.exit_reason})" if self.exit_reason else ""
        message = f"The process of {self.directory.name} ended at step {step:,}{how}."
        last = self.last_output() if self.exit_reason.startswith("exit") else ""
        return f"{message}\n{last}" if last else message

    @property
    def exit_reason(self) -> str:
        """How the process ended, such as `killed by signal 9 (SIGKILL)`; empty when that is unknown."""
        code = None if self.process is None else self.process.returncode
        if code in (None, 0, ENDED_UNSEEN):
            return ""
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"killed by signal {-code} ({signal.Signals(-code).name})"
        return f"exit status {code}"

    def _closed(self, *_: Any) -> None:
        if self.client is not None:
            self.client = None
            if not self._left:
                self._on_closed()
