"""Many seeds of one setting: each member is the run that its seed gives alone, and nothing is lost when the command is killed."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from dlplay import cli
from dlplay.engine.settings import MAX_SEEDS, SettingsError, parse_seeds
from dlplay.experiments import pool, seeds
from dlplay.runs import directory, launch
from dlplay.runs.lock import RunLock
from tests.conftest import Small, flags
from tests.test_launch import ROOT, wait_until
from tests.test_launcher import digests


@pytest.mark.parametrize(
    ("text", "found"), [("", ()), ("4", (4,)), ("0..3", (0, 1, 2, 3)), ("1, 5..6 ,9", (1, 5, 6, 9)), ("4294967295", (2**32 - 1,))]
)
def test_seeds_are_ranges_and_numbers(text: str, found: tuple[int, ...]) -> None:
    assert parse_seeds(text) == found


@pytest.mark.parametrize(
    "text", ["3..1", "a", "1..", "..2", "1,,2", "-1", "4294967296", "0..99999999999", f"0..{MAX_SEEDS}", "0..200,300..400", "1,1", "0..3,2"]
)
def test_a_wrong_list_of_seeds_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match="--seeds"):
        parse_seeds(text)


def test_too_many_seeds_are_counted() -> None:
    with pytest.raises(SettingsError, match=f"--seeds 0..999999 are 1,000,000 seeds; give at most {MAX_SEEDS}"):
        parse_seeds("0..999999")


@pytest.fixture
def words(small: Small) -> list[str]:
    return ["convnet", "--headless", *flags(small("convnet") | {"steps": 12, "eval_every": 6})]


def test_each_member_is_the_run_that_its_seed_gives_alone(tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    where = ["--runs-dir", str(tmp_path)]
    assert cli.run([*words, "--seeds", "0..2", "--jobs", "2", "--name", "wide", "--json", *where]) == 0
    *members, group = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sorted(item["name"] for item in members) == group["runs"] == ["wide-s0", "wide-s1", "wide-s2"]
    assert {item["group"] for item in members} == {"wide"}
    assert group["unfinished"] == []
    losses = [item["metrics"]["test_loss"] for item in members]
    assert len(set(losses)) == 3
    assert group["metrics"]["test_loss"]["median"] == statistics.median(losses)
    assert (group["metrics"]["test_loss"]["least"], group["metrics"]["test_loss"]["most"]) == (min(losses), max(losses))

    assert cli.run([*words, "--seed", "1", "--name", "alone", *where]) == 0
    alone, member = directory.find(tmp_path, "alone"), directory.find(tmp_path, "wide-s1")
    assert digests(alone) == digests(member)
    assert member.spec.settings == alone.spec.settings
    capfd.readouterr()

    assert cli.run(["runs", *where]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["alone", "wide"]
    assert "3 runs, median" in listed[2]
    assert cli.run(["runs", "--members", *where]) == 0
    assert sum("wide-s" in line for line in capfd.readouterr().out.splitlines()) == 3

    assert cli.run([*words, "--seeds", "5", "--name", "wide", *where]) == 2
    assert "there is a run or a group 'wide' already" in capfd.readouterr().err
    assert cli.run(["resume", "wide", *where]) == 2
    assert "resume it with --headless" in capfd.readouterr().err
    assert cli.run(["resume", "wide", "--headless", "--steps", "18", "--json", *where]) == 0
    assert [json.loads(line)["step"] for line in capfd.readouterr().out.splitlines()[:3]] == [18, 18, 18]
    assert cli.run(["rm", "wide", *where]) == 0
    assert directory.names(tmp_path) == ["alone"]


def test_one_seed_and_many_contradict_each_other(tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*words, "--seed", "3", "--seeds", "0..1", "--runs-dir", str(tmp_path)]) == 2
    assert "--seed is for one run, and --seeds are several" in capfd.readouterr().err
    assert directory.names(tmp_path) == []


def test_all_members_are_made_or_none(tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    directory.create(tmp_path, "convnet", {}, name="wide-s2")
    assert cli.run([*words, "--seeds", "0..3", "--name", "wide", "--runs-dir", str(tmp_path)]) == 2
    assert "wide-s2" in capfd.readouterr().err
    assert directory.names(tmp_path) == ["wide-s2"]
    directory.create(tmp_path, "convnet", {}, name="low-s1-s0", group="low-s1")
    assert cli.run([*words, "--seeds", "0..3", "--name", "low", "--runs-dir", str(tmp_path)]) == 2
    assert "there is a group 'low-s1' already" in capfd.readouterr().err
    assert directory.names(tmp_path) == ["low-s1-s0", "wide-s2"]


def test_a_member_that_fails_does_not_stop_the_others(tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    where = ["--runs-dir", str(tmp_path)]
    assert cli.run([*words, "--seeds", "0..2", "--jobs", "1", "--lr", "10", "--optimizer", "sgd", "--until", "nothing<=1", *where]) == 2
    assert directory.names(tmp_path) == []
    capfd.readouterr()
    group = seeds.create(tmp_path, *_convnet(words), "wide", "")
    (group[1].path / "checkpoints").mkdir()
    (group[1].path / "checkpoints" / "step-6").mkdir()  # damaged: there is nothing in it
    assert cli.run(["resume", "wide", "--headless", *where]) == 1
    states = {item.name: item.state for item in directory.listing(tmp_path)}
    assert states == {"wide-s0": "finished", "wide-s1": "interrupted", "wide-s2": "finished"}


def _convnet(words: list[str]) -> tuple[object, object]:
    from dlplay import architectures
    from dlplay.engine.settings import make

    card = architectures.card("convnet")
    values = dict(zip([word[2:].replace("-", "_") for word in words[2::2]], words[3::2], strict=True))
    return card, make(card.settings, values | {"seeds": "0..2"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_command_loses_nothing(tmp_path: Path, words: list[str], number: signal.Signals) -> None:
    at = words.index("--steps")
    words[at + 1] = "100000"
    command = [*words, "--seeds", "0..3", "--jobs", "2", "--name", "wide", "--runs-dir", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "dlplay", *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as user:
        wait_until(lambda: sum((tmp_path / f"wide-s{seed}" / "socket").exists() for seed in range(4)) == 2)
        user.send_signal(number)
        _, said = user.communicate(timeout=60)
    states = {item.name: item.state for item in directory.listing(tmp_path)}
    assert len(states) == 4
    if number == signal.SIGKILL:  # those that were training go on
        assert sorted(states.values()) == ["interrupted", "interrupted", "training", "training"]
    else:
        assert user.returncode == 130
        assert "dlplay resume wide --headless goes on" in said
        assert set(states.values()) == {"interrupted"}
    for run in directory.members(tmp_path, "wide"):
        launch.stop_run(run)


def test_quartiles_are_numpys() -> None:
    found = seeds.spread([3.0, 1.0, 2.0, 10.0])
    assert (found.count, found.median, found.low, found.high, found.least, found.most) == (4, 2.5, 1.75, 4.75, 1.0, 10.0)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the driver and CUDA's variable tell of them."""
    monkeypatch.setattr(pool.metadata, "version", lambda name: "2.13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")


