"""Everything a run writes: training metrics, durable events, checkpoints, and its status for attached clients.

Metrics stay on the device and are fetched a batch of steps at a time. A checkpoint is copied between two steps and written by a thread
while training continues. An event or a checkpoint that the disk refuses is tried again, and training waits for it: nothing is lost.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dlplay.engine.device import Meter
from dlplay.engine.events import Applied, DurableEvent, Saved, Status, Stepped, Warned
from dlplay.engine.failures import GaveUp, TrainingFailed, broken_contract, not_finite
from dlplay.engine.panel_server import Server
from dlplay.engine.ranks import Report
from dlplay.engine.task import Task

FLUSH_SECONDS = 0.1
"""Metrics stay on the device for this long: one wait for the device, and one record, for all the steps in between."""
STATUS_SECONDS = 0.5
SAVE_SECONDS = 2.0
"""Least time between two checkpoints that are written because a person changed something."""

_REFUSALS = {
    errno.ENOSPC: ("disk full", "there is space"),
    errno.EDQUOT: ("disk quota used up", "there is space within the quota"),
    errno.EIO: ("the disk reports an input or output error", "the disk works again; look at the system's log"),
    errno.EROFS: ("the disk has become read-only", "it is mounted for writing again; look at the system's log"),
}
"""Why a disk refuses a write, and what must hold before it is tried with success."""

Write = Callable[[], tuple[str, int]]
"""Writes a checkpoint from a copy; returns its name and its size in bytes. May raise `OSError`, and is called again then."""
COPIES = 256 << 20
"""Bytes that the copies which wait to be written may take, of checkpoints along the way. Training waits rather than to hold more, except
for the first of them."""


class Copy(NamedTuple):
    """A checkpoint along the way that is not written yet."""

    bytes: int
    write: Callable[[], str]
    """Returns why that failed, in words, or nothing."""


class Along(Protocol):
    """Checkpoints along the way, which a person looks back at. Training does without them where the disk refuses them."""

    def following(self) -> int | None:
        """The first step after the task's at which one is to be kept; None when none is."""

    def snapshot(self) -> Copy:
        """Copy everything it holds."""


class EventLog(Protocol):
    """Where durable events go."""

    def record(self, event: DurableEvent) -> None:
        """Write the event, and show it. Raises `OSError` when it cannot be written; then nothing was."""

    def show(self, event: Warned) -> None:
        """Show, without writing it, that the disk refuses what was to be written. Never raises."""


@dataclasses.dataclass
class Progress:
    """What the engine itself must remember over a resume."""

    seconds: float = 0.0
    """Training time, evaluations, saves and pauses left out."""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    """Of the last evaluation."""
    evaluated: int = -1
    """The step of the last evaluation."""


