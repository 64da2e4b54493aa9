"""A run asked at earlier steps: panels, pictures, and its checkpoints as the start of something else."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dlplay import cli
from dlplay.checkpoints import store
from dlplay.checkpoints.history import kept
from dlplay.engine.settings import SettingsError
from dlplay.runs import directory, origin, steps
from tests.conftest import Small, flags

STEPS = 40


@pytest.fixture(scope="module")
def runs(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `gpt-1` of 40 steps."""
    folder = tmp_path_factory.mktemp("runs")
    typed = flags(small("gpt") | {"steps": STEPS, "save_every": 15, "eval_every": STEPS, "device": "cpu"})
    assert cli.run(["gpt", "--headless", *typed, "--runs-dir", str(folder)]) == 0
    return folder


pytestmark = pytest.mark.usefixtures("as_before")
TYPED = ["gpt", "--headless", "--panel", "attention", "--from", "gpt-1"]


def asked(runs: Path, *more: str, command: list[str] = TYPED) -> int:
    return cli.run([*command, *more, "--runs-dir", str(runs)])


def test_a_panel_answers_from_the_checkpoint_at_or_before_each_step(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert asked(runs, "--at", "0,9,1000,40", "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["at"], one["step"], one["kind"]) for one in found] == [
        (0, 0, "heatmap"), (9, 8, "heatmap"), (1000, STEPS, "heatmap"), (40, STEPS, "heatmap"),
    ]  # fmt: skip
    assert found[0]["values"] != found[1]["values"] != found[2]["values"]
    assert found[2]["values"] == found[3]["values"]
    assert asked(runs, "--json") == 0  # as it is now
    now = json.loads(capsys.readouterr().out)
    assert now["values"] == found[2]["values"]
    assert asked(runs, "--json", command=[*TYPED[:-1], "gpt-1@8"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == found[1]["values"]


def test_plain_text_says_of_which_step_each_is(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert asked(runs, "--at", "0,9", "--prompt", "of the of") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.split()[1:] == ["100", "%", "0", "%", "0", "%"] for line in lines) == 2, "the first word can look at itself alone"
    assert [line for line in lines if line.startswith("as of")] == ["as of step 0", "as of step 8, the last checkpoint at or before step 9"]


def test_a_sheet_has_a_picture_of_each_side_by_side(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "sheet.svg"
    assert asked(runs, "--at", "0,9,40", "--svg", str(target)) == 0
    assert "3 pictures of Attention" in capsys.readouterr().out
    text = target.read_text().replace("&#160;", " ")
    titles = re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>Attention · step (\d+)', text)
    assert [int(step) for _, _, step in titles] == [0, 8, 40]
    assert len({y for _, y, _ in titles}) == 1
    assert len({x for x, _, _ in titles}) == 3
    assert len(set(re.findall(r"fill: ?#[0-9a-f]{6}", text)) | set(re.findall(r'fill="#[0-9a-f]{6}"', text))) > 8  # in all colours
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.svg"]


def test_a_picture_takes_no_other_files_place(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.txt"
    target.write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (target, "exists already; give another name, or --force to replace it"),
        (tmp_path / "pipe", "is a device, a pipe or a socket"),
        (tmp_path, "is a folder or a link"),
        (Path(), "is a folder or a link"),
        (tmp_path / "none" / "a.svg", "there is no folder"),
    ):
        force = ["--force"] if path.name == "pipe" else []
        assert asked(runs, "--svg", str(path), *force) == cli.USAGE
        assert words in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert asked(runs, "--svg", str(target), "--force") == 0
    assert target.read_text().startswith("<svg")
    assert asked(runs, "--force") == cli.USAGE


@pytest.mark.parametrize(("typed", "words"), [
    (["--at", "1,x"], "--at '1,x': give 1 to 64 steps, such as 0,100,1000"),
    (["--at", ","], "give 1 to 64 steps"),
    (["--at", "9" * 30], "give 1 to 64 steps"),
    (["--at", "0", "--from", "gpt-reference"], "gpt-reference has no checkpoint at or before step 0; there is 4000"),
    (["--at", "0", "--from", "gpt-1@8"], "--at needs the run"),
    (["--from", "gpt-1@9"], "gpt-1 has no checkpoint of step 9; there are 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 15, 16, 19, 23, 27"),
    (["--from", "gpt-9@8"], "gpt-9@8: there is no shipped model, run or checkpoint folder of that name"),
    (["--from", "gpt-reference@8"], "gpt-reference has no checkpoint of step 8; there is 4000"),
    (["--at", "0", "--steps", "5"], "--steps is for training"),
])  # fmt: skip
def test_what_cannot_be_asked_is_told_in_a_line(typed: list[str], words: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    given = TYPED[:4] if "--from" in typed else TYPED
    assert asked(runs, *typed, command=given) == cli.USAGE
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_without_headless_it_is_said(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(runs, "--at", "0", command=["gpt", "--from", "gpt-1"]) == cli.USAGE
    assert "--at needs --headless" in capsys.readouterr().err


def test_a_run_starts_from_a_step_of_another(small: Small, runs: Path) -> None:
    assert (
        asked(runs, "--steps", "3", "--name", "later", command=["gpt", "--headless", "--from", "gpt-1@8", *flags({"device": "cpu"})]) == 0
    )
    begun = store.load(runs / "later" / "history" / "step-0")
    then = store.load(runs / "gpt-1" / "history" / "step-8")
    assert all(np.array_equal(begun.weights[name], array) for name, array in then.weights.items())


def test_a_checkpoint_that_goes_while_it_is_read_is_looked_for_again(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(runs / "gpt-1", tmp_path / "gpt-1")
    run = directory.find(tmp_path, "gpt-1")
    load = store.load

    def slow(path: Path, *, state: bool = True) -> store.Checkpoint:
        if path.name == "step-7":
            shutil.rmtree(path)  # which the run itself did, in thinning
        return load(path, state=state)

    monkeypatch.setattr(store, "load", slow)
    assert steps.nearest(run, 7).step == 6
    with pytest.raises(SettingsError, match="no checkpoint of step 7; there are 0, 1"):
        steps.at(run, 7)


def test_a_run_that_kept_none_says_so(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "gpt-1", tmp_path / "gpt-1", ignore=shutil.ignore_patterns("history", "checkpoints"))
    run = directory.find(tmp_path, "gpt-1")
    with pytest.raises(SettingsError, match="gpt-1 has no checkpoint at or before step 7; it has none"):
        steps.nearest(run, 7)
    assert list(steps.steps(directory.find(runs, "gpt-1"))) == sorted({*kept(STEPS, 32), 15, 30, 40})
    assert steps.at_step("gpt-1") is None


def test_the_list_says_what_a_run_takes_on_the_disk(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.run(["runs", "--json", "--runs-dir", str(runs)]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    taken = sum(path.stat().st_size for path in (runs / "gpt-1").rglob("*") if path.is_file())
    assert taken <= line["disk"] < taken + 4096 * 200
    assert cli.run(["runs", "--runs-dir", str(runs)]) == 0
    assert re.search(r"gpt-1 +finished.* [\d.]+ [kM]B  val_", capsys.readouterr().out)


def test_of_many_runs_only_the_number_is_told_where_a_name_is_not_found(tmp_path: Path) -> None:
    for number in range(8):
        directory.create(tmp_path, "gpt", {}, name=f"mine-{number}")
        with pytest.raises(SettingsError) as found:
            origin.find("zzzz", tmp_path, "gpt")
        assert ("mine-0" in str(found.value)) == (number < 6)
    assert str(found.value).endswith("known are gpt-reference, gpt-induction and 8 runs, which dlplay runs lists")
