"""A run's process: it takes the run's lock, builds its task from settings or a checkpoint, and trains it with the engine's loop."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from dlplay import architectures
from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.format import DATA_LIMIT
from dlplay.checkpoints.history import LIMIT, History, following
from dlplay.checkpoints.shipped import Shipped
from dlplay.checkpoints.store import Checkpoint, encode_meta
from dlplay.engine import ahead, captured, compiled, precision, torchrun
from dlplay.engine import device as devices
from dlplay.engine.baseline_cache import baselines
from dlplay.engine.card import Card
from dlplay.engine.control import Control
from dlplay.engine.eager import use_eager_optimizers
from dlplay.engine.errors import MISFITS, DataError, cause
from dlplay.engine.events import Baselines, DurableEvent, Evaluated, Failed, Hello, Saved, Started, Warned
from dlplay.engine.failures import GaveUp, TrainingFailed, cannot_be_saved, data_failed, folder_went_away
from dlplay.engine.loop import Loop
from dlplay.engine.ranks import Begin, End, RankLost, Ranks
from dlplay.engine.recorder import Copy, Progress, Write
from dlplay.engine.settings import Settings, SettingsError, change, fields, make, show, to_dict, without_code
from dlplay.engine.state import flatten, load_optimizer_state, unflatten
from dlplay.engine.task import Task
from dlplay.engine.trace import Trace
from dlplay.engine.units import size
from dlplay.runs import machine, origin, rank_states, steps
from dlplay.runs.console import Console, print_line
from dlplay.runs.directory import Anchor, RunDirectory
from dlplay.runs.journal import Journal
from dlplay.runs.lock import RunLock
from dlplay.runs.server import Server
from dlplay.system.gauges import Gauges

use_eager_optimizers()

FINISHED, FAILED, INTERRUPTED = 0, 1, 130
_REASONS = {
    "precision": "numbers are rounded in another way",
    "steps": "numbers are rounded in another way",
    "ranks": "sums are computed in another order, and dropout and what streams remember belonged to other parts of a batch",
}
"""Why a run is no longer the same to the bit once this differs."""


class RunLog:
    """Durable events go to the journal, then to the console; one that is only shown says why none can be written, and the lock tells it."""

    def __init__(self, journal: Journal, console: Console, lock: RunLock) -> None:
        self.journal, self.console, self.lock = journal, console, lock
        self._noted = False

    def record(self, event: DurableEvent) -> None:
        self.console.show(self.journal.append(event))
        if self.lock.phase and isinstance(event, Evaluated):
            self.lock.doing("")
        if isinstance(event, Saved):
            self.journal.compact()  # while the clock of the training time stands still
        if self._noted:
            self._noted = False
            self.lock.note("")

    def show(self, event: Warned) -> None:
        self.console.show(event)
        self._noted = True
        self.lock.note(f"{event.why}: {event.what}")


def run(
    directory: RunDirectory,
    new_console: Callable[[], Console],
    *,
    paused: bool = False,
    traced: int = 0,
    overrides: dict[str, Any] | None = None,
    code: Mapping[str, Any] | None = None,
) -> int:
    """Train a run to its end, from its last checkpoint if it has one; returns the exit status.

    `traced` is how many steps to write a trace of, `overrides` are settings to change in a resumed run, `code` those that import code: the
    ones in the run's files are not used.
    Raises `Held` when another process has the run, and `SettingsError`, `DataError` or `CheckpointError` when it cannot start.
    """
    with RunLock(directory.lock_path) as lock, contextlib.ExitStack() as stack:
        anchor = stack.enter_context(contextlib.closing(Anchor(directory)))
        card = architectures.card(directory.spec.architecture)
        for store in (directory.store, directory.history):
            store.clean()
        checkpoint, problems = directory.store.newest()
        if checkpoint is None and problems:
            raise CheckpointError(
                f"none of the {len(problems)} checkpoints of {directory.name} can be read ({problems[0]}); nothing was changed. "
                f"Restore one, or start a new run with dlplay {card.name} --headless"
            )
        try:
            ranks = stack.enter_context(_ranks(lock))
            task, progress, device_name, differences = prepare(card, directory, checkpoint, overrides or {}, code or {}, lock.doing, ranks)
        except RankLost as error:
            words = f"another rank ended while the run was starting, or cannot be reached ({error}); see what it says"
            raise DataError(words) from error
        _check_size(task)
        if overrides and (last := overrides.get("steps")) is not None and last <= task.step:
            raise SettingsError(f"--steps {last}: {directory.name} is at step {task.step:,} already; give more than that", "steps")
        journal = stack.enter_context(contextlib.closing(Journal(directory.journal_path)))
        server = Server(directory.socket_path, lambda: Hello(step=task.step, architecture=card.name, name=directory.name, pid=os.getpid()))
        server.start()
        stack.callback(server.close)
        console = new_console()
        stack.callback(console.close)
        log = RunLog(journal, console, lock)
        try:
            log.record(_started(directory, task, device_name))
            for warning in [*_refused(problems), *differences, *_shortage(task)]:
                log.record(warning)
            lock.doing("baselines")
            values = _record_baselines(log, task)
            directory.history.drop_after(task.step)
            look_back(task, directory)
            writer = Writer(directory, anchor, journal, card, task, progress, values)
            loop = Loop(
                card,
                task,
                log,
                server,
                writer.save,
                baselines=values,
                progress=progress,
                device_name=device_name,
                paused=paused,
                along=writer,
            )
            lock.doing("first evaluation" if progress.evaluated < 0 else "")
            if traced:
                loop.times.trace = Trace(task, traced, directory.path, functools.partial(print_line, error=True), lambda: anchor.in_place)
            stack.enter_context(_recorded(directory, anchor, card, task, progress, loop))
            with signals(loop.control):
                reason = loop.run()
        except TrainingFailed:
            return _ended(ranks, FAILED)
        except GaveUp as error:
            print_line(f"dlplay: {error}; the last checkpoint is intact", error=True)
            return _ended(ranks, FAILED)
        except Exception as error:
            _record_unexpected(log, directory, task, error)
            raise
        return _ended(ranks, INTERRUPTED if reason == "interrupted" else FINISHED)


@contextlib.contextmanager
def _ranks(lock: RunLock) -> Iterator[Ranks | None]:
    """The ranks, where torchrun has started several."""
    place = torchrun.place()
    if place is None or place.ranks == 1:
        yield None
        return
    lock.doing("waiting for the other ranks")
    ranks = Ranks(place)
    try:
        yield ranks
    finally:
        ranks.close()


def _ended(ranks: Ranks | None, status: int) -> int:
    """Tell the other ranks, where they can hear it, that the run has ended with this exit status; returns it."""
    if ranks is not None and not ranks.in_step:
        with contextlib.suppress(RankLost):
            ranks.tell(End(status))
    return status


@contextlib.contextmanager
def _recorded(directory: RunDirectory, anchor: Anchor, card: Card, task: Task[Any], progress: Progress, loop: Loop) -> Iterator[None]:
    """Within it what the machine does is recorded."""

    def counts() -> machine.Counts:
        settings, times = to_dict(task.settings), loop.times
        examples = task.settings.accumulate * int(settings.get(card.batch, 1))
        tokens = examples * card.tokens(settings) if card.tokens is not None else 0
        clock = {"training": progress.seconds, **times.clock}
        return machine.Counts(step=task.step, examples=examples, tokens=tokens, times=clock, parts=dict(times.seconds), timed=times.timed)

    gauges = Gauges(task.device)
    recording = machine.Recording(directory.path, task.step, counts, gauges.read, lambda: loop.control.paused, lambda: anchor.in_place)
    task.machine = lambda: recording.samples
    with contextlib.closing(recording):
        yield


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes a run's checkpoints: the latest, and those along the way (`engine.recorder.Along`)."""

    directory: RunDirectory
    anchor: Anchor
    journal: Journal
    card: Card
    task: Task[Any]
    progress: Progress
    baselines: dict[str, dict[str, float]]

    @functools.cached_property
    def history(self) -> History:
        return self.directory.history

    def save(self) -> Write:
        """Copy everything a checkpoint holds; returns a function that writes the copy and returns its name and its size in bytes.

        That function raises `OSError` when the disk refuses, and `TrainingFailed` for a checkpoint that could not be loaded again, or when
        the run's folder is no longer at its path.
        """
        step, weights, state, meta = self._copy()

        def write() -> tuple[str, int]:
            self._check_place(step)
            self.journal.sync()  # no checkpoint is ahead of its journal, not even after a power failure
            try:
                saved = self.directory.store.save(step, weights, state, meta)
            except CheckpointError as error:
                raise TrainingFailed(cannot_be_saved(step, str(error))) from error
            return saved.name, saved.bytes

        return write

    def following(self) -> int | None:
        return following(self.task.step, self.task.settings.history)

    def snapshot(self) -> Copy:
        if (size := sum(tensor.nbytes for tensor in self.task.weights().values())) > LIMIT:
            why = f"its weights take {size / 1e6:,.0f} MB, and all checkpoints along the way together {LIMIT / 1e6:,.0f} MB at most"
            return Copy(0, lambda: why)
        step, weights, state, meta = self._copy()
        count = self.task.settings.history

        def write() -> str:
            self._check_place(step)
            try:
                self.history.keep(step, weights, state, meta, count)
            except OSError as error:
                return error.strerror or str(error)
            except CheckpointError as error:
                return str(error)
            return ""

        return Copy(sum(array.nbytes for array in (*weights.values(), *state.values())), write)

    def _check_place(self, step: int) -> None:
        if not self.anchor.in_place:
            raise TrainingFailed(folder_went_away(step))

    def _copy(self) -> tuple[int, dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The step, the weights, the tensors of the training state, and the meta of a checkpoint, all as they are now."""
        task, progress = self.task, self.progress
        tensors, plain = flatten(task.state_dict())
        others: list[dict[str, Any]] = []
        if task.ranks is not None:
            of_ranks, others = rank_states.collect(task, task.ranks)
            tensors |= of_ranks
        meta = {
            "architecture": self.card.name,
            "name": self.directory.name,
            "step": task.step,
            "settings": to_dict(task.settings),
            "assets": task.assets(),
            "state": copy.deepcopy(plain),
            "progress": {"seconds": progress.seconds, "metrics": dict(progress.metrics), "evaluated": progress.evaluated},
            "metrics": dict(progress.metrics),
            "baselines": self.baselines,
            "parameters": task.parameters,
            "data": task.data,
            "threads": torch.get_num_threads(),
            "device": task.device.type,
            "precision": precision.resolve(task.settings.precision, task.device),
            "steps": _kind_of_steps(task),
            "versions": versions(),
        }
        if others:
            meta[rank_states.OF_RANKS] = others
        return task.step, _copies(task.weights()), _copies(tensors), meta


def load(card: Card, checkpoint: Checkpoint, settings: Settings) -> Task[Any]:
    """A task with a checkpoint's weights, to be asked and not trained. Raises `SettingsError`, `DataError` or `CheckpointError`."""
    card.load_task()  # before the seed: what is imported may draw from the global generators
    device = devices.prepare(settings, settings.placed)
    task = with_assets(card, settings, device, checkpoint.meta.get("assets"), str(checkpoint.path))
    _load_weights(task, checkpoint, _changed(card, checkpoint, settings))
    _load_optimizers(task, checkpoint)
    _take_interventions(task, checkpoint)
    task.step = int(checkpoint.step)
    return task


def put(task: Task[Any], checkpoint: Checkpoint) -> None:
    """Another checkpoint of the same run into a task that is asked and not trained. Raises `CheckpointError`."""
    _load_weights(task, checkpoint)
    _load_optimizers(task, checkpoint)
    _take_interventions(task, checkpoint)
    task.step = int(checkpoint.step)


def look_back(task: Task[Any], of: RunDirectory | Shipped) -> None:
    """Let panels of the task see the weights of the checkpoints up to the task's own step, and what the machine did during a run."""

    def read(step: int, path: Path) -> dict[str, torch.Tensor] | None:
        try:
            return _tensors(steps.load(of, step, path, state=False).weights)
        except CheckpointError:
            if path.exists():
                raise
            return None  # a run that trains drops some

    if isinstance(of, RunDirectory):
        run = of.path
        task.machine = lambda: machine.read(run)
    task.earlier = lambda: {step: functools.partial(read, step, path) for step, path in steps.steps(of).items() if step < task.step}


def _take_interventions(task: Task[Any], checkpoint: Checkpoint) -> None:
    """Those that the checkpoint was trained with: they are a part of the model, and may have changed during the run."""
    trained_with = str(_table(checkpoint, "settings").get("train_with", ""))
    try:
        if trained_with != task.settings.train_with:
            task.settings = change(task.settings, "train_with", trained_with)
            task.train_with()
    except SettingsError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


def _load_optimizers(task: Task[Any], checkpoint: Checkpoint) -> None:
    """What the optimisers remember, for panels that show it; nothing where the checkpoint was read without its training state."""
    own = {name: value for name, value in checkpoint.tensors.items() if name.startswith("optimizers/")}
    plain = checkpoint.meta.get("state")
    try:
        saved = unflatten(_tensors(own), {"optimizers": plain["optimizers"]})["optimizers"] if own and isinstance(plain, dict) else {}
        for name, optimizer in task.optimizers.items():
            load_optimizer_state(optimizer, task.models, saved.get(name, {}))
    except MISFITS as error:
        raise CheckpointError(f"{checkpoint.path}: its training state does not fit this model ({error!r})") from error


def versions() -> dict[str, str]:
    """The versions that a run's numbers depend on."""
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


def prepare(
    card: Card,
    directory: RunDirectory,
    checkpoint: Checkpoint | None,
    overrides: dict[str, Any],
    code: Mapping[str, Any],
    doing: Callable[[str], None] = lambda phase: None,
    ranks: Ranks | None = None,
) -> tuple[Task[Any], Progress, str, list[Warned]]:
    """The task of a run as it was at `checkpoint`, its progress, the device in words, and what differs from then. `doing` is told what
    is done just now. Other ranks are told to build the same.

    Raises `SettingsError`, `DataError` or `CheckpointError`.
    """
    doing("reading data, building the model")
    spec = directory.spec
    saved = _table(checkpoint, "settings") if checkpoint else spec.settings
    settings = make(card.settings, {**without_code(card.settings, saved), **code, **overrides}, lenient=True)
    start = None
    if checkpoint is None and spec.origin:
        start = origin.find(spec.origin, directory.path.parent, card.name)
    assets = (checkpoint or start).meta.get("assets") if (checkpoint or start) else None  # type: ignore[union-attr]
    card.load_task()  # before the seed: what is imported may draw from the global generators
    if ranks is not None:
        torchrun.check(settings, ranks.count)
        ranks.tell(Begin(directory.name, card.name, to_dict(settings), assets, spec.launch))
    device = devices.prepare(settings, settings.placed, ranks.local_rank if ranks is not None else None)
    task = with_assets(card, settings, device, assets, str(source.path) if (source := checkpoint or start) else "")
    progress = Progress()
    if checkpoint is not None or start is not None:
        doing("loading the checkpoint")
    if checkpoint is not None:
        _load_weights(task, checkpoint)
        try:
            task.load_state_dict(unflatten(_tensors(checkpoint.tensors), checkpoint.meta["state"]))
            progress = msgspec.convert(checkpoint.meta["progress"], Progress)
            if task.step != checkpoint.step:
                raise ValueError(f"step {task.step}")
        except DataError:
            raise  # the data are at fault, not the checkpoint
        except MISFITS as error:
            raise CheckpointError(f"{checkpoint.path}: its training state does not fit this model ({error!r})") from error
    elif start is not None:
        _load_weights(task, start, _changed(card, start, settings))
    refused = []
    if settings.placed != settings.device and torch.cuda.is_available():
        refused.append(
            Warned(
                step=task.step,
                what="trained on the CPU though there is a GPU",
                why=settings.cpu_is_faster(),
                remedy="--device cuda takes the GPU",
            )
        )
    if ranks is not None:
        doing("bringing the other ranks there")
        rank_states.hand_out(task, ranks, checkpoint)
    if settings.compile:
        doing("compiling the training step")
        if why := rank_states.compile_steps(task, ranks) if ranks is not None else compiled.prepare(task):
            refused.append(Warned(step=task.step, what="steps are not compiled", why=why, remedy="training goes on without"))
    task.ranks = ranks
    if ranks is None:
        ahead.prepare(task)
    if settings.graph:
        captured.prepare(task)
    return task, progress, devices.describe(device), refused + list(_differences(checkpoint, task))


def with_assets(card: Card, settings: Settings, device: torch.device, assets: Any, source: str) -> Task[Any]:
    """A task of the assets in the checkpoint `source`; without assets they are derived from the data."""
    try:
        task = card.load_task()(settings, device, assets)
        task.train_with()
        return task
    except (DataError, SettingsError):
        raise
    except MISFITS as error:
        if assets is None or isinstance(error, torch.OutOfMemoryError):
            raise
        raise CheckpointError(f"{source}: its assets do not fit a model of {card.title} ({error!r})") from error


def _table(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """A part of the checkpoint's meta that must be a JSON object."""
    found = checkpoint.meta.get(name)
    if not isinstance(found, dict):
        raise CheckpointError(f"{checkpoint.path}: its {name} are {str(found)[:40]}, not names and values")
    return found


def _load_weights(task: Task[Any], checkpoint: Checkpoint, changed: str = "") -> None:
    try:
        task.load_weights(_tensors(checkpoint.weights, copy=False))  # load_state_dict copies them
    except SettingsError as error:
        if changed:
            raise CheckpointError(
                f"{checkpoint.path.name} was trained with other settings: {changed}; leave them as they were, or name a run that has them"
            ) from error
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


def _changed(card: Card, checkpoint: Checkpoint, settings: Settings) -> str:
    """The model settings that differ from the checkpoint's, as flags with the checkpoint's values; empty when none does."""
    now = to_dict(settings)
    before = origin.settings_of(card, checkpoint)
    return ", ".join(
        f"{item.flag} {show(before[item.name])}"
        for item in fields(card.settings)
        if before.get(item.name, now[item.name]) != now[item.name]
    )


def _check_size(task: Task[Any]) -> None:
    """Raises `SettingsError` or `CheckpointError` for a model whose checkpoints would be too large to load, before it is trained."""
    size = sum(value.nbytes for value in task.weights().values())
    if (largest := max(size, 2 * task.trained_bytes)) > DATA_LIMIT:
        raise SettingsError(
            f"a model of {task.parameters:,} parameters can be asked here but not trained: its weights or its optimiser take up to "
            f"{largest:,} bytes, and a checkpoint file holds {DATA_LIMIT:,}; train a smaller one"
        )
    encode_meta(task.step, {}, {"assets": task.assets()})


def _started(directory: RunDirectory, task: Task[Any], device_name: str) -> Started:
    return Started(
        step=task.step,
        architecture=directory.spec.architecture,
        name=directory.name,
        settings=to_dict(task.settings),
        device=str(task.device),
        device_name=device_name,
        precision=precision.resolve(task.settings.precision, task.device),
        compiled=task.compiled,
        threads=torch.get_num_threads(),
        parameters=task.parameters,
        memory=task.weight_bytes + _still_needed(task),
        data=task.data,
        origin=directory.spec.origin,
        versions=versions(),
        pid=os.getpid(),
        ranks=task.ranks.count if task.ranks is not None else 1,
    )


def _refused(problems: list[str]) -> Iterator[Warned]:
    for problem in problems:
        yield Warned(what="a checkpoint was refused", why=problem, remedy="the one before it was taken")


def _differences(checkpoint: Checkpoint | None, task: Task[Any]) -> Iterator[Warned]:
    """Warnings about conditions that differ from the checkpoint's: the resumed run is no longer the same to the bit."""
    if checkpoint is None:
        return
    before = {"threads": checkpoint.meta.get("threads"), "device": checkpoint.meta.get("device"), **_table(checkpoint, "versions")}
    before["precision"] = checkpoint.meta.get("precision", "float32")  # an earlier version knew no other
    before["steps"] = checkpoint.meta.get("steps", "not compiled")
    rounding = precision.resolve(task.settings.precision, task.device)
    now = {"threads": torch.get_num_threads(), "device": task.device.type, "precision": rounding, **versions()}
    now["steps"] = _kind_of_steps(task)
    before["ranks"] = rank_states.number_of_ranks(checkpoint)
    now["ranks"] = task.ranks.count if task.ranks is not None else 1
    for name, value in now.items():
        if before.get(name) != value:
            reason = _REASONS.get(name, "sums are computed in another order")
            yield Warned(
                step=task.step,
                what=f"resumed with {name} {value} instead of {before.get(name)}",
                why=f"{reason}, so the run is no longer the same to the bit",
                remedy="resume with the previous one to repeat it exactly",
            )


def _still_needed(task: Task[Any]) -> int:
    """Bytes that the first step will add to the weights: gradients, and what the optimisers remember of each parameter."""
    remembered = max((2 if "betas" in optimizer.defaults else 1 for optimizer in task.optimizers.values()), default=0)
    return (1 + remembered) * task.trained_bytes


def _shortage(task: Task[Any]) -> Iterator[Warned]:
    """A warning where memory will not do, whatever the batch."""
    free, needed = devices.free_bytes(task.device), _still_needed(task)
    if free is not None and needed > free:
        yield Warned(
            step=task.step,
            what="memory will run out",
            why=f"gradients and optimiser take {size(needed)}, activations come on top, and {size(free)} are free on {task.device}",
            remedy="train a smaller model, or on another device; of a pretrained GPT --lora trains far less",
        )


def _kind_of_steps(task: Task[Any]) -> str:
    if task.captured is not None:
        return "captured"
    return "compiled" if task.compiled else "not compiled"


def _record_baselines(log: RunLog, task: Task[Any]) -> dict[str, dict[str, float]]:
    """The task's baselines, recorded. A method that fails on these data is no reason not to train: then there are none, with a warning.

    Raises `TrainingFailed`, recorded, when it is the data or the environment that fails.
    """
    try:
        values = baselines(task)
    except DataError as error:
        event = data_failed(task.step, error)
        log.record(event)
        raise TrainingFailed(event) from error
    except Exception as error:  # whatever scikit-learn raises on data that nobody thought of
        log.record(Warned(step=task.step, what="there are no baselines to compare with", why=cause(error), remedy="training goes on"))
        return {}
    if values:
        log.record(Baselines(step=task.step, values=values))
    return values


def _record_unexpected(log: RunLog, directory: RunDirectory, task: Task[Any], error: Exception) -> None:
    """Record in the journal that the run failed; the traceback goes to standard error, which is the log of a run that has one."""
    logged = False
    with contextlib.suppress(OSError, ValueError):
        logged = os.path.samestat(os.fstat(sys.stderr.fileno()), directory.log_path.lstat())
    details = "the log in the run's folder has the details" if logged else "the traceback is on standard error"
    with contextlib.suppress(OSError):
        remedy = f"{details}; resume the run to continue from its last checkpoint"
        log.record(Failed(step=task.step, what="an unexpected error", why=cause(error), remedy=remedy, resumes=True))


@contextlib.contextmanager
def signals(told: Control | Ranks) -> Iterator[None]:
    """SIGINT and SIGTERM end the run after the current step; SIGHUP (a closed terminal) is ignored."""

    def end(number: int, frame: object) -> None:
        told.interrupted = True

    kept = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    kept[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _copies(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Copies, as numpy arrays that the next training step does not change."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous().numpy() for name, tensor in tensors.items()}


def _tensors(arrays: Any, *, copy: bool = True) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array.copy() if copy or not array.flags.writeable else array) for name, array in arrays.items()}
