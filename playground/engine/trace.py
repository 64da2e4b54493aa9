"""A trace of a few training steps by PyTorch's profiler, as a file that Perfetto opens (https://ui.perfetto.dev)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, record_function

from dlplay.engine.marks import BETWEEN, marked
from dlplay.engine.task import Task

WARM_UP = 5
"""Steps of a process before the first that is traced: they allocate memory and choose kernels."""


class Trace:
    """Takes the steps of a task until enough were traced, with the parts of each as ranges; then it is `done`."""

    def __init__(
        self, task: Task[Any], steps: int, folder: Path, tell: Callable[[str], None], in_place: Callable[[], bool] = lambda: True
    ) -> None:
        """`tell` is told in words where the trace lies, or why there is none; `in_place` whether the folder is still the run's."""
        self.task = task
        self.first = 0
        """Number of the first step that is traced, once that is known."""
        self._steps = steps
        self._folder = folder
        self._tell, self._in_place = tell, in_place
        self._begins = task.step + WARM_UP
        self._profiler: torch.profiler.profile | None = None
        self._traced = 0

    @property
    def done(self) -> bool:
        """Whether all steps are traced: `finish` writes them."""
        return self._traced == self._steps

    def advance(self) -> dict[str, Tensor]:
        """The task's next step."""
        if self.task.step < self._begins or self.done:
            return self.task.advance()
        if self._profiler is None:
            cards = [ProfilerActivity.CUDA] if self.task.device.type == "cuda" else []
            os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its library prints lines of its own
            self._profiler = torch.profiler.profile(activities=[ProfilerActivity.CPU, *cards], acc_events=True)
            self._profiler.start()
            self.first = self.task.step + 1
        with (
            record_function(f"step {self.task.step + 1}"),
            contextlib.ExitStack() as ranges,
            marked(self.task, lambda part: _begin(ranges, part)),
        ):
            metrics = self.task.advance()
        self._traced += 1
        return metrics

    def finish(self) -> None:
        """Write what was traced, and tell where it is. Training goes on where the disk refuses it."""
        if self._profiler is None:
            self._tell(f"nothing was traced: the run ended before step {self._begins + 1:,}, the first one after a warm-up of {WARM_UP}")
            return
        self._profiler.stop()
        last = self.first + self._traced - 1
        path = self._folder / f"trace-{self.first}-{last}.json"
        if not self._in_place():
            self._tell(f"the trace could not be written to {path}: the run's folder is no longer there")
            return
        draft = self._folder / f".{path.name}"
        try:
            self._profiler.export_chrome_trace(str(draft))
            draft.chmod(0o600)
            draft.rename(path)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            self._tell(f"the trace could not be written to {path}: {error}")
            return
        short = f", fewer than the {self._steps} asked for, since the run ended" if not self.done else ""
        self._tell(f"{path}: a trace of the steps {self.first:,} to {last:,}{short}; open it at https://ui.perfetto.dev")


def _begin(ranges: contextlib.ExitStack, part: str) -> None:
    """End the range that is open, and begin one of this name."""
    ranges.close()
    if part:
        ranges.enter_context(record_function("data or loss" if part == BETWEEN else part))
