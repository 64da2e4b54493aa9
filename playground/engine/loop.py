"""The training loop: one for every architecture. What it drives is a `Task`; it knows neither the model nor the screen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch

from dlplay.engine.card import Card
from dlplay.engine.control import Control
from dlplay.engine.errors import DataError
from dlplay.engine.events import Evaluated, Failed, Finished, Paused, Warned
from dlplay.engine.failures import TrainingFailed, broken_contract, data_failed, out_of_memory, rank_lost
from dlplay.engine.panel_server import PanelServer, Server
from dlplay.engine.ranks import RankLost, Report, Train
from dlplay.engine.recorder import Along, EventLog, Progress, Recorder, Write
from dlplay.engine.settings import SettingsError, to_dict
from dlplay.engine.step_times import StepTimes
from dlplay.engine.task import Task, looking


class Loop:
    """Trains until a stop condition holds, a client says stop, or it fails."""

    def __init__(
        self,
        card: Card,
        task: Task[Any],
        log: EventLog,
        server: Server,
        snapshot: Callable[[], Write],
        *,
        baselines: dict[str, dict[str, float]],
        progress: Progress,
        device_name: str = "",
        paused: bool = False,
        along: Along | None = None,
    ) -> None:
        """`snapshot` copies everything a checkpoint holds, and returns what writes the copy; `along` those along the way."""
        self.card = card
        self.task = task
        self.server = server
        self.progress = progress
        self.baselines = baselines
        self.times = StepTimes(task)
        self.panels = PanelServer(card, task, server)
        self.recorder = Recorder(
            task,
            log,
            server,
            snapshot,
            progress,
            device_name=device_name,
            wait=lambda problem: self.control.wait_for_disk(problem),
            along=along,
        )
        self.control = Control(task, server, self.panels, self.recorder, progress, paused=paused)
        if task.captured is not None:
            task.captured.tell = self._tell_of_captures
        self._first = (task.step, progress.seconds)
        """Step and training time at which this process began."""

    def run(self) -> str:
        """Train to the end. Returns why it ended. Raises `TrainingFailed` after its `Failed` event was recorded."""
        try:
            if self.progress.evaluated < 0:  # a resumed run knows its last evaluation
                self._evaluate()
            self._check_until()
            if self.control.paused:
                self.recorder.record(Paused(step=self.task.step))
            self.recorder.plan_next()
            if self.task.step == 0:
                if self.task.settings.history:
                    self.recorder.keep()
                self.recorder.save()
            while True:
                reason = self._train()
                self._finish(reason)
                if reason in ("interrupted", "stopped") or not self._train_on():
                    return reason
        except TrainingFailed as failure:
            self._fail(failure.event)
            raise
        except DataError as error:
            event = data_failed(self.task.step, error)
            self._fail(event)
            raise TrainingFailed(event) from error
        except RankLost as error:
            event = rank_lost(self.task.step, str(error))
            self._fail(event)
            raise TrainingFailed(event) from error
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            shortage = out_of_memory(self.task, error)
            if shortage is None:
                raise
            self._fail(shortage)
            raise TrainingFailed(shortage) from error
        finally:
            self.times.close()
            self.recorder.close()

    def _tell_of_captures(self, why: str) -> None:
        what, remedy = "steps are not captured", "training goes on without"
        self.recorder.record(Warned(step=self.task.step, what=what, why=why, remedy=remedy))

    def _fail(self, event: Failed) -> None:
        with contextlib.suppress(TrainingFailed):  # one failure is enough
            self.recorder.finish_save(wait=True)
        self.recorder.record(event)
        self.recorder.status("failed")

    def _train(self) -> str:
        """Train until there is a reason to stop; returns it."""
        task, recorder, control = self.task, self.recorder, self.control
        recorder.status("paused" if control.paused else "training")
        recorder.start()
        while True:
            control.obey()
            if reason := control.reason_to_stop():
                recorder.clock.stop()
                return reason
            if control.paused:
                self._pause()
                continue

            if task.ranks is not None:
                task.ranks.tell(Train())
            metrics = self.times.advance()
            task.step += 1
            recorder.add(metrics)

            now = time.perf_counter()
            evaluate, save = task.step % task.settings.eval_every == 0, task.step % task.settings.save_every == 0
            keep = task.step == recorder.keep_at
            if evaluate or save or keep or control.single_step or recorder.flush_due(now):
                recorder.flush()  # waits for the device
                with recorder.clock.stopped():
                    self.times.between()
                    if evaluate:
                        self._evaluate()
                    with self.times.of("saving"):
                        recorder.finish_save(wait=False)
                        if keep:
                            recorder.keep()
                        if save:
                            recorder.save(wait=False)
                        recorder.save_changes()
                    control.finish_single_step()
                if now >= recorder.status_due:
                    recorder.status("training")
            self.panels.serve(now)
            control.limit_speed(now)

    def _evaluate(self) -> None:
        with self.times.of("evaluation"), looking(self.task):
            metrics = self.task.evaluate()
        if (metric := self.card.of(to_dict(self.task.settings)).metric) not in metrics:
            given = ", ".join(metrics) or "nothing"
            raise TrainingFailed(broken_contract(self.task.step, f"evaluate returned {given}, without the card's metric {metric}"))
        self.progress.metrics, self.progress.evaluated = metrics, self.task.step
        self.recorder.record(Evaluated(step=self.task.step, metrics=metrics))

    def _pause(self) -> None:
        """Obey commands and serve panels until training continues or ends."""
        self.recorder.clock.stop()
        self.recorder.flush()
        self.recorder.status("paused")
        while self.control.paused and not self.control.reason_to_stop():
            self.control.obey(0.2)
            self._serve_idle("paused")
        self.recorder.start()

    def _finish(self, reason: str) -> None:
        """The last evaluation, the last checkpoint and the `Finished` event."""
        task, progress = self.task, self.progress
        self.recorder.flush()
        self.times.close()
        self.recorder.finish_save(wait=True)
        self.recorder.finish_kept()
        again = task.thorough_at_end and reason in ("minutes", "until")  # at the last of all steps it was thorough anyway
        if reason != "interrupted" and (again or progress.evaluated != task.step):
            task.finishing = True
            self._evaluate()
            task.finishing = False
        self.recorder.save_if_needed()
        first_step, first_seconds = self._first
        seconds = progress.seconds - first_seconds
        ranks = []
        if task.ranks is not None:
            task.ranks.tell(Report(whole=True))
            ranks = task.ranks.summary()
        self.recorder.record(
            Finished(
                step=task.step,
                reason=reason,
                metrics=progress.metrics,
                baselines=self.baselines,
                steps_per_second=(task.step - first_step) / seconds if seconds > 0 else 0.0,
                seconds=progress.seconds,
                ranks=ranks,
            )
        )
        self.recorder.status("finished")

    def _train_on(self) -> bool:
        """Serve panels for as long as a client is attached; True when one raised the limits and resumed the run."""
        control = self.control
        control.stopped, control.paused, control.at_end = False, True, True
        with contextlib.suppress(RankLost):  # the run is complete without them
            return self._train_on_when_told()
        return False

    def _train_on_when_told(self) -> bool:
        control = self.control
        while self.server.clients and not control.interrupted and not control.stopped:
            control.obey(0.2)
            self._serve_idle("finished")
            if not control.paused:
                if control.reason_to_stop():
                    control.paused = True
                    continue
                control.at_end = False
                self._first = (self.task.step, self.progress.seconds)
                return True
        return False

    def _serve_idle(self, state: str) -> None:
        """Bring every watched panel up to date while nothing trains."""
        self.recorder.finish_save(wait=False)
        self.recorder.save_changes()
        while self.panels.behind:
            self.panels.serve(time.perf_counter(), idle=True)
        if time.perf_counter() >= self.recorder.status_due:
            self.recorder.status(state)

    def _check_until(self) -> None:
        """Raises `TrainingFailed` for a run that could never end as its settings say."""
        try:
            self.control.check_until(self.control.until)
        except SettingsError as error:
            event = Failed(
                step=self.task.step, what="--until can never hold", why=str(error), remedy="start again with one of these metrics"
            )
            raise TrainingFailed(event) from error
