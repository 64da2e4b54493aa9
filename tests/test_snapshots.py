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
from dlplay.engine.panels import AnyPanel, Array, Bars, Frame, HeatMap, ImageGrid, Scatter, Table, Tokens
from dlplay.engine.settings import to_dict
from dlplay.runs import directory
from dlplay.runs.journal import Journal
from dlplay.screen import run_bar
from dlplay.screen.app import PlaygroundApp
from dlplay.screen.run_link import RunLink

NOW = 1_800_000_000.0
LAST = 1_240
WORDS = ["the", "value", "of"]


def digit(seed: int) -> np.ndarray:
    """Something like a digit (8, 8): a stroke whose form depends on the seed."""
    y, x = np.mgrid[:8, :8]
    return np.clip(16 - 9 * np.abs(np.hypot(x - 3.5, (y - 3.5) * (1 + seed % 3 / 3)) - 2.5 + seed % 4 / 4), 0, 16).astype(np.uint8)


DIGITS = Array.of(np.stack([digit(i) for i in range(10)]))
PROBABILITIES = Bars(
    labels=[str(i) for i in range(10)],
    values=[0.01, 0.02, 0.01, 0.03, 0.01, 0.02, 0.0, 0.86, 0.03, 0.01],
    high=1.0, percent=True, chosen=7, figure="7 86.0 %",
)  # fmt: skip
CANDIDATES = Bars(
    labels=["the", "a", "an", "object", "x", "<unk>", "this", "type", "its", "each"],
    values=[0.38, 0.14, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02, 0.01],
    percent=True, appends=[" the", " a", " an", " object", " x", "", " this", " type", " its", " each"],
    figure="38.0 %", caption="entropy 4.21 bits, like 18.5 equal choices · 83.0 % shown",
)  # fmt: skip
ATTENTION = HeatMap(
    values=Array.of([[1.0, 0.0, 0.0], [0.7, 0.3, 0.0], [0.4, 0.4, 0.2]]), rows=WORDS, columns=WORDS,
    row_title="looks from", column_title="looks at", low=0.0, high=1.0, figure="layer 0 of 0–2, head 0 of 0–3",
)  # fmt: skip
AROUND = np.linspace(0, 2 * np.pi, 8, endpoint=False)
RING = np.stack([1.5 * np.cos(AROUND), 1.5 * np.sin(AROUND)], axis=1).astype(np.float32)
POINTS = Scatter(
    points=Array.of(np.concatenate([RING, 0.8 * RING])), groups=[0] * 8 + [1] * 8, names=["real", "made"], x_title="x", y_title="y",
    background=Array.of(np.hypot(*np.mgrid[-1:1:12j, -1:1:24j]).astype(np.float32)), bounds=(-2.0, 2.0, -2.0, 2.0),
    figure="8 of 8 modes",
)  # fmt: skip
VALUES = Bars(labels=["push left", "push right"], values=[41.28, 43.74], chosen=1, caption="next: push right (exploit)")
CART = np.zeros((20, 30, 3), np.uint8)
CART[14:17, 12:18], CART[4:14, 14:16] = 255, (202, 152, 101)
SOURCE, SAID = list("hello"), [*"olleh", "<eos>"]
ALTERNATIVES = Bars(labels=["l", "h", "<eos>"], values=[0.94, 0.04, 0.01], percent=True, chosen=0, sets=["ol", "oh", "o"])
BACKWARDS = np.eye(6, 5, dtype=np.float32)[:, ::-1] * 0.9 + 0.02
FILLS = Bars(labels=["value", "type", "name"], values=[0.61, 0.2, 0.05], percent=True, sets=["the value of", "the type of", "the name of"])
PANELS: dict[str, dict[str, AnyPanel]] = {
    "seq2seq": {
        "translation": Tokens(
            words=SAID, values=[0.99, 0.94, 0.97, 0.9, 0.99, 1.0], place=1, alternatives=ALTERNATIVES, text="olleh", ended=True,
            figure="right", caption="right answer olleh",
        ),
        "alignment": HeatMap(
            values=Array.of(BACKWARDS), rows=SAID, columns=SOURCE, row_title="says", column_title="looks at", low=0.0, high=1.0,
        ),
    },
    "bert": {
        "fill": Tokens(
            words=["the", "[MASK]", "of"], values=[None, 0.61, None], place=1, alternatives=FILLS, filled="the value of",
            figure="61.0 %", caption="one word is masked",
        ),
        "attention": ATTENTION,
    },
    "transformer-xl": {
        "next_token": Bars(
            labels=["paris", "rome"], values=[0.98, 0.01], second=[0.1, 0.11], names=["with memory", "without"], percent=True, high=1.0,
            figure="98.0 %", caption="memory of 38 words",
        ),
        "memory_used": Tokens(words=["cat", "red", "paris", "."], values=[0.01, 0.0, 0.98, 0.0], place=2, figure="paris 98 %"),
    },
    "convnet": {
        "probabilities": PROBABILITIES,
        "input": ImageGrid(images=Array.of(digit(7)[None]), labels=["7"], caption="held-out image 0, truly 7"),
        "images": ImageGrid(images=DIGITS, labels=[str(i) for i in range(10)], wrong=[i == 3 for i in range(10)], selected=0),
    },
    "gpt": {
        "next_word": CANDIDATES,
        "passage": Tokens(words=[], values=[], text=""),
        "prompt_tokens": Tokens(words=WORDS, values=[None, 0.02, 0.61], text="the value of", figure="perplexity 9.05"),
        "attention": ATTENTION,
        "layer_lens": Table(columns=["layer", "1", "2"], rows=[["0", "the 12 %", "a 9 %"], ["1", "the 38 %", "a 14 %"]]),
    },
    "recurrent": {
        "next_token": CANDIDATES,
        "prompt_tokens": Tokens(words=WORDS, values=[None, 0.02, 0.61], text="the value of", figure="perplexity 9.05"),
        "activations": HeatMap(
            values=Array.of(np.sin(np.arange(240.0).reshape(8, 30))), columns=[str(i) for i in range(30)], signed=True, row_title="unit",
        ),
    },
    "autoencoder": {
        "reconstructions": ImageGrid(images=DIGITS, labels=[str(i) for i in range(10)], figure="0 to 9 of 360"),
        "decoded": ImageGrid(images=Array.of(np.stack([digit(4), digit(9)])), labels=["decoded", "nearest: 4"], figure="+0.00, +0.00"),
    },
    "gan": {"samples": POINTS, "sample": POINTS},
    "dqn": {
        "q_values": VALUES,
        "environment": Frame(
            pixels=Array.of(CART), bars=VALUES, facts={"step": "12", "return": "12"}, controls={"left": 0, "right": 1},
            figure="return 12", fps=50.0,
        ),
    },
}  # fmt: skip


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

    async def ask(link: RunLink, panel: str, options: dict[str, Any]) -> AnyPanel:
        return PANELS[link.card.name][panel]

    def watch(link: RunLink, views: list[View]) -> None:
        for view in views:
            link._listener.shown(view, PANELS[link.card.name].get(view.panel, Table(columns=["nothing"], rows=[])))

    status = Status(
        state="training", step=LAST, steps_per_second=412.0, device="cpu", device_name="CPU, 2 cores", utilisation=0.5, memory=340_000_000
    )
    pictured = {name: card for name, card in architectures.cards().items() if name in PANELS}  # whatever other rooms there are
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

        async def until(condition: Callable[[], object]) -> None:
            deadline = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < deadline, text()
                await asyncio.sleep(0.02)

        await until(lambda: "1,240 / " in text() and f"▶ {app.cards[app.opened].title}" in text())
        await pilot.press(*keys)
        await until(lambda: words in text())
        for line in app.query(Input):
            line.cursor_blink = False
        await until(lambda: not keys or (app.focused is not None and app.focused.is_on_screen))  # a page's part has the focus
        alike = 0
        while alike < 2:
            before = text()
            app.tab.renew()
            await pilot.pause()
            alike = alike + 1 if text() == before else 0

    return prepare


