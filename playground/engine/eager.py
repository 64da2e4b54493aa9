"""torch's optimisers without torch.compile: the wrappers around their methods import it, which takes as long as torch itself. And Adam's
step on a CPU without what chooses its kernel, which takes longer than the kernel for a small net."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer


def use_eager_optimizers() -> None:
    """Take off the wrappers, in this process and before the first optimiser is made; every update stays the same to the bit."""
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        setattr(Optimizer, name, inspect.unwrap(getattr(Optimizer, name)))
    for kind in vars(torch.optim).values():
        if inspect.isclass(kind) and issubclass(kind, Optimizer) and _is_wrapped(vars(kind).get("step")):
            step = _eager(kind.step.__wrapped__)  # type: ignore[attr-defined]
            kind.step = _direct(step) if kind is Adam else step  # type: ignore[method-assign]


def _is_wrapped(step: Any) -> bool:
    """Whether it is torch's `_use_grad_for_differentiable` around the step itself."""
    return inspect.isfunction(step) and step.__code__.co_name == "_use_grad" and hasattr(step, "__wrapped__")


def _eager(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def eager(self: Optimizer, *arguments: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **options)

    return eager


def _direct(step: Callable[..., Any]) -> Callable[..., Any]:
    """Adam's and AdamW's step, which gathers its tensors as ever and then calls the fused kernel at once. What is not a plain update on a
    CPU is left to torch's own step."""

    @functools.wraps(step)
    def direct(self: Adam, closure: Callable[[], Any] | None = None) -> Any:
        scaled = getattr(self, "grad_scale", None) is not None or getattr(self, "found_inf", None) is not None  # by a GradScaler
        if closure is not None or scaled or not all(map(_is_plain, self.param_groups)):
            return step(self, closure)
        with torch.no_grad():
            for group in self.param_groups:
                tensors: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
                self._init_group(group, *tensors)  # type: ignore[no-untyped-call]
                if not tensors[0]:
                    continue
                kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
                beta1, beta2 = group["betas"]
                torch._foreach_add_(tensors[-1], 1)
                kernel(
                    *tensors,
                    lr=group["lr"],
                    beta1=beta1,
                    beta2=beta2,
                    weight_decay=group["weight_decay"],
                    eps=group["eps"],
                    amsgrad=group["amsgrad"],
                    maximize=group["maximize"],
                )
        return None

    return direct


def _is_plain(group: dict[str, Any]) -> bool:
    return bool(group["fused"] and group["params"] and group["params"][0].device.type == "cpu" and isinstance(group["lr"], float))
