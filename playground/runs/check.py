"""`dlplay check`: does every architecture train on this device as it does on a CPU?

For the machines that the tests do not reach. Of each room, at its default settings: the training losses beside those of a CPU, a run that
is resumed from its checkpoint, every panel, memory, waits for the device, and speed beside a bare loop over the same training steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import math
import platform
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from dlplay import __version__
from dlplay.checkpoints.store import Checkpoint
from dlplay.engine import ahead, captured, crossover
from dlplay.engine import device as devices
from dlplay.engine.card import Card
from dlplay.engine.crossover import Speeds, crossing
from dlplay.engine.events import DurableEvent, Failed, Finished, Shown
from dlplay.engine.panel_server import panel_of
from dlplay.engine.precision import resolve
from dlplay.engine.settings import Settings, SettingsError, field, fields, make, to_dict
from dlplay.engine.task import Task
from dlplay.runs import directory, process
from dlplay.runs.console import print_line
from dlplay.runs.directory import RunDirectory
from dlplay.runs.process import FAILED, FINISHED, INTERRUPTED
from dlplay.runs.wire import encode

LOSSES = 5
"""Training losses that are compared. Of two players a difference of 1e-6 has grown to 5e-4 by then, and to 2e-2 after 20."""
CAPTURED = 12
"""The same of captured steps, the first of which are taken kernel by kernel."""
TOLERANCE = 0.005
"""How far a loss may lie from the CPU's, as a share of the largest of them."""
ROUNDING_TOLERANCE = 0.05
"""The same for a loss under TF32 or bfloat16. On a CPU bfloat16 changes those of the defaults by 4e-4 at most, and the GAN's by 2e-2."""
MOST_STEPS = 20_000
"""A room that has measured fewer losses by then is not compared."""
STEPS = 20
"""The least steps before and after the checkpoint from which a run is resumed, and those in which waits are counted."""
ENDLESS = 1_000_000_000
SECONDS, SECONDS_ON_A_CPU = 5.0, 1.0
"""For how long each speed is measured by default. A CPU has no clocks that rise first, and is checked in less than three minutes so."""


class Result(msgspec.Struct, kw_only=True):
    """What was found of one architecture; None where it was not reached or cannot be measured."""

    architecture: str
    loss_difference: float | None = None
    """The largest in float32, as a share of the largest loss on the CPU."""
    rounding: dict[str, float] = {}
    """The same for the other precisions that the device has: tf32, bf16."""
    resumed_exactly: bool | None = None
    """Whether weights and state are the same to the bit when the second half of a run starts from a checkpoint."""
    panels: int = 0
    """How many answered."""
    all_panels: int = 0
    memory: int | None = None
    """Bytes."""
    captured_difference: float | None = None
    """The largest between losses of steps that were captured (`--graph`) and of the same steps taken kernel by kernel, as a share of the
    largest of them; None where steps are not captured. The schedule is cosine where one-cycle is the default."""
    captured_steps_per_second: float | None = None
    """Captured ones, with nothing around them."""
    steps_per_second: float | None = None
    bare_steps_per_second: float | None = None
    waits: dict[str, float] | None = None
    """Waits for the device in a training step, by place in the source; CUDA alone can tell."""
    warnings: list[str] = []
    """What PyTorch warned of, each once, such as kernels that are not deterministic."""
    problems: list[str] = []
    """What makes the check fail, in words."""
    seconds: float = 0.0
    """How long all this took."""


class Report(msgspec.Struct, kw_only=True):
    """All results, and what they were found on."""

    device: str
    device_name: str
    system: str
    versions: dict[str, str]
    date: str
    losses: int = LOSSES
    tolerance: float = TOLERANCE
    results: list[Result]
    by_size: list[Speeds] = []
    """Of nets from small to large, on a CUDA device beside the CPU, until one is faster there."""
    cpu_up_to: int | None = None
    """The multiply-adds of a batch up to which the CPU is faster, as found by these."""

    @property
    def passed(self) -> bool:
        return not any(result.problems for result in self.results)