class Trains:
    """A process that has ended when it has been looked at so often."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def returncode(self) -> int | None:
        self.looks -= 1
        return 0 if self.looks < 0 else None


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Instead of training: the runs that were started, with the devices they were told, in order. Those whose seed is odd end first."""
    found: list[tuple[str, str]] = []

    def launch_blocking(arguments: list[str], log_path: Path) -> Trains:
        device = arguments[arguments.index("--device") + 1] if "--device" in arguments else ""
        found.append((arguments[1].rpartition("-")[2], device))
        return Trains(1 if arguments[1][-1] in "13579" else 3)

    monkeypatch.setattr(pool.launch, "prepare", lambda name: None)
    monkeypatch.setattr(pool.launch, "launch_blocking", launch_blocking)
    monkeypatch.setattr(pool, "POLL_SECONDS", 0.0)
    return found


@pytest.mark.usefixtures("two_gpus")
def test_one_run_at_a_time_is_on_each_gpu_the_next_on_the_one_that_is_free(
    tmp_path: Path, words: list[str], started: list[tuple[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    command = [*words, "--seeds", "0..4", "--name", "wide", "--runs-dir", str(tmp_path)]
    assert cli.run(command) == 0
    assert "2 at a time" in capfd.readouterr().out
    assert started == [("s0", "cuda:0"), ("s1", "cuda:1"), ("s2", "cuda:1"), ("s3", "cuda:0"), ("s4", "cuda:0")]
    assert {run.spec.settings["device"] for run in directory.members(tmp_path, "wide")} == {"auto"}, "another machine has others"
    started.clear()
    for device, told in (("cuda", {"cuda:0", "cuda:1"}), ("cuda:1", {""}), ("cpu", {""})):
        assert cli.run(["resume", "wide", "--headless", "--jobs", "2", "--device", device, "--runs-dir", str(tmp_path)]) == 0
        assert {gpu for _, gpu in started} == told
        started.clear()


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("given", "at_once"),
    [
        ({}, 2),
        ({"per_gpu": 1}, 2),
        ({"per_gpu": 3}, 6),
        ({"per_gpu": 3, "jobs": 4}, 4),
        ({"jobs": 8}, 8),
        ({"device": "cuda:1"}, 1),
        ({"device": "cuda:1", "per_gpu": 2}, 2),
    ],
)
def test_so_many_runs_train_at_once(given: dict[str, object], at_once: int) -> None:
    assert pool.at_once(**{"threads": 1, "device": "auto", **given}) == at_once  # type: ignore[arg-type]


@pytest.mark.usefixtures("two_gpus")
def test_more_runs_than_fit_are_refused_before_there_are_any(
    tmp_path: Path, words: list[str], started: list[tuple[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    seeded = [*words, "--seeds", "0..4", "--runs-dir", str(tmp_path)]
    for device, flags_given, told in (
        ("auto", "--per-gpu 2 --jobs 5", "--jobs 5: --per-gpu 2 allows 4 at a time on 2 GPUs; leave one of them out"),
        ("cuda:1", "--per-gpu 2 --jobs 3", "--jobs 3: --per-gpu 2 allows 2 at a time on 1 GPU; leave one of them out"),
        ("cpu", "--per-gpu 2", "--per-gpu 2: with --device cpu these runs take no GPU here; leave it out"),
        ("auto", "--per-gpu 65", "--per-gpu 65 is out of bounds; use 0 to 64"),
    ):
        assert cli.run([*seeded, "--device", device, *flags_given.split()]) == 2
        assert capfd.readouterr().err == f"dlplay: {told}\n"
    assert directory.names(tmp_path) == []
    directory.create(tmp_path, "convnet", {}, name="one")
    assert cli.run(["resume", "one", "--headless", "--per-gpu", "2", "--runs-dir", str(tmp_path)]) == 2
    assert "--per-gpu is for the runs of a group, and one is one run" in capfd.readouterr().err
    assert started == []


def test_gpus_are_counted_without_torch(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    assert pool.devices("auto") == ["cuda:0", "cuda:1"]
    assert pool.devices("cuda:1") == pool.devices("cpu") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pool.devices("auto") == []
    monkeypatch.setattr(pool.metadata, "version", lambda name: "2.13.0+cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert pool.devices("auto") == []


def test_a_run_is_labelled_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    directory.create(tmp_path, "convnet", {}, name="one")
    where = ["--runs-dir", str(tmp_path)]
    assert cli.run(["label", "one", "--tags", "wide, try", "--note", "too high", *where]) == 0
    assert capfd.readouterr().out == "one  #wide  #try  too high\n"
    assert cli.run(["label", "one", "--tags", "", "--rename", "two", "--json", *where]) == 0
    assert json.loads(capfd.readouterr().out) == {"name": "two", "tags": [], "note": "too high"}
    assert cli.run(["label", "two", "--tags", "a/b", *where]) == 2
    assert "cannot be tags" in capfd.readouterr().err
    assert cli.run(["label", "one", *where]) == 2
    assert directory.names(tmp_path) == ["two"]


def test_a_group_of_which_one_run_trains_is_removed_as_a_whole_or_not_at_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        directory.create(tmp_path, "convnet", {}, name=f"g-s{number}", group="g")
    with RunLock(directory.find(tmp_path, "g-s2").lock_path):
        assert cli.run(["rm", "g", "--runs-dir", str(tmp_path)]) == cli.HELD
    assert "run g-s2 is held by process" in capfd.readouterr().err
    assert directory.names(tmp_path) == ["g-s0", "g-s1", "g-s2"]
