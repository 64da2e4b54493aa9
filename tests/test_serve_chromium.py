"""The screen in a real Chromium: opened, trained, drawn on with the mouse, resized, opened anew; and a page from elsewhere that tries."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from benchmarks.terminal import Drawn
from dlplay import cli
from tests.browser import QUESTION, Served, served

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; Debian's package is chromium")]

SIZE = {"width": 1300, "height": 760}
NOTHING = "2a083e"
"""The colour of a pixel without ink."""


class Tab:
    """A tab of the browser, and what stands in its terminal: read from the websocket, since the page paints it on a canvas."""

    def __init__(self, context: playwright.BrowserContext) -> None:
        self.page = context.new_page()
        self.drawn: Drawn | None = None
        self.closed = 0
        self.page.on("websocket", self._opened)

    def _opened(self, websocket: playwright.WebSocket) -> None:
        query = parse_qs(urlsplit(websocket.url).query)
        self.drawn = drawn = Drawn(int(query["width"][0]), int(query["height"][0]))

        def sent(data: str | bytes) -> None:
            said = json.loads(data)
            if said[0] == "resize":
                drawn.screen.resize(said[1]["height"], said[1]["width"])

        def received(data: str | bytes) -> None:
            if isinstance(data, bytes):
                drawn.feed(data.replace(QUESTION, b""))

        def closed(websocket: playwright.WebSocket) -> None:
            self.closed += 1

        websocket.on("framesent", sent)
        websocket.on("framereceived", received)
        websocket.on("close", closed)

    @property
    def text(self) -> str:
        return self.drawn.text if self.drawn is not None else ""

    @property
    def columns(self) -> int:
        assert self.drawn is not None
        return self.drawn.screen.columns

    def until(self, condition: str | Callable[[], object], seconds: float = 180.0) -> None:
        deadline = time.monotonic() + seconds
        while not (condition in self.text if isinstance(condition, str) else condition()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {condition}; on the screen:\n{self.text}"
            self.page.wait_for_timeout(100)

    def colours(self) -> int:
        """How many the browser shows."""
        from io import BytesIO

        from PIL import Image

        with Image.open(BytesIO(self.page.screenshot())) as picture:
            return len(picture.convert("RGB").getcolors(1 << 24) or ())

    def at(self, column: int, row: int) -> tuple[float, float]:
        """The middle of a cell, in pixels of the page."""
        assert self.drawn is not None
        box = self.page.locator(".xterm-screen").bounding_box()
        assert box is not None
        wide, tall = box["width"] / self.drawn.screen.columns, box["height"] / self.drawn.screen.lines
        return box["x"] + (column + 0.5) * wide, box["y"] + (row + 0.5) * tall

    def empty(self) -> dict[int, list[int]]:
        """The columns of cells without ink, by row: of pads and of pictures."""
        assert self.drawn is not None
        screen = self.drawn.screen
        found = {y: [x for x in range(screen.columns) if screen.buffer[y][x].bg == NOTHING] for y in range(screen.lines)}
        return {y: columns for y, columns in found.items() if columns}


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # a container's root has no other way
        yield browser
        browser.close()


@pytest.fixture
def context(browser: playwright.Browser) -> Iterator[playwright.BrowserContext]:
    context = browser.new_context(viewport=SIZE)
    yield context
    context.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served("convnet", "--runs-dir", str(tmp_path), "--threads", "1", "--steps", "100000") as started:
        yield started


def test_one_trains_closes_the_page_and_finds_the_run_again(server: Served, context: playwright.BrowserContext, tmp_path: Path) -> None:
    errors: list[str] = []
    tab = Tab(context)
    tab.page.on("pageerror", lambda error: errors.append(str(error)))
    tab.page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    tab.page.goto(server.address)
    tab.until("pretrained")
    assert "token" not in tab.page.url
    assert tab.colours() > 20
    try:
        tab.page.keyboard.press("F5")
        tab.until("▶ training")
        shown = tab.page.url
        tab.page.reload()
        tab.until("▶ training")
        assert tab.page.url == shown
        tab.page.close()
        other = Tab(context)
        other.page.goto(server.origin)
        other.until("▶ training")
        assert other.page.url == shown
        columns = other.columns
        other.page.set_viewport_size({"width": 900, "height": 600})
        other.until(lambda: other.columns < columns)
        other.until(lambda: "▶ training" in other.text and max(map(len, other.text.splitlines())) <= other.columns)
        assert len(server.screens()) == 1
    finally:
        assert cli.run(["stop", "convnet-1", "--runs-dir", str(tmp_path)]) == 0
    assert errors == []


def test_one_draws_with_the_mouse(server: Served, context: playwright.BrowserContext) -> None:
    tab = Tab(context)
    tab.page.goto(server.address)
    tab.until("pretrained")
    tab.until("brush")

    def pad() -> tuple[int, list[int]]:
        """The lowest row of the pad and its columns."""
        return max(tab.empty().items())

    tab.until(lambda: len(pad()[1]) >= 16)
    row, columns = pad()
    row -= 3
    left, right = columns[4], columns[12]
    before = set(tab.empty()[row])
    assert {left, right} <= before
    tab.page.mouse.move(*tab.at(left, row))
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.at(right, row), steps=10)
    tab.page.mouse.up()
    tab.until(lambda: not set(range(left, right + 1)) & set(tab.empty().get(row, ())))
    tab.until(lambda: "held-out image 0" not in tab.text.partition("brush")[0].rpartition("Draw")[2])


def test_a_page_from_elsewhere_gets_nothing(server: Served, context: playwright.BrowserContext) -> None:
    """It runs in the same browser, which has the cookie, and on the same machine, which SameSite does not tell apart."""
    tab = Tab(context)
    tab.page.goto(server.address)
    tab.until("pretrained")
    inner = f"""
        <iframe src="{server.origin}/"></iframe>
        <script>
          window.told = [];
          const socket = new WebSocket("ws://127.0.0.1:{server.port}/ws/0123456789abcdef?width=80&height=24");
          socket.onopen = () => told.push("open");
          socket.onerror = () => told.push("refused");
          fetch("{server.origin}/", {{ credentials: "include" }}).then(() => told.push("fetched"), () => told.push("not fetched"));
        </script>"""

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(inner.encode())

        def log_message(self, format: str, *args: object) -> None:
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        page = context.new_page()
        for host in ("127.0.0.1", "localhost"):
            page.goto(f"http://{host}:{elsewhere.server_port}/")
            page.wait_for_function("told.length == 2")
            assert sorted(page.evaluate("told")) == ["not fetched", "refused"]
            assert all("/screen/" not in frame.url for frame in page.frames)
        elsewhere.shutdown()
    assert len(server.screens()) == 1


def test_a_browser_that_was_not_let_in_gets_nothing(
    server: Served, browser: playwright.Browser, context: playwright.BrowserContext
) -> None:
    used = server.address
    tab = Tab(context)
    tab.page.goto(used)
    tab.until("pretrained")
    stranger = browser.new_context()
    page = stranger.new_page()
    for address in (used, server.origin, tab.page.url):
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 403
    stranger.close()
