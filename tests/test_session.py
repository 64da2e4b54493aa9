"""A session as a person has it, in a real pseudo-terminal: prompt, train, hang up, attach again, kill, stop; and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from dlplay.engine.events import Finished, Started, Stepped
from dlplay.runs import directory
from dlplay.runs.journal import history
from dlplay.runs.lock import holder
from tests.conftest import wait_until
from tests.terminal import Terminal, dlplay, processes_of

SMALL = ("--layers", "1", "--width", "32", "--heads", "2", "--batch", "4", "--block-size", "16", "--threads", "1")
PACE = ("--steps", "200000", "--eval-every", "200", "--save-every", "200")
GPT = ("gpt", *SMALL, *PACE)


def journal_steps(run: directory.RunDirectory) -> list[int]:
    """Every training step that the journal tells of, in its order."""
    records = [event for event in history(run.journal_path) if isinstance(event, Stepped)]
    return [step for record in records for step in range(record.first, record.step + 1)]


def step_on_screen(terminal: Terminal) -> int:
    found = re.search(r"▶ training +\S+ +([\d,]+) /", terminal.text)
    return int(found[1].replace(",", "")) if found else 0


def grows(run: directory.RunDirectory) -> bool:
    before = journal_steps(run)[-1]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if journal_steps(run)[-1] > before:
            return True
        time.sleep(0.05)
    return False


def leave_line(terminal: Terminal) -> None:
    """Until the screen says so: a key right behind escape would be taken for one sequence."""
    if "leave the line" in terminal.text:
        terminal.press("escape")
        terminal.until(lambda: "leave the line" not in terminal.text)


def has_curve(terminal: Terminal) -> bool:
    """Dots of a curve stand on the screen."""
    return sum(0x2800 < ord(character) <= 0x28FF for character in terminal.text) > 5


def clear_away(runs: Path) -> None:
    """Whatever a test that failed has left running."""
    for pid in processes_of(runs):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "runs"
    yield folder
    clear_away(folder)


@pytest.mark.slow
def test_prompted_trained_hung_up_attached_again_and_nothing_is_lost(runs: Path) -> None:
    with Terminal(*GPT, "--runs-dir", str(runs)) as terminal:
        terminal.until("equally likely")  # the shipped model answers before anything was trained
        terminal.press("/")
        terminal.until("leave the line")
        terminal.press("\x01", "\x0b")  # the line is emptied
        for letter in "if the":
            terminal.press(letter)
        terminal.until(lambda: re.search(r" 1 \S+ .*\d+\.\d %", terminal.text) and "if the" in terminal.text)
        leave_line(terminal)
        terminal.press("space")
        terminal.until(lambda: step_on_screen(terminal) > 400)
        terminal.until(lambda: has_curve(terminal))
        assert "val perplexity" in terminal.text
        run = directory.find(runs, directory.names(runs)[0])
        started = time.monotonic()
        terminal.hang_up()
        terminal.until(lambda: terminal.status is not None, 5)
        assert time.monotonic() - started < 2
    assert holder(run.lock_path) is not None
    assert grows(run)  # nobody looks, and it trains on
    seen = journal_steps(run)[-1]

    with Terminal("attach", run.name, "--runs-dir", str(runs)) as terminal:
        terminal.until(lambda: step_on_screen(terminal) >= seen)
        terminal.until(lambda: has_curve(terminal))
        again = step_on_screen(terminal)
        terminal.until(lambda: step_on_screen(terminal) > again)  # and it is live
        leave_line(terminal)
        terminal.press("q")
        terminal.until("keep it running")
        terminal.press("s")
        terminal.until(lambda: terminal.status is not None)
        assert terminal.status == 0
    events = history(run.journal_path)
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, Started) for event in events) == 1
    steps = journal_steps(run)
    assert steps == list(range(1, events[-1].step + 1))  # every step, once
    checkpoint, problems = run.store.newest()
    assert checkpoint is not None
    assert (checkpoint.step, problems) == (events[-1].step, [])
    time_out = time.monotonic() + 20
    while processes_of(runs):
        assert time.monotonic() < time_out, "something of the run goes on"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_screen_that_does_not_hear_the_hangup_is_killed_and_the_run_too(runs: Path) -> None:
    with Terminal(*GPT, "--runs-dir", str(runs), deaf=True) as terminal:
        terminal.until("equally likely")
        leave_line(terminal)
        terminal.press("space")
        terminal.until(lambda: step_on_screen(terminal) > 50)
        run = directory.find(runs, directory.names(runs)[0])
        started = time.monotonic()
        terminal.hang_up()
        while terminal.status is None:
            assert time.monotonic() - started < 2, "the screen goes on without a terminal"
            time.sleep(0.02)
    assert grows(run)

    # the screen is killed: nobody minds but the person
    with Terminal("attach", run.name, "--runs-dir", str(runs)) as terminal:
        terminal.until(lambda: step_on_screen(terminal))
        terminal.kill()
    assert grows(run)

    # the run is killed: the screen says so and goes on
    with Terminal("attach", run.name, "--runs-dir", str(runs), environment={"TERM": "screen", "COLORTERM": ""}) as terminal:
        terminal.until(lambda: step_on_screen(terminal))
        held = holder(run.lock_path)
        assert held is not None
        os.kill(held.pid, signal.SIGKILL)
        terminal.until("The run was interrupted")
        terminal.until(lambda: "resume from step" in terminal.text or "saved no checkpoint yet" in terminal.text)
        terminal.press("escape")
        terminal.until("□ interrupted")
        leave_line(terminal)
        terminal.press("space")
        terminal.until(lambda: step_on_screen(terminal))
        terminal.press("q")
        terminal.until("keep it running")
        terminal.press("k")
        terminal.until(lambda: terminal.status == 0)
    assert grows(run)
    assert dlplay("stop", run.name, "--runs-dir", str(runs))[0].startswith(f"stopped run {run.name} at step ")
    deadline = time.monotonic() + 20
    while processes_of(runs):
        assert time.monotonic() < deadline, "something of the run goes on"
        time.sleep(0.05)
    steps = journal_steps(run)
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.parametrize(
    ("environment", "most"),
    [
        ({"TERM": "linux", "COLORTERM": ""}, 16),
        pytest.param({"TERM": "screen", "COLORTERM": ""}, 16, marks=pytest.mark.slow),
        ({"NO_COLOR": "1"}, None),
    ],
    ids=["linux", "screen", "no-colour"],
)
def test_few_colours_are_enough(runs: Path, environment: dict[str, str], most: int | None) -> None:
    with Terminal("convnet", "--runs-dir", str(runs), size=(80, 24), environment=environment) as terminal:
        terminal.until("○ ready")
        terminal.press("2")
        terminal.until("Accuracy")
        if most is not None:
            assert not {name for name in terminal.colours if re.fullmatch("[0-9a-f]{6}", name)}, "a colour the terminal does not know"
        terminal.press("3")
        terminal.until(", label ")
        terminal.press("1")
        terminal.until("Draw")
        terminal.press("q")
        terminal.until(lambda: terminal.status is not None)
        assert terminal.status == 0


def test_what_is_drawn_goes_to_the_terminal_wherever_errors_go(runs: Path, tmp_path: Path) -> None:
    with Terminal("convnet", "--runs-dir", str(runs), errors=tmp_path / "log") as terminal:
        terminal.until("Settings")
        terminal.press("q")
        terminal.until(lambda: terminal.status == 0)
    assert (tmp_path / "log").read_text() == ""


def explorers(runs: Path) -> list[Path]:
    return list(runs.glob(".explore-*"))


@pytest.mark.slow
def test_no_folder_of_a_model_that_was_shown_is_left(runs: Path) -> None:
    with Terminal("gpt", "--runs-dir", str(runs)) as terminal:
        terminal.until("equally likely")
        assert len(explorers(runs)) == 1
        leave_line(terminal)
        terminal.press("q")
        terminal.until(lambda: terminal.status == 0)
    wait_until(lambda: not explorers(runs), "no folder")

    # the screen is killed: the process that answered ends by itself
    with Terminal("gpt", "--runs-dir", str(runs)) as terminal:
        terminal.until("equally likely")
        terminal.kill()
    wait_until(lambda: not explorers(runs), "no folder")

    # all of them are killed: the next screen clears away what they left, whatever it opens
    with Terminal("gpt", "--runs-dir", str(runs)) as terminal:
        terminal.until("equally likely")
        terminal.kill()
        clear_away(runs)
    wait_until(lambda: not processes_of(runs), "all of them have ended")
    assert len(explorers(runs)) == 1
    with Terminal("transformer-xl", "--runs-dir", str(runs)) as terminal:
        terminal.until("Settings")
        terminal.until(lambda: len(explorers(runs)) <= 1 and all(str(terminal.pid) in folder.name for folder in explorers(runs)))


@pytest.mark.parametrize(("name", "answer"), [("gpt", "equally likely"), pytest.param("seq2seq", "· target", marks=pytest.mark.slow)])
def test_a_megabyte_is_pasted(name: str, answer: str, runs: Path) -> None:
    with Terminal(name, "--runs-dir", str(runs)) as terminal:
        terminal.until(answer)
        terminal.press("/")
        terminal.until("leave the line")
        terminal.paste("the value of " * 80_000)
        terminal.until("1,040,000 characters pasted")
        leave_line(terminal)
        terminal.press("n")  # and keys are answered
        terminal.until("Lessons")
        terminal.press("escape")
        terminal.until(lambda: "○ ready" in terminal.text and "train/pause" in terminal.text)
        terminal.press("q")
        terminal.until(lambda: terminal.status is not None)
        assert terminal.status == 0


@pytest.mark.slow
def test_one_thing_is_tried_against_another(runs: Path) -> None:
    """Train, change a setting, see the run before behind the new one, compare three, look back, branch there, and go back to the first."""
    tiny = ("--channels", "4", "--batch", "16", "--steps", "120", "--eval-every", "40", "--threads", "1")
    with Terminal("convnet", *tiny, "--runs-dir", str(runs), size=(220, 60)) as terminal:
        terminal.until("held-out image 0")
        for number in (1, 2, 3):
            if number > 1:
                terminal.press("r")
                terminal.until(lambda number=number: re.search(rf"‖ paused +convnet-{number}", terminal.text))  # type: ignore[misc]
            terminal.press("space")
            terminal.until(lambda number=number: re.search(rf"■ finished +convnet-{number}", terminal.text))  # type: ignore[misc]
        terminal.until("▲ convnet-2")
        terminal.press("E")
        terminal.until(lambda: "▲ convnet-2" not in terminal.text)
        terminal.press("E")

        terminal.press("R")
        terminal.until(lambda: terminal.text.count("test accuracy") >= 3 and "3 runs" in terminal.text)
        terminal.press("x", "x", "x")
        terminal.until("3 marked")
        terminal.press("c")
        terminal.until(
            lambda: "● convnet-3" in terminal.text and "whether a difference is more than luck takes more seeds" in terminal.text
        )
        terminal.press("\x1b[6~")
        terminal.until(lambda: "Test loss" in terminal.text and has_curve(terminal))
        terminal.press("escape")
        terminal.until("3 marked")
        terminal.press("escape")
        terminal.until("■ finished")

        terminal.press("z")
        terminal.until(lambda: re.search(r"as of step \d+", terminal.text))
        terminal.press("(")
        terminal.until(lambda: re.search(r"◂ as of step (?!120)\d+", terminal.text))
        terminal.press("B")
        terminal.until(lambda: re.search(r"■ finished +convnet-4", terminal.text))
        branch = directory.find(runs, "convnet-4")
        assert branch.spec.parent == "convnet-3"
        assert 0 < branch.spec.parent_step < 120

        terminal.press("R")
        terminal.until("4 runs")
        terminal.press("/", *"convnet-1", "enter")
        terminal.until("1 of 4 runs")
        terminal.press("enter")
        terminal.until(lambda: re.search(r"■ finished +convnet-1|convnet-1 at step 120", terminal.text))
        terminal.press("q")
        terminal.until(lambda: terminal.status == 0)