def new_report(device: str) -> Report:
    """Without results yet. Raises `SettingsError` where there is no such device."""
    chosen = devices.choose(device)
    return Report(
        device=str(chosen),
        device_name=devices.describe(chosen),
        system=platform.platform(),
        versions={"dlplay": __version__, **process.versions(), "cuda": torch.version.cuda or "none"},
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        results=[],
    )


def examine(card: Card, device: str, seconds: float, values: Mapping[str, Any] | None = None) -> Result:
    """Examine an architecture with these settings; each speed is measured for so many seconds. What goes wrong is a problem of the result
    and no exception, except that `KeyboardInterrupt` is raised when a person interrupts it."""
    result = Result(architecture=card.name, all_panels=len(card.panels))
    settings = make(card.settings, {**(values or {}), "device": device})
    began = time.perf_counter()
    devices.forget_peak(devices.choose(device))
    with tempfile.TemporaryDirectory(prefix="dlplay-check-") as folder, _heard(result):
        steps = STEPS
        with _noted(result, "the losses"):
            steps, result.loss_difference, result.rounding = _compare_losses(card, settings)
            if not result.loss_difference <= TOLERANCE:
                result.problems.append(f"a loss differs from the CPU's by {100 * result.loss_difference:.1f} % of the largest")
            for name, difference in result.rounding.items():
                if not difference <= ROUNDING_TOLERANCE:
                    result.problems.append(
                        f"with --precision {name} a loss differs from the CPU's in float32 by {100 * difference:.1f} % of the largest"
                    )
        with _noted(result, "captured steps"):
            _compare_captured(card, settings, result, seconds)
        with _noted(result, "the run"):
            run = _Run(card, settings, max(STEPS, steps), Path(folder))
            checkpoint = run.train()
            again = run.again_from_the_middle()
            result.resumed_exactly = _same(checkpoint, again)
            if not result.resumed_exactly:
                result.problems.append("a resumed run has other weights or another state than one that was not interrupted")
            result.steps_per_second = run.speed(again, seconds)
            task = process.prepare(card, run.directory, again, {}, {})[0]
            _ask_panels(card, task, result)
            result.bare_steps_per_second = _bare_speed(task, seconds)
            result.waits = waits_of(task)
            result.memory = devices.peak_bytes(task.device)
    result.seconds = time.perf_counter() - began
    return result


# --- losses -------------------------------------------------------------------------------------------------------------------------------


def _compare_losses(card: Card, settings: Settings) -> tuple[int, float, dict[str, float]]:
    """The steps that it took, and the largest difference in float32 and with each other precision. Dropout is off: it is drawn on the
    device, where other numbers come."""
    without: dict[str, Any] = {item.name: 0.0 for item in fields(card.settings) if item.name.endswith("dropout")}
    steps, reference = _losses(card, dataclasses.replace(settings, **without, device="cpu", precision="float32", graph=False))
    largest = max(*map(abs, reference), 1e-12)
    differences = {}
    for rounding in ("float32", *_other_precisions(card, settings)):
        _, found = _losses(card, make(card.settings, {**to_dict(settings), **without, "precision": rounding}))
        differences[rounding] = max(abs(a - b) for a, b in zip(found, reference, strict=True)) / largest
    return steps, differences.pop("float32"), differences


