"""Where the parts of a training step begin: data, forward, backward, optimiser. No architecture has to do anything for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from dlplay.engine.task import Task

BETWEEN = "between"
"""Behind a module without gradients, such as an agent that acts: `forward` if a gradient follows, for it was a part of the loss, else
`data`. Behind one with gradients it is `forward` still: the loss, and what joins the modules."""


@contextlib.contextmanager
def marked(task: Task[Any], mark: Callable[[str], None]) -> Iterator[None]:
    """Within it `mark` is called where another part of a step begins, with its name; at the end with none."""
    depth = 0

    def enter(module: torch.nn.Module | None, inputs: Any) -> None:
        nonlocal depth
        depth += 1
        if depth == 1:
            mark("forward")

    def leave(module: torch.nn.Module | None, inputs: Any, output: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0 and not torch.is_grad_enabled():
            mark(BETWEEN)

    kept, task.mark = task.mark, mark
    mark("data")
    try:
        with _around_compiled(task, enter, leave) if task.compiled else _around_all(enter, leave):
            yield
    finally:
        mark("")
        task.mark = kept


@contextlib.contextmanager
def _around_all(enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """Within it every module calls these before and behind its forward pass."""
    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _around_compiled(task: Task[Any], enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """The same around what was compiled, from outside: with hooks within it would be compiled anew."""
    compiled = {module: module._compiled_call_impl for module in task.compiled_modules()}

    def marking(call: Any) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            enter(None, arguments)
            try:
                return call(*arguments, **named)
            finally:
                leave(None, arguments, None)

        return called

    for module, call in compiled.items():
        module._compiled_call_impl = marking(call)
    try:
        yield
    finally:
        for module, call in compiled.items():
            module._compiled_call_impl = call
