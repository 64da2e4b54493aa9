"""torch's optimisers without torch.compile: the wrappers around their methods import it, which takes as long as torch itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


def use_eager_optimizers() -> None:
    """Take off the wrappers, in this process and before the first optimiser is made; every update stays the same to the bit."""
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        setattr(Optimizer, name, inspect.unwrap(getattr(Optimizer, name)))
    for kind in vars(torch.optim).values():
        if inspect.isclass(kind) and issubclass(kind, Optimizer) and _is_wrapped(vars(kind).get("step")):
            kind.step = _eager(kind.step.__wrapped__)  # type: ignore[method-assign, attr-defined]


def _is_wrapped(step: Any) -> bool:
    """Whether it is torch's `_use_grad_for_differentiable` around the step itself."""
    return inspect.isfunction(step) and step.__code__.co_name == "_use_grad" and hasattr(step, "__wrapped__")


def _eager(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def eager(self: Optimizer, *arguments: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **options)

    return eager
