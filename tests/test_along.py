"""Checkpoints along the way: which steps are kept, within which bytes, and that training does not notice."""

from __future__ import annotations

import errno
import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlplay import architectures
from dlplay.checkpoints import store
from dlplay.checkpoints.history import MOST, REACH, History, finest, following, kept, within
from dlplay.engine.events import Saved, Warned
from dlplay.engine.recorder import Progress
from dlplay.engine.settings import make, to_dict
from dlplay.runs import directory, process
from dlplay.runs.console import PlainLines
from dlplay.runs.directory import RunDirectory
from tests.conftest import ROOT, Build, Dlplay, Small, wait_until
from tests.runs import Following, begin, curves, resume, same, weights
from tests.test_checkpoints import die_at, small_disk

COUNTS = st.integers(0, MOST)
STEPS = st.one_of(st.integers(0, 2_000), st.integers(0, 10**9))


@given(STEPS, COUNTS)
def test_there_are_never_more_than_asked_for_and_none_twice(step: int, count: int) -> None:
    found = kept(step, count)
    assert len(found) == len(set(found)) <= count
    assert all(0 <= one <= step for one in found)
    assert count == 0 or found[0] == 0


@given(st.integers(0, 600), st.integers(0, 40), COUNTS)
def test_what_was_dropped_never_comes_back(step: int, more: int, count: int) -> None:
    assert {one for one in kept(step + more, count) if one <= step} <= set(kept(step, count))


@given(STEPS, COUNTS, COUNTS)
def test_fewer_are_a_part_of_more(step: int, one: int, other: int) -> None:
    assert set(kept(step, min(one, other))) <= set(kept(step, max(one, other)))


@given(st.integers(1, 10**9), st.integers(2, MOST))
def test_no_gap_is_large(step: int, count: int) -> None:
    found = sorted(kept(step, count))[1:]
    octaves = max(2 * math.log2(step) / (count - 1), 2.0 ** -finest(count))
    for one, other in zip(found, [*found[1:], step], strict=True):
        # steps are rounded, and between neighbours there is no gap
        assert other <= one + 1 or math.log2((other - 0.5) / (one + 0.5)) <= octaves + 1e-9, (one, other)


@given(STEPS, st.integers(0, 64))
def test_the_next_one_is_the_first_that_is_kept(step: int, count: int) -> None:
    found = following(step, count)
    assert found is None or (found > step and found in kept(found, count))
    for between in range(step + 1, min(found or step + 200, step + 200)):
        assert between not in kept(between, count)


def test_the_usual_ones() -> None:
    assert len(kept(REACH, 32)) == 32
    assert sorted(kept(4000, 32))[:12] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13]
    assert sorted(kept(4000, 32))[-8:] == [256, 362, 512, 724, 1024, 1448, 2048, 2896]
    assert kept(10**6, 1) == [0]
    assert kept(10**6, 0) == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20), st.integers(0, 500))
def test_weights_come_before_training_states_and_all_fit(sizes: list[tuple[int, int]], limit: int) -> None:
    whole, stateful = within(dict(enumerate(sizes)), limit)
    assert sum(sizes[step][0] for step in whole) + sum(sizes[step][1] for step in stateful) <= limit
    assert whole == list(range(len(whole)))
    assert stateful == list(range(len(stateful)))
    assert len(whole) == len(sizes) or sum(size for size, _ in sizes[: len(whole) + 1]) > limit


# --- on the disk ------------------------------------------------------------------------------------------------------------------------


def on_disk(history: History) -> int:
    return sum(file.stat().st_size for file in history.directory.rglob("*") if file.is_file())


def train(history: History, steps: range, count: int = 16, limit: int = 10**9) -> None:
    """Keep what is due on the way."""
    for step in steps:
        if step in kept(step, count):
            meta = {"step": step, "state": {"long": "x" * 100}}
            history.keep(step, {"w": np.full(100, step, np.float32)}, {"m": np.full(200, step, np.float32)}, meta, count, limit)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


def test_a_run_has_those_of_its_step_and_each_holds_its_own(history: History) -> None:
    train(history, range(700))
    assert history.steps() == history.stateful() == sorted(kept(699, 16))
    for step in history.steps():
        found = store.load(history.directory / f"step-{step}")
        assert (found.step, found.weights["w"][0], found.tensors["m"][0]) == (step, step, step)


