"""Many runs at once: what starting one costs, eight seeds side by side, and the list of thousands of runs."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.pace import environment
from benchmarks.rounds import alternate, ratio
from benchmarks.table import Line, spread
from dlplay import architectures
from dlplay.engine.settings import make, to_dict
from dlplay.runs import directory, launch
from dlplay.runs.history import History
from dlplay.runs.journal import JournalReader
from dlplay.screen.runs.screen import RunsScreen

ARCHITECTURE = "convnet"
SEEDS, JOBS = 8, 2
LISTED = 2000


def measure(effort: Effort) -> list[Line]:
    """Ratios are of what alternated in one round."""
    lines = _starting(effort)
    lines += _seeds(effort)
    lines += _list(20 if effort.quick else LISTED)
    return lines


def _starting(effort: Effort) -> list[Line]:
    """From the call to the first recorded step, by a launcher that is ready and by a command."""
    launch.prepare(ARCHITECTURE)
    _until_first_step()  # the launcher has imported what it needs
    ready = launch._launcher
    found = alternate({"by the launcher": _until_first_step, "as a command": lambda: _without_launcher(_until_first_step)}, effort.rounds)
    assert ready is launch._launcher
    return [Line(f"first step of a run started {how}", statistics.median(times), "s", spread=spread(times)) for how, times in found.items()]


def _without_launcher(measured: Callable[[], float]) -> float:
    kept, launch._launcher = launch._launcher, None
    try:
        return measured()
    finally:
        launch._launcher = kept


def _until_first_step() -> float:
    card = architectures.card(ARCHITECTURE)
    with tempfile.TemporaryDirectory() as folder:
        run = directory.create(Path(folder), ARCHITECTURE, to_dict(make(card.settings, {"steps": 5})))
        began = time.perf_counter()
        started = launch.launch_blocking(["resume", run.name, "--headless", "--runs-dir", folder], run.log_path)
        history, reader = History(), JournalReader(run.journal_path)
        while history.step < 1:
            history.add(reader.read())
            time.sleep(0.002)
        taken = time.perf_counter() - began
        while started.returncode is None:
            time.sleep(0.01)
        return taken


def _seeds(effort: Effort) -> list[Line]:
    """Eight seeds as one group, and as eight commands one after the other."""
    steps = effort.steps(200)
    found = alternate({"group": lambda: _group(steps), "commands": lambda: _commands(steps)}, max(1, effort.rounds // 2))
    what = f"{SEEDS} seeds of {steps} steps, {JOBS} at a time"
    return [
        Line(what, statistics.median(found["group"]), "s", spread=spread(found["group"])),
        Line(f"{SEEDS} commands of {steps} steps, one after the other", statistics.median(found["commands"]), "s"),
        Line("seeds as a group, over commands", ratio(found["group"], found["commands"]), bound=0.55, within="most"),
    ]


def _group(steps: int) -> float:
    return _timed("--seeds", f"0..{SEEDS - 1}", "--jobs", str(JOBS), "--steps", str(steps))


def _commands(steps: int) -> float:
    return sum(_timed("--seed", str(seed), "--steps", str(steps)) for seed in range(SEEDS))


def _timed(*flags: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dlplay", ARCHITECTURE, "--headless", "--runs-dir", folder, *flags]
        began = time.perf_counter()
        subprocess.run(command, check=True, env=environment(1), stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def _list(count: int) -> list[Line]:
    """From the key to the names of all runs, and to all that is known of them."""
    with tempfile.TemporaryDirectory() as folder:
        _timed_into(Path(folder))
        first = directory.RunDirectory(Path(folder) / f"{ARCHITECTURE}-1")
        for number in range(2, count + 1):
            (copy := Path(folder) / f"{ARCHITECTURE}-{number}").mkdir()
            for name in ("run.json", "events.jsonl"):
                shutil.copy(first.path / name, copy / name)
        shown, known = asyncio.run(_open_list(Path(folder), count))
    return [
        Line(f"the list of {count:,} runs is open", shown, "s", 0.5, "most"),
        Line("and tells of each one how far it came", known, "s"),
    ]


def _timed_into(folder: Path) -> None:
    command = [sys.executable, "-m", "dlplay", ARCHITECTURE, "--headless", "--runs-dir", str(folder), "--steps", "5"]
    subprocess.run(command, check=True, env=environment(1), stdout=subprocess.DEVNULL)


async def _open_list(folder: Path, count: int) -> tuple[float, float]:
    from textual.app import App

    app: App[None] = App()
    async with app.run_test(size=(140, 42)):
        began = time.perf_counter()
        screen = RunsScreen(folder, architectures.cards())
        app.push_screen(screen)
        while len(screen.shown) < count:
            await asyncio.sleep(0.002)
        shown = time.perf_counter() - began
        while not all(item.summary for item in screen.shown):
            await asyncio.sleep(0.01)
        return shown, time.perf_counter() - began
