"""A run that is told to end, held by one process, taken up again, or given other data."""

import asyncio
import itertools
import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from dlplay import architectures, cli
from dlplay.checkpoints import CheckpointError, store
from dlplay.commands import runs
from dlplay.engine.errors import DataError
from dlplay.engine.events import Failed, Finished, Saved, Started, Warned
from dlplay.engine.settings import SettingsError, make, to_dict
from dlplay.runs import directory, process
from dlplay.runs.console import PlainLines
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import JournalReader
from dlplay.runs.lock import holder
from tests.conftest import Command, Dlplay, Small, wait_until
from tests.runs import Following, attached, begin, curves, resume, weights

FIRST = next(iter(architectures.cards()))
"""The architecture of the first tab."""


@pytest.fixture
def living(dlplay: Dlplay, small: Small, tmp_path: Path) -> tuple[RunDirectory, Command]:
    """A run of the first architecture that has trained a while and would go on for long."""
    run = RunDirectory(tmp_path / "runs" / "living")
    command = begin(dlplay, FIRST, run, small(FIRST) | {"steps": 10**6})
    following = Following(run)
    following.wait_for(25, command)
    return run, command


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_told_to_end_saves_first(number: int, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    command.send(signal.SIGHUP)  # a closed terminal is no reason to stop
    command.send(number)
    assert command.wait(5.0).status == 130
    finished = Following(run).of(Finished)[-1]
    assert finished.reason == "interrupted"
    assert weights(run)[0] == finished.step > 0
    assert not run.socket_path.exists()


def test_a_living_run_has_one_writer_and_a_killed_one_none(dlplay: Dlplay, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    size = len(Following(run).of(Started))
    second = resume(dlplay, run).wait()
    assert second.status == 3
    assert str(command.pid) in second.err
    assert f"dlplay stop {run.name}" in second.err
    assert len(second.err.splitlines()) == 1
    removed = dlplay("rm", run.name, "--runs-dir", str(run.path.parent))
    assert removed.status == 3
    assert command.running
    assert len(Following(run).of(Started)) == size
    command.kill()
    assert holder(run.lock_path) is None
    third = resume(dlplay, run, "--paused")
    wait_until(lambda: len(Following(run).of(Started)) == size + 1, "the third has it")
    stopped = dlplay("stop", run.name, "--runs-dir", str(run.path.parent))
    assert (stopped.status, third.wait().status) == (0, 0)
    assert stopped.out.startswith("stopped run living at step ")
    again = dlplay("stop", run.name, "--runs-dir", str(run.path.parent))
    assert (again.status, again.out) == (0, "run living is not running\n")


def test_resumed_with_other_threads_it_goes_on_and_says_so(dlplay: Dlplay, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    command.kill()
    at = weights(run)[0]
    assert resume(dlplay, run, "--threads", "2", "--steps", str(at + 3)).wait().status == 0
    following = Following(run)
    assert [event.what for event in following.of(Warned)] == ["resumed with threads 2 instead of 1"]
    assert following.of(Finished)[-1].step == at + 3


async def test_a_run_that_is_stopped_ends_though_someone_looks_on(dlplay: Dlplay, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    client = await attached(run)
    stopped = await asyncio.to_thread(dlplay, "stop", run.name, "--runs-dir", str(run.path.parent))
    assert stopped.out.startswith("stopped run living at step ")
    assert (await asyncio.to_thread(command.wait, 10.0)).status == 0
    assert Following(run).of(Finished)[-1].reason == "stopped"
    client.close()


def test_a_run_taken_up_after_its_end_trains_on(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    name, settings = FIRST, small(FIRST)
    run = RunDirectory(tmp_path / "runs" / "longer")
    assert begin(dlplay, name, run, settings | {"steps": 20}).wait().status == 0
    assert resume(dlplay, run).wait().status == 0
    assert resume(dlplay, run, "--steps", "30").wait().status == 0
    following = Following(run)
    assert [event.step for event in following.of(Finished)] == [20, 20, 30]
    assert [event.step for event in following.of(Saved)] == [0, 20, 30]
    assert [*curves(run)["train_loss"]] == [*range(1, 31)]


def test_a_run_goes_on_with_no_other_data(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("so on and so on, and no more of it. " * 100)
    run = RunDirectory(tmp_path / "runs" / "own")
    assert begin(dlplay, "gpt", run, small("gpt") | {"text": str(text), "steps": 3}).wait().status == 0
    text.write_text("so on and so on, and no more of that. " * 100)
    refused = resume(dlplay, run, "--steps", "6").wait()
    assert refused.status != 0
    assert refused.err.count("\n") == 1, "one line"
    assert "no longer those that this run began with: they are now own.txt" in refused.err
    text.write_text("so on and so on, and no more of it. " * 100)
    assert resume(dlplay, run, "--steps", "6").wait().status == 0
    assert [*curves(run)["train_loss"]] == [*range(1, 7)]


def test_what_could_not_be_saved_is_not_begun(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "DATA_LIMIT", 1000)
    settings = make(architectures.card("convnet").settings, small("convnet"))
    run = directory.create(tmp_path, "convnet", to_dict(settings))
    with pytest.raises(SettingsError, match="can be asked here but not trained"):
        process.run(run, lambda: PlainLines(architectures.card("convnet")))
    assert not run.journal_path.exists()


def forge(path: Path, meta: dict[str, Any]) -> None:
    """Another `meta.json` under a correct checksum."""
    files = {name: (path / name).read_bytes() for name in (store.WEIGHTS, store.STATE)}
    (path / store.META).write_bytes(store.encode_meta(store.read_record(path).step, files, meta))


def places(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where there are values in a tree of JSON, from the top."""
    found = [(*path, key) for key in node] if isinstance(node, dict) else []
    return found + [deeper for place in found for deeper in places(node[place[-1]], place)]


@pytest.mark.parametrize(
    "name", [name if name == "convnet" else pytest.param(name, marks=pytest.mark.slow) for name in architectures.cards()]
)
def test_no_value_of_a_checkpoint_ends_in_a_traceback(name: str, small: Small, tmp_path: Path) -> None:
    card = architectures.card(name)
    settings = to_dict(make(card.settings, small(name) | {"steps": 2, "save_every": 2, "eval_every": 2, "device": "cpu"}))
    run = directory.create(tmp_path, name, settings)
    assert process.run(run, lambda: PlainLines(card)) == process.FINISHED
    path = run.path / "checkpoints" / "step-2"
    meta = store.read_record(path).meta
    untyped: dict[str, str] = {}
    refused = 0
    changes = [*itertools.product(places(meta), (None, [], {}, "x", -1, 10**30, 10**5, 0.5))]
    for place, value in changes if name == "convnet" else random.Random(0).sample(changes, 250):
        mutant = json.loads(json.dumps(meta))
        node = mutant
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value
        forge(path, mutant)
        try:
            process.prepare(card, run, store.load(path), {}, {})
        except (CheckpointError, SettingsError, DataError):
            refused += 1
        except Exception as error:
            untyped["/".join(place) + f" = {value}"] = repr(error)
    assert untyped == {}
    assert refused > 50


def test_a_run_of_no_known_architecture_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = directory.create(tmp_path, "convnet", {})
    (run.path / "run.json").write_text(json.dumps({"architecture": "nonesuch", "settings": {}}))
    monkeypatch.setattr(runs, "open_screen", lambda **_: pytest.fail("the screen has no such tab"))
    for command in (["attach"], ["resume"], ["resume", "--headless"]):
        assert cli.run([command[0], run.name, *command[1:], "--runs-dir", str(tmp_path)]) == cli.USAGE
        assert "there is no architecture 'nonesuch'" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["renamed", "deleted", "replaced"])
def test_a_run_whose_folder_went_away_fails_in_words(change: str, dlplay: Dlplay, living: tuple[RunDirectory, Command]) -> None:
    run, command = living
    moved = RunDirectory(run.path.with_name("moved"))
    steps = run.store.names()
    if change == "replaced":
        copy = shutil.copytree(run.path, run.path.with_name("copy"), ignore=shutil.ignore_patterns("socket", "checkpoints", "history"))
    run.path.rename(moved.path)
    if change == "deleted":
        shutil.rmtree(moved.path)
    if change == "replaced":
        copy.rename(run.path)
    ended = command.wait()
    assert ended.status == process.FAILED
    assert "the run's folder was renamed or deleted" in ended.err
    assert "Traceback" not in ended.err
    assert run.store.names() == []
    assert run.path.exists() == (change == "replaced")
    if change != "deleted":
        assert steps
        assert moved.store.names() != []
        assert isinstance(JournalReader(moved.journal_path).read()[-1], Failed)
