"""The panel `anatomy`: the tree of modules as a table."""

from __future__ import annotations

from typing import Any

from dlplay.engine import hooks
from dlplay.engine.panels import Table
from dlplay.engine.task import Task
from dlplay.microscope.anatomy import Activations, Learning, build, health, matrices, ranks


def build_table(task: Task[Any]) -> Table:
    """Shapes, parameters, multiply-adds and time of every module."""
    named, found = hooks.modules(task.models), build(task)
    whole = sum(found[address].seconds for address in task.models) or 1.0
    rows = []
    for address, module in named.items():
        part = found[address]
        parameters = sum(parameter.numel() for parameter in module.parameters())
        time = f"{100 * part.seconds / whole:.1f} %" if part.seconds else ""
        work = f"{part.multiply_adds:,}" if part.multiply_adds else ""
        shapes = [_shape(part.inputs), _shape(part.outputs)]
        rows.append([label(task, address), type(module).__name__, *shapes, f"{parameters:,}" if parameters else "", work, time])
    total = sum(found[address].multiply_adds for address in task.models)
    return Table(
        columns=["module", "kind", "input", "output", "parameters", "multiply-adds", "time"],
        rows=rows,
        right=[4, 5, 6],
        parts=list(named),
        figure=f"{task.parameters:,} parameters",
        caption=f"one pass of held-out data: {total:,} multiply-adds in {1000 * whole:.1f} ms",
    )


def health_table(task: Task[Any]) -> Table:
    """Activations, gradients, updates and effective ranks of every module."""
    found, of_rank = health(task), ranks(task)
    rows = []
    for address, module in hooks.modules(task.models).items():
        activations, learning = found.activations.get(address), found.learning.get(address)
        rank = ", ".join(f"{rank:.1f} of {side}" for rank, side in of_rank[address])
        if not rank and matrices(module):
            rank = "too large"
        kind = type(module).__name__
        rows.append([label(task, address), kind, *_activations(activations, found.one_hot.get(address)), *_learning(learning), rank])
    last = [found.learning[name].ratio for name in task.models if name in found.learning]
    ratios = [ratio for ratio in last if ratio is not None]
    return Table(
        columns=[
            "module",
            "kind",
            "mean",
            "deviation",
            "dead or saturated",
            "weight norm",
            "gradient norm",
            "update/weight",
            "effective rank",
        ],
        rows=rows,
        right=[2, 3, 4, 5, 6, 7, 8],
        parts=list(hooks.modules(task.models)),
        figure=f"update/weight {max(ratios):.1e}" if ratios else "",
        caption=f"gradients {found.gradients_of} · updates {_at_rate(task) if ratios else 'unknown: no optimiser state is here'}"
        + ("" if task.step else " · untrained"),
    )


def label(task: Task[Any], address: str) -> str:
    """A module's own name, indented as deep as it lies."""
    if address in task.models:
        return address
    parts = address.split(".")
    depth = len(parts) + (1 if len(task.models) == 1 else 0) - 1
    return "  " * depth + parts[-1]


def _shape(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else "x".join(map(str, shape)) or "1"


def _activations(found: Activations | None, one_hot: float | None) -> list[str]:
    if found is None:
        return ["", "", ""]
    if one_hot is not None:
        share = f"{100 * one_hot:.1f} % one-hot"
    elif found.saturated is not None:
        share = f"{100 * found.saturated:.1f} % saturated"
    else:
        share = "" if found.dead is None else f"{100 * found.dead:.1f} % dead"
    return [f"{found.mean:.3g}", f"{found.deviation:.3g}", share]


def _learning(found: Learning | None) -> list[str]:
    if found is None:
        return ["", "", ""]
    return [f"{found.weights:.3g}", _number(found.gradients), _number(found.ratio)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2e}"


def _at_rate(task: Task[Any]) -> str:
    """The rates that the updates are at: of a model that was opened the highest, of one that trains those of its last step."""
    rates = {f"{group['lr']:.3g}" for optimizer in task.optimizers.values() for group in optimizer.param_groups}
    return f"at lr {', '.join(sorted(rates))}"
