"""A run's curves from its journal, as CSV or for TensorBoard; each step occurs once, also in a resumed run."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from dlplay.engine.events import Baselines, DurableEvent, Evaluated, Finished, Stepped
from dlplay.engine.settings import SettingsError
from dlplay.exports.source import Source


def write_csv(source: Source, target: Path) -> str:
    """One row for each step with a metric, one column for each metric and for each of its baselines.

    A cell is empty where the metric was not measured, or was not finite.
    """
    rows, baselines = _table(source.events())
    metrics = sorted({name for row in rows.values() for name in row})
    pairs = [(metric, method) for metric in metrics for method in baselines.get(metric, {})]
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *metrics, *(f"{metric} of {method}" for metric, method in pairs)])
        for step, row in sorted(rows.items()):
            beside = [repr(baselines[metric][method]) if metric in row else "" for metric, method in pairs]
            writer.writerow([step, *(repr(row[name]) if name in row else "" for name in metrics), *beside])
    return f"{len(rows):,} steps, {len(metrics)} metrics, {len(pairs)} baselines"


def write_tensorboard(source: Source, target: Path) -> str:
    """Event files: one of all metrics, and one for each baseline, which TensorBoard draws as a flat line."""
    events = source.events()
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise SettingsError("--to tensorboard needs the package tensorboard: pip install 'dlplay[tensorboard]'") from None
    rows, baselines = _table(events)
    target.mkdir()
    scalars = 0
    with SummaryWriter(str(target / "run")) as writer:
        for step, row in sorted(rows.items()):
            for name, value in row.items():
                writer.add_scalar(name, value, step)
                scalars += 1
    methods = sorted({method for values in baselines.values() for method in values})
    first, last = min(rows), max(rows)
    for method in methods:
        with SummaryWriter(str(target / _folder(method))) as writer:
            for metric, values in baselines.items():
                for step in (first, last):
                    if method in values and math.isfinite(values[method]):
                        writer.add_scalar(metric, values[method], step)
    return f"{scalars:,} scalars, {len(methods)} baselines; open them with tensorboard --logdir {{target}}"


def _table(events: list[DurableEvent]) -> tuple[dict[int, dict[str, float]], dict[str, dict[str, float]]]:
    """Values by step and metric, and the baselines by metric and method. Raises `SettingsError` when nothing was measured."""
    rows: dict[int, dict[str, float]] = {}
    baselines: dict[str, dict[str, float]] = {}
    for event in events:
        if isinstance(event, Baselines):
            baselines = {metric: dict(values) for metric, values in event.values.items()}
        for step, name, value in _values(event):
            rows.setdefault(step, {})[name] = value
    if not rows:
        raise SettingsError("the run has no metrics yet; train it for some steps first")
    return rows, baselines


def _values(event: DurableEvent) -> Iterator[tuple[int, str, float]]:
    if isinstance(event, Stepped):
        for name, values in event.metrics.items():
            steps = event.at or range(event.first, event.step + 1)
            yield from ((step, name, value) for step, value in zip(steps, values, strict=False) if value is not None)
    elif isinstance(event, (Evaluated, Finished)):
        yield from ((event.step, name, value) for name, value in event.metrics.items())


def _folder(method: str) -> str:
    """A folder name for a baseline."""
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in method).strip("-.") or "baseline"
