"""A run that branches off another: what it takes along, what is refused in words, and that it is whole or not there."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from dlplay import architectures, cli
from dlplay.checkpoints import store
from dlplay.checkpoints.history import kept
from dlplay.checkpoints.store import STATE
from dlplay.engine.events import Applied, Finished, Started
from dlplay.engine.settings import make, to_dict
from dlplay.runs import directory, process
from dlplay.runs.branch import branch
from dlplay.runs.console import PlainLines
from dlplay.runs.directory import RunDirectory
from dlplay.runs.history import History
from dlplay.runs.journal import JournalReader, history
from dlplay.runs.listing import families, print_runs
from dlplay.runs.summary import Summary
from tests.conftest import Small
from tests.runs import Following, curves, same, weights
from tests.test_checkpoints import die_at

pytestmark = pytest.mark.usefixtures("as_before")
CARD = architectures.card("convnet")


def train(run: RunDirectory, **overrides: object) -> None:
    assert process.run(run, lambda: PlainLines(CARD), overrides=overrides) == process.FINISHED


@pytest.fixture(scope="module")
def trained(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `convnet-1`, of 40 steps and then 20 more."""
    folder = tmp_path_factory.mktemp("trained")
    values = small("convnet") | {"steps": 40, "save_every": 25, "eval_every": 20, "device": "cpu"}
    run = directory.create(folder, "convnet", to_dict(make(CARD.settings, values)))
    train(run)
    train(run, steps=60)
    return folder


@pytest.fixture
def parent(trained: Path, tmp_path: Path) -> RunDirectory:
    shutil.copytree(trained / "convnet-1", tmp_path / "convnet-1")
    return directory.find(tmp_path, "convnet-1")


def test_it_has_its_parents_curves_and_checkpoints_up_to_there_and_its_own_settings(parent: RunDirectory, tmp_path: Path) -> None:
    child = branch(tmp_path, parent, 45, {"lr": 0.001, "steps": 70}, {})
    assert (child.name, child.spec.parent, child.spec.parent_step, child.spec.origin) == ("convnet-2", "convnet-1", 45, "convnet-1@45")
    assert child.history.steps() == [step for step in parent.history.steps() if step <= 45]
    assert child.store.steps() == [45]
    before = curves(parent)
    assert curves(child) == {name: {step: value for step, value in curve.items() if step <= 45} for name, curve in before.items()}
    events = JournalReader(child.journal_path).read()
    assert [event.seq for event in events] == list(range(len(events)))
    assert not any(isinstance(event, Finished) for event in events)
    summary = directory.summary(child)
    assert (summary.state, summary.step, summary.parent, summary.parent_step) == ("interrupted", 45, "convnet-1", 45)

    train(child)  # no setting is named again: they are the run's own
    assert weights(child)[0] == 70
    assert not same(weights(child)[1], weights(parent)[1])
    assert child.history.steps() == sorted(kept(70, 32))
    history = History(CARD.metric, CARD.better)
    history.add(JournalReader(child.journal_path).read())
    assert [mark for mark in history.marks if mark[0] == 45] == [(45, "lr 0.001"), (45, "steps 70")]
    assert list(history.training["train_loss"].x) == list(range(1, 71))
    shutil.rmtree(parent.path)  # what was linked is the child's own
    for step in child.history.steps():
        assert store.load(child.history.directory / f"step-{step}").step == step


def test_a_branch_of_a_branch_and_one_of_the_last_step(parent: RunDirectory, tmp_path: Path) -> None:
    child = branch(tmp_path, parent, 60, {"steps": 65}, {}, "later")
    train(child)
    grandchild = branch(tmp_path, child, 62, {"steps": 63}, {})
    assert grandchild.spec.parent_step == 60
    train(grandchild)
    assert [event.step for event in Following(grandchild).of(Started)] == [0, 40, 60, 60]
    assert families(directory.listing(tmp_path)) == [
        (name, directory.summary(directory.find(tmp_path, run)))
        for name, run in [("convnet-1", "convnet-1"), ("└ later from step 60", "later"), ("  └ convnet-2 from step 60", "convnet-2")]
    ]


def test_a_change_made_in_mid_run_is_the_branchs_as_well(parent: RunDirectory, tmp_path: Path) -> None:
    with parent.journal_path.open("ab") as file:
        file.write(json.dumps({"type": "applied", "seq": 10**6, "step": 30, "what": "lr", "value": 0.5, "before": 0.1}).encode() + b"\n")
    assert [event.step for event in Following(branch(tmp_path, parent, 38, {}, {})).of(Applied)] == [30]
    assert Following(branch(tmp_path, parent, 27, {}, {})).of(Applied) == []


