"""`--compile`: training steps through torch.compile. Whatever else passes through a model, such as a panel, an intervention or an
evaluation, computes as if it were not there."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import platformdirs
import torch

from dlplay.engine import state
from dlplay.engine.errors import cause
from dlplay.engine.task import Task

SHAPES = 64
"""Shapes of batches that one module is compiled for at most; with any others a step computes as ever."""


def prepare(task: Task[Any]) -> str:
    """Compile what the task's training steps call, by a step that is taken and taken back. Returns why that cannot be, in words: then steps
    compute as ever.

    Random numbers are drawn as without it, so losses differ by rounding alone, and a run resumes exactly.
    """
    folder = Path(platformdirs.user_cache_dir("dlplay")) / "compiled"  # PyTorch's own is in /tmp, and what lies there is run
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    try:
        counts = _wrap(task)
    except Exception as error:  # a compiler that is there in parts
        return cause(error)
    before = counts["unique_graphs"]
    tensors, plain = state.flatten(task.state_dict())
    saved = state.unflatten({name: value.clone() for name, value in tensors.items()}, copy.deepcopy(plain))
    weights = {name: value.clone() for name, value in task.weights().items()}
    task.compiled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler about itself
            task.advance()
    except Exception as error:  # what a compiler raises is of many kinds
        task.compiled = False
        return cause(error)
    finally:
        task.not_finite.zero_()
        Task.load_weights(task, weights)
        task.load_state_dict(saved)
    if counts["unique_graphs"] == before:
        task.compiled = False
        return "PyTorch found nothing in it that it compiles"
    torch._dynamo.config.suppress_errors = True  # such as another shape later on: that step computes as ever
    return ""


def _wrap(task: Task[Any]) -> Mapping[str, int]:
    """Let the modules of the task's training steps pass through the compiler, which is switched off; returns what PyTorch counts of it."""
    import torch._dynamo
    import torch._inductor.config

    torch.compiler.set_stance("force_eager")
    torch._inductor.config.fallback_random = True
    torch._dynamo.config.recompile_limit = SHAPES
    torch._dynamo.config.suppress_errors = False
    for module in task.compiled_modules():  # as Module.compile does it, which leaves PyTorch's own modules out, such as nn.Sequential
        module._compiled_call_impl = torch.compile(_calling(module._call_impl))
    counts: Mapping[str, int] = torch._dynamo.utils.counters["stats"]
    return counts


def _calling(call: Callable[..., Any]) -> Callable[..., Any]:
    """A function of this file that calls another: PyTorch compiles no function that begins in one of its own."""

    def called(*arguments: Any, **named: Any) -> Any:
        return call(*arguments, **named)

    return called
