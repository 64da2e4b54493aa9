"""The training engine: drives a `Task`, knows neither architecture nor screen, speaks in events, and obeys commands between two steps."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import math
import operator
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dlplay.engine.audience import Audience, Outlet
from dlplay.engine.card import Card
from dlplay.engine.commands import Act, AnyCommand, Ask, Pause, Resume, Save, Set, SetSpeed, StepOnce, Stop, Watch
from dlplay.engine.device import Meter
from dlplay.engine.errors import DataError
from dlplay.engine.events import (
    Applied,
    DurableEvent,
    Evaluated,
    Failed,
    Finished,
    Paused,
    Resumed,
    Saved,
    Status,
    Stepped,
    Warned,
)
from dlplay.engine.failures import GaveUp, TrainingFailed, not_finite, out_of_memory
from dlplay.engine.saving import Saver, Write
from dlplay.engine.settings import SettingsError, change, field, parse_until
from dlplay.engine.task import Task, looking

FLUSH_SECONDS = 0.1
"""Metrics stay on the device for this long: one wait for the device, and one record, for all the steps in between."""
STATUS_SECONDS = 0.5
RETRY_SECONDS = 1.0
CHANGES_SECONDS = 2.0
"""Between two checkpoints that are written because a person changed something."""

COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclasses.dataclass
class Progress:
    """What the loop itself must remember over a resume."""

    seconds: float = 0.0
    """Training time, evaluations and saves left out."""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    """Of the last evaluation."""
    evaluated: int = -1
    """The step it was done at."""


class Loop:
    """Trains until a stop condition holds, somebody says stop, or it fails."""

    def __init__(
        self,
        card: Card,
        task: Task[Any],
        outlet: Outlet,
        snapshot: Callable[[], Write],
        *,
        baselines: dict[str, dict[str, float]],
        progress: Progress,
        device_name: str = "",
        paused: bool = False,
    ) -> None:
        """`snapshot` copies all that a checkpoint holds, and returns what writes it; that may raise `OSError`, and is tried again."""
        self.task = task
        self.outlet = outlet
        self.audience = Audience(card, task, outlet)
        self.baselines = baselines
        self.progress = progress
        self.paused = paused
        self.interrupted = ""
        """Set by a signal handler: why the run has to end after this step."""
        self._saver = Saver(snapshot)
        self._device_name = device_name
        self._meter = Meter(task.device)
        self._buffer: list[dict[str, Tensor]] = []
        self._stopping = ""
        self._single = False
        self._speed = 0.0
        self._saved = task.step if task.step else -1
        self._unsaved = False
        self._save_due = 0.0
        self._first = task.step
        self._before = progress.seconds
        self._status_due = 0.0
        self._rate = 0.0
        self._rate_mark = (0.0, task.step)
        self._problem = ""
        self._until = parse_until(task.settings.until)

    # --- the whole ----------------------------------------------------------------------------------------------------------------

    def run(self) -> str:
        """Train to the end. Returns why it ended. Raises `TrainingFailed` after its `Failed` event was recorded."""
        try:
            if self.progress.evaluated != self.task.step:
                self._evaluate()
            try:
                self._check_until(self._until)
            except SettingsError as error:
                never = Failed(step=self.task.step, what="--until can never hold", why=str(error), remedy="start again with one of them")
                raise TrainingFailed(never) from error
            if self.task.step == 0:
                self._checkpoint()
            while True:
                self._finish(reason := self._train())
                if reason in ("interrupted", "stopped") or not self._linger():
                    return reason
        except TrainingFailed as failure:
            with contextlib.suppress(TrainingFailed):  # one word of failure is enough
                self._collect(wait=True)
            self._record(failure.event)
            self._status("failed")
            raise
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            event = out_of_memory(self.task, error)
            if event is None:
                raise
            self._record(event)
            raise TrainingFailed(event) from error
        finally:
            self._saver.close()

    def _train(self) -> str:
        task, settings = self.task, self.task.settings
        self._status("paused" if self.paused else "training")
        began = flushed = time.perf_counter()
        self._rate_mark = (began, task.step)
        while True:
            self._obey(0.0)
            if reason := self._reason_to_end():
                self._clock(began)
                return reason
            if self.paused:
                self._clock(began)
                self._flush()
                self._wait_paused()
                began = flushed = time.perf_counter()
                self._rate_mark = (began, task.step)
                continue
            self._buffer.append(task.train_step())
            task.step += 1
            settings = task.settings
            now = time.perf_counter()
            evaluate, save = task.step % settings.eval_every == 0, task.step % settings.save_every == 0
            if evaluate or save or self._single or now - flushed >= FLUSH_SECONDS:
                began = self._clock(began)
                self._flush()
                self._clock(began)  # it waited for the device, which is training time
                if evaluate:
                    self._evaluate()
                self._collect(wait=False)
                if save:
                    self._checkpoint(wait=False)
                self._save_changes()
                if self._single:
                    self._single, self.paused = False, True
                    self._record(Paused(step=task.step))
                began = flushed = time.perf_counter()
                if now >= self._status_due:
                    self._status("training")
            if self.audience.wanted:
                self.audience.serve(now)
            if self._speed:
                self._hold(now)

    def _finish(self, reason: str) -> None:
        self._flush()
        self._collect(wait=True)
        task = self.task
        again = task.thorough_at_end and reason in ("minutes", "until")  # at the last of all steps it was thorough anyway
        if reason != "interrupted" and (again or self.progress.evaluated != task.step):
            task.finishing = True
            self._evaluate()
            task.finishing = False
        if self._saved != self.task.step or self._unsaved:
            self._checkpoint()
        seconds = self.progress.seconds - self._before
        self._record(
            Finished(
                step=self.task.step,
                reason=reason,
                metrics=self.progress.metrics,
                baselines=self.baselines,
                steps_per_second=(self.task.step - self._first) / seconds if seconds > 0 else 0.0,
                seconds=self.progress.seconds,
            )
        )
        self._status("finished")

    def _linger(self) -> bool:
        """Answer questions while somebody looks on; True when training is to go on."""
        self._stopping = ""
        self.paused = True
        while self.outlet.clients and not self.interrupted and not self._stopping:
            self._obey(0.2, state="finished")
            self._serve_still("finished")
            if not self.paused:
                if self._reason_to_end():
                    self.paused = True
                    continue
                self._first, self._before = self.task.step, self.progress.seconds
                return True
        return False

    # --- parts of a step ----------------------------------------------------------------------------------------------------------

    def _reason_to_end(self) -> str:
        settings = self.task.settings
        if self.interrupted:
            return "interrupted"
        if self._stopping:
            return self._stopping
        if self.task.step >= settings.steps:
            return "steps"
        if settings.minutes and self.progress.seconds >= settings.minutes * 60:
            return "minutes"
        if self._until and self.progress.evaluated == self.task.step and self.task.step > 0:
            metric, comparison, bound = self._until
            if metric in self.progress.metrics and COMPARE[comparison](self.progress.metrics[metric], bound):
                return "until"
        return ""

    def _check_until(self, until: tuple[str, str, float] | None) -> None:
        """Raises `SettingsError` for a metric that no evaluation gives."""
        metrics = self.progress.metrics
        if until and metrics and until[0] not in metrics:
            raise SettingsError(f"--until {until[0]}: there is no held-out metric of that name; known are {', '.join(metrics)}", "until")

    def _clock(self, began: float) -> float:
        """Count the training time since `began`; returns the present, from which the next piece counts."""
        now = time.perf_counter()
        self.progress.seconds += now - began
        return now

    def _hold(self, began: float) -> None:
        """Wait until the next step is due at the speed that was asked for."""
        due = began + 1 / self._speed
        while self._speed and not self.paused and not self._reason_to_end() and (left := due - time.perf_counter()) > 0:
            self._obey(min(left, 0.2))

    def _flush(self) -> None:
        """Record the metrics of the steps since the last flush; raise when a loss was not finite."""
        if not self._buffer:
            return
        last, count = self.task.step, len(self._buffer)
        names = dict.fromkeys(name for metrics in self._buffer for name in metrics)
        columns: dict[str, list[float | None]] = {}
        bad = count
        for name in names:
            present = [index for index, metrics in enumerate(self._buffer) if name in metrics]
            values = torch.stack([self._buffer[index][name].reshape(()) for index in present]).tolist()
            column: list[float | None] = [None] * count
            for index, value in zip(present, values, strict=True):
                column[index] = value if math.isfinite(value) else None
                if column[index] is None:  # not merely absent, as a metric may be in some steps
                    bad = min(bad, index)
            columns[name] = column
        self._buffer.clear()
        first = last - count + 1
        if self.task.not_finite.item():
            bad %= count  # no metric shows it: the first step since the last flush is the earliest it can be
            if bad:
                good = {name: column[:bad] for name, column in columns.items()}
                self._record(Stepped(step=first + bad - 1, first=first, metrics=good, seconds=self.progress.seconds))
            raise TrainingFailed(not_finite(self.task, first + bad))
        self._record(Stepped(step=last, first=first, metrics=columns, seconds=self.progress.seconds))
        now = time.perf_counter()
        then, step = self._rate_mark
        if now - then >= STATUS_SECONDS:
            self._rate, self._rate_mark = (last - step) / (now - then), (now, last)

    def _evaluate(self) -> None:
        with looking(self.task):
            metrics = self.task.evaluate()
        self.progress.metrics, self.progress.evaluated = metrics, self.task.step
        self._record(Evaluated(step=self.task.step, metrics=metrics))

    def _checkpoint(self, *, wait: bool = True) -> None:
        """Save. Unless told to wait, training goes on while a thread writes, and `_collect` records it later."""
        self._collect(wait=True)
        self._saver.begin(self.task.step)
        self._saved, self._unsaved = self.task.step, False
        self._collect(wait=wait)

    def _collect(self, *, wait: bool) -> None:
        """Record the checkpoint that has been written; what the disk refused is tried again while training waits."""
        if (written := self._saver.finished(wait)) is None:
            return
        name, size = self._insist("save a checkpoint", written.attempt)
        self._record(Saved(step=written.step, checkpoint=name, bytes=size))

    # --- commands -----------------------------------------------------------------------------------------------------------------

    def _obey(self, timeout: float, state: str = "") -> None:
        for client, command in self.outlet.poll(timeout):
            match command:
                case Ask():
                    self.audience.ask(client, command)
                case Watch():
                    self.audience.watch(client, command)
                case Act() if not self.audience.lasting(command):
                    self.audience.act_in_turn(client, command)
                case Act():
                    self._flush()
                    if self.audience.act(client, command):
                        self._applied(command.action, command.options, None)
                case _:
                    self._steer(client, command, state)

    def _steer(self, client: int, command: AnyCommand, state: str) -> None:
        match command:
            case Pause():
                self._set_paused(True)
            case Resume():
                if state == "finished" and self._reason_to_end():
                    return self.audience.refuse(client, command, "the run has reached its end; raise steps (or minutes, until) to train on")
                self._set_paused(False)
            case StepOnce():
                if state == "finished" and self._reason_to_end():
                    return self.audience.refuse(client, command, "the run has reached its end; raise steps (or minutes, until) to train on")
                self._set_paused(False)
                self._single = True
            case SetSpeed():
                if not 0 <= command.steps_per_second <= 1e6:
                    return self.audience.refuse(client, command, "the speed is 0 (no limit) to 1000000 steps per second")
                self._speed = command.steps_per_second
            case Set():
                try:
                    self._set(command)
                except (SettingsError, DataError) as error:
                    return self.audience.refuse(client, command, str(error))
            case Save():
                self._flush()
                if self._saved != self.task.step or self._unsaved:
                    self._checkpoint()
            case Stop():
                self._stopping = "stopped"
            case _:
                return self.audience.refuse(client, command, f"the command {type(command).__name__} is not known here")
        self.audience.obeyed(client, command)

    def _set(self, command: Set) -> None:
        settings = self.task.settings
        item = field(type(settings), command.field)
        if not item.live:
            raise SettingsError(f"{item.flag} cannot change in mid-run; it takes effect on reset", item.name)
        changed = change(settings, item.name, command.value)
        before, value = getattr(settings, item.name), getattr(changed, item.name)
        if before == value:
            return
        until = parse_until(changed.until)
        self._check_until(until)
        self._flush()
        self.task.change(changed)
        self.task.settings = changed
        self._until = until
        self._applied(item.name, value, before)

    def _applied(self, what: str, value: Any, before: Any) -> None:
        """Record a change and save: what a person did is not among the steps that a resumed run can do over again. At once, but not once
        for each of many quick changes: those are saved together a moment later."""
        self._record(Applied(step=self.task.step, what=what, value=value, before=before))
        self._unsaved = True
        self._save_changes()

    def _save_changes(self) -> None:
        if self._unsaved and time.perf_counter() >= self._save_due:
            self._checkpoint()
            self._save_due = time.perf_counter() + CHANGES_SECONDS

    def _set_paused(self, paused: bool) -> None:
        self._single = False
        if paused != self.paused:
            self._flush()
            self.paused = paused
            self._record(Paused(step=self.task.step) if paused else Resumed(step=self.task.step))
        if not self._stopping:
            self._status("paused" if paused else "training")

    def _wait_paused(self) -> None:
        self._status("paused")
        while self.paused and not self._reason_to_end():
            self._obey(0.2)
            self._serve_still("paused")

    def _serve_still(self, state: str) -> None:
        """Bring every watched panel up to date while nothing trains."""
        self._collect(wait=False)
        self._save_changes()
        while self.audience.waiting:
            self.audience.serve(time.perf_counter(), still=True)
        if time.perf_counter() >= self._status_due:
            self._status(state)

    # --- telling ------------------------------------------------------------------------------------------------------------------

    def _record(self, event: DurableEvent) -> None:
        self._insist("write the journal", lambda: self.outlet.record(event))

    def _insist(self, what: str, attempt: Callable[[], Any]) -> Any:
        """Do what must be done before training may go on; while the disk refuses, wait, say so, and try again."""
        began = time.monotonic()
        while True:
            try:
                result = attempt()
                break
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                reason = "disk full" if full else error.strerror or str(error)
                if not self._problem:
                    remedy = "training waits, and goes on by itself once there is space"
                    self.outlet.tell(Warned(step=self.task.step, time=time.time(), what=f"cannot {what}", why=reason, remedy=remedy))
                self._problem = f"{reason}: cannot {what}; training waits and goes on by itself once there is space"
                self._status("paused")
                for client, command in self.outlet.poll(RETRY_SECONDS):
                    if isinstance(command, Stop):
                        self.interrupted = self.interrupted or "stopped"
                    elif isinstance(command, Ask):
                        self.audience.ask(client, command)
                    else:
                        self.audience.refuse(client, command, self._problem)
                if self.interrupted:
                    raise GaveUp(f"{reason}: could not {what}") from error
        if self._problem:
            waited, self._problem = time.monotonic() - began, ""
            self.outlet.record(
                Warned(step=self.task.step, what=f"could not {what} for {waited:.0f} s", why=reason, remedy="it went on by itself")
            )
        return result

    def _status(self, state: str) -> None:
        now = time.perf_counter()
        self._status_due = now + STATUS_SECONDS
        if not self.outlet.clients:
            return
        utilisation, memory = self._meter.read()
        self.outlet.broadcast(
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
            )
        )
