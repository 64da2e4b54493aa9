"""Baselines are computed once for each data set and kept in the user's cache folder. Those of the default settings come with dlplay."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import platformdirs
import torch

from dlplay.engine.events import named_as_today
from dlplay.engine.task import Task, looking

Values = dict[str, dict[str, float]]
KNOWN = Path(__file__).with_name("known_baselines.json")
"""Those of the default settings by `name_of`, of which a ConvNet's take 16 s. `tests/test_known_baselines.py` computes and writes them."""


def baselines(task: Task[Any]) -> Values:
    """The task's baselines, `{metric: {method: value}}`: known, from the cache, or computed now and cached."""
    name = name_of(task)
    if not name:
        return compute(task)
    if (known := json.loads(KNOWN.read_text()).get(name)) is not None:
        return dict(known)
    path = Path(platformdirs.user_cache_dir("dlplay")) / "baselines" / f"{name}.json"
    if (found := _read(path)) is not None:
        return found
    values = compute(task)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(f".{os.getpid()}")
        staged.write_text(json.dumps(values))
        staged.replace(path)
    return values


def name_of(task: Task[Any]) -> str:
    """The name that its baselines are kept by; empty when they are not."""
    key = task.baselines_key()
    return hashlib.sha256(f"{type(task).__module__}.{type(task).__qualname__} {key}".encode()).hexdigest()[:32] if key else ""


def compute(task: Task[Any]) -> Values:
    """Baselines may draw random numbers, but training continues as if they had come from the cache."""
    with looking(task), torch.enable_grad():
        return task.baselines()


def _read(path: Path) -> Values | None:
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(65_536))
        found = {str(metric): {str(method): float(value) for method, value in methods.items()} for metric, methods in values.items()}
        return named_as_today(found)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None