class Clock:
    """Adds up the training time in `progress.seconds`."""

    def __init__(self, progress: Progress) -> None:
        self.started = 0.0
        """When it was started last, on the `perf_counter` clock."""
        self._progress = progress
        self._counted: float | None = None
        """The time is counted up to here; None while the clock is stopped."""

    def start(self) -> None:
        self.started = self._counted = time.perf_counter()

    def update(self) -> None:
        """Count the time up to now."""
        if self._counted is not None:
            now = time.perf_counter()
            self._progress.seconds += now - self._counted
            self._counted = now

    def stop(self) -> None:
        self.update()
        self._counted = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock for what is not training."""
        self.stop()
        yield
        self.start()


class _PendingSave(NamedTuple):
    """A checkpoint that is being written."""

    step: int
    write: Write
    future: Future[tuple[str, int]]


class Recorder:
    """Buffers metrics, records events, saves checkpoints, broadcasts the status."""

    def __init__(
        self,
        task: Task[Any],
        log: EventLog,
        server: Server,
        snapshot: Callable[[], Write],
        progress: Progress,
        *,
        device_name: str,
        wait: Callable[[str], bool],
        along: Along | None = None,
    ) -> None:
        """`snapshot` copies everything a checkpoint holds, and returns what writes the copy.

        `wait(problem)` is called while the disk refuses a write: it lets a moment pass, and returns True when the run is to give up.
        """
        self.task = task
        self.log = log
        self.server = server
        self.progress = progress
        self.clock = Clock(progress)
        self.status_due = 0.0
        self.keep_at: int | None = None
        """The step at which the next checkpoint along the way is due."""
        self._snapshot = snapshot
        self._along = along
        self._kept: collections.deque[tuple[int, Future[str]]] = collections.deque()
        """Checkpoints along the way that are being written, and their bytes."""
        self._refused = ""
        """Why the last one of them could not be written."""
        self._wait = wait
        self._device_name = device_name
        self._meter = Meter(task.device)
        self._buffer: list[dict[str, Tensor]] = []
        self._begins = False
        """No metrics were recorded since training started or continued: those of its first step are, at once."""
        self._thread = ThreadPoolExecutor(1, "save")
        self._pending: _PendingSave | None = None
        self._saved_step = task.step if task.step else -1
        self._changed = False
        """A person changed something that no checkpoint holds yet."""
        self._save_due = 0.0
        self._problem = ""
        """Why the disk refuses to be written to; empty while it does not."""
        self._rate = 0.0
        """Training steps per second, for the status."""
        self._rate_since = (0.0, task.step)

    def start(self) -> None:
        """Training starts, or continues after a pause."""
        self._begins = True
        self.clock.start()
        self._rate_since = (self.clock.started, self.task.step)

    def close(self) -> None:
        """Wait for the thread that writes checkpoints."""
        self._thread.shutdown(wait=True)

    # --- checkpoints along the way ------------------------------------------------------------------------------------------------

    def plan_next(self) -> None:
        """Find out when the next checkpoint along the way is due."""
        self.keep_at = self._along.following() if self._along is not None else None

    def keep(self) -> None:
        """Keep a checkpoint along the way: copied now, written while training continues."""
        if self._along is not None:
            size, write = self._along.snapshot()
            self.finish_kept(most=COPIES - size)
            self._kept.append((size, self._thread.submit(write)))
            self.plan_next()

    def finish_kept(self, *, most: float = 0) -> None:
        """Wait until those that are being written take no more than `most` bytes. Where they cannot be written any more, why is recorded,
        once."""
        while self._kept and (sum(size for size, _ in self._kept) > most or self._kept[0][1].done()):
            _, written = self._kept.popleft()
            before, self._refused = self._refused, written.result()
            if self._refused and not before:
                what, remedy = (
                    "a checkpoint could not be kept along the way",
                    "training goes on without it, and keeps the next one that it can",
                )
                self.record(Warned(step=self.task.step, time=time.time(), what=what, why=self._refused, remedy=remedy))

    # --- training metrics ---------------------------------------------------------------------------------------------------------

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Keep the metrics of one step, which may still be on the device."""
        self._buffer.append(metrics)

    def flush_due(self, now: float) -> bool:
        return self._begins or now - self.clock.started >= FLUSH_SECONDS

    def flush(self) -> None:
        """Record the metrics of the steps since the last flush. Raises `TrainingFailed` when a loss was not finite."""
        if not self._buffer:
            return
        self.clock.update()
        self._begins = False
        last, count = self.task.step, len(self._buffer)
        try:
            columns, bad = _columns(self._buffer)
        except TypeError as error:
            raise TrainingFailed(broken_contract(last, str(error))) from error
        finally:
            self._buffer.clear()
        first = last - count + 1
        if self.task.not_finite.item():
            bad %= count  # no metric shows it: the first step since the last flush is the earliest it can be
            if bad:
                good = {name: column[:bad] for name, column in columns.items()}
                self.record(Stepped(step=first + bad - 1, first=first, metrics=good, seconds=self.progress.seconds))
            raise TrainingFailed(not_finite(self.task, first + bad))
        self.record(Stepped(step=last, first=first, metrics=columns, seconds=self.progress.seconds))
        now = time.perf_counter()
        then, step = self._rate_since
        if now - then >= STATUS_SECONDS:
            self._rate, self._rate_since = (last - step) / (now - then), (now, last)

    # --- events -------------------------------------------------------------------------------------------------------------------

    def record(self, event: DurableEvent) -> None:
        self._insist("write the journal", lambda: self.log.record(event))

    def _insist(self, what: str, write: Callable[[], Any]) -> Any:
        """Call `write` until the disk no longer refuses, and record that it refused. Raises `GaveUp` when told to stop before that."""
        result, warning = self._retry(what, write)
        while warning is not None:  # the disk may refuse the warning as well
            _, warning = self._retry("write the journal", functools.partial(self.log.record, warning))
        return result

    def _retry(self, what: str, write: Callable[[], Any]) -> tuple[Any, Warned | None]:
        """What `write` returned once the disk took it, and the warning to record when it did not at first."""
        began, reason = time.monotonic(), ""
        try:
            while True:
                try:
                    result = write()
                    break
                except OSError as error:
                    first = not reason
                    reason, cure = _REFUSALS.get(error.errno or 0, (error.strerror or str(error), "it can be written"))
                    remedy = f"training waits, and continues once {cure}"
                    if first:
                        self.log.show(Warned(step=self.task.step, time=time.time(), what=f"cannot {what}", why=reason, remedy=remedy))
                    self._problem = f"{reason}: cannot {what}; {remedy}"
                    self.status("paused")
                    if self._wait(self._problem):
                        raise GaveUp(f"{reason}: could not {what}") from error
        finally:
            self._problem = ""
        if not reason:
            return result, None
        what = f"could not {what} for {time.monotonic() - began:.0f} s"
        return result, Warned(step=self.task.step, time=time.time(), what=what, why=reason, remedy="training has continued")

    # --- checkpoints --------------------------------------------------------------------------------------------------------------

    def save(self, *, wait: bool = True) -> None:
        """Save a checkpoint. Without `wait`, training continues while it is written, and `finish_save` records it later."""
        self.finish_save(wait=True)
        write = self._snapshot()
        self._pending = _PendingSave(self.task.step, write, self._thread.submit(write))
        self._saved_step, self._changed = self.task.step, False
        self.finish_save(wait=wait)

    def finish_save(self, *, wait: bool) -> None:
        """Record the checkpoint that is being written, once it is complete; if the disk refused it, write it again."""
        self.finish_kept(most=math.inf)
        if self._pending is None or not (wait or self._pending.future.done()):
            return
        (step, write, future), self._pending = self._pending, None
        attempts = iter([future.result])
        name, size = self._insist("save a checkpoint", lambda: next(attempts, write)())
        self.record(Saved(step=step, checkpoint=name, bytes=size))

    def save_if_needed(self) -> None:
        """Save unless the last checkpoint holds everything already."""
        if self._saved_step != self.task.step or self._changed:
            self.save()

    def record_change(self, what: str, value: Any, before: Any) -> None:
        """Record what a person changed, and save it: it is not among the steps that a resumed run can repeat."""
        self.record(Applied(step=self.task.step, what=what, value=value, before=before))
        self.plan_next()
        self._changed = True
        self.save_changes()

    def save_changes(self) -> None:
        """Save what a person changed: at once, or a moment later when changes follow quickly."""
        if self._changed and time.perf_counter() >= self._save_due:
            self.save()
            self._save_due = time.perf_counter() + SAVE_SECONDS

    # --- status -------------------------------------------------------------------------------------------------------------------

    def status(self, state: str) -> None:
        """Tell attached clients how the run is doing."""
        now = time.perf_counter()
        self.status_due = now + STATUS_SECONDS
        group = self.task.ranks if state != "failed" else None
        if group is None and not self.server.clients:
            return
        utilisation, memory = self._meter.read()
        ranks = []
        if group is not None:
            group.tell(Report())
            ranks = group.report(utilisation, memory)
        self.server.broadcast(
            Status(
                step=self.task.step,
                time=time.time(),
                state=state,
                steps_per_second=self._rate if state == "training" else 0.0,
                device=str(self.task.device),
                device_name=self._device_name,
                utilisation=utilisation,
                memory=memory,
                problem=self._problem,
                ranks=ranks,
            )
        )


