"""Makes the README's pictures: opens the real screen, trains for real, acts, and writes what it shows as SVG.

python docs/pictures.py [FOLDER] [NAME …]        all of them take about fifteen minutes on two cores
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

os.environ |= {"COLORTERM": "truecolor", "TERM": "xterm-256color"}  # before Textual looks

from dlplay import architectures, widgets
from dlplay.screen.app import PlaygroundApp

TWO = (
    (4, 5),
    (3, 6),
    (3, 7),
    (3, 8),
    (4, 9),
    (5, 10),
    (6, 10),
    (7, 9),
    (8, 8),
    (9, 7),
    (10, 6),
    (11, 5),
    *((12, column) for column in range(4, 11)),
)
"""Rows and columns of a hand-drawn 2."""


async def wait_for(condition: Callable[[], object], seconds: float = 300.0) -> None:
    """Raises `TimeoutError` when the condition does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what was to be pictured did not appear")
        await asyncio.sleep(0.05)


def text(app: PlaygroundApp) -> str:
    """What stands on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@asynccontextmanager
async def playground(folder: Path, tab: str, size: tuple[int, int], **wishes: Any) -> AsyncIterator[tuple[PlaygroundApp, Pilot[None]]]:
    """The screen at a tab, its shipped model answering."""
    app = PlaygroundApp(runs_dir=folder / "runs", tab=tab, config_path=folder / "screen.json", **wishes)
    async with app.run_test(size=size) as pilot:
        await wait_for(lambda: app.opened in app.tabs and app.tab.link.answering is not None)
        yield app, pilot
        app.exit()


async def train_until(app: PlaygroundApp, pilot: Pilot[None], step: int) -> None:
    """Press space and wait for the step."""
    await pilot.press("escape", "space")
    await wait_for(lambda: (link := app.tab.link) is not None and link.history.step >= step)


async def draw(app: PlaygroundApp) -> None:
    """Draw a two on the pad."""
    pad = app.query_one(widgets.PixelPad)
    pixels = [[0.0] * 16 for _ in range(16)]
    for row, column in TWO:
        pixels[row][column] = 16.0
        if column + 1 < 16:
            pixels[row][column + 1] = max(pixels[row][column + 1], 6.0)
    pad.set(pixels)
    pad.post_message(widgets.PixelPad.Changed(pad, pad.pixels))
    await asyncio.sleep(2)


async def focus_stage(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """To the stage."""
    await pilot.press("escape", "1")
    await asyncio.sleep(0.5)


Scene = Callable[[PlaygroundApp, Pilot[None]], Awaitable[None]]


def training(step: int) -> Scene:
    """A run in mid-training."""

    async def scene(app: PlaygroundApp, pilot: Pilot[None]) -> None:
        await train_until(app, pilot, step)

    return scene


async def drawn(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """A run, and a digit on the pad."""
    await train_until(app, pilot, 2500)
    await draw(app)


async def watched(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """An agent that is watched while it trains."""
    await train_until(app, pilot, 30_000)
    await focus_stage(app, pilot)
    await pilot.press("w")
    await asyncio.sleep(8)


async def looked_at(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """A token of the output, and what else might have stood there."""
    await asyncio.sleep(3)
    await pilot.press("slash", "escape")  # from the line to the tokens
    await asyncio.sleep(1)
    await pilot.press("home", "right", "right")
    await asyncio.sleep(2)


async def filled(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """Every blank filled, and how sure each was."""
    await asyncio.sleep(4)
    await pilot.press("slash", "enter")
    await asyncio.sleep(3)


async def compared(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """Two learning rates, five seeds of each: the list of runs, both groups marked, and what `c` says of them."""
    await command(app, "convnet", "--headless", "--steps", "200", "--lr", "0.003", "--seeds", "0..4", "--name", "low")
    await command(app, "convnet", "--headless", "--steps", "200", "--lr", "0.01", "--seeds", "0..4", "--name", "high")
    await pilot.press("escape", "R")
    await wait_for(lambda: "+ low" in text(app) and "+ high" in text(app))
    await pilot.press("slash", *"lr 0.01", "enter", "x", "slash", *[*["backspace"] * 7, *"low", "enter", "x", "c"])
    await wait_for(lambda: "is better than" in text(app))


async def swept(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """A small search, and one of its trials under the cursor."""
    search = ("lr=1e-4..1e-1:log", "channels=8,16/16,32/8,16,32", "dropout=0..0.5")
    flags = [word for dimension in search for word in ("--search", dimension)]
    await command(
        app, "sweep", "convnet", *flags, "--trials", "24", "--prune", "median", "--steps", "120", "--eval-every", "20", "--name", "rates"
    )
    await pilot.press("escape", "W")
    await wait_for(lambda: "of 24 trials" in text(app))
    await pilot.press("down")
    await asyncio.sleep(1)


async def looked_back(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """The attention of a run as it was early on."""
    await train_until(app, pilot, card_steps("gpt") // 3)
    await pilot.press("z")
    await wait_for(lambda: app.looking_back)
    for _ in range(9):
        await pilot.press("left_parenthesis")
        await asyncio.sleep(0.5)
    await asyncio.sleep(3)


async def command(app: PlaygroundApp, *words: str) -> None:
    """What a person would type in a terminal beside the screen."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dlplay", *words, "--runs-dir", str(app.runs_dir), stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise RuntimeError(f"dlplay {' '.join(words)} ended with {process.returncode}")


async def answered(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """What the shipped model says."""
    await asyncio.sleep(4)


async def acted(app: PlaygroundApp, pilot: Pilot[None]) -> None:
    """The stage of a small window."""
    await focus_stage(app, pilot)


WIDE = (140, 42)
Picture = tuple[str, tuple[int, int], dict[str, Any], Scene]
"""Its tab, size, options, and what is done before it is taken."""
OWN: dict[str, Picture] = {
    "convnet": ("convnet", WIDE, {}, drawn),
    "dqn": ("dqn", WIDE, {}, watched),
    "seq2seq": ("seq2seq", WIDE, {"source": "transform"}, looked_at),
    "bert": ("bert", WIDE, {"sentence": "If the [MASK] is not found, a NameError [MASK] is raised."}, filled),
    "transformer-xl": ("transformer-xl", WIDE, {}, answered),
    "gpt-80x24": ("gpt", (80, 24), {}, acted),
    "compare": ("convnet", WIDE, {}, compared),
    "sweep": ("convnet", WIDE, {}, swept),
    "look-back": ("gpt", WIDE, {}, looked_back),
}
"""Pictures of something in particular."""


def card_steps(name: str) -> int:
    """Steps of a training with the default settings."""
    return int(architectures.cards()[name].settings().steps)


def pictures() -> dict[str, Picture]:
    """One of every tab, by default at a third of its training, and a few others."""
    trained = {name: (name, WIDE, {}, training(card_steps(name) // 3)) for name in architectures.cards()}
    return trained | OWN


async def main(target: Path, names: Sequence[str]) -> None:
    """The pictures of these names, or all."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        known = pictures()
        for picture in names or known:
            tab, size, options, scene = known[picture]
            folder = Path(name) / picture  # its own, or a model of the previous picture may still be open under the same name
            (folder / "runs").mkdir(mode=0o700, parents=True)
            async with playground(folder, tab, size, options=options) as (app, pilot):
                await scene(app, pilot)
                app.save_screenshot(str(target / f"{picture}.svg"))
                await pilot.press("ctrl+x")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent, sys.argv[2:]))
