"""`dlplay serve` in a process of its own, and what stands in for a browser: requests, and a terminal at the other end of a websocket."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import aiohttp
import psutil

from benchmarks.terminal import Drawn

ROOT = Path(__file__).resolve().parents[1]
QUESTION, ANSWER = b"\x1b[5n", "\x1b[0n"


class Answer(NamedTuple):
    """What a request was answered."""

    status: int
    headers: Message
    text: str


class Served:
    """`dlplay serve --port 0 ARGUMENTS`, once it listens."""

    def __init__(self, *arguments: str) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "dlplay", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True)
        self.printed = ""
        self.address = self.next_address()
        self.port = int(self.address.split(":")[2].partition("/")[0])
        self.origin = f"http://127.0.0.1:{self.port}"

    def next_address(self) -> str:
        """Read on to the next address that it prints."""
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, f"it ended: {self.printed}"
            self.printed += line
            if "?token=" in line:
                return line.strip()

    def screens(self) -> list[psutil.Process]:
        """The processes that it started."""
        return psutil.Process(self.process.pid).children()

    def ask(self, path: str, **headers: str) -> Answer:
        """One request, as it is. A header's name has underscores for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        with contextlib.closing(connection), connection.getresponse() as answer:
            return Answer(answer.status, answer.headers, answer.read().decode(errors="replace"))

    def let_in(self) -> str:
        """Use up the address; returns the cookie."""
        answer = self.ask(self.address.removeprefix(self.origin))
        assert answer.status == 200, answer.status
        self.address = self.next_address()
        return str(answer.headers["Set-Cookie"]).partition(";")[0]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and wait until it has ended."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[Served]:
    server = Served(*arguments)
    screens: list[psutil.Process] = []
    try:
        yield server
    finally:
        if server.process.poll() is None:
            screens = server.screens()
            server.end()
        for process in screens:
            with contextlib.suppress(psutil.Error):
                process.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


class Page:
    """A terminal at the other end of a screen's websocket, which answers once it has drawn; `asleep`, it does not."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, size: tuple[int, int]) -> None:
        self.websocket, self.drawn = websocket, Drawn(*size)
        self.asleep = False
        self.received = self._unanswered = 0

    @property
    def text(self) -> str:
        return self.drawn.text

    async def read(self, seconds: float = 0.2) -> bool:
        """Take in one message; whether there was one. Raises `ConnectionError` when the server closes."""
        try:
            message = await self.websocket.receive(timeout=seconds)
        except TimeoutError:
            return False
        if message.type is aiohttp.WSMsgType.BINARY:
            self.received += len(message.data)
            self.drawn.feed(message.data.replace(QUESTION, b""))
            self._unanswered += message.data.count(QUESTION)
        elif message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"closed with {self.websocket.close_code}")
        while self._unanswered and not self.asleep:
            self._unanswered -= 1
            await self.type(ANSWER)
        return True

    async def until_closed(self) -> None:
        """Raises `ConnectionError` once it is."""
        while True:
            await self.read()

    async def until(self, condition: str | Callable[[], object], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not (condition in self.text if isinstance(condition, str) else condition()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {condition}; on the screen:\n{self.text}"
            await self.read()

    async def send(self, *message: object) -> None:
        await self.websocket.send_str(json.dumps(message))

    async def type(self, text: str) -> None:
        await self.send("stdin", text)

    async def wake(self) -> None:
        self.asleep = False
        while self._unanswered:
            self._unanswered -= 1
            await self.type(ANSWER)


@contextlib.asynccontextmanager
async def page(server: Served, cookie: str, path: str, size: tuple[int, int] = (140, 42)) -> AsyncIterator[Page]:
    """The page at `/screen/NAME`, opened."""
    address = f"{server.origin.replace('http', 'ws')}{path.replace('/screen/', '/ws/')}?width={size[0]}&height={size[1]}"
    async with (
        aiohttp.ClientSession(headers={"Cookie": cookie, "Origin": server.origin}) as session,
        session.ws_connect(address, max_msg_size=0) as websocket,
    ):
        yield Page(websocket, size)


def new_screen(server: Served, cookie: str) -> str:
    """Where the first page leads to."""
    answer = server.ask("/", Cookie=cookie)
    assert answer.status == 303, answer.status
    found = str(answer.headers["Location"])
    assert re.fullmatch("/screen/[a-z0-9]{16}", found)
    return found
