"""Commands to a run, carried out between two training steps: pause, resume, step once, change a setting, act, save, stop."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from typing import Any

from dlplay.engine.commands import Act, AnyCommand, Ask, Pause, Resume, Rewind, Save, Set, SetSpeed, StepOnce, Stop
from dlplay.engine.errors import DataError
from dlplay.engine.events import Paused, Resumed
from dlplay.engine.panel_server import PanelServer, Server
from dlplay.engine.ranks import Change
from dlplay.engine.recorder import Progress, Recorder
from dlplay.engine.settings import SettingsError, change, field, parse_until, to_dict
from dlplay.engine.task import Task

RETRY_SECONDS = 1.0
"""Between two attempts to write what the disk refuses."""
QUICK_SECONDS = 1e-3
"""Commands that take no longer than this are not counted."""

COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


class Control:
    """Whether training continues, and how: what clients asked for, and the stop conditions in the settings."""

    def __init__(
        self, task: Task[Any], server: Server, panels: PanelServer, recorder: Recorder, progress: Progress, *, paused: bool
    ) -> None:
        self.task = task
        self.server = server
        self.panels = panels
        self.recorder = recorder
        self.progress = progress
        self.paused = paused
        self.single_step = False
        """Pause again after the next step."""
        self.stopped = False
        """A client said stop."""
        self._interrupted = False
        self.at_end = False
        """The run has reached its end, and only answers its clients."""
        self._speed = 0.0
        """Training steps per second at most; 0: no limit."""
        self._due = 0.0
        """When the next commands are carried out, on the `perf_counter` clock."""
        self.until = parse_until(task.settings.until)

    @property
    def interrupted(self) -> bool:
        """Set by a signal handler, of any rank: end after this step."""
        return self._interrupted or (self.task.ranks is not None and self.task.ranks.interrupted)

    @interrupted.setter
    def interrupted(self, value: bool) -> None:
        self._interrupted = value

    # --- stop conditions ----------------------------------------------------------------------------------------------------------

    def reason_to_stop(self) -> str:
        """`interrupted`, `stopped`, `steps`, `minutes` or `until`; empty while training is to continue."""
        settings, progress = self.task.settings, self.progress
        if self.interrupted:
            return "interrupted"
        if self.stopped:
            return "stopped"
        if self.task.step >= settings.steps:
            return "steps"
        if settings.minutes and progress.seconds >= settings.minutes * 60:
            return "minutes"
        if self.until and progress.evaluated == self.task.step and self.task.step > 0:
            metric, comparison, bound = self.until
            if metric in progress.metrics and COMPARE[comparison](progress.metrics[metric], bound):
                return "until"
        return ""

    def check_until(self, until: tuple[str, str, float] | None) -> None:
        """Raises `SettingsError` for a metric that the evaluations do not have."""
        metrics = self.progress.metrics
        if until and metrics and until[0] not in metrics:
            raise SettingsError(f"--until {until[0]}: there is no held-out metric of that name; known are {', '.join(metrics)}", "until")

    # --- commands -----------------------------------------------------------------------------------------------------------------

    def obey(self, timeout: float = 0.0) -> None:
        """Carry out the commands that have arrived, waiting up to `timeout` seconds for the first one.

        After commands that took a while, training has as long before the next ones, unless it is waiting anyway.
        """
        if timeout or time.perf_counter() >= self._due:
            commands = self.server.poll(timeout)
            began = time.perf_counter()
            for client, command in commands:
                if not self.panels.handle(client, command):
                    self._carry_out(client, command)
            ended = time.perf_counter()
            if ended - began > QUICK_SECONDS:
                self._due = ended + (ended - began)
        self.panels.answer()

    def _carry_out(self, client: int, command: AnyCommand) -> None:
        try:
            match command:
                case Act():
                    self.recorder.flush()
                    if self.panels.act(client, command):  # which replies itself
                        self.recorder.record_change(command.action, command.options, None)
                    return
                case Pause():
                    self._set_paused(True)
                case Resume():
                    self._check_not_at_end()
                    self._set_paused(False)
                case StepOnce():
                    self._check_not_at_end()
                    self._set_paused(False)
                    self.single_step = True
                case SetSpeed():
                    if not 0 <= command.steps_per_second <= 1e6:
                        raise SettingsError("the speed is 0 (no limit) to 1000000 steps per second")
                    self._speed = command.steps_per_second
                case Set():
                    self._set(command)
                case Save():
                    self.recorder.flush()
                    self.recorder.save_if_needed()
                case Stop():
                    self.stopped = True
                case Rewind():
                    raise SettingsError("a run that trains is not rewound; a process that only answers questions is (--explore)")
        except (SettingsError, DataError) as error:
            self.panels.refuse(client, command, str(error))
        else:
            self.panels.confirm(client, command)

    def _check_not_at_end(self) -> None:
        if self.at_end and self.reason_to_stop():
            raise SettingsError("the run has reached its end; raise steps (or minutes, until) to train on")

    def _set_paused(self, paused: bool) -> None:
        self.single_step = False
        if paused != self.paused:
            self.recorder.flush()
            self.paused = paused
            self.recorder.record(Paused(step=self.task.step) if paused else Resumed(step=self.task.step))
        if not self.stopped:
            self.recorder.status("paused" if paused else "training")

    def _set(self, command: Set) -> None:
        """Change a live setting. Raises `SettingsError` or `DataError`, and nothing is changed then."""
        settings = self.task.settings
        item = field(type(settings), command.field)
        if not item.live:
            raise SettingsError(f"{item.flag} cannot change during a run; it takes effect on reset", item.name)
        changed = change(settings, item.name, command.value)
        before, value = getattr(settings, item.name), getattr(changed, item.name)
        if before == value:
            return
        until = parse_until(changed.until)
        self.check_until(until)
        self.recorder.flush()
        try:
            self.task.change(changed)
            self.task.train_with()
        except BaseException:
            self.task.change(settings)  # a room may have taken up a part of it
            self.task.train_with()
            raise
        self.task.settings = changed
        if self.task.ranks is not None:
            self.task.ranks.tell(Change(to_dict(changed)))
        self.until = until
        self.recorder.record_change(item.name, value, before)

    # --- between commands ---------------------------------------------------------------------------------------------------------

    def finish_single_step(self) -> None:
        """Pause again after the one step that a client asked for."""
        if self.single_step:
            self.single_step, self.paused = False, True
            self.recorder.record(Paused(step=self.task.step))

    def limit_speed(self, began: float) -> None:
        """Wait until the next step is due at the speed that a client set; the last one ended at `began`."""
        if not self._speed:
            return
        due = began + 1 / self._speed
        while self._speed and not self.paused and not self.reason_to_stop() and (left := due - time.perf_counter()) > 0:
            self.obey(min(left, 0.2))

    def wait_for_disk(self, problem: str) -> bool:
        """Let a moment pass before a write is tried again; True when the run is to give up. Only `Ask` and `Stop` are carried out."""
        for client, command in self.server.poll(RETRY_SECONDS):
            if isinstance(command, Stop):
                self.interrupted = True
            elif isinstance(command, Ask):
                self.panels.ask(client, command)
            else:
                self.panels.refuse(client, command, problem)
        while self.panels.answer(idle=True):
            pass
        return self.interrupted
