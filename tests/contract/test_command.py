"""What the command line owes for every room: complete help, events as JSON lines, precedence of flags, answers in one line."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from dlplay import architectures
from dlplay.checkpoints import shipped
from dlplay.engine import stages
from dlplay.engine.events import Baselines, DurableEvent, Evaluated, Finished, Saved, Started, Stepped
from dlplay.engine.settings import fields
from dlplay.runs import directory
from tests.conftest import Dlplay, Small, flags

CARDS = architectures.cards()
each = pytest.mark.parametrize("name", CARDS)


@each
def test_the_help_names_every_setting_with_bounds_and_default(name: str, dlplay: Dlplay) -> None:
    shown = dlplay(name, "--help", env={"COLUMNS": "2000"})
    assert (shown.status, shown.err) == (0, "")
    rows = [line for line in shown.out.splitlines() if line.strip(" │").startswith("--")]
    for item in fields(CARDS[name].settings):
        [row] = [row for row in rows if row.strip(" │").split()[0] == item.flag]
        assert item.doc in row
        assert f"default {item.shown(item.default) or 'none'}" in row
        assert item.kind == "bool" or item.bounds in row
        assert item.unit in row
    assert all(preset in shown.out for preset in CARDS[name].presets)


@each
def test_json_lines_are_the_events_and_end_with_the_result(name: str, dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    settings = small(name) | {"steps": 50, "eval_every": 20, "save_every": 20}
    ended = dlplay(name, "--headless", "--json", "--runs-dir", str(tmp_path / "runs"), *flags(settings))
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    events = [msgspec.json.decode(line, type=DurableEvent) for line in lines]
    assert (tmp_path / "runs" / f"{name}-1" / "events.jsonl").read_text() == ended.out
    assert [event.seq for event in events] == [*range(len(events))]
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert (started.architecture, started.name, started.step, started.settings["steps"]) == (name, f"{name}-1", 0, 50)
    assert isinstance(finished, Finished)
    assert (finished.step, finished.reason) == (50, "steps")
    assert finished.metrics == [event for event in events if isinstance(event, Evaluated)][-1].metrics
    assert CARDS[name].metric in finished.metrics
    assert finished.baselines == next((event.values for event in events if isinstance(event, Baselines)), {})
    assert finished.steps_per_second > 0
    assert [event.step for event in events if isinstance(event, Evaluated)] == [0, 20, 40, 50]
    assert [event.step for event in events if isinstance(event, Saved)] == [0, 20, 40, 50]
    assert sum(event.step - event.first + 1 for event in events if isinstance(event, Stepped)) == 50


def with_steps(name: str) -> str:
    """A preset of the room that says how many steps it takes; empty when none does."""
    return next((preset for preset, found in CARDS[name].presets.items() if "steps" in found.values), "")


@pytest.mark.parametrize("name", filter(with_steps, CARDS))
def test_flags_win_over_the_file_and_the_file_over_the_preset(name: str, dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    card = CARDS[name]
    preset = with_steps(name)
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({**small(name), "steps": 9, "eval_every": 7, "seed": 5}))
    typed = ["--preset", preset, "--set-file", str(file), "--seed", "6", *flags(dict.fromkeys(["steps"], 3)), "--json"]
    ended = dlplay(name, "--headless", "--runs-dir", str(tmp_path / "runs"), *typed)
    assert (ended.status, ended.err) == (0, "")
    settings = json.loads(ended.out.splitlines()[0])["settings"]
    assert (settings["steps"], settings["eval_every"], settings["seed"]) == (3, 7, 6)
    left = {key: value for key, value in card.presets[preset].values.items() if key not in {*small(name), "steps", "eval_every", "seed"}}
    assert {key: settings[key] for key in left} == left


def drawing(size: tuple[int, int], levels: int) -> str:
    """An upright stroke in the middle of the pad."""
    rows, columns = size
    row = ",".join(str(levels if column in (columns // 2 - 1, columns // 2) else 0) for column in range(columns))
    return ";".join([row] * rows)


@each
def test_a_trained_model_is_asked_in_one_line(name: str, dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    card = CARDS[name]
    match card.stage:
        case stages.Prompt():
            asked = ["--prompt", "the value of"]
        case stages.Pad(size=size, levels=levels):
            asked = ["--drawing", drawing(size, levels)]
        case _:
            asked = ["--panel", card.asked]
    given = ["--runs-dir", str(tmp_path / "runs"), *asked]
    if not any(item.architecture == name for item in shipped.shipped().values()):
        assert dlplay(name, "--headless", "--runs-dir", str(tmp_path / "runs"), *flags(small(name) | {"steps": 5})).status == 0
        given += ["--from", f"{name}-1"]
    before = directory.names(tmp_path / "runs")
    ended = dlplay(name, "--headless", "--json", *given)
    assert (ended.status, ended.err) == (0, "")
    said = json.loads(ended.out)
    table = dlplay(name, "--headless", *given)
    assert (table.status, table.err, "\x1b" in table.out) == (0, "", False)
    if isinstance(card.stage, (stages.Prompt, stages.Pad)):
        assert said["kind"] == "bars"
        best = max(said["rows"], key=lambda row: row["value"])
        row = next(line for line in table.out.splitlines()[1:] if line.split()[:1] == best["label"].split()[:1])
        assert f"{100 * best['value']:.2f} %" in row
        assert sum(row["value"] for row in said["rows"]) <= 1 + 1e-6
    assert directory.names(tmp_path / "runs") == before
