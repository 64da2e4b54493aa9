"""A run's directory: named, made at once and whole, found, listed from its journal's end, and removed only when nobody holds it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dlplay import cli
from dlplay.engine.events import Applied, Evaluated, Failed, Finished, Paused, Resumed, Started, Stepped
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory, RunNameError, SpecError
from dlplay.runs.journal import Journal
from dlplay.runs.listing import print_runs
from dlplay.runs.lock import Held, RunLock

ROOT = Path(__file__).parents[1]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "data" / "runs"


def started(step: int = 0, steps: int = 100) -> Started:
    return Started(
        step=step, architecture="gpt", name="", settings={"steps": steps}, device="cpu", device_name="", threads=1, parameters=1, data=""
    )


def test_a_new_run_is_named_after_its_architecture_and_knows_what_it_was_started_with(runs: Path) -> None:
    first = directory.create(runs, "gpt", {"steps": 100, "lr": 1e-3}, "gpt-reference")
    second = directory.create(runs, "gpt", {})
    assert (first.name, second.name, directory.create(runs, "convnet", {}).name) == ("gpt-1", "gpt-2", "convnet-1")
    spec = RunDirectory(first.path).spec
    assert (spec.architecture, spec.settings, spec.origin) == ("gpt", {"steps": 100, "lr": 1e-3}, "gpt-reference")
    assert spec.created > 1e9
    assert {stat.S_IMODE(path.stat().st_mode) for path in (runs, first.path)} == {0o700}
    first.store.save(3, {"w": np.ones(1)}, {}, {})
    assert first.store.names() == ["step-3"]


def test_the_folder_is_ours_alone_whatever_the_umask(runs: Path) -> None:
    create = "directory.create(Path(sys.argv[1]), 'gpt', {})"
    script = f"import os, sys; from pathlib import Path; os.umask(0); from dlplay.runs import directory; {create}"
    subprocess.run([sys.executable, "-c", script, str(runs)], cwd=ROOT, check=True)
    assert stat.S_IMODE((runs / "gpt-1").stat().st_mode) == 0o700
    assert stat.S_IMODE((runs / "gpt-1" / "run.json").stat().st_mode) == 0o600


def test_a_new_name_is_no_flag_and_an_old_one_stays_known(runs: Path) -> None:
    with pytest.raises(RunNameError, match="'-rf' cannot be a new run's name; it would be read as a flag"):
        directory.create(runs, "gpt", {}, name="-rf")
    directory.create(runs, "gpt", {}).path.rename(runs / "-rf")
    assert directory.names(runs) == ["-rf"]
    assert directory.find(runs, "-rf").name == "-rf"


def test_a_given_name_is_taken_and_a_taken_one_refused(runs: Path) -> None:
    assert directory.create(runs, "gpt", {}, name="my.run_1-a").name == "my.run_1-a"
    with pytest.raises(
        RunNameError, match=r"there is a run 'my\.run_1-a' already; choose another name, or remove it: dlplay rm my\.run_1-a"
    ):
        directory.create(runs, "gpt", {}, name="my.run_1-a")
    with pytest.raises(RunNameError, match="gpt-reference is a model that comes with dlplay; choose another name"):
        directory.create(runs, "gpt", {}, name="gpt-reference")
    assert [path.name for path in runs.iterdir()] == ["my.run_1-a"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "", ".hidden", "..", "Gpt", "a b", "a\0b", "a\n", "x" * 65, "é", "\x1b[2J"])
def test_names_that_lead_elsewhere_are_refused(runs: Path, name: str) -> None:
    directory.create(runs, "gpt", {})
    for act in (directory.find, lambda runs, name: directory.create(runs, "gpt", {}, name=name)):
        with pytest.raises(RunNameError, match=r"cannot be a run's name; use 1 to 64 of a-z 0-9 \. _ - without a leading dot"):
            act(runs, name)
    assert sorted(path.name for path in runs.parent.rglob("*")) == ["gpt-1", "run.json", "runs"]


def test_a_run_never_takes_the_name_of_a_group(runs: Path) -> None:
    member = directory.create(runs, "gpt", {}, name="wide-s0", group="wide")
    other = directory.create(runs, "gpt", {}, name="other")
    with pytest.raises(RunNameError, match="there is a group 'wide' already"):
        directory.create(runs, "gpt", {}, name="wide")
    for run in (member, other):
        with pytest.raises(RunNameError, match="there is a group 'wide' already"):
            directory.rename(run, "wide")
    assert directory.find_all(runs, "wide")[0].name == "wide-s0"


def test_a_family_holds_when_a_run_gets_another_name(runs: Path) -> None:
    first = directory.create(runs, "gpt", {}, name="first")
    branch = directory.create(runs, "gpt", {"lr": 1}, "first@5", name="branch", parent="first", parent_step=5)
    stranger = directory.create(runs, "gpt", {}, name="stranger", parent="other", parent_step=5)
    before = branch.spec
    directory.rename(first, "renamed")
    assert branch.spec == msgspec.structs.replace(before, parent="renamed")
    assert stranger.spec.parent == "other"


def test_many_at_once_get_different_names(runs: Path) -> None:
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(directory.create(runs, "gpt", {}).name)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == sorted(f"gpt-{n}" for n in range(1, 17))
    assert directory.names(runs) == [f"gpt-{n}" for n in range(1, 17)]


def test_a_run_is_found_and_one_that_is_not_there_is_told_with_the_nearest(runs: Path) -> None:
    with pytest.raises(RunNameError, match="there is no run 'gpt-1' in .*; there are none yet"):
        directory.find(runs, "gpt-1")
    directory.create(runs, "gpt", {})
    assert directory.find(runs, "gpt-1").spec.architecture == "gpt"
    with pytest.raises(RunNameError, match=r"did you mean gpt-1\?"):
        directory.find(runs, "gtp-1")
    with pytest.raises(RunNameError, match="there are gpt-1"):
        directory.find(runs, "zzzzzz")
    (runs / "linked").symlink_to(runs / "gpt-1")
    with pytest.raises(RunNameError, match="is a link, and links are not followed"):
        directory.find(runs, "linked")
    assert directory.names(runs) == ["gpt-1"]


DAMAGED = {
    "empty": b"",
    "a list": b"[]",
    "wrong types": b'{"architecture": 3}',
    "nested": b"[" * 100_000,
    "too large": b"x" * (2 << 20),
    "a later format": b'{"architecture":"gpt","settings":{},"format":2}',
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_description_is_told_and_listed(runs: Path, damage: str) -> None:
    run = directory.create(runs, "gpt", {})
    (run.path / "run.json").write_bytes(DAMAGED[damage])
    with pytest.raises(SpecError, match=r"run\.json"):
        _ = run.spec
    (summary,) = directory.listing(runs)
    assert summary.name == "gpt-1"
    assert "run.json" in summary.problem


def test_the_override_is_used_and_else_the_platform_s_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert directory.default_runs_dir(tmp_path / "x") == tmp_path / "x"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert directory.default_runs_dir("~/here") == tmp_path / "here"
    default = directory.default_runs_dir()
    assert default.is_relative_to(tmp_path)
    assert default.parts[-2:] == ("dlplay", "runs")


# --- the list ----------------------------------------------------------------------------------------------------------------------------

FINISHED = {"metrics": {"val_loss": 2.0}, "baselines": {}, "steps_per_second": 1.0, "seconds": 1.0}
STEPS = [started(), Stepped(step=40, first=1, metrics={}, seconds=1.0), Evaluated(step=40, metrics={"val_loss": 3.0})]


@pytest.mark.parametrize(("more", "held", "state", "step", "metrics"), [
    ([], False, "interrupted", 40, {"val_loss": 3.0}),
    ([], True, "training", 40, {"val_loss": 3.0}),
    ([Paused(step=41)], True, "paused", 41, {"val_loss": 3.0}),
    ([Paused(step=41)], False, "interrupted", 41, {"val_loss": 3.0}),
    ([Paused(step=41), Resumed(step=41)], True, "training", 41, {"val_loss": 3.0}),
    ([Failed(step=41, what="NaN loss")], False, "failed", 41, {"val_loss": 3.0}),
    ([Finished(step=100, reason="steps", **FINISHED)], False, "finished", 100, {"val_loss": 2.0}),
    ([Finished(step=60, reason="stopped", **FINISHED)], False, "stopped", 60, {"val_loss": 2.0}),
    ([Finished(step=100, reason="steps", **FINISHED), started(100)], True, "training", 100, {"val_loss": 2.0}),
    ([started(20)], True, "training", 20, {}),
])  # fmt: skip
def test_a_run_is_listed_with_its_state_and_last_evaluation(runs, more, held, state, step, metrics) -> None:  # type: ignore[no-untyped-def]
    run = directory.create(runs, "gpt", {"steps": 100})
    with RunLock(run.lock_path) as lock:
        with Journal(run.journal_path) as journal:
            for event in [*STEPS, *more]:
                journal.append(event)
        if not held:
            lock.release()
        (summary,) = directory.listing(runs)
    assert (summary.name, summary.architecture, summary.state, summary.step, summary.steps) == ("gpt-1", "gpt", state, step, 100)
    assert summary.metrics == metrics
    assert summary.held_by == (os.getpid() if held else None)
    assert summary.modified > 1e9


def test_a_run_that_has_written_nothing_is_listed(runs: Path) -> None:
    directory.create(runs, "gpt", {"steps": 7})
    (summary,) = directory.listing(runs)
    assert (summary.state, summary.step, summary.steps, summary.metrics) == ("interrupted", 0, 7, {})


def test_a_long_journal_is_read_from_its_end_only(runs: Path) -> None:
    run = directory.create(runs, "gpt", {"steps": 10**6})
    with Journal(run.journal_path) as journal:
        journal.append(started())
        journal.append(Applied(step=0, what="steps", value=5))
    with run.journal_path.open("r+b") as file:
        file.truncate(1 << 40)  # a sparse TiB in between would take minutes to read
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
    with run.journal_path.open("ab") as file:
        file.write(b'{"type":"evaluated","seq":5,"step":9,"time":1.0,"metrics":{"val_loss":1.0}}\n')
        file.write(
            b'{"type":"stepped","seq":6,"step":10,"time":1.0,"first":10,"seconds":1.0,"metrics":{"loss":[' + b"1.0," * 9999 + b"1.0]}}\n"
        )
    (summary,) = directory.listing(runs)
    assert (summary.step, summary.metrics) == (10, {"val_loss": 1.0})


def test_a_change_of_the_number_of_steps_shows_in_the_list(runs: Path) -> None:
    run = directory.create(runs, "gpt", {"steps": 100})
    with Journal(run.journal_path) as journal:
        journal.append(started(steps=100))
        journal.append(Applied(step=5, what="steps", value=500, before=100))
    assert directory.listing(runs)[0].steps == 500


# --- the end -----------------------------------------------------------------------------------------------------------------------------


def test_a_held_run_is_not_removed_and_a_free_one_goes_whole(runs: Path) -> None:
    run = directory.create(runs, "gpt", {})
    run.store.save(3, {"w": np.ones(1)}, {}, {})
    with RunLock(run.lock_path), pytest.raises(Held, match="is held by process"):
        directory.remove(run)
    assert run.store.names() == ["step-3"]
    directory.remove(run)
    assert list(runs.iterdir()) == []


def test_removing_a_run_follows_no_link_out_of_it(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    run = directory.create(runs, "gpt", {})
    (run.path / "out").symlink_to(tmp_path / "precious")
    directory.remove(run)
    assert (tmp_path / "precious" / "file").exists()


def test_hidden_folders_go_when_their_maker_is_gone_and_nobody_holds_them(runs: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    mine = directory.explore_path(runs)
    held = directory.explore_path(runs, gone.pid) / "gpt"
    stale = [runs / f".new-{gone.pid}-abc", runs / f".gone-{gone.pid}-gpt-1"]
    for folder in (mine, held, *stale, runs / ".notes"):
        folder.mkdir(parents=True)
    with RunLock(held / "lock"):
        directory.clean(runs)
        assert {path.name for path in runs.iterdir()} == {mine.name, held.parent.name, ".notes"}
    directory.clean(runs)
    assert {path.name for path in runs.iterdir()} == {mine.name, ".notes"}
    assert directory.listing(runs) == []
    directory.clean(runs / "none")


def test_a_list_of_runs_needs_neither_numpy_nor_torch(runs: Path) -> None:
    directory.create(runs, "gpt", {})
    script = (
        "import sys; from pathlib import Path; from dlplay.runs import directory; "
        "assert [run.name for run in directory.listing(Path(sys.argv[1]))] == ['gpt-1']; "
        "print({'numpy', 'torch', 'textual'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(runs)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


UNSAFE = "\x1b]52;c;aGk=\x07\x9b31m\u202e\x08\r"


@pytest.mark.parametrize("as_json", [False, True])
def test_no_escape_sequence_of_a_run_reaches_the_terminal(as_json: bool, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = directory.create(runs, "gpt", {})
    with Journal(run.journal_path) as journal:
        journal.append(started())
        journal.append(Evaluated(step=3, metrics={"loss" + UNSAFE: 1.0}))
        journal.append(Failed(step=3, what="broken" + UNSAFE, why="", remedy=""))
    print_runs(directory.listing(runs), as_json)
    printed = capsys.readouterr().out
    assert not set("\x1b\x07\x9b\u202e\x08\r") & set(printed)
    assert "loss\\u001b" in printed
    if as_json:
        assert json.loads(printed)["problem"] == "broken" + UNSAFE


def test_no_escape_sequence_of_an_error_reaches_the_terminal(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["gpt", "--headless", "--runs-dir", str(runs), "--from", "x" + UNSAFE]) == 2
    printed = capsys.readouterr().err
    assert "x\\u001b" in printed
    assert not set("\x1b\x07\x9b\u202e\x08\r") & set(printed)
