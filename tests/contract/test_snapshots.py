"""Pictures of each tab over a run that never changes: a shift of layout, colour or wording is seen at once.

After a change that was meant: `pytest tests/test_snapshots.py --snapshot-update`, and look at the pictures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from dlplay import architectures
from dlplay.engine.commands import View
from dlplay.engine.events import Applied, Baselines, DurableEvent, Evaluated, Saved, Started, Status, Stepped
from dlplay.engine.panels import AnyPanel, Table
from dlplay.engine.settings import to_dict
from dlplay.runs import directory
from dlplay.runs.journal import Journal
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.run import run_bar
from dlplay.screen.run.run_link import RunLink
from tests.rooms import facts

NOW = 1_800_000_000.0
LAST = 1_240


def events(name: str) -> list[DurableEvent]:
    """A run in mid-training."""
    card = architectures.card(name)
    settings: dict[str, Any] = to_dict(card.settings())
    started = Started(
        architecture=name, name=f"{name}-1", settings=settings, device="cpu", device_name="CPU", threads=1, parameters=4_242, data="fixed",
        time=NOW,
    )  # fmt: skip
    steps = np.arange(1, LAST + 1)
    fall = np.exp(-steps / 300)
    wave = 1 + 0.4 * np.sin(steps * 1.7) * np.sin(steps * 0.23)
    metrics: dict[str, list[float | None]] = {}
    told: dict[str, np.ndarray] = {}
    for position, chart in enumerate(card.charts):
        curve, noise = (1 - 0.9 * fall, 1 - 0.02 * np.abs(1 - wave)) if chart.percent else (2.3 * fall + 0.02 * (1 + position), wave)
        for name in chart.train:
            metrics[name] = (curve * noise).tolist()
        for name in chart.held_out:
            told[name] = curve * (0.98 if chart.percent else 1.2)
    names = {name: {"nearest neighbour": 0.9 if chart.percent else 0.4} for chart in card.charts for name in chart.held_out[:1]}
    evaluated = [Evaluated(step=int(s), metrics={key: float(v[s - 1]) for key, v in told.items()}, time=NOW) for s in steps[99::100]]
    return [
        started,
        Baselines(values=names, time=NOW),
        Stepped(first=1, step=LAST, metrics=metrics, seconds=3.0, time=NOW),
        *evaluated,
        Applied(step=600, what="lr", value=0.001, before=0.003, time=NOW),
        Saved(step=1_200, checkpoint="step-1200", bytes=1, time=NOW),
    ]


@pytest.fixture
def still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], PlaygroundApp]:
    """The playground over a run without a process and without a clock."""
    for name in ("NO_COLOR", "COLORFGBG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")

    async def nothing(link: RunLink, origin: str = "") -> None:
        return None

    def pictured_panel(link: RunLink, panel: str) -> AnyPanel:
        return facts(link.card.name).pictured.get(panel, Table(columns=["nothing"], rows=[]))

    async def ask(link: RunLink, panel: str, options: dict[str, Any]) -> AnyPanel:
        return pictured_panel(link, panel)

    def watch(link: RunLink, views: list[View]) -> None:
        for view in views:
            link._listener.panel_received(view, pictured_panel(link, view.panel), LAST)

    status = Status(
        state="training", step=LAST, steps_per_second=412.0, device="cpu", device_name="CPU, 2 cores", utilisation=0.5, memory=340_000_000
    )
    pictured = {name: card for name, card in architectures.cards().items() if facts(name).pictured}  # whatever other rooms there are
    monkeypatch.setattr(architectures, "cards", lambda: pictured)
    monkeypatch.setattr(RunLink, "explore", nothing)
    monkeypatch.setattr(RunLink, "ask", ask)
    monkeypatch.setattr(RunLink, "watch", watch)
    monkeypatch.setattr(RunLink, "state", "training")
    monkeypatch.setattr(RunLink, "attached", True)
    monkeypatch.setattr(RunLink, "answering", status)
    monkeypatch.setattr(RunLink, "status", property(lambda link: status, lambda link, value: None), raising=False)
    monkeypatch.setattr(run_bar, "time", SimpleNamespace(time=lambda: NOW + 12))

    def make(name: str) -> PlaygroundApp:
        run = directory.create(tmp_path, name, to_dict(architectures.card(name).settings()))
        with Journal(run.journal_path) as journal:
            for event in events(name):
                journal.append(event)
        return PlaygroundApp(runs_dir=tmp_path, tab=name, attach=run.name, config_path=tmp_path / "screen.json")

    return make


def ready(*, keys: tuple[str, ...] = (), words: str) -> Callable[[Pilot[None]], Any]:
    """Press the keys once the run stands on the screen, and wait for the words; then for two looks that are the same."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PlaygroundApp)

        def text() -> str:
            strips = app.screen._compositor.render_strips()
            return "\n".join("".join(segment.text for segment in strip) for strip in strips)

        def picture() -> list[str]:
            return [repr(list(strip)) for strip in app.screen._compositor.render_strips()]

        async def until(condition: Callable[[], object]) -> None:
            deadline = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < deadline, text()
                await asyncio.sleep(0.02)

        await until(lambda: "  1,240" in text() and f"▶{app.cards[app.opened].title}" in text())
        await pilot.press(*keys)
        await until(lambda: words in text())
        for line in app.query(Input):
            line.cursor_blink = False
        await until(lambda: not keys or (app.focused is not None and app.focused.is_on_screen))  # a page's part has the focus
        alike = 0
        while alike < 3:  # colours and focus too, not only the words
            before, focused = picture(), app.focused
            app.tab.draw_changes()
            await pilot.pause()
            alike = alike + 1 if (picture(), app.focused) == (before, focused) else 0

    return prepare


PICTURED = [name for name in architectures.cards() if facts(name).pictured]
SMALL = [name for name in PICTURED if facts(name).pictured_small]
INSPECTED = [name for name in PICTURED if facts(name).inspects]


@pytest.mark.parametrize("name", PICTURED)
def test_all_at_once(name: str, still: Callable[[str], PlaygroundApp], snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(still(name), terminal_size=(140, 42), run_before=ready(words=facts(name).waits_for))


@pytest.mark.parametrize("name", INSPECTED)
def test_curves_in_a_small_window(name: str, still: Callable[[str], PlaygroundApp], snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(still(name), terminal_size=(80, 24), run_before=ready(words="nearest neighbour"))


@pytest.mark.parametrize("name", SMALL)
def test_the_action_in_a_small_window(name: str, still: Callable[[str], PlaygroundApp], snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(still(name), terminal_size=(80, 24), run_before=ready(keys=("1",), words=facts(name).waits_for))


@pytest.mark.parametrize("name", INSPECTED)
def test_the_inside_without_colours(
    name: str, still: Callable[[str], PlaygroundApp], snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(still(name), terminal_size=(80, 24), run_before=ready(keys=("3",), words=facts(name).inspects))