def test_without_a_training_state_there_it_goes_back_or_says_where_one_is(
    parent: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in parent.history.steps():
        if step not in (8, 16):
            parent.history._drop_state(step)
    assert branch(tmp_path, parent, 38, {}, {}, "back").spec.parent_step == 16
    assert cli.run(["branch", "convnet-1", "--at", "7", "--headless", "--runs-dir", str(tmp_path)]) == cli.USAGE
    words = "convnet-1 has no checkpoint with its training state at or before step 7; there are 8, 16, 40, 50, 60"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "words"), [
    (["--at", "20", "--batch", "8"], "batch cannot change in a run; start a new one with it"),
    (["--at", "20", "--lrr", "8"], "there is no setting 'lrr'; did you mean lr?"),
    (["--at", "20", "--lr", "-1"], "--lr -1 is out of bounds"),
    (["--at", "20", "--set", "lr"], "is not a name, = and a value"),
    (["--at", "20", "--steps", "5"], "--steps 5: convnet-1 branches off at step 19; give more than that"),
    (["--at", "60"], "--steps 60: convnet-1 branches off at step 60; give more than that"),
    (["--at", "20", "--name", "convnet-1"], "there is a run 'convnet-1' already"),
    (["--at", "20", "--name", "../x"], "cannot be a run's name"),
    (["--at", "-1"], "has no checkpoint with its training state at or before step -1"),
    (["--at", "x"], "at"),
    ([], "--at"),
])  # fmt: skip
def test_what_cannot_be_is_told_in_a_line_and_leaves_nothing(
    typed: list[str], words: str, parent: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["branch", "convnet-1", *typed, "--headless", "--runs-dir", str(tmp_path)]) == cli.USAGE
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["convnet-1"]


def test_one_whose_process_could_not_start_is_gone(parent: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["branch", "convnet-1", "--at", "20", "--headless", "--device", "cuda:77", "--runs-dir", str(tmp_path)]
    assert cli.run(typed) == cli.USAGE
    assert "cuda:77" in capsys.readouterr().err
    assert directory.names(tmp_path) == ["convnet-1"]


def test_a_family_whose_files_say_nonsense_is_listed_all_the_same() -> None:
    def one(name: str, parent: str) -> Summary:
        return Summary(name, "gpt", "finished", 1, 1, {}, None, 0.0, parent=parent, parent_step=3)

    runs = [one("a", "b"), one("b", "a"), one("c", "c"), one("d", "gone"), one("e", "d")]
    assert sorted(item.name for _, item in families(runs)) == ["a", "b", "c", "d", "e"]
    assert [name for name, item in families(runs) if item.name in "de"] == ["d", "└ e from step 3"]


def relative(name: str, parent: str = "", modified: float = 0.0, group: str = "") -> Summary:
    return Summary(name, "gpt", "finished", 9, 9, {}, None, modified, parent=parent, parent_step=3, group=group)


def test_a_family_is_drawn_as_a_tree_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [relative("old", "", 1), relative("other", "", 2), relative("a", "old", 3), relative("b", "old", 4), relative("c", "b", 5)]
    runs += [relative("d", "b", 6)]
    assert [name for name, _ in families(runs)] == [
        "old",
        "├ b from step 3",
        "│ ├ d from step 3",
        "│ └ c from step 3",
        "└ a from step 3",
        "other",
    ]
    print_runs(runs, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:18].rstrip() for line in lines[1:4]] == ["old", "├ b from step 3", "│ ├ d from step 3"]
    assert len({line.index("finished") for line in lines[1:]}) == 1


def test_a_branch_of_a_member_stands_below_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [relative("g-s0", group="g"), relative("g-s1", group="g"), relative("b", "g-s1", 1)]
    print_runs(runs, as_json=False)
    assert "└ b from g-s1, step 3" in capsys.readouterr().out.splitlines()[2]


def test_a_family_of_thousands_is_drawn() -> None:
    runs = [relative(f"r{number}", f"r{number - 1}", -number) for number in range(3000)]
    assert [item.name for _, item in families(runs)] == [f"r{number}" for number in range(3000)]


def test_killed_at_any_time_there_is_no_branch_or_a_whole_one(parent: RunDirectory, tmp_path: Path) -> None:
    calls = [*random.Random(0).sample(range(1, 90), 29), 10**6]
    whole = 0
    for call in calls:
        child = os.fork()
        if child == 0:
            die_at(call)
            branch(tmp_path, parent, 38, {}, {}, "it")
            os._exit(0)
        os.waitpid(child, 0)
        found = directory.names(tmp_path)
        assert found in (["convnet-1"], ["convnet-1", "it"])
        if len(found) == 2:
            whole += 1
            run = directory.find(tmp_path, "it")
            checkpoint, problems = run.store.newest()
            assert checkpoint is not None
            assert (checkpoint.step, problems) == (38, [])
            assert curves(run)["train_loss"].keys() == set(range(1, 39))
            assert run.history.steps() == sorted(kept(38, 32))
            assert all((run.history.directory / f"step-{step}" / STATE).is_file() for step in run.history.steps())
            if call == calls[-1]:
                train(run)
                assert same(weights(run)[1], store.load(parent.store.directory / "step-40").weights)
            directory.remove(run)
        directory.clean(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["convnet-1"]
    assert 1 <= whole <= len(calls) - 10


def test_a_damaged_checkpoint_is_not_branched_from(parent: RunDirectory, tmp_path: Path) -> None:
    path = parent.history.directory / "step-19" / STATE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(store.CheckpointError, match="step-19"):
        branch(tmp_path, parent, 20, {}, {})
    assert directory.names(tmp_path) == ["convnet-1"]
    assert np.array_equal(branch(tmp_path, parent, 16, {}, {}).store.steps(), [16])


def test_damage_within_the_parent_s_journal_does_not_end_the_branch_s(
    parent: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlplay.runs.branch.PART", 1)
    whole = history(branch(tmp_path, parent, 40, {"steps": 99}, {}, "whole").journal_path)
    first, *others = parent.journal_path.read_bytes().splitlines(keepends=True)
    parent.journal_path.write_bytes(first + (b"x" * 999 + b"\n") * 1000 + b"".join(others))
    assert history(branch(tmp_path, parent, 40, {"steps": 99}, {}, "damaged").journal_path) == whole
