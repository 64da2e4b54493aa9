"""`--graph`: the kernels of a training step are captured once as a CUDA graph, and from then on one call replays them.

What is captured reads and writes tensors that stay where they are: the batch comes out of the buffer of `engine.ahead`, and each number
that the host sets anew for a step, such as a learning rate, is written into a tensor before it. Whatever else a step computes with is what
it was at its capture; when a setting was changed, it is captured anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dlplay.engine.ahead import Ahead
from dlplay.engine.errors import cause
from dlplay.engine.packed import Layout
from dlplay.engine.settings import SettingsError
from dlplay.engine.task import Task

WARM_UP = 3
"""Steps that are taken kernel by kernel first: libraries set themselves up, and optimisers make their state."""
SHAPES = 16
"""Shapes of batches that a step is captured for; with any others it is taken kernel by kernel."""


class Captured:
    """Takes a task's steps: the first ones kernel by kernel, then captured ones."""

    def __init__(self, task: Task[Any], drawing: Ahead) -> None:
        self.task = task
        self.why = ""
        """Why it has given up capturing, in words: steps are then taken kernel by kernel."""
        self.tell: Callable[[str], object] = str
        """Is told that; set by who records it."""
        self.replayed = 0
        """How many steps were."""
        self._drawing = drawing
        self._graphs: dict[tuple[Layout, ...], _Graph] = {}
        self._constants: list[Any] = []
        """What the captured steps computed with besides tensors: the settings, which buffer of batches, each group's rates."""
        self._draws = 1
        """Batches that a step takes."""
        self._warm = 0
        self._numbers: dict[str, Tensor] = {}
        self._written: dict[str, float] = {}
        """What is in them."""
        self._capturing = False
        self._stream = torch.cuda.Stream(task.device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        for optimizer in task.optimizers.values():
            optimizer._warned_capturable_if_run_uncaptured = True  # some of its steps are, and are meant to be
            for group in optimizer.param_groups:
                group["capturable"] = True

    def advance(self) -> dict[str, Tensor]:
        """The task's next step."""
        task = self.task
        if self.why:
            return task.advance_eagerly()
        if self._warm < WARM_UP:
            return self._warm_up()
        self._drawing.ready(self._draws)
        self._write_numbers()
        constants = self._read_constants()
        if constants != self._constants:
            if constants[:2] == self._constants[:2]:
                self._give_up("the optimisers' rates besides the learning rate change from step to step")
                return task.advance_eagerly()
            self._drop()
            return self._warm_up()  # of a momentum that was 0 the optimiser has yet to keep something
        shapes = self._drawing.following(self._draws)
        if (graph := self._graphs.get(shapes)) is not None:
            self._drawing.skip(self._draws)
            return self._replay(graph)
        if len(self._graphs) == SHAPES:
            return task.advance_eagerly()
        try:
            graph = self._graphs[shapes] = self._capture()
        except Exception as error:  # what may not be done while a step is captured is told in many ways
            self._give_up(str(error) if isinstance(error, _Refused) else cause(error))
            return task.advance_eagerly()
        return self._replay(graph)

    def forget(self) -> None:
        """Capture anew: tensors that steps read or write have become others."""
        self._drop()
        self._warm = 0

    def use_rates(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimiser's next update read its learning rates from tensors."""
        [name] = [name for name, own in self.task.optimizers.items() if own is optimizer]
        for number, group in enumerate(optimizer.param_groups):
            if not isinstance(group["lr"], Tensor):
                group["lr"] = self.number(f"{name} {number}", group["lr"])

    def number(self, name: str, value: float) -> Tensor:
        """A number that the host has set for this step, 0-d on the device. While a step is captured, it has been written before."""
        if self._capturing and self._written.get(name) != value:
            raise _Refused("train_step sets a rate that update_rates has not set")
        if not self._capturing:
            if name not in self._numbers:
                self._numbers[name] = torch.zeros((), device=self.task.device)
            self._numbers[name].fill_(value)
            self._written[name] = value
        return self._numbers[name]

    def _warm_up(self) -> dict[str, Tensor]:
        """A step on the stream on which others will be captured, as PyTorch asks for."""
        here = torch.cuda.current_stream(self.task.device)
        self._stream.wait_stream(here)
        self._drawing.ready(self._draws)
        before = self._drawing.taken
        watch = _Watch()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream), watch if self._warm == WARM_UP - 1 else contextlib.nullcontext():
            metrics = self.task.advance_eagerly()
        here.wait_stream(self._stream)
        self._draws = self._drawing.taken - before
        self._warm += 1
        self._constants = self._read_constants()
        if watch.found:
            self._give_up(watch.found)
        return metrics

    def _drop(self) -> None:
        self._graphs.clear()
        self._pool = torch.cuda.graph_pool_handle()  # one that no graph uses any more cannot be used again

    def _write_numbers(self) -> None:
        """Those of the next step, before it."""
        self.task.update_rates()
        for optimizer in self.task.optimizers.values():
            self.use_rates(optimizer)
        for name, value in self.task.numbers.items():
            self.number(name, value)

    def _read_constants(self) -> list[Any]:
        groups = [group for optimizer in self.task.optimizers.values() for group in optimizer.param_groups]
        rates = [{key: value for key, value in group.items() if key not in ("params", "lr")} for group in groups]
        return [self.task.settings, self._drawing.moved, *rates]

    def _capture(self) -> _Graph:
        task, drawing = self.task, self._drawing
        used, taken, here = drawing.used, drawing.taken, torch.cuda.current_stream(task.device)
        graph = torch.cuda.CUDAGraph()
        for generator in task.generators.values():
            if generator.device.type == "cuda":  # PyTorch's own, which dropout draws from, is registered anyway
                graph.register_generator_state(generator)
        self._capturing = True
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                metrics = task.advance_eagerly()
                values = torch.stack(list(metrics.values()))
            if drawing.taken - taken != self._draws:
                raise _Refused("steps take different numbers of batches")
        except BaseException:
            drawing.used, drawing.taken = used, taken
            torch.cuda.set_stream(here)  # PyTorch leaves it where a capture has failed
            raise
        finally:
            self._capturing = False
        parameters = [p for optimizer in task.optimizers.values() for group in optimizer.param_groups for p in group["params"]]
        return _Graph(graph, list(metrics), values, [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None])

    def _replay(self, graph: _Graph) -> dict[str, Tensor]:
        if any(parameter.grad is not gradient for parameter, gradient in graph.gradients[:1]):  # another step has left its own
            for parameter, gradient in graph.gradients:
                parameter.grad = gradient
        graph.graph.replay()
        self.task.count_update()
        self.replayed += 1
        return dict(zip(graph.names, graph.values.clone().unbind(), strict=True))

    def _give_up(self, why: str) -> None:
        """Take all steps that follow kernel by kernel."""
        self.why = why
        self._drop()
        self.tell(why)


class _Refused(Exception):
    """A step that would not be the same when it is replayed, in words."""


class _Graph(NamedTuple):
    """A captured step."""

    graph: torch.cuda.CUDAGraph
    names: list[str]
    """Of its metrics."""
    values: Tensor
    """Theirs, (metrics,): the next replay writes others."""
    gradients: list[tuple[Tensor, Tensor]]
    """Parameters with the gradients that a replay leaves."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Finds in a step what a replay would not do again: what is computed on the CPU, and what waits for the device."""

    found = ""
    """The first of it, in words."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not self.found:
            if func.overloadpacket is torch.ops.aten._local_scalar_dense:
                self.found = "train_step waits for a number of the device, which a replay would not do again"
            elif any(isinstance(leaf, Tensor) and leaf.device.type == "cpu" for leaf in tree_leaves((args, kwargs, made))):
                self.found = f"train_step computes on the CPU ({func}), which a replay would not do again; draw_batch is for that"
        return made


def prepare(task: Task[Any]) -> None:
    """Capture this task's steps. Raises `SettingsError` where that cannot be."""
    if task.device.type != "cuda":
        raise SettingsError(f"--graph is for NVIDIA GPUs, and this run trains on {task.device}; leave it out", "graph")
    if type(task).draw_batch is Task.draw_batch:
        raise SettingsError("--graph: this architecture draws its batches while it computes, without draw_batch; leave it out", "graph")
    task.ahead = Ahead(task)
    task.captured = Captured(task, task.ahead)
