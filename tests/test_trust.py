"""Code is imported when a person names it, or agrees to it: never because a checkpoint, a run.json or a settings file does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import msgspec
import pytest

from dlplay import cli
from dlplay.checkpoints import store
from dlplay.checkpoints.store import Store
from dlplay.runs.directory import RunDirectory
from dlplay.runs.lock import holder
from tests.conftest import flags
from tests.screen_pilot import opened, part_text, until

SMALL = {"envs": 1, "hidden": "8", "steps": 6, "eval_every": 100, "save_every": 100, "eval_episodes": 1, "buffer": 50, "time_limit": 5}
OWN = {"env": "own/Thing-v0", "env_module": "own_code"}
CODE = """
import gymnasium, pathlib
from gymnasium.envs.classic_control import CartPoleEnv
pathlib.Path("imported").touch()
gymnasium.register("own/Thing-v0", CartPoleEnv)
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runs folder with a run `mine` that a person started with a module of the current folder."""
    (tmp_path / "own_code.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "runs"
    assert dqn(folder, *flags(OWN), "--name", "mine") == 0
    assert forgotten(tmp_path)
    yield folder
    forgotten(tmp_path)


def dqn(runs: Path, *arguments: str) -> int:
    return cli.run(["dqn", "--headless", *flags(SMALL), *arguments, "--runs-dir", str(runs)])


def forgotten(folder: Path) -> bool:
    """Whether the module was imported; from now on it was not."""
    sys.modules.pop("own_code", None)
    gymnasium.registry.pop("own/Thing-v0", None)
    found = (folder / "imported").exists()
    (folder / "imported").unlink(missing_ok=True)
    return found


COMMANDS = {
    "from": ["dqn", "--headless", "--from", "mine", "--steps", "2"],
    "ask": ["dqn", "--headless", "--from", "mine", "--panel", "q_values"],
    "explore": ["dqn", "--headless", "--from", "mine", "--explore", "there"],
    "resume": ["resume", "mine", "--headless", "--steps", "9"],
    "resume on the screen": ["resume", "mine"],
    "script": ["export", "mine", "script.py", "--to", "torch"],
    "graph": ["export", "mine", "graph.onnx", "--to", "onnx"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_run_brings_no_code_along(command: list[str], runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*command, "--runs-dir", str(runs)]) == 2
    assert not forgotten(tmp_path)
    words = capsys.readouterr().err
    assert "mine names code to import, --env-module own_code; if you trust it, add --" in words
    assert words.count("\n") == 1


def test_a_folder_of_a_checkpoint_brings_no_code_along(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dqn(runs, "--from", f"{runs}/mine/checkpoints/step-6") == 2
    assert not forgotten(tmp_path)
    assert "--env-module own_code" in capsys.readouterr().err


def test_a_person_may_name_it(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dqn(runs, "--from", "mine", "--env-module", "own_code") == 0
    assert forgotten(tmp_path)
    assert cli.run(["resume", "mine", "--headless", "--steps", "9", "--trust-code", "--runs-dir", str(runs)]) == 0
    assert forgotten(tmp_path)
    assert cli.run(["export", "mine", "graph.onnx", "--to", "onnx", "--trust-code", "--runs-dir", str(runs)]) == 0
    assert forgotten(tmp_path)


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_on_a_terminal_a_person_is_asked(
    answer: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: answer + "\n", raising=False)
    status = cli.run(["resume", "mine", "--headless", "--steps", "9", "--runs-dir", str(runs)])
    assert capsys.readouterr().err.count("Import it? [y/N]") == 1
    assert (status, forgotten(tmp_path)) == ((0, True) if answer == "y" else (2, False))


def test_a_settings_file_names_none(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"env": OWN["env"], "env-module": "own_code"}))
    assert dqn(runs, "--set-file", "settings.json") == 2
    assert not forgotten(tmp_path)
    assert "a file cannot decide that; give --env-module as a flag" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["env_module", "env-module", "--env-module"])
def test_a_checkpoint_that_was_exchanged_changes_nothing(key: str, runs: Path, tmp_path: Path) -> None:
    assert dqn(runs, "--name", "plain") == 0
    checkpoints = runs / "plain" / "checkpoints"
    found = store.load(checkpoints / "step-6")
    settings: dict[str, Any] = {**found.meta["settings"], key: "own_code"}
    Store(checkpoints).save(7, dict(found.weights), dict(found.tensors), {**found.meta, "settings": settings, "step": 7})
    for command in (["resume", "plain", "--headless", "--steps", "9"], ["export", "plain", "graph.onnx", "--to", "onnx"]):
        cli.run([*command, "--runs-dir", str(runs)])
        assert not forgotten(tmp_path)
    dqn(runs, "--from", "plain")
    assert not forgotten(tmp_path)


@pytest.mark.parametrize("name", ["os", "../own_code", "own_code", "own_code.card"])
def test_the_name_of_an_architecture_imports_nothing(name: str, runs: Path, tmp_path: Path) -> None:
    path = runs / "mine" / "run.json"
    path.chmod(0o600)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(RunDirectory(runs / "mine").spec, architecture=name)))
    assert cli.run(["resume", "mine", "--headless", "--runs-dir", str(runs)]) == 2
    assert not forgotten(tmp_path)


async def test_the_screen_imports_what_stands_in_its_form(runs: Path, tmp_path: Path) -> None:
    async with opened(runs, tab="dqn", attach="mine", explore=True) as (app, pilot):
        await until(lambda: "mine names code to import, --env-module own_code" in " ".join(part_text(app, ".dialog").split()))
        assert app.tab.form.values["env_module"] == ""
        await pilot.press("escape")
        app.tab.form.put("steps", "9")
        app.tab.form.put("env_module", "own_code")
        assert not (tmp_path / "imported").exists()
        await pilot.press("space")
        await until(lambda: app.tab.link.history.step == 9)
        assert (tmp_path / "imported").exists()
        app.tab.link.leave()
        await until(lambda: holder(runs / "mine" / "lock") is None)


# --- gymnasium's own way of naming a module -----------------------------------------------------------------------------------------------


def test_a_module_may_stand_before_an_environment(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dqn(runs, "--env", "own_code:own/Thing-v0", "--name", "colon") == 0
    assert forgotten(tmp_path)
    for command in (["dqn", "--headless", "--from", "colon", "--steps", "2"], ["resume", "colon", "--headless", "--steps", "9"]):
        assert cli.run([*command, "--runs-dir", str(runs)]) == 2
        assert not forgotten(tmp_path)
        assert "colon names code to import, --env own_code:own/Thing-v0; if you trust it, add --" in capsys.readouterr().err
    assert cli.run(["resume", "colon", "--headless", "--steps", "9", "--trust-code", "--runs-dir", str(runs)]) == 0
    assert forgotten(tmp_path)


def test_a_settings_file_names_no_module_before_an_environment(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"env": "own_code:own/Thing-v0"}))
    assert dqn(runs, "--set-file", "settings.json") == 2
    assert not forgotten(tmp_path)
    assert "a file cannot decide that; give --env as a flag" in capsys.readouterr().err


def test_modules_that_cannot_help_are_told(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dqn(runs, "--env", "own/Other-v0", "--env-module", "own_code") == 2
    assert "own_code registers own/Thing-v0" in capsys.readouterr().err
    assert forgotten(tmp_path)
    (tmp_path / "empty_module.py").write_text("")
    assert dqn(runs, "--env", "Maze-v0", "--env-module", "empty_module") == 2
    assert "empty_module registers none: call gymnasium.register in it" in capsys.readouterr().err
    for typed in ("./own_code.py", "own_code.py", "folder/own_code"):
        assert dqn(runs, "--env", "own/Thing-v0", "--env-module", typed) == 2
        assert f"--env-module {typed}: give the name of a module, such as own_code for own_code.py" in capsys.readouterr().err
    assert not forgotten(tmp_path)