def _compare_captured(card: Card, settings: Settings, result: Result, seconds: float) -> None:
    """On a card whose steps can be captured: to the bit or within tolerance, and how fast."""
    if devices.choose(settings.device).type != "cuda":
        return
    values: dict[str, Any] = to_dict(settings) | {"graph": True}
    if values.get("schedule") == "one-cycle":
        values["schedule"] = "cosine"
    losses: list[list[float]] = []
    for captures in (True, False):
        try:
            with_graph = make(card.settings, values)
            task = card.load_task()(with_graph, devices.prepare(with_graph), None)
            captured.prepare(task)
        except SettingsError:  # its steps cannot be captured
            return
        assert task.captured is not None
        task.captured.why = "" if captures else "asked not to"
        losses.append(_first_losses(card, task, CAPTURED))
        if captures:
            if task.captured.why or not task.captured.replayed:
                raise RuntimeError(f"steps were not captured: {task.captured.why or 'each differs from the others'}")
            result.captured_steps_per_second = _bare_speed(task, seconds)
    differences = [abs(a - b) for a, b in zip(*losses, strict=True)]
    result.captured_difference = max(differences) / max(*map(abs, losses[1]), 1e-12)
    if not result.captured_difference <= TOLERANCE:
        result.problems.append(f"with --graph a loss differs by {100 * result.captured_difference:.1f} % of the largest")


def _other_precisions(card: Card, settings: Settings) -> list[str]:
    """Those besides float32 that both the device and the architecture have."""
    found = []
    for rounding in field(card.settings, "precision").choices:
        with contextlib.suppress(SettingsError):
            make(card.settings, {**to_dict(settings), "precision": rounding})  # which some losses refuse
            resolve(rounding, devices.choose(settings.device))
            found += [rounding] if rounding not in ("auto", "float32") else []
    return found


def _losses(card: Card, settings: Settings) -> tuple[int, list[float]]:
    """The first training losses from fresh weights, and the steps that it took."""
    task = card.load_task()(settings, devices.prepare(settings), None)
    (captured if settings.graph else ahead).prepare(task)
    found = _first_losses(card, task, LOSSES)
    return task.step, found


def _first_losses(card: Card, task: Task[Any], count: int) -> list[float]:
    """So many of a fresh task."""
    measured = [name for chart in card.of(to_dict(task.settings)).charts for name in chart.train]
    name = next((name for name in measured if "loss" in name), measured[0])
    losses: list[Tensor] = []
    while len(losses) < count:
        if task.step == MOST_STEPS:
            raise RuntimeError(f"{name} was measured {len(losses)} times in {MOST_STEPS:,} steps")
        metrics = task.advance()
        task.step += 1
        if name in metrics:
            losses.append(metrics[name])
    found = torch.stack(losses).tolist()
    if not all(map(math.isfinite, found)):
        raise RuntimeError(f"{name} is not finite on {task.device}")
    return found


# --- a run --------------------------------------------------------------------------------------------------------------------------------


class _Run:
    """A run of twice so many steps, with a checkpoint in the middle and at the end."""

    def __init__(self, card: Card, settings: Settings, half: int, folder: Path) -> None:
        whole = dataclasses.replace(settings, steps=2 * half, save_every=half, history=0, eval_every=ENDLESS, minutes=0.0, until="")
        self.directory = directory.create(folder, card.name, to_dict(whole))

    def train(self) -> Checkpoint:
        """The checkpoint at the end."""
        _train(self.directory)
        return self._last()

    def again_from_the_middle(self) -> Checkpoint:
        """The checkpoint at the end, once the former one is gone and the run was resumed."""
        shutil.rmtree(self._last().path)
        return self.train()

    def speed(self, checkpoint: Checkpoint, seconds: float) -> float:
        """Steps per second of so many seconds more."""
        minutes = (checkpoint.meta["progress"]["seconds"] + seconds) / 60
        return _train(self.directory, {"steps": ENDLESS, "minutes": minutes, "save_every": ENDLESS}).steps_per_second

    def _last(self) -> Checkpoint:
        checkpoint, problems = self.directory.store.newest()
        if checkpoint is None or problems:
            raise RuntimeError("; ".join(problems) or "no checkpoint was saved")
        return checkpoint


