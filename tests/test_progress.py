"""A long answer says how far it is: on the command line in one line that goes away, on the screen in the panel that waits."""

from __future__ import annotations

import io
import socket
from typing import Any

import pytest
from textual.app import App, ComposeResult

from dlplay.engine import commands as cmd
from dlplay.engine import panel_server, progress
from dlplay.engine.card import PanelCard
from dlplay.engine.device import prepare
from dlplay.engine.events import LiveEvent, Shown, Working
from dlplay.engine.panels import Bars
from dlplay.runs import wire
from dlplay.runs.channel import Channel, Outgoing
from dlplay.runs.console import transient
from dlplay.screen.panels.panel_view import PanelView
from dlplay.screen.run.watcher import Watcher
from tests.conftest import Small
from tests.test_anatomy import ask, trained
from tests.test_loop import Memory
from tests.toy import ToyPanels, ToySettings, ToyTask, card


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_it_is_said_after_a_moment_and_no_faster_than_one_reads(clock: list[float]) -> None:
    heard: list[str] = []
    with progress.heard(heard.append):
        for _ in progress.each(range(1500), "head"):
            clock[0] += 0.001
    assert heard[0] == "head 501 of 1,500"
    assert 4 <= len(heard) <= 6
    progress.say("nobody listens")
    assert len(heard) <= 6


def test_a_short_answer_says_nothing() -> None:
    heard: list[str] = []
    with progress.heard(heard.append):
        assert list(progress.each("abc", "letter")) == ["a", "b", "c"]
    assert heard == []


def test_a_watched_panel_tells_its_client_until_it_is_shown(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    own = ToyPanels.weights

    def weights(panels: ToyPanels, options: Any) -> Any:
        for _ in progress.each(range(4), "weight"):
            clock[0] += 0.4
        return own(panels, options)

    monkeypatch.setattr(ToyPanels, "weights", weights)
    memory, settings = Memory(), ToySettings()
    panels = panel_server.PanelServer(card, ToyTask(settings, prepare(settings)), memory)
    panels.handle(1, cmd.Watch(id=7, rate=30, views=[cmd.View("weights")]))
    panels.serve(clock[0])
    assert [event.doing for event in memory.live if isinstance(event, Working)] == ["weight 3 of 4", "weight 4 of 4"]
    assert [(event.watch, event.view) for event in memory.live] == [(7, 0)] * 3
    assert isinstance(memory.live[-1], Shown)


def test_the_newest_is_sent_and_none_after_the_answer() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(1, ours)
        for number in range(3):
            for view in (0, 1):
                channel.put(Outgoing(Working(watch=1, view=view, doing=f"head {number} of 3")))
        channel.put(Outgoing(Shown(watch=1, view=1, panel=Bars(labels=["a"], values=[1.0]))))
        channel.send()
        seen = wire.Decoder[LiveEvent](LiveEvent).feed(theirs.recv(65_536))
    assert [(type(event), event.view) for event in seen] == [(Working, 0), (Shown, 1)]  # type: ignore[union-attr]
    assert seen[0].doing == "head 2 of 3"  # type: ignore[union-attr]


def test_what_belongs_to_an_earlier_subscription_is_dropped() -> None:
    seen: list[tuple[str, str]] = []
    watcher = Watcher(lambda view, panel, step: None, lambda view, doing: seen.append((view.panel, doing)))
    watcher._views, watcher._watch = [cmd.View("heads")], 3
    for watch, view in ((2, 0), (3, 0), (3, 1)):
        watcher.receive(Working(watch=watch, view=view, doing=f"{watch} {view}"))
    assert seen == [("heads", "3 0")]


class OnePanel(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.view = PanelView(PanelCard("bars", "Bars", "What it is.", "Help.", rows=10))

    def compose(self) -> ComposeResult:
        yield self.view


async def test_the_panel_shows_it_until_the_answer_is_there() -> None:
    app = OnePanel()
    async with app.run_test(size=(60, 12)) as pilot:
        for end in ("show", "fail"):
            app.view.working("head 3 of 144")
            await pilot.pause()
            assert "head 3 of 144 … · What it is." in str(app.view.query_one(".hint").render())
            if end == "show":
                app.view.show(Bars(labels=["a"], values=[1.0]))
            else:
                app.view.fail("no")
            await pilot.pause()
            assert "head 3" not in str(app.view.query_one(".hint").render())


async def test_bars_of_other_parts_begin_at_the_one_that_their_figure_names() -> None:
    app = OnePanel()
    async with app.run_test(size=(60, 20)) as pilot:
        for chosen, parts in ((2, "abc"), (None, "def"), (1, "ghi")):
            app.view.show(Bars(labels=[*parts], values=[1.0] * 3, parts=[*parts], chosen=chosen))
            await pilot.pause()
            assert app.view.part == parts[chosen or 0]
        await pilot.press("tab", "down")
        app.view.show(Bars(labels=[*"ghi"], values=[2.0] * 3, parts=[*"ghi"], chosen=1))
        await pilot.pause()
        assert app.view.part == "i"  # where a person has put it


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_is_written_over_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", shown := Terminal())
    with transient() as tell:
        tell("head 1 of 3")
        tell("head 2\n\x1b[31m of 3")
    lines = shown.getvalue().split("\r")
    assert lines[1] == "head 1 of 3 …\x1b[K"
    assert "\n" not in lines[2]
    assert "\x1b[31m" not in lines[2]
    assert lines[3] == "\x1b[K"


@pytest.mark.parametrize("term", ["dumb", None])
def test_elsewhere_nothing_is_written(monkeypatch: pytest.MonkeyPatch, term: str | None) -> None:
    monkeypatch.setenv("TERM", term or "xterm")
    monkeypatch.setattr("sys.stderr", shown := Terminal() if term else io.StringIO())
    with transient() as tell:
        tell("head 1 of 3")
    assert shown.getvalue() == ""


@pytest.mark.parametrize(
    ("panel", "options", "words"),
    [
        ("anatomy", {"columns": "health"}, {"gradients", "updates", "effective"}),
        ("ablations", {}, {"head"}),
        ("heads", {}, {"all", "head"}),
        ("patching", {}, {"looking", "patched"}),
    ],
)
def test_long_panels_of_gpt_say_what_they_do(
    small: Small, monkeypatch: pytest.MonkeyPatch, panel: str, options: dict[str, Any], words: set[str]
) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.0)
    monkeypatch.setattr(progress, "AGAIN", 0.0)
    task = trained("gpt", **small("gpt"))
    heard: list[str] = []
    with progress.heard(heard.append):
        ask(task, "gpt", panel, **options)
    assert {line.split()[0] for line in heard} == words
