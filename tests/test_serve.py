"""The screen in a browser, without one: who is let in, what is refused, and that a screen outlives its page."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dlplay import cli
from dlplay.runs import directory
from dlplay.screen.browser import MOST_UNSEEN
from dlplay.web.server import LARGEST_MESSAGE, MOST_SCREENS
from tests.browser import Served, new_screen, page, served

NAME = "0123456789abcdef"
WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
PATHS = ("/", f"/screen/{NAME}", "/static/js/textual.js", "/download/key", f"/ws/{NAME}?width=80&height=24", "/nowhere")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served("--runs-dir", str(tmp_path_factory.mktemp("runs"))) as started:
        yield started


@pytest.fixture(scope="module")
def cookie(server: Served) -> str:
    return server.let_in()


def test_an_address_lets_one_browser_in_once(server: Served) -> None:
    path = server.address.removeprefix(server.origin)
    answer = server.ask(path)
    assert answer.status == 200
    said = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {word.strip() for word in said.split(";")}
    assert path.partition("=")[2] not in said
    assert server.ask(path).status == 403, "the address was used up"
    server.address = server.next_address()
    assert path not in server.address
    assert server.ask("/", Cookie=said.partition(";")[0]).status == 303
    assert server.ask("/?token=", Cookie="dlplay-1=x").status == 403
    assert server.ask("/?token=%F0%9F%92%A9").status == 403


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_served_without_the_cookie(server: Served, path: str) -> None:
    answer = server.ask(path)
    assert answer.status == 403
    assert "dlplay serve" in answer.text
    assert server.ask(path, Cookie=f"dlplay-{server.port}=guessed").status == 403


@pytest.mark.parametrize("path", PATHS)
def test_only_pages_of_this_server_are_answered(server: Served, cookie: str, path: str) -> None:
    for host in ("evil.example", f"evil.example:{server.port}", f"127.0.0.1.evil.example:{server.port}", "", "[::1", "0.0.0.0"):
        assert server.ask(path, Cookie=cookie, Host=host).status in (400, 403), host
    own = f"127.0.0.1:{server.port}"
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"https://{own}", f"http://localhost:{server.port}"):
        assert server.ask(path, Cookie=cookie, Origin=origin).status == 403, origin
    for site in ("cross-site", "same-site"):
        assert server.ask(path, Cookie=cookie, Sec_Fetch_Site=site).status == 403, site
    assert server.ask(path, Cookie=cookie, Host=f"localhost:{server.port}").status != 403
    assert server.ask(path, Cookie=cookie, Host="127.0.0.1:9999").status != 403, "as through ssh -L 9999:…"


def test_a_websocket_says_where_it_comes_from(server: Served, cookie: str) -> None:
    path = f"/ws/{NAME}?width=80&height=24"
    for origin in ({}, {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"}):
        assert server.ask(path, Cookie=cookie, **WEBSOCKET, **origin).status == 403
    assert server.ask(path, Origin=server.origin, **WEBSOCKET).status == 403
    assert not server.screens()
    for size in ("", "?width=80", "?width=0&height=24", "?width=80&height=24000", "?width=8_0&height=24", "?width=-1&height=24"):
        assert server.ask(f"/ws/{NAME}{size}", Cookie=cookie, Origin=server.origin, **WEBSOCKET).status == 400, size
    assert server.ask("/ws/..%2f?width=80&height=24", Cookie=cookie, Origin=server.origin, **WEBSOCKET).status == 400


def test_no_answer_is_kept_or_framed(server: Served, cookie: str) -> None:
    for path in PATHS:
        for headers in ({}, {"Cookie": cookie}):
            said = server.ask(path, **headers).headers
            assert said["Cache-Control"] == "no-store"
            assert "frame-ancestors 'none'" in said["Content-Security-Policy"]
            assert said["X-Frame-Options"] == "DENY"
            assert said["X-Content-Type-Options"] == "nosniff"
            assert said["Referrer-Policy"] == "no-referrer"


def test_the_page_loads_nothing_from_elsewhere(server: Served, cookie: str) -> None:
    answer = server.ask(new_screen(server, cookie), Cookie=cookie)
    text = answer.text
    assert answer.status == 200
    assert "https:" not in text
    assert text.count("http:") == 0
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_it_listens_at_127_0_0_1_alone(server: Served) -> None:
    listening = [item.laddr for item in psutil.Process(server.process.pid).net_connections() if item.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", server.port)]
    assert f"ssh -L {server.port}:127.0.0.1:{server.port} " in server.printed or server.printed.count("http") == 1


def test_a_port_in_use_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.run(["serve", "--port", str(port), "--runs-dir", str(tmp_path)]) == 2
    assert f"--port {port} is in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "65536"], "--port 65536: give a number from 1 to 65535"),
        (["gtp"], "did you mean gpt?"),
        (["rm", "gpt-1"], "dlplay serve rm"),
        (["gpt", "--widht", "64"], "--widht"),
        (["gpt", "--width", "63.5"], "width"),
        (["gpt", "--headless", "--steps", "1"], "leave --headless out"),
        (["attach", "not-there"], "not-there"),
    ],
)
def test_what_is_to_be_served_is_checked_first(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["serve", *arguments, "--runs-dir", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_get_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("textual_serve", "aiohttp") or name.startswith("dlplay.web.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert cli.run(["serve"]) == 2
    assert "pip install 'dlplay[web]'" in capsys.readouterr().err


async def test_a_screen_outlives_its_page_and_ends_with_the_server(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    prompt = f"$(touch {touched}); `touch {touched}` & touch {touched} | ' \" \\"
    with served("gpt", "--runs-dir", str(tmp_path), "--width", "48", "--prompt", prompt) as server:
        cookie = server.let_in()
        path = new_screen(server, cookie)
        async with page(server, cookie, path) as first:
            await first.until("48")
            await first.until("quit")
        (screen,) = server.screens()
        assert prompt in screen.cmdline()
        assert not touched.exists(), "a shell has read an argument"
        assert new_screen(server, cookie) == path, "a page that is opened anew shows the screen that was left"
        async with page(server, cookie, path, size=(100, 30)) as second:
            await second.until("quit")
            assert max(map(len, second.text.splitlines())) <= 100
            await second.send("resize", {"width": 120, "height": 40})
            second.drawn.screen.resize(40, 120)
            await second.until(lambda: max(map(len, second.text.splitlines())) > 100)
            async with page(server, cookie, path) as third:  # the connection of the second is still open
                await third.until("quit")
                with pytest.raises(ConnectionError):
                    await second.until_closed()
        assert server.screens() == [screen]
        assert new_screen(server, cookie) == path
        assert server.end() == 0
        assert not screen.is_running() or screen.status() == psutil.STATUS_ZOMBIE


async def test_what_a_page_says_is_bounded(server: Served, cookie: str) -> None:
    path = new_screen(server, cookie)
    for message, code in (
        ('["stdin", "' + "x" * LARGEST_MESSAGE + '"]', "1009|1006"),  # 1006: cut off while it was still sending
        ("{", "1008"),
        ("[" * 100_000, "1008"),
        ('["resize", {"width": 1000000, "height": 2}]', "1008"),
        ('["stdin", 3]', "1008"),
        ('["no such message"]', "1008"),
    ):
        async with page(server, cookie, path) as opened:
            await opened.until("quit")
            await opened.websocket.send_str(message)
            with pytest.raises(ConnectionError, match=code):
                await opened.until_closed()
    assert len(server.screens()) == 1
    async with page(server, cookie, path) as opened:  # which all of it left alone
        await opened.until("quit")


async def test_a_browser_that_is_asleep_is_sent_little_and_catches_up(server: Served, cookie: str) -> None:
    async with page(server, cookie, new_screen(server, cookie)) as opened:
        await opened.until("quit")
        opened.asleep = True
        before, silent, turn = opened.received, 0, 0
        while silent < 40 and opened.received - before < 2 * MOST_UNSEEN:
            turn += 1
            await opened.send("resize", {"width": 200 + turn % 2, "height": 60})  # everything is drawn anew
            silent += 1
            while await opened.read(0.1):
                silent = 0
        assert opened.received - before < 1.5 * MOST_UNSEEN
        await opened.send("resize", {"width": 90, "height": 30})
        opened.drawn.screen.resize(30, 90)
        await opened.wake()
        await opened.until(lambda: "quit" in opened.text.splitlines()[-1])


async def test_there_are_so_many_screens_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlplay.web import served as processes
    from dlplay.web.server import BrowserServer, listen

    ended: list[str] = []

    async def start(screen: processes.ServedScreen, width: int, height: int) -> None:
        assert (width, height) == (80, 24)

    async def stop(screen: processes.ServedScreen) -> None:
        ended.append("stopped")
        screen._ended()

    monkeypatch.setattr(processes.ServedScreen, "start", start)
    monkeypatch.setattr(processes.ServedScreen, "stop", stop)
    with listen(0) as listening:
        server = BrowserServer(["dlplay"], listening)
        for number in range(MOST_SCREENS):
            screen = await server._screen(f"{number:016}")
            assert screen is not None
            screen.page = processes.Page(None, None)  # type: ignore[arg-type]
        assert await server._screen(NAME) is None
        server.screens[f"{3:016}"].page = None
        assert await server._screen(NAME) is not None
        assert ended == ["stopped"]
        assert f"{3:016}" not in server.screens
        assert len(server.screens) == MOST_SCREENS


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
async def test_runs_go_on_when_the_server_ends_and_screens_do_not(number: int, tmp_path: Path) -> None:
    arguments = ("convnet", "--runs-dir", str(tmp_path), "--threads", "1", "--steps", "100000")
    with served(*arguments) as server:
        cookie = server.let_in()
        path = new_screen(server, cookie)
        async with page(server, cookie, path) as opened:
            await opened.until("pretrained")
            await opened.type("\x1b[15~")  # F5
            await opened.until("▶ training")
        (screen,) = server.screens()
        async with page(server, cookie, path) as opened:  # reconnected: the run is there
            await opened.until("▶ training")
        server.end(number)
        deadline = time.monotonic() + 60
        while screen.is_running() and screen.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the screen lives on"
            time.sleep(0.05)
        run = directory.find(tmp_path, "convnet-1")
        try:
            step = directory.summary(run).step
            while directory.summary(run).step <= step:
                assert time.monotonic() < deadline, "the run has ended"
                time.sleep(0.1)
        finally:
            assert cli.run(["stop", "convnet-1", "--runs-dir", str(tmp_path)]) == 0
    assert os.environ.get("TEXTUAL_DRIVER") is None