class _Listener:
    """A run's console that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[DurableEvent] = []

    def show(self, event: DurableEvent) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass


def _train(run: RunDirectory, overrides: dict[str, Any] | None = None) -> Finished:
    """Train it to its end. Raises `RuntimeError` when it fails."""
    listener = _Listener()
    status = process.run(run, lambda: listener, overrides=overrides)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    for event in reversed(listener.events):
        if isinstance(event, Finished):
            return event
        if isinstance(event, Failed):
            raise RuntimeError(f"{event.what}: {event.why}")
    raise RuntimeError(f"the run ended with status {status}")


def _same(one: Checkpoint, other: Checkpoint) -> bool:
    """To the bit."""

    def identical(mine: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
        return mine.keys() == others.keys() and all(np.asarray(mine[name]).tobytes() == np.asarray(others[name]).tobytes() for name in mine)

    plain = one.meta["state"] == other.meta["state"]
    return one.step == other.step and plain and identical(one.weights, other.weights) and identical(one.tensors, other.tensors)


# --- panels, speed, waits -----------------------------------------------------------------------------------------------------------------


def _ask_panels(card: Card, task: Task[Any], result: Result) -> None:
    for panel in card.panels:
        with _noted(result, f"the panel {panel.name}"):
            try:
                answer = panel_of(task, panel, {})
            except SettingsError as error:
                raise error.__cause__ or error from None  # what went wrong in the panel itself
            encode(Shown(view=0, watch=0, panel=answer))
            result.panels += 1


def _bare_speed(task: Task[Any], seconds: float) -> float:
    """Training steps per second with nothing around them."""
    first, began = task.step, time.perf_counter()
    while task.step == first or time.perf_counter() - began < seconds:
        task.advance()
        task.step += 1
    devices.synchronize(task.device)
    return (task.step - first) / (time.perf_counter() - began)


def speeds_by_size(card: Card, device: str, seconds: float) -> list[Speeds]:
    """Training steps per second of the nets of `card.by_size` on a CUDA device and on the CPU, each for so many seconds after a warm-up, up
    to the first that is faster on the device. None of another kind of device, which `--device auto` does not weigh against the CPU."""
    found: list[Speeds] = []
    for values in card.by_size if devices.choose(device).type == "cuda" else ():
        speed: dict[str, float] = {}
        for place in (device, "cpu"):
            settings = make(card.settings, {**values, "device": place})
            task = card.load_task()(settings, devices.prepare(settings), None)
            while task.step < STEPS:  # the first ones load kernels
                task.advance()
                task.step += 1
            devices.synchronize(task.device)
            speed[place] = _bare_speed(task, seconds)
        found.append(Speeds(multiply_adds=settings.multiply_adds() or 0, cpu=speed["cpu"], card=speed[device]))
        if found[-1].card > found[-1].cpu:
            break
    return found


def waits_of(task: Task[Any]) -> dict[str, float] | None:
    """Waits in a training step, by place; None where the device cannot tell."""
    if task.device.type != "cuda":
        return None
    places: Counter[str] = Counter()

    def count(message: Warning | str, *_: Any, **__: Any) -> None:
        if "called a synchronizing" in str(message):
            places[_place(traceback.walk_stack(None), task)] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = count
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(STEPS):
                task.advance()
                task.step += 1
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return {place: number / STEPS for place, number in sorted(places.items())}


def _place(frames: Iterable[tuple[FrameType, int]], task: Task[Any] | None = None) -> str:
    """Module and line of the first of these frames that is dlplay's or the room's, this module left out."""
    packages = ["dlplay."] + ([type(task).__module__.rpartition(".")[0] + "."] if task is not None else [])
    for frame, line in frames:
        name = str(frame.f_globals.get("__name__"))
        if name.startswith(tuple(packages)) and name != __name__:
            return f"{name}:{line}"
    return __name__


@contextlib.contextmanager
def _noted(result: Result, what: str) -> Iterator[None]:
    """An error is a problem of the result, with the place that it comes from."""
    try:
        yield
    except Exception as error:  # a device may refuse in any way, and all the other answers are wanted as well
        frames = list(traceback.walk_tb(error.__traceback__))[::-1]
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        result.problems.append(f"{what}: {words} ({_place(frames)})")


@contextlib.contextmanager
def _heard(result: Result) -> Iterator[None]:
    """Warnings go into the result, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield
    result.warnings = [*dict.fromkeys(" ".join(str(warning.message).split())[:300] for warning in caught)]