def test_killed_and_resumed_it_has_the_same_ones(history: History, tmp_path: Path) -> None:
    train(history, range(700))
    other = History(tmp_path / "other")
    train(other, range(300))
    other.drop_after(90)
    train(other, range(91, 700))
    assert other.steps() == history.steps()


@pytest.mark.parametrize(("limit", "whole", "stateful"), [(3_000, 3, 0), (7_500, 10, 0), (12_000, 11, 3), (20_000, 11, 11)])
def test_training_states_are_kept_where_they_fit(history: History, limit: int, whole: int, stateful: int) -> None:
    for step in range(700):
        train(history, range(step, step + 1), limit=limit)
        assert on_disk(history) <= limit
    assert set(history.stateful()) <= set(history.steps()) <= set(kept(699, 16))
    assert (len(history.steps()), len(history.stateful())) == (whole, stateful)
    for step in history.steps():
        found = store.load(history.directory / f"step-{step}")
        assert found.weights["w"][0] == step
        assert bool(found.tensors) == ("state" in found.meta) == (step in history.stateful())


def test_one_that_fits_nowhere_is_not_kept(history: History) -> None:
    train(history, range(10), limit=100)
    assert history.steps() == []


def test_damage_is_not_carried_on(history: History) -> None:
    train(history, range(9), limit=10**6)
    victim = history.directory / "step-8" / store.WEIGHTS
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    train(history, range(9, 17), limit=6_000)  # which leaves no room for the training state of step 8
    assert 8 not in history.steps()
    assert history.steps() == [0, 1, 2, 4, 16]


def die_at_calls(folder: Path, limit: int, every: int) -> None:
    """Run in a process of its own, which may fork: at each death the checkpoints that are left are whole, and the run goes on from them."""
    train(History(folder / "before"), range(256))
    for call in range(1, 1000, every):
        history = History(folder / str(call))
        shutil.copytree(folder / "before", history.directory)
        child = os.fork()
        if child == 0:
            die_at(call)
            train(history, range(256, 257), count=6, limit=limit)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        history.clean()
        assert all(path.name.startswith("step-") for path in history.directory.iterdir()), call
        for step in history.steps():
            found = store.load(history.directory / f"step-{step}")
            assert found.weights["w"][0] == step
            assert bool(found.tensors) == (step in history.stateful())
        history.drop_after(255)
        train(history, range(256, 257), count=6, limit=limit)
        assert (history.steps(), on_disk(history) <= limit) == ([0, 1, 4, 16, 64, 256], True)
        shutil.rmtree(history.directory)
        if os.waitstatus_to_exitcode(status) == 0:
            assert call > 50
            return


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_call_of_the_thinning_what_is_left_is_whole(every: int, tmp_path: Path) -> None:
    script = f"from pathlib import Path; from tests.test_along import *; die_at_calls(Path({str(tmp_path)!r}), 7_000, {every})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


FULL_DISK = """
import errno, sys
from pathlib import Path
import numpy as np
from dlplay.checkpoints import store
from dlplay.checkpoints.history import History, kept

history, refused = History(Path(sys.argv[1]) / "history"), 0
for step in kept(500, 32):
    weights = {"w": np.full(5_000, step, np.float32)}
    try:
        history.keep(step, weights, {"m": np.full(10_000, step, np.float32)}, {"state": {}}, 32)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        refused += 1
assert 0 < refused < 32, refused
assert not list(history.directory.glob(".*"))
for step in history.steps():
    assert store.load(history.directory / f"step-{step}").weights["w"][0] == step
there = len(history.steps())
history.keep(1024, weights, {}, {"state": {}}, 8)  # thinning makes room
assert 1024 in history.steps() and len(history.steps()) < there, history.steps()
print("held")
"""


