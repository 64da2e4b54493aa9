"""The panel `layer`: one module's weights, output and gradients, now and over time, its weight matrix, and what excites its units."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.engine import hooks
from dlplay.engine.means import counting, rows_of_units
from dlplay.engine.panels import AnyPanel, Array, HeatMap, ImageGrid, Lines, Table
from dlplay.engine.settings import SettingsError
from dlplay.engine.task import Task
from dlplay.microscope.anatomy import gradients_of, held_out_values, matrices
from dlplay.microscope.options import Layer

BINS = 40
MOST_CELLS = 64
"""Rows and columns of the map of a matrix, at most: each cell is the mean of those it stands for."""
MOST_VALUES = 1 << 20
"""Values of a histogram: of more, every n-th counts."""
MOST_ROWS, MOST_KEPT = 16, 1 << 16
"""Rows of a map over time besides that of now, and values that are kept for each."""
MOST_UNITS = 64
"""Units whose example is searched for."""
WORDS = 8
"""Words before and after the one that excites a unit most."""


def weighted(task: Task[Any]) -> list[hooks.Site]:
    """The modules without parts that have weights."""
    named = hooks.modules(task.models).items()
    return [hooks.Site(path, each) for path, each in named if not list(each.children()) and list(each.parameters(recurse=False))]


def first(task: Task[Any]) -> str:
    """Address of the first module without parts that has weights. Raises `SettingsError`."""
    found = weighted(task)
    if not found:
        raise SettingsError("this model has no layer with weights", "module")
    return found[0].address


def shown(task: Task[Any], options: Layer) -> AnyPanel:
    """The module that `options` name. Raises `SettingsError`."""
    part = options.module or first(task)
    if options.module and options.module not in hooks.modules(task.models):
        site = hooks.find(task.models, options.module, flag="module")
        if options.details not in ("activations", "units"):
            kind = "head" if site.is_head else "layer in one of PyTorch's recurrent modules"
            raise SettingsError(f"--module {part}: a {kind} has no weights of its own; use --details activations or units", "module")
    else:
        site = hooks.Site(part, hooks.modules(task.models)[part])
    if options.details == "units":
        return _units(task, site)
    if options.details == "matrix":
        return _matrix(part, site.module)
    values, what = _values(task, site, options.details)
    if not values:
        return Table(columns=[options.details], rows=[], figure=part, caption=what)
    return _over_time(task, site, options.details, what) if options.over_time else _histogram(part, values, what)


def _values(task: Task[Any], site: hooks.Site, details: str) -> tuple[dict[str, Tensor], str]:
    """What a histogram is of, by name, (n,) each, and in words; none, and why. Raises `SettingsError`."""
    if details == "activations":
        outputs, places = _outputs(task, site)
        return {"output": rows_of_units(outputs)[places].flatten()}, "output over held-out data"
    weights = _weights(site.address, site.module)
    if details == "weights":
        return {name: value.detach().flatten() for name, value in weights.items()}, "weights"
    found, words = gradients_of(task, *held_out_values(task))
    named = {key: found[p].flatten() for key, p in weights.items() if p in found}
    return named, f"gradients {words if named or not found else 'do not reach it'}"


# --- over time --------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Kept:
    """What was computed of earlier checkpoints, which never changes: of one question about one task."""

    question: tuple[object, ...] = ()
    rows: dict[int, Tensor] = dataclasses.field(default_factory=dict)


_kept: weakref.WeakKeyDictionary[Task[Any], Kept] = weakref.WeakKeyDictionary()


def _over_time(task: Task[Any], site: hooks.Site, details: str, what: str) -> AnyPanel:
    """A row for each of some checkpoints along the way, and one for now: the share of the values in each of `BINS` common bins.

    Outputs and gradients are those of the same held-out data with the weights of then, as far as these alone decide them. Nothing is
    recorded while a model trains.
    """
    if details == "gradients" and not what.startswith("gradients of the held-out"):
        return Table(columns=[details], rows=[], figure=site.address, caption=f"{what}: nothing is remembered of earlier ones")
    rows = _earlier(task, site, details) | {task.step: _sample(_values(task, site, details)[0])}
    every = torch.cat(list(rows.values()))
    low, high = float(every.min()), float(every.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    width = (high - low) / BINS
    shares = torch.stack([torch.histc(values, BINS, low, high) / len(values) for values in rows.values()])  # (steps, BINS)
    alone = "" if len(rows) > 1 else "; this model has no earlier checkpoints"
    return HeatMap(
        values=Array.of(shares),
        rows=[f"{step:,}" for step in rows],
        columns=[f"{low + width * (index + 0.5):.2g}" for index in range(BINS)],
        row_title="step",
        column_title=what,
        low=0.0,
        parts=[site.address],
        figure=f"{site.address}: {len(rows)} steps",
        caption=f"share of {what}, in {BINS} bins of {width:.3g}{alone}",
    )


def _earlier(task: Task[Any], site: hooks.Site, details: str) -> dict[int, Tensor]:
    """Values at some of the checkpoints along the way. The weights of then are put into the models meanwhile, and those of now back."""
    earlier = task.earlier()
    spread = list(earlier)
    if len(spread) > MOST_ROWS:
        spread = [spread[round(at * (len(spread) - 1) / (MOST_ROWS - 1))] for at in range(MOST_ROWS)]
    kept = _kept.setdefault(task, Kept())
    if kept.question != (question := (site.address, details)):
        kept.question, kept.rows = question, {}
    for step in spread:
        if step not in kept.rows and (weights := earlier[step]()) is not None:
            with task.with_weights(weights):
                kept.rows[step] = _sample(_values(task, site, details)[0])
    kept.rows = {step: kept.rows[step] for step in spread if step in kept.rows}
    return dict(kept.rows)


def _sample(values: Mapping[str, Tensor]) -> Tensor:
    """The largest part's values, of many every n-th, on the CPU."""
    largest = max(values.values(), key=torch.numel)
    return largest[:: -(-largest.numel() // MOST_KEPT)].float().cpu().clone()


# --- now --------------------------------------------------------------------------------------------------------------------------


def _weights(part: str, module: nn.Module) -> dict[str, nn.Parameter]:
    """Its own parameters or, without any, those of its parts together by their last name."""
    own = dict(module.named_parameters(recurse=False)) or dict(module.named_parameters())
    if not own:
        raise SettingsError(f"--module {part}: {type(module).__name__} has no weights; choose another, or --details activations", "module")
    return own


def _histogram(part: str, values: dict[str, Tensor], what: str) -> Lines:
    """The share of the values in each of `BINS` equal bins, over common bins."""
    values = dict(list(values.items())[:6])
    every = {name: value[:: -(-value.numel() // MOST_VALUES)].float().cpu() for name, value in values.items()}
    whole = torch.cat(list(every.values()))
    low, high = float(whole.min()), float(whole.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    width = (high - low) / BINS
    series = {name: (torch.histc(value, BINS, low, high) / max(1, value.numel())).tolist() for name, value in every.items()}
    return Lines(
        x=[low + width * (index + 0.5) for index in range(BINS)],
        series=series,
        x_title=what,
        percent=True,
        parts=[part],
        sequence=False,
        figure=f"{part}: {float(whole.mean()):.3g} ± {float(whole.std(correction=0)):.3g}",
        caption=f"share of {what}, in {BINS} bins of {width:.3g}",
    )


def _matrix(part: str, module: nn.Module) -> HeatMap:
    """The largest of its own matrices; where it is larger than `MOST_CELLS` a side, means over equal pieces."""
    found = matrices(module)
    if not found:
        raise SettingsError(f"--module {part}: {type(module).__name__} has no weight matrix of its own; choose one of its parts", "module")
    matrix = max(found, key=torch.numel).float()
    rows, columns = (min(side, MOST_CELLS) for side in matrix.shape)
    is_map = isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
    bounds = [(row * len(matrix) // rows, -(-(row + 1) * len(matrix) // rows)) for row in range(rows)]  # those of the pooling
    of_rows = [f"{part}[{first}]" if end == first + 1 else f"{part}[{first}:{end}]" for first, end in bounds]
    cells = F.adaptive_avg_pool2d(matrix[None], (rows, columns))[0]
    pooled = f", as {rows} x {columns} means" if (rows, columns) != tuple(matrix.shape) else ""
    return HeatMap(
        values=Array.of(cells.cpu()),
        row_title="tokens" if isinstance(module, nn.Embedding) else "outputs",
        column_title="units" if isinstance(module, nn.Embedding) else "inputs",
        parts=of_rows if is_map else [part],
        signed=True,
        figure=f"{matrix.shape[0]} x {matrix.shape[1]}",
        caption=f"{part}{pooled}",
    )


def _outputs(task: Task[Any], site: hooks.Site) -> tuple[Tensor, Tensor]:
    """Its output over held-out data, and the places of it that count, a mask of its shape without the units. Raises `SettingsError`.

    Of several calls, those of one shape come after one another; but where each is about all of the probe's examples, as segments of
    them are, their positions do.
    """
    probe = task.probe()
    with (
        counting(task.vocabulary(), memory=False) as places,
        hooks.observed([site], lambda values: _counted(values, places(values))) as [passes],
    ):
        task.pass_through()
    passes = [(values, counted) for values, counted in passes if bool(counted.any())]
    if not passes or not passes[0][0].is_floating_point():
        raise SettingsError(f"--module {site.address}: the held-out data do not pass it; the panel anatomy lists what they pass", "module")
    first = passes[0][0]
    if probe is not None and first.ndim == 3 and len(first) == len(probe.values):
        alike = [each for each in passes if (len(each[0]), each[0].shape[2:]) == (len(first), first.shape[2:])]
        return torch.cat([values for values, _ in alike], dim=1), torch.cat([counted for _, counted in alike], dim=1)
    alike = [each for each in passes if each[0].shape[1:] == first.shape[1:]]
    return torch.cat([values for values, _ in alike]), torch.cat([counted for _, counted in alike])


def _counted(values: Tensor, places: Tensor | None) -> tuple[Tensor, Tensor]:
    """An output and the places of it that count, from the first position on at which one does."""
    if places is None:
        return values, torch.ones(rows_of_units(values).shape[:-1], dtype=torch.bool, device=values.device)
    begins = int(places.any(dim=0).int().argmax()) if places.ndim == 2 else 0
    return (values[:, begins:], places[:, begins:]) if begins else (values, places)


def _units(task: Task[Any], site: hooks.Site) -> AnyPanel:
    """Of each unit the example with its largest output: as a picture or in words, where the task can show its examples."""
    outputs, counted = _outputs(task, site)
    axis = hooks.unit_axis(outputs)
    if outputs.ndim < 2:
        raise SettingsError(f"--module {site.address}: its output is one number for each example, and has no units", "module")
    units = min(outputs.shape[axis], MOST_UNITS)
    placed = outputs.movedim(axis, 1)[:, :units].reshape(len(outputs), units, -1).float()  # (B, C, places)
    held = counted.reshape(len(outputs), 1, -1)  # (B, 1, places)
    best, place = placed.masked_fill(~held, -torch.inf).max(dim=2)  # (B, C) each
    largest, example = best.max(dim=0)  # (C,)
    numbers = example.tolist()
    values = largest.tolist()
    cut = f" · the first {units} of {outputs.shape[axis]}" if units < outputs.shape[axis] else ""
    probe = task.probe()
    known = task.probed(numbers) if probe is not None and len(probe.values) == len(outputs) else None
    figure, caption = f"{site.address}: {units} units", f"the held-out example that excites each unit most{cut}"
    parts = [f"{site.address}[{unit}]" for unit in range(units)]
    if isinstance(known, Array):
        labels = [f"{unit}: {value:.3g}" for unit, value in enumerate(values)]
        return ImageGrid(images=known, labels=labels, parts=parts, figure=figure, caption=caption)
    means = (placed.masked_fill(~held, 0).sum(dim=(0, 2)) / held.sum()).tolist()
    places = place.gather(0, example[None])[0].tolist()
    rows = [[str(unit), f"{values[unit]:.3g}", f"{means[unit]:.3g}", str(numbers[unit])] for unit in range(units)]
    columns = ["unit", "largest output", "mean", "example"]
    if outputs.ndim > 2:
        columns.append("position")
        rows = [[*row, str(places[unit])] for unit, row in enumerate(rows)]
    if known is not None:
        columns.append("words, the one it reads last in [ ]")
        rows = [[*row, _words(known[unit], places[unit])] for unit, row in enumerate(rows)]
    return Table(columns=columns, rows=rows, right=[0, 1, 2, 3], parts=parts, figure=figure, caption=caption)


def _words(words: list[str], place: int) -> str:
    """Those around a position."""
    if place >= len(words):
        return " ".join(words[: 2 * WORDS])
    return " ".join([*words[max(0, place - WORDS) : place], f"[{words[place]}]", *words[place + 1 : place + 1 + WORDS]])