# --- what is printed ----------------------------------------------------------------------------------------------------------------------

TITLES = {"architecture": 14, "losses": 8, "bf16": 6, "resumed": 8, "panels": 7, "memory": 9}
TITLES |= {"steps/s": 8, "of bare": 8, "waits": 6, "graph": 6}
"""Columns of the table, with their widths."""
MEANING = """losses: the largest difference from the CPU's, in float32 and with bf16; resumed: from a checkpoint, to the bit;
of bare: speed beside a bare loop; waits: for the device, in a training step; graph: how far captured steps are from others"""


def run(cards: Sequence[Card], device: str, seconds: float | None, out: Path | None, as_json: bool) -> int:
    """Examine these architectures, print what is found and write it to a file; returns the exit status. Each speed is measured for
    `seconds`, by default for `SECONDS` or, on a CPU, `SECONDS_ON_A_CPU`.

    Raises `SettingsError` where there is no such device, and `OSError` when the file cannot be written."""
    report = new_report(device)
    if seconds is None:
        seconds = SECONDS_ON_A_CPU if report.device == "cpu" else SECONDS
    out = out or Path(f"dlplay-check-{report.device.replace(':', '-')}.json")
    if not as_json:
        print_line(f"{report.device} ({report.device_name}), torch {report.versions['torch']}\n\n{_line(list(TITLES))}")
    for card in cards:
        report.results.append(result := examine(card, report.device, seconds))
        with _noted(result, "the speed by size"):
            report.by_size += speeds_by_size(card, report.device, seconds)
        if not as_json:
            print_line(_row(result))
    if report.by_size:
        report.cpu_up_to = crossing(report.by_size)
        kept = _keep(report.device_name, report.cpu_up_to)
    data = msgspec.json.format(msgspec.json.encode(report), indent=2)
    if as_json:
        print_line(data.decode())
        return FINISHED if report.passed else FAILED
    out.write_bytes(data)
    print_line(f"\n{MEANING}\n")
    for result in report.results:
        for problem in result.problems:
            print_line(f"{result.architecture}: {problem}")
    if report.cpu_up_to is not None:
        print_line(f"the CPU is faster up to {report.cpu_up_to:,} multiply-adds a batch; {kept}")
    verdict = "all is well" if report.passed else "the check FAILED"
    print_line(f"{verdict}; {out} has all of it: please send it in")
    return FINISHED if report.passed else FAILED


def _keep(card: str, up_to: int) -> str:
    """What has become of it, in words: a disk that is full takes nothing away from what was found."""
    try:
        crossover.keep(card, up_to)
    except OSError as error:
        return f"--device auto does not know it, since {crossover.path()} cannot be written: {error.strerror or error}"
    return "--device auto goes by that from now on"


def _row(result: Result) -> str:
    ours, bare = result.steps_per_second, result.bare_steps_per_second
    return _line(
        [
            result.architecture,
            _shown(result.loss_difference, ".0e"),
            _shown(result.rounding.get("bf16"), ".0e"),
            {None: "–", True: "exactly", False: "NO"}[result.resumed_exactly],
            f"{result.panels}/{result.all_panels}",
            _shown(None if result.memory is None else result.memory / 1e6, ",.0f", " MB"),
            _shown(ours, ",.0f"),
            _shown(ours / bare if ours and bare else None, ".0%"),
            _shown(None if result.waits is None else math.fsum(result.waits.values()), "g"),
            _shown(result.captured_difference, ".0e"),
        ]
    )


def _shown(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


def _line(cells: Sequence[str]) -> str:
    first, *others = [
        cell.rjust(width) if number else cell.ljust(width) for number, (cell, width) in enumerate(zip(cells, TITLES.values(), strict=True))
    ]
    return "  ".join([first, *others])