def test_on_a_full_disk_what_is_there_stays_whole_and_thinning_makes_room(tmp_path: Path) -> None:
    front = small_disk(tmp_path)
    if not front:
        return  # nobody may mount here; a refusing disk in a run is tested everywhere, below
    done = subprocess.run([*front, sys.executable, "-c", FULL_DISK, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr


# --- in a run ---------------------------------------------------------------------------------------------------------------------------


def run_convnet(small: Small, folder: Path, **values: Any) -> RunDirectory:
    card = architectures.card("convnet")
    settings = to_dict(make(card.settings, small("convnet") | {"steps": 60, "save_every": 25, "eval_every": 30, "device": "cpu"} | values))
    run = directory.create(folder, "convnet", settings)
    assert process.run(run, lambda: PlainLines(card)) == process.FINISHED
    return run


@pytest.mark.usefixtures("as_before")
def test_a_run_trains_the_same_with_and_without(small: Small, tmp_path: Path) -> None:
    without, run = run_convnet(small, tmp_path, history=0), run_convnet(small, tmp_path)
    assert without.history.steps() == []
    assert run.history.steps() == run.history.stateful() == sorted(kept(60, 32))
    assert same(weights(without)[1], weights(run)[1])
    assert [event.step for event in Following(run).of(Saved)] == [event.step for event in Following(without).of(Saved)]
    assert curves(without) == curves(run)


@pytest.mark.usefixtures("as_before")
def test_where_the_disk_refuses_them_training_goes_on_and_says_so_once(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = History._write

    def full(history: History, step: int, files: Mapping[str, bytes]) -> store.Saved:
        if 5 <= step < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(history, step, files)

    monkeypatch.setattr(History, "_write", full)
    run = run_convnet(small, tmp_path)
    assert run.history.steps() == [step for step in sorted(kept(60, 32)) if not 5 <= step < 20]
    warnings = Following(run).of(Warned)
    assert [event.why for event in warnings] == ["No space left on device"]
    assert warnings[0].what == "a checkpoint could not be kept along the way"
    assert weights(run)[0] == 60
    assert list(run.history.directory.glob(".*")) == []


@pytest.mark.usefixtures("as_before")
def test_a_run_resumed_at_an_earlier_step_drops_the_later_ones(small: Small, tmp_path: Path) -> None:
    run = run_convnet(small, tmp_path)
    for step in (50, 60):
        shutil.rmtree(run.store.directory / f"step-{step}")
    card = architectures.card("convnet")
    assert process.run(run, lambda: PlainLines(card), overrides={"steps": 26, "history": 5}) == process.FINISHED
    assert run.history.steps() == [step for step in sorted(kept(25, 32)) if step <= 25]


@pytest.mark.slow
def test_killed_ten_times_in_the_midst_of_the_thinning_a_run_ends_as_one_that_never_was(
    small: Small, dlplay: Dlplay, tmp_path: Path
) -> None:
    steps = 3000
    settings = small("convnet") | {"steps": steps, "history": MOST, "save_every": 50, "eval_every": 1000}
    calm, run = RunDirectory(tmp_path / "runs" / "calm"), RunDirectory(tmp_path / "runs" / "killed")
    undisturbed = begin(dlplay, "convnet", calm, settings)
    following = Following(run)
    command = begin(dlplay, "convnet", run, settings)
    caught = 0
    for target in random.Random(0).sample(range(60, 2500), 10):
        at = max(target, int(weights(run)[0]) if run.store.steps() else 0)
        following.wait_for(at, command)
        wait_until(lambda: any(run.history.directory.glob(".*")) or following.reached(at + 200, command) or not command.running, "a write")  # noqa: B023
        command.kill()
        caught += any(run.history.directory.glob(".*"))
        newest, problems = run.store.newest()
        assert newest is not None
        assert problems == []
        command = resume(dlplay, run)
    assert command.wait().status == 0
    assert undisturbed.wait().status == 0
    assert caught >= 3
    assert run.history.steps() == calm.history.steps() == sorted(kept(steps, MOST))
    assert same(weights(calm)[1], weights(run)[1])
    assert curves(run) == curves(calm)


def test_a_model_that_is_too_large_for_any_is_told_of_and_never_copied(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build("gpt", width=256, layers=4)
    taken = sum(weight.nbytes for weight in task.weights().values())
    monkeypatch.setattr(process, "LIMIT", taken - 1)
    unused: Any = None
    writer = process.Writer(unused, unused, unused, architectures.card("gpt"), task, Progress(), {})
    monkeypatch.setattr(process.Writer, "_copy", unused)  # would fail
    size, write = writer.snapshot()
    assert size == 0
    megabytes = f"{taken / 1e6:,.0f} MB"
    assert write() == f"its weights take {megabytes}, and all checkpoints along the way together {megabytes} at most"
    monkeypatch.setattr(process, "LIMIT", taken)
    with pytest.raises(TypeError, match="not callable"):
        writer.snapshot()
