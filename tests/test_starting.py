"""While a run starts, its process says what it does just now, and the run bar shows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dlplay import architectures, cli
from dlplay.architectures.convnet.settings import ConvNetSettings
from dlplay.engine.settings import make, to_dict
from dlplay.runs import ask, directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.lock import RunLock, holder, told
from dlplay.screen.run.peer import Peer
from tests.conftest import Small, flags
from tests.screen_pilot import opened, part_text, until

BUSY = """
import sys
from pathlib import Path
from dlplay.runs.lock import RunLock
with RunLock(Path(sys.argv[1])) as lock:
    for line in sys.stdin:
        lock.doing(line.strip())
        print("told", flush=True)
"""


def test_the_process_says_what_it_does(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[str] = []
    tell = RunLock.doing

    def doing(lock: RunLock, phase: str) -> None:
        phases.append(phase)
        tell(lock, phase)

    monkeypatch.setattr(RunLock, "doing", doing)
    command = ["--headless", "--runs-dir", str(tmp_path)]
    assert cli.run(["convnet", *command, "--name", "it", *flags(small("convnet") | {"steps": 2})]) == 0
    assert phases == ["reading data, building the model", "baselines", "first evaluation", ""]
    phases.clear()
    assert cli.run(["resume", "it", *command, "--steps", "4"]) == 0
    assert phases == ["reading data, building the model", "loading the checkpoint", "baselines", ""]


def test_it_is_told_beside_the_holder_and_is_gone_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RunLock(path) as lock:
        lock.doing("baselines")
        lock.note("disk full")
        assert told(path) == holder(path)
        assert (told(path).pid, told(path).problem, told(path).phase) == (os.getpid(), "disk full", "baselines")
        lock.note("")
        lock.doing("")
        assert (told(path).problem, told(path).phase) == ("", "")
        lock.doing("baselines")
    assert told(path).phase == ""
    assert told(tmp_path / "nothing").phase == ""


async def test_the_run_bar_shows_it(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "convnet", to_dict(make(ConvNetSettings, {})), "")
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(run.lock_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        async with opened(tmp_path, tab="convnet", attach=run.name, size=(100, 30)) as (app, _):
            for phase in ("reading data, building the model", "baselines"):
                process.stdin.write(phase + "\n")
                process.stdin.flush()
                assert process.stdout.readline() == "told\n"
                await until(lambda phase=phase: f"starting {run.name} {phase} …" in part_text(app, "RunBar"))  # type: ignore[misc]
            process.kill()  # what a killed process has told is no longer true
            process.wait()
            await until(lambda: "baselines" not in part_text(app, "RunBar"))
            app.tab.link.leave()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


async def test_the_run_bar_shows_what_is_done_to_open_a_model(tmp_path: Path) -> None:
    folder = directory.explore_path(tmp_path) / "convnet-9"
    folder.mkdir(parents=True)
    path = RunDirectory(folder).lock_path
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        async with opened(tmp_path, tab="convnet", size=(110, 30)) as (app, _):
            link = app.tab.link
            link._explorer, link._opening = Peer(RunDirectory(folder), "convnet", lambda event: None, lambda: None), True
            process.stdin.write("reading data, building the model\n")
            process.stdin.flush()
            assert process.stdout.readline() == "told\n"
            await until(lambda: "reading data, building the model …" in part_text(app, "RunBar"))
            process.kill()
            process.wait()
            await until(lambda: "reading data" not in part_text(app, "RunBar"))
            link._explorer, link._opening = None, False
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_model_that_is_opened_tells_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunDirectory(tmp_path / "opened")
    folder.path.mkdir(mode=0o700)
    seen: list[str] = []

    def load(*_: object) -> object:
        seen.append(told(folder.lock_path).phase)
        return SimpleNamespace(step=0, device=torch.device("cpu"))

    def serve(*_: object) -> None:
        seen.append(told(folder.lock_path).phase)

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(ask, "load", load)
    monkeypatch.setattr(ask, "serve_panels", serve)
    card = architectures.card("convnet")
    assert ask.explore(folder, card, make(card.settings, {}), "convnet-digits", tmp_path) == 0
    assert seen == ["reading data, building the model", ""]


async def test_a_run_that_is_begun_here_tells_until_it_trains(small: Small, tmp_path: Path) -> None:
    async with opened(tmp_path, tab="convnet", settings=small("convnet") | {"threads": 1}) as (app, pilot):
        link, seen = app.tab.link, set()

        def training() -> bool:
            seen.add(link.phase)
            return link.state == "training"

        await pilot.press("space")
        await until(lambda: "starting convnet-1 starting its process …" in part_text(app, "RunBar") or training())  # it may be quick
        await until(training)
        assert seen <= {"", "starting its process", "reading data, building the model", "baselines", "first evaluation"}
        await until(lambda: "…" not in part_text(app, "RunBar"))
        await link.end()