WIDE = {
    "convnet": "86.0 %",
    "gpt": "18.5 equal choices",
    "recurrent": "18.5 equal choices",
    "autoencoder": "nearest: 4",
    "gan": "8 of 8 modes",
    "dqn": "return 12",
    "seq2seq": "right answer olleh",
    "bert": "one word is masked",
    "transformer-xl": "memory of 38 words",
}
INSIDE = {"convnet": "truly 7", "gpt": "perplexity 9.05"}


@pytest.mark.parametrize("name", list(WIDE))
def test_all_at_once(name: str, still: Callable[[str], PlaygroundApp], snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(still(name), terminal_size=(140, 42), run_before=ready(words=WIDE[name]))


@pytest.mark.parametrize("name", list(INSIDE))
def test_curves_in_a_small_window(name: str, still: Callable[[str], PlaygroundApp], snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(still(name), terminal_size=(80, 24), run_before=ready(words="nearest neighbour"))


@pytest.mark.parametrize("name", [*INSIDE, "seq2seq", "bert"])
def test_the_action_in_a_small_window(name: str, still: Callable[[str], PlaygroundApp], snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(still(name), terminal_size=(80, 24), run_before=ready(keys=("4", "escape"), words=WIDE[name]))


@pytest.mark.parametrize("name", list(INSIDE))
def test_the_inside_without_colours(
    name: str, still: Callable[[str], PlaygroundApp], snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(still(name), terminal_size=(80, 24), run_before=ready(keys=("3",), words=INSIDE[name]))
