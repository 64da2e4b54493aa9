"""The baselines that come with dlplay are what its own code computes. `python -m tests.test_known_baselines` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlplay import architectures
from dlplay.engine import device as devices
from dlplay.engine.baseline_cache import KNOWN, Values, baselines, compute, name_of
from dlplay.engine.task import Task

SLOWEST = ("convnet", "dqn")
"""Those that take longest, of which a new user would wait for the first run."""


def default_task(name: str) -> Task[Any]:
    card = architectures.card(name)
    settings = card.settings()
    return card.load_task()(settings, devices.prepare(settings), None)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOWEST)
def test_known_baselines_are_what_is_computed(name: str) -> None:
    task = default_task(name)
    assert json.loads(KNOWN.read_text())[name_of(task)] == {
        metric: pytest.approx(values, rel=1e-3) for metric, values in compute(task).items()
    }


@pytest.mark.parametrize("name", SLOWEST)
def test_a_first_run_waits_for_none(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    task = default_task(name)
    monkeypatch.setattr(type(task), "baselines", lambda self: pytest.fail("they are computed"))
    assert baselines(task)


def write() -> None:
    """Compute and write all of them."""
    found: dict[str, Values] = {}
    for name in SLOWEST:
        task = default_task(name)
        found[name_of(task)] = compute(task)
    KNOWN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write()
