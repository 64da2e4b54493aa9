"""textual-serve's server, bound to this machine and closed to everybody who was not given its address."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import secrets
import shlex
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp_jinja2
from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.server import Server

from dlplay.engine.settings import SettingsError
from dlplay.runs.console import print_line
from dlplay.web.access import HOSTS, Access, say_headers
from dlplay.web.served import Page, ServedScreen

MOST_SCREENS = 8
LARGEST_MESSAGE = 256 << 10
"""Bytes that a browser may send at once: what is typed, clicked or pasted."""
LARGEST_WINDOW = 1000
"""Columns and rows."""
HEARTBEAT_SECONDS = 15.0
DRAWN = "\x1b[0n"
"""How a terminal answers the question that follows a frame (ECMA-48, 8.3.35), once it has drawn the frame."""
_NAME = re.compile("[a-z0-9]{16}")
_FOLDER = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws://{host}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class BrowserServer(Server):
    """Serves the screen that `command` opens: a new one for each page, and the same one when a page is opened again."""

    def __init__(self, command: Sequence[str], listening: socket.socket) -> None:
        self._listening = listening
        port: int = listening.getsockname()[1]
        super().__init__(shlex.join(command), host=HOSTS[0], port=port, title="dlplay", templates_path=_FOLDER)
        self._words = list(command)
        self.access = Access(port, self._say_next_address)
        self.screens: dict[str, ServedScreen] = {}
        """By the name in the page's address."""
        self._opening = asyncio.Lock()

    # --- from start to end --------------------------------------------------------------------------------------------------------

    def serve(self, debug: bool = False) -> None:
        """Serve until the server is interrupted or told to end; then end its screens. Runs continue."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, ended.set)
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=1.0)  # a log would hold addresses
        await runner.setup()
        try:
            await web.SockSite(runner, self._listening).start()
            self._say_address()
            await ended.wait()
        finally:
            await runner.cleanup()

    async def _make_app(self) -> web.Application:
        app: web.Application = await super()._make_app()
        app.add_routes([web.get("/screen/{name}", self.handle_screen), web.get("/ws/{name}", self.handle_websocket)])
        app.middlewares.append(self.access.check)
        app.on_response_prepare.append(say_headers)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Nothing is printed before the server listens."""

    async def on_shutdown(self, app: web.Application) -> None:
        await asyncio.gather(*(screen.stop() for screen in list(self.screens.values())))

    def _say_address(self) -> None:
        print_line(f"dlplay is in the browser, for this machine alone. This address lets one browser in:\n\n    {self.access.address}\n")
        print_line(
            f"From another machine, first:\n\n    ssh -L {self.port}:{HOSTS[0]}:{self.port} {socket.gethostname()}\n\n"
            "Ctrl+C ends the server and its screens; runs continue."
        )

    def _say_next_address(self) -> None:
        print_line(f"A browser was let in. For another one:\n\n    {self.access.address}\n")

    # --- pages --------------------------------------------------------------------------------------------------------------------

    async def handle_index(self, request: web.Request) -> Any:
        """To the screen that was left last, or to a new one."""
        left = sorted((screen.left, name) for name, screen in self.screens.items() if screen.page is None)
        raise web.HTTPSeeOther(f"/screen/{left[-1][1] if left else secrets.token_hex(8)}")

    async def handle_screen(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if not _NAME.fullmatch(name):
            raise web.HTTPSeeOther("/")
        if not self._room_for(name):
            return web.Response(status=503, text=f"{MOST_SCREENS} screens are open, which is the most; close one of their pages.\n")
        nonce = secrets.token_urlsafe(16)
        facts = {"title": self.title, "nonce": nonce, "websocket": f"ws://{request.host}/ws/{name}"}
        response = aiohttp_jinja2.render_template("page.html", request, facts)
        response.headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce, host=request.host)
        return response

    def _room_for(self, name: str) -> bool:
        return name in self.screens or len(self.screens) < MOST_SCREENS or any(screen.page is None for screen in self.screens.values())

    # --- the websocket ------------------------------------------------------------------------------------------------------------

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        name = request.match_info.get("name", "")
        sizes = [request.query.get(side, "") for side in ("width", "height")]
        if not _NAME.fullmatch(name) or not all(size.isdecimal() and 1 <= int(size[:6]) <= LARGEST_WINDOW for size in sizes):
            raise web.HTTPBadRequest(text="a screen has a name of 16 letters and digits, and a size\n")
        websocket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=LARGEST_MESSAGE, timeout=2.0)
        await websocket.prepare(request)
        page = Page(websocket, request.transport)
        async with self._opening:
            screen = await self._screen(name)
            if screen is not None:
                await screen.show(page, int(sizes[0]), int(sizes[1]))
        if screen is None:
            await websocket.close(code=1013, message=b"too many screens")
            return websocket
        try:
            await self._process_messages(websocket, screen)
        finally:
            await screen.leave(page)
        return websocket

    async def _screen(self, name: str) -> ServedScreen | None:
        """The screen of that name; a new one takes the place of the one that was left first, if there are too many."""
        if name in self.screens or not self._room_for(name):
            return self.screens.get(name)
        if len(self.screens) >= MOST_SCREENS:
            await min((screen for screen in self.screens.values() if screen.page is None), key=lambda screen: screen.left).stop()

        def ended() -> None:
            self.screens.pop(name, None)

        screen = self.screens[name] = ServedScreen(self._words, self.download_manager, ended)
        return screen

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        """Hand on what the browser says; one that says something else is cut off."""
        async for message in websocket:
            if message.type != WSMsgType.TEXT or not await _handed_on(message.data, websocket, app_service):
                await websocket.close(code=1008, message=b"not understood")


async def _handed_on(text: str, websocket: web.WebSocketResponse, screen: AppService) -> bool:
    """Whether the message was one that a page sends."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return False
    match said:
        case ["stdin", str(typed)]:
            if typed == DRAWN:
                await screen.send_meta({"type": "drawn"})
            else:
                await screen.send_bytes(typed.encode(errors="replace"))
        case ["resize", {"width": int(width), "height": int(height)}] if 1 <= width <= LARGEST_WINDOW and 1 <= height <= LARGEST_WINDOW:
            await screen.set_terminal_size(width, height)
        case ["ping", str(sent)]:
            await websocket.send_json(["pong", sent])
        case ["focus"]:
            await screen.focus()
        case ["blur"]:
            await screen.blur()
        case _:
            return False
    return True


def listen(port: int) -> socket.socket:
    """A socket that listens at this port of 127.0.0.1; at a free one for 0. Raises `SettingsError`."""
    if not 0 <= port <= 65535:
        raise SettingsError(f"--port {port}: give a number from 1 to 65535, or 0 for any free port")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOSTS[0], port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"--port {port} is in use; give another one, or 0 for any that is free") from None
        raise SettingsError(f"--port {port}: {error.strerror}; give one from 1024 on, or 0 for any that is free") from None
    return listening
