"""The exported script of PyTorch alone: it runs where dlplay is not, and every loss is that of the run, to the bit."""

import ast
import builtins
import json
import subprocess
import symtable
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playground import architectures, cli
from playground.engine.card import Card
from playground.engine.device import prepare
from playground.engine.settings import Settings, make, to_dict
from playground.engine.task import looking
from playground.exports import standalone
from playground.runs import directory

STEPS = 24
ALONE = """
import runpy, sys
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("playground", "widgets", "checkpoints", "msgspec"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Nowhere())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script where neither the project nor its settings' library can be imported, as installed as they may be."""

CARDS = list(architectures.cards().values())


def in_order(card: Card, settings: Settings) -> list[dict[str, Any]]:
    """What the engine's loop would measure: training metrics of every step, and the evaluations."""
    device = prepare(settings)
    task = card.load_task()(settings, device)

    def evaluated() -> dict[str, Any]:
        with looking(task):
            return {"step": task.step, "held_out": True, **task.evaluate()}

    found = [evaluated()]
    while task.step < settings.steps:
        metrics = task.train_step()
        task.step += 1
        found.append({"step": task.step, **{name: value.item() for name, value in metrics.items()}})
        if task.step % settings.eval_every == 0 and task.step < settings.steps:
            found.append(evaluated())
    task.finishing = task.step % settings.eval_every != 0
    return [*found, evaluated()]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_script_has_the_runs_losses_where_dlplay_is_not(card: Card, small: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    settings = make(card.settings, {**small(card.name), "steps": STEPS, "eval_every": 10, "seed": 3, "device": "cpu"})
    directory.create(tmp_path / "runs", card.name, to_dict(settings), "", "tiny")
    assert cli.run(["export", "tiny", str(tmp_path / "script.py"), "--to", "torch", "--runs-dir", str(tmp_path / "runs")]) == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path / "script.py"), "--log", "log.jsonl", "--save", "weights.pt"]
    ended = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = [json.loads(line) for line in (empty / "log.jsonl").read_text().splitlines()]
    wanted = in_order(card, settings)
    assert len(found) == len(wanted) > STEPS
    for one, other in zip(found, wanted, strict=True):
        assert json.dumps(one) == json.dumps(json.loads(json.dumps(other))), f"step {other['step']}"
    assert (empty / "weights.pt").stat().st_size > 100
    assert f"{STEPS:,} steps in" in ended.stdout


@pytest.mark.parametrize(
    ("card", "preset"), [(card, name) for card in CARDS for name in card.presets], ids=lambda item: getattr(item, "name", item)
)
def test_every_presets_script_defines_every_name_that_it_uses(card: Card, preset: str) -> None:
    script = standalone.compose(card, make(card.settings, dict(card.presets[preset].values)), preset, [])
    module = types.ModuleType(f"exported_{card.name}")
    sys.modules[module.__name__] = module  # where dataclasses look for it
    try:
        exec(compile(script, "script", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    assert unknown(script, set(vars(module))) == set()
    told, wanted = getattr(module, card.settings.__name__)(), make(card.settings, dict(card.presets[preset].values))
    assert {name: getattr(wanted, name) for name in vars(told)} == vars(told)
    assert "seed" in vars(told)
    assert not any(
        "playground" in ast.unparse(node) for node in ast.walk(ast.parse(script)) if isinstance(node, (ast.Import, ast.ImportFrom))
    )


def unknown(script: str, known: set[str]) -> set[str]:
    """Global names that are used somewhere in the script, and defined nowhere."""
    found: set[str] = set()

    def look(table: symtable.SymbolTable) -> None:
        for symbol in table.get_symbols():
            outside = symbol.is_global() or table.get_type() == "module"
            if outside and symbol.is_referenced() and symbol.get_name() not in known and not hasattr(builtins, symbol.get_name()):
                found.add(f"{symbol.get_name()} in {table.get_name()}")
        for inner in table.get_children():
            look(inner)

    look(symtable.symtable(script, "script", "exec"))
    return found


def test_what_neither_trains_nor_evaluates_is_left_out() -> None:
    card = architectures.card("gpt")
    script = standalone.compose(card, make(card.settings, {}), "gpt-1", [])
    names = {node.name for node in ast.walk(ast.parse(script)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert {"GPT", "GPTTask", "train_step", "evaluate", "minimise", "read_corpus", "main"} <= names
    assert not names & {"next_word", "passage", "baselines", "extra_state", "load_weights", "panel", "act", "Card", "weights"}


def test_what_a_piece_takes_from_outside_is_told_from_its_own_names() -> None:
    """`tools.fit` inside a function whose argument is called `fit`: plain `fit` would be another thing there."""
    from playground.exports.scopes import Finder

    def resolver(name: str, attributes: tuple[str, ...], imported: object) -> tuple[object, int] | None:
        return (name, 1 if name == "tools" else 0) if name in ("tools", "fit") else None

    finder = Finder(resolver, lambda node: {})
    finder.visit(ast.parse("def one(fit):\n    return tools.fit(fit)\n\n\ndef two():\n    return [fit(x) for x in y if (z := x)]").body[0])
    seen = [(ast.unparse(use.node), use.hidden) for use in finder.uses]
    assert seen == [("tools.fit", frozenset({"fit"}))]


def test_a_run_from_other_weights_says_that_the_script_begins_anew(tmp_path: Path, small: Callable[[str], dict[str, Any]]) -> None:
    card = architectures.card("convnet")
    settings = make(card.settings, {**small("convnet"), "until": "test_accuracy>=0.9"})
    directory.create(tmp_path, "convnet", to_dict(settings), "convnet-digits", "later")
    assert cli.run(["export", "later", str(tmp_path / "script.py"), "--to", "torch", "--runs-dir", str(tmp_path)]) == 0
    words = ast.get_docstring(ast.parse((tmp_path / "script.py").read_text())) or ""
    assert "begins from fresh ones" in words
    assert "--until test_accuracy>=0.9" in words


def test_what_cannot_be_exported_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs" / "old"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"architecture": "perceptron", "settings": {}}))
    for name, words in (("old", "perceptron"), ("nobody", "nobody")):
        status = cli.run(["export", name, str(tmp_path / "script.py"), "--to", "torch", "--runs-dir", str(tmp_path / "runs")])
        error = capsys.readouterr().err
        assert status == 2
        assert words in error
        assert error.count("\n") == 1
        assert not (tmp_path / "script.py").exists()
