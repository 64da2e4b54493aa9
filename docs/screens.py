"""Takes every tab's picture at four sizes before, during and after a training, as `FOLDER/TAB-STATE-SIZE.webp`.

python docs/screens.py [FOLDER] [TAB …]        by default docs/screens and all tabs, about fifteen minutes on two cores

Needs the extra `test`, and Chromium (Debian: chromium), which draws what the screen exports.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, async_playwright
from textual.pilot import Pilot

sys.path.insert(0, str(Path(__file__).parent))
from pictures import playground, wait_for

from dlplay import architectures
from dlplay.screen.app import PlaygroundApp

SIZES = [(80, 24), (140, 42), (220, 60), (60, 80)]
MINUTES = 0.75
"""Of a training: long enough that every tab has something to show, on any machine."""
SCALE = 0.65
"""Of the picture that is kept; a cell is still 8 pixels wide."""
SETTLES = 2.5
"""Seconds until everything that is asked for anew after a change of size has been drawn."""


async def take(app: PlaygroundApp, pilot: Pilot[None], browser: Browser, target: Path, name: str) -> None:
    """One picture of each size."""
    for width, height in SIZES:
        await pilot.resize_terminal(width, height)
        await asyncio.sleep(SETTLES)
        page = await browser.new_page(viewport={"width": 12 * width, "height": 25 * height})
        await page.set_content(f"<body style='margin:0'>{app.export_screenshot()}</body>")
        drawn = await page.locator("svg").first.screenshot(type="png")
        await page.close()
        picture = Image.open(io.BytesIO(drawn)).convert("RGB")
        smaller = picture.resize((round(SCALE * picture.width), round(SCALE * picture.height)), Image.Resampling.LANCZOS)
        smaller.save(target / f"{name}-{width}x{height}.webp", quality=65, method=6)


async def main(target: Path, tabs: Sequence[str]) -> None:
    """The pictures of these tabs, or of all."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is needed to draw the pictures: apt-get install chromium")
    target.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for tab in tabs or architectures.cards():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
                folder = Path(name)
                (folder / "runs").mkdir(mode=0o700)
                async with playground(folder, tab, (140, 42), settings={"minutes": MINUTES}) as (app, pilot):
                    await take(app, pilot, browser, target, f"{tab}-before")
                    await pilot.press("f5")
                    began = time.monotonic()
                    await wait_for(lambda app=app: app.tab.link.history.step > 0)  # type: ignore[misc]
                    await asyncio.sleep(max(0.0, MINUTES * 20 - (time.monotonic() - began)))  # a third of it
                    await take(app, pilot, browser, target, f"{tab}-during")
                    await wait_for(lambda app=app: app.tab.link.state not in ("starting", "training"))  # type: ignore[misc]
                    await take(app, pilot, browser, target, f"{tab}-after")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "screens", sys.argv[2:]))
