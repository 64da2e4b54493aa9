"""What a diagnosis is seen on: a curve of the run or bars, in the command's output and in its file."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from textual.app import App

from dlplay.doctor import report
from dlplay.engine.diagnosis import Diagnosis
from dlplay.engine.events import Evaluated, Stepped
from dlplay.experiments.compare import picture
from dlplay.runs.history import History
from dlplay.screen.dialogs.doctor import DoctorDialog, Trial
from dlplay.widgets import Bars, LineChart
from tests.conftest import Dlplay, flags
from tests.screen_pilot import screen_text, until


def trained(metric: str, *values: float | None) -> Stepped:
    return Stepped(first=1, step=len(values), metrics={metric: list(values)}, seconds=1.0)


def diagnosis(curve: str = "", **bars: float) -> Diagnosis:
    return Diagnosis(
        name="planted",
        title="Planted",
        found="it was planted, 1 time in 2",
        number=1.0,
        bound=0.5,
        rule="what is planted is found",
        source="Nobody (2026)",
        advice="none",
        curve=curve,
        bars=bars,
    )


@pytest.fixture
def history() -> History:
    found = History("test_loss", "lower")
    found.add([trained("train_loss", *(100.0 / step for step in range(1, 101)))])
    found.add(Evaluated(step=step, metrics={"test_loss": 2.0 + step / 100}) for step in (0, 50, 100))
    return found


def text(one: Diagnosis, history: History, width: int = 80) -> list[str]:
    return ["".join(segment.text for segment in row).rstrip() for row in report.rows(one, history, width, picture.colours(plain=True))]


def test_a_curve_is_drawn_over_the_steps_in_the_width_that_there_is(history: History) -> None:
    drawn = text(diagnosis("test_loss"), history)
    assert len(drawn) == report.HEIGHT
    assert max(map(len, drawn)) <= 80
    assert "test loss" in drawn[0]
    assert "step" in drawn[-1]
    assert "100" in drawn[-1]
    assert any("3" in line.split()[0] for line in drawn[1:3])  # the largest value is near the top


def test_values_of_very_different_size_are_drawn_on_a_log_scale(history: History) -> None:
    chart = report.drawing("train_loss", {}, history)
    assert isinstance(chart, LineChart)
    assert not chart.log_scale
    history.add([trained("train_loss", *[2.0] * 100, 1e-3)])
    chart = report.drawing("train_loss", {}, history)
    assert isinstance(chart, LineChart)
    assert chart.log_scale


def test_what_is_measured_by_layer_is_drawn_as_bars(history: History) -> None:
    drawn = text(diagnosis(**{"blocks.0": 0.8, "blocks.1": 0.2}), history)
    assert [line.split()[0] for line in drawn] == ["blocks.0", "blocks.1"]
    assert drawn[0].endswith("0.800")
    full, short = (line.count("█") for line in drawn)
    assert full == pytest.approx(4 * short, abs=4)
    assert isinstance(report.drawing("", {"a": 1.0, "b": 2.0}, history), Bars)


def test_gradients_of_very_different_size_are_told_apart(history: History) -> None:
    drawn = text(diagnosis(first=2e-6, last=1.0), history)
    assert [line.split()[-1] for line in drawn] == ["2.00e-6", "1"]
    assert drawn[0].count("█") > 0


def test_all_layers_are_drawn_however_many(history: History) -> None:
    many = {f"layer.{number}": float(number) for number in range(50)}
    assert len(text(diagnosis(**many), history)) == 50


@pytest.mark.parametrize("curve", ["", "unknown"])
def test_where_nothing_was_recorded_nothing_is_drawn(history: History, curve: str) -> None:
    assert text(diagnosis(curve), history) == []
    short = History()
    short.add([trained("unknown", 1.0)])
    assert text(diagnosis(curve), short) == []
    without = History()
    without.add([trained("unknown", None, None, None)])
    assert text(diagnosis(curve), without) == []


async def test_the_dialog_shows_curves_and_every_bar(history: History) -> None:
    one, other = diagnosis("test_loss"), diagnosis(**{f"blocks.{number}": 0.1 * number for number in range(5)})
    found = {"run": "mine", "step": 100, "layers": "", "rules": [], "diagnoses": msgspec.to_builtins([one, other])}

    class Host(App[None]):
        def on_mount(self) -> None:
            self.push_screen(DoctorDialog(found, history))

    app = Host()
    async with app.run_test(size=(120, 50)) as pilot:
        await pilot.pause()
        await until(lambda: app.screen.query_one(Bars).size.height == 5)
        assert app.screen.query_one(LineChart).size.height > 5
        assert not app.screen.query_one(Bars).can_focus


async def test_each_advice_can_be_tried_and_the_key_of_the_screen_is_named(history: History) -> None:
    def ill(name: str, advice: str = "", **changes: float) -> dict[str, object]:
        built: dict[str, object] = msgspec.to_builtins(diagnosis("test_loss"))
        return built | {"name": name, "advice": advice, "changes": changes}

    diagnoses = [ill("first", lr=0.1), ill("second", "look at the rate: dlplay convnet --headless --find-lr"), ill("third", batch=8)]
    trials = dict.fromkeys(("first", "third"), "6 runs of 75 steps")
    found = {"run": "mine", "step": 100, "layers": "", "rules": [], "diagnoses": diagnoses, "trials": trials}
    chosen = []

    class Host(App[None]):
        def on_mount(self) -> None:
            self.push_screen(DoctorDialog(found, history), chosen.append)

    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "esc    close" in screen_text(app))  # in a small window what is said is scrolled, and the keys stay
        await pilot.resize_terminal(120, 60)
        await until(lambda: "2      try --batch 8: 6 runs of 75 steps" in screen_text(app))
        assert "t      try --lr 0.1: 6 runs of 75 steps, then a page opens" in screen_text(app)
        assert "--find-lr (on this screen L does it)" in screen_text(app)
        dialog = app.screen
        assert isinstance(dialog, DoctorDialog)
        await until(lambda: dialog.armed)
        await pilot.press("3", "2")
        await until(lambda: len(chosen) == 1)
    assert chosen == [Trial("third", "--batch 8: 6 runs of 75 steps")]


ILL = {"data": "digits", "channels": (4,), "batch": 16, "eval_every": 20, "threads": 1} | {
    "norm": "none",
    "optimizer": "sgd",
    "lr": 10.0,
    "schedule": "constant",
    "steps": 120,
}


def test_the_command_prints_the_curve_below_each_diagnosis_and_writes_a_picture(dlplay: Dlplay, tmp_path: Path) -> None:
    dlplay("convnet", "--headless", "--json", "--name", "mine", "--runs-dir", str(tmp_path), *flags(ILL))
    file = tmp_path / "picture.svg"
    told = dlplay("doctor", "mine", "--runs-dir", str(tmp_path), "--svg", str(file))
    assert (told.status, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == "The loss became infinite (not-finite)"
    advice = next(number for number, line in enumerate(lines) if line.startswith("  what helps"))
    assert "train loss" in lines[advice + 1]
    assert "step" in lines[advice + report.HEIGHT]
    assert "\x1b" not in told.out
    svg = file.read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    words = "".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ")
    assert "dlplay doctor mine" in words
    assert "The loss became infinite" in words
    assert "train loss" in words
    again = dlplay("doctor", "mine", "--runs-dir", str(tmp_path), "--svg", str(file))
    assert again.status == 2
    assert "exists already" in again.err
    forced = dlplay("doctor", "mine", "--json", "--runs-dir", str(tmp_path), "--svg", str(file), "--force")
    assert (forced.status, forced.err) == (0, "")
    found = json.loads(forced.out)["diagnoses"][0]
    assert (found["curve"], found["bars"]) == ("train_loss", {})


def test_force_without_a_picture_is_refused(dlplay: Dlplay, tmp_path: Path) -> None:
    dlplay("convnet", "--headless", "--json", "--name", "mine", "--runs-dir", str(tmp_path), *flags(ILL | {"steps": 1}))
    refused = dlplay("doctor", "mine", "--runs-dir", str(tmp_path), "--force")
    assert (refused.status, refused.err) == (2, "dlplay: --force is for the file of --svg\n")


def test_words_in_a_picture_are_broken_and_indented() -> None:
    found = report.broken("  " + "a rule with many words " * 10, 60)
    assert len(found) > 1
    assert all(line.startswith("  ") and len(line) <= 60 for line in found)
    assert np.all([line == line.rstrip() for line in found])