def _columns(steps: Sequence[dict[str, Tensor]]) -> tuple[dict[str, list[float | None]], int]:
    """The metrics by name, one value a step: None where a step lacks the metric or its value is not finite.

    Also the position of the first step with a value that is not finite, `len(steps)` when there is none. Raises `TypeError` for
    a metric that is no single tensor.
    """
    columns: dict[str, list[float | None]] = {}
    bad = len(steps)
    for name in dict.fromkeys(name for metrics in steps for name in metrics):
        present = [index for index, metrics in enumerate(steps) if name in metrics]
        values = _fetched(name, [steps[index][name] for index in present])
        column: list[float | None] = [None] * len(steps)
        for index, value in zip(present, values, strict=True):
            if math.isfinite(value):
                column[index] = value
            else:
                bad = min(bad, index)
        columns[name] = column
    return columns, bad


def _fetched(name: str, metrics: list[Tensor]) -> list[float]:
    """The values of one metric, in one transfer from the device. Raises `TypeError` for one that is no single tensor."""
    for value in metrics:
        if not isinstance(value, Tensor) or value.numel() != 1:
            words = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise TypeError(f"train_step returned {words} as {name}; it must be a 0-d tensor, such as loss.detach()")
    values: list[float] = torch.stack([value.reshape(()) if value.ndim else value for value in metrics]).tolist()
    return values
