"""The process of one screen, which outlives the page that shows it: a page that is opened again shows it as it is now."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from dlplay.web import DRIVER

LARGEST_PACKET = 8 << 20
"""Bytes that a screen sends at once, far more than a window of the largest size takes."""
END_SECONDS = 5.0
"""After which a screen that was told to end is ended by force."""
_READY = b"__GANGLION__\n"
"""The line before the first packet, in the protocol of textual-serve."""


class Page(NamedTuple):
    """A browser's page that shows a screen."""

    websocket: web.WebSocketResponse
    transport: asyncio.BaseTransport | None

    def cut_off(self) -> None:
        """End the connection, whether the browser listens or not."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class ServedScreen(AppService):
    """Started with the first page that shows it; ends when a person quits it, or the server does."""

    def __init__(self, command: Sequence[str], downloads: DownloadManager, ended: Callable[[], None]) -> None:
        super().__init__(
            shlex.join(command), write_bytes=self._draw, write_str=self._tell, close=self._close_page, download_manager=downloads
        )
        self._words = list(command)
        self._ended = ended
        self.page: Page | None = None
        self.left = 0.0
        """When it was last shown, of `time.monotonic`."""

    # --- the page -----------------------------------------------------------------------------------------------------------------

    async def show(self, page: Page, width: int, height: int) -> None:
        """Show it on this page from now on, and on no other."""
        before, self.page = self.page, page
        if before is not None:
            before.cut_off()
        if self._task is None:
            await self.start(width, height)
        else:
            await self.send_meta({"type": "back", "width": width, "height": height})

    async def leave(self, page: Page) -> None:
        """The page was closed. The screen goes on, and draws nothing until it is shown again."""
        if self.page is page:
            self.page, self.left = None, time.monotonic()
            await self.send_meta({"type": "away"})

    async def _draw(self, data: bytes) -> None:
        if self.page is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):  # it has just been closed
                await self.page.websocket.send_bytes(data)

    async def _tell(self, text: str) -> None:
        if self.page is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self.page.websocket.send_str(text)

    async def _close_page(self) -> None:
        if self.page is not None:
            await self.page.websocket.close()

    # --- the process --------------------------------------------------------------------------------------------------------------

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        environment: dict[str, str] = super()._build_environment(width, height)
        # no signal of the server's terminal reaches it, and what that terminal can show is not what a browser can
        return environment | {"TEXTUAL_DRIVER": DRIVER, "TERM": "xterm-256color", "COLORTERM": "truecolor"}

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        environment = self._build_environment(width, height)
        self._process = process = await asyncio.create_subprocess_exec(
            *self._words, stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True
        )
        self._stdin = process.stdin
        return process

    async def run(self) -> None:
        """Hand on what it sends until it ends."""
        assert self._process is not None
        reading = asyncio.create_task(self._read())
        try:
            await self._process.wait()
            await asyncio.wait({reading}, timeout=1.0)
        finally:
            reading.cancel()
            self._ended()
            await self._close_page()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        stdout = self._process.stdout
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await stdout.readuntil(_READY)
            while True:
                kind, size = await stdout.readexactly(1), int.from_bytes(await stdout.readexactly(4), "big")
                if size > LARGEST_PACKET:
                    self._process.kill()
                    return
                payload = await stdout.readexactly(size)
                if kind == b"D":
                    await self.on_data(payload)
                elif kind == b"M":
                    await self.on_meta(payload)
                elif kind == b"P":
                    await self.on_packed(payload)

    async def stop(self) -> None:
        """End the screen; by force when it takes too long. Runs continue."""
        if self._task is None or self._process is None:
            return
        if self.page is not None:
            self.page.cut_off()
        await self.send_meta({"type": "quit"})
        done, _ = await asyncio.wait({self._task}, timeout=END_SECONDS)
        if not done:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._task
