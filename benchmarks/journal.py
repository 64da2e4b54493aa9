"""Opening a run with a long journal: seconds until its first curve stands on the screen, and until all of it does; memory of the screen's
process; seconds and size of a compaction."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.table import Line
from dlplay.engine.events import Evaluated, Finished, Saved, Started, Stepped
from dlplay.runs import compaction, directory
from dlplay.runs.journal import Journal

METRICS = (
    "train_loss",
    "train_accuracy",
    "grad_norm",
    "weight_norm",
    "update_ratio",
    "lr",
    "entropy",
    "tokens_per_second",
    "top5",
    "margin",
)
EVERY = 30
"""Steps of a record, as in a tenth of a second."""


def write(path: Path, megabytes: float) -> int:
    """A journal of this size as a run writes it; returns its last step."""
    pen = random.Random(0)
    table = [pen.random() for _ in range(4096)]
    with Journal(path) as journal:
        journal.append(
            Started(
                architecture="convnet", name=path.parent.name, settings={"steps": 10**8}, device="cpu", device_name="", threads=1,
                parameters=1, data="",
            )
        )  # fmt: skip
        step = 0
        while path.stat().st_size < megabytes * 1e6:
            metrics: dict[str, list[float | None]] = {
                name: [table[(step * 31 + at * 7 + number * 97) % 4096] + 1 / (1 + step) for at in range(EVERY)]
                for number, name in enumerate(METRICS)
            }
            journal.append(Stepped(first=step + 1, step=step + EVERY, metrics=metrics, seconds=step / 300))
            step += EVERY
            if step % 600 == 0:
                journal.append(Evaluated(step=step, metrics={"test_accuracy": table[step % 4096], "test_loss": table[step % 4095]}))
                journal.append(Saved(step=step, checkpoint=f"step-{step}", bytes=1))
        journal.append(Finished(step=step, reason="steps", metrics={}, baselines={}, steps_per_second=300.0, seconds=step / 300))
    return step


async def _open(runs: Path, name: str, last: int) -> dict[str, float]:
    """In a process of its own: open the run on a screen of 140 x 42."""
    from dlplay.screen.app import PlaygroundApp
    from dlplay.screen.run.run_link import RunLink
    from dlplay.widgets import LineChart

    async def nothing(link: RunLink, origin: str = "") -> None:
        return None

    RunLink.explore = nothing  # type: ignore[method-assign, assignment]
    longest = 0.0
    async with PlaygroundApp(runs_dir=runs, tab="convnet", attach=name, config_path=runs / "screen.json").run_test(size=(140, 42)) as pilot:
        app = pilot.app
        assert isinstance(app, PlaygroundApp)
        while app.opened not in app.tabs:
            await asyncio.sleep(0.005)
        began = time.perf_counter()
        first = 0.0
        while app.tab.link.history.step < last:
            at = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - at)
            if not first and any(chart.curves for chart in app.query(LineChart)):
                first = time.perf_counter() - began
        whole = time.perf_counter() - began
    return {
        "first": first or whole,
        "whole": whole,
        "longest": longest,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(effort: Effort) -> list[Line]:
    """Both sizes are written anew; 1 GB is left out in a quick run."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in (100, 1000) if effort.share >= 1 else (100 * effort.share,):
            runs = Path(folder) / f"{megabytes:g}"
            run = directory.create(runs, "convnet", {})
            last = write(run.journal_path, megabytes)
            found = opened(runs, run.name, last)
            what = f"{megabytes:,.0f} MB"
            lines += [
                Line(f"{what}: first curve", found["first"], "s", 2.0, "most"),
                Line(f"{what}: all of it", found["whole"], "s"),
                Line(f"{what}: longest pause of the screen", 1000 * found["longest"], "ms"),
                Line(f"{what}: memory of the screen", found["memory"], "MB", 120.0, "most"),
            ]
            began = time.perf_counter()
            draft = compaction.compacted(run.journal_path, compaction.KEPT, compaction.BLOCKS)
            size = draft.stat().st_size / 1e6
            lines.append(Line(f"{what}: compacted in", time.perf_counter() - began, "s", spread=f"to {size:.1f} MB"))
    return lines


def opened(runs: Path, name: str, last: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.journal", str(runs), name, str(last)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_open(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))))
