"""A run as one script of PyTorch: it runs where there is no dlplay, and every step has the loss that the run's own step had, to the bit."""

import ast
import builtins
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlplay import architectures
from dlplay.engine.settings import SettingsError, make, to_dict
from dlplay.exports.source import Source
from dlplay.exports.standalone import write
from dlplay.runs import directory
from tests.conftest import Dlplay, flags

CARDS = architectures.cards()
PROMISE = "every step has the same loss as in dlplay, to the bit"
STEPS = 4

ALONE = """
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "dlplay":
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script as if dlplay were not installed."""


def run_alone(script: Path, *arguments: str) -> list[dict[str, Any]]:
    """What the script measured, one dictionary a step and one an evaluation."""
    log = script.with_suffix(".jsonl")
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(script), "--log", str(log), *arguments],
        cwd=script.parent,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(pytest.param(name, {}, marks=[] if name == "convnet" else pytest.mark.slow, id=name) for name in CARDS),
        pytest.param("convnet", {"kind": "resnet", "cutout": 2}, marks=pytest.mark.slow, id="residual net"),
    ],
)
def test_a_script_trains_to_the_same_losses_without_dlplay(
    name: str, values: dict[str, Any], small: Callable[[str], dict[str, Any]], dlplay: Dlplay, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    given = [*flags(small(name) | values), "--steps", str(STEPS), "--eval-every", "2", "--device", "cpu"]
    trained = dlplay(name, "--headless", "--json", *given, "--runs-dir", str(runs))
    assert trained.status == 0, trained.err
    events = [json.loads(line) for line in trained.out.splitlines()]
    wanted = {
        event["first"] + at: {metric: values[at] for metric, values in event["metrics"].items() if values[at] is not None}
        for event in events
        if event["type"] == "stepped"
        for at in range(event["step"] - event["first"] + 1)
    }
    script = tmp_path / "script.py"
    write(Source(f"{name}-1", runs), script)
    measured = run_alone(script)
    steps = {row.pop("step"): row for row in measured if not row.get("held_out")}
    assert steps == wanted
    ends = [event for event in events if event["type"] == "finished"]
    last = {key: value for key, value in measured[-1].items() if key not in ("step", "held_out")}
    assert last == ends[0]["metrics"]


BUILT_IN = {*dir(builtins), "__file__", "__name__"}


@functools.cache
def names(part: str) -> tuple[set[str], set[str]]:
    """What a part of a script defines, and what it uses; presets of a room have most parts in common."""
    defined, used = set[str](), set[str]()
    for node in ast.walk(ast.parse(part)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "dlplay" not in ast.unparse(node)
            defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        else:
            defined.add(getattr(node, "name", ""))
    return defined, used


@pytest.mark.parametrize("name", CARDS)
def test_a_script_knows_every_name_that_it_uses_whatever_the_preset(name: str, tmp_path: Path) -> None:
    card = CARDS[name]
    for preset, known in card.presets.items():
        settings = make(card.settings, known.values)
        run = directory.create(tmp_path, name, to_dict(settings))
        script = tmp_path / f"{preset}.py"
        if card.no_script is not None and (why := card.no_script(to_dict(settings))):
            with pytest.raises(SettingsError, match=re.escape(f"{run.name} cannot become a script: {why}")):
                write(Source(run.name, tmp_path), script)
            continue
        write(Source(run.name, tmp_path), script)
        parts = [names(part) for part in script.read_text().split("\n\n\n")]
        defined, used = (set().union(*sets) for sets in zip(*parts, strict=True))
        assert used <= defined | BUILT_IN, (preset, used - defined - BUILT_IN)
