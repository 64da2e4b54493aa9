"""A setting that was changed while a run trained is told the same way by every list and every comparison."""

import json
from pathlib import Path

import pytest

from dlplay import architectures
from dlplay.engine.events import Applied, Evaluated, Finished, Started, Stepped
from dlplay.engine.settings import to_dict
from dlplay.runs import changes, directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.history import History
from dlplay.runs.journal import Journal, JournalReader
from dlplay.screen.runs import rows
from tests.conftest import Dlplay
from tests.screen_pilot import opened, screen_text, until

TOLD = "0.003 → 0.001"


def run(folder: Path, name: str, *rates: float, after: float | None = None) -> RunDirectory:
    """One whose learning rate was changed from each of these to the next, and to one more `after` its last step."""
    settings = to_dict(architectures.card("convnet").settings()) | {"lr": rates[0], "steps": 20}
    found = directory.create(folder, "convnet", settings, name=name)
    journal = Journal(found.journal_path)
    started = {"settings": settings, "device": "cpu", "device_name": "cpu", "threads": 1, "parameters": 1, "data": "d", "versions": {}}
    journal.append(Started(step=0, architecture="convnet", name=name, origin="", pid=1, **started))
    journal.append(Stepped(step=10, first=1, metrics={"train_loss": [1.0] * 10}, seconds=0.5))
    for before, rate in zip(rates, rates[1:], strict=False):
        journal.append(Applied(step=10, what="lr", value=rate, before=before))
    journal.append(Stepped(step=20, first=11, metrics={"train_loss": [1.0] * 10}, seconds=1.0))
    journal.append(Evaluated(step=20, metrics={"test_accuracy": 0.9}))
    journal.append(Finished(step=20, reason="steps", seconds=1.0, steps_per_second=20.0, metrics={"test_accuracy": 0.9}, baselines={}))
    if after is not None:
        journal.append(Applied(step=20, what="lr", value=after, before=rates[-1]))
    journal.close()
    return found


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    run(tmp_path, "tuned", 0.003, 0.002, 0.001)
    run(tmp_path, "steady", 0.003)
    return tmp_path


def test_it_is_told_with_both_values_and_one_that_came_back_is_no_change(runs_dir: Path) -> None:
    assert changes.of(RunDirectory(runs_dir / "tuned"), 20) == {"lr": TOLD}
    assert changes.of(RunDirectory(runs_dir / "steady"), 20) == {}
    assert changes.of(run(runs_dir, "back", 0.003, 0.001, 0.003), 20) == {}
    assert changes.of(RunDirectory(runs_dir / "nowhere"), 20) == {}


def test_a_value_that_nothing_was_trained_with_is_no_change(tmp_path: Path, dlplay: Dlplay) -> None:
    """A person who types the next run's learning rate while the finished run is shown has not changed that run."""
    assert changes.of(run(tmp_path, "then-typed", 0.003, 0.001, after=0.03), 20) == {"lr": TOLD}
    assert changes.of(run(tmp_path, "as-begun", 0.003, after=0.03), 20) == {}
    compared = json.loads(dlplay("compare", "then-typed", "as-begun", "--json", "--runs-dir", str(tmp_path)).out)
    assert compared["settings"]["lr"] == [TOLD, "0.003"]


def test_the_list_and_the_comparison_say_the_same(runs_dir: Path, dlplay: Dlplay) -> None:
    where = ("--runs-dir", str(runs_dir))
    lines = {line.split()[0]: line for line in dlplay("runs", *where).out.splitlines()}
    assert f"lr {TOLD}" in lines["tuned"]
    assert "→" not in lines["steady"]
    listed = {found["name"]: found["changed"] for found in map(json.loads, dlplay("runs", "--json", *where).out.splitlines())}
    assert listed == {"tuned": {"lr": TOLD}, "steady": {}}
    compared = dlplay("compare", "tuned", "steady", *where).out.splitlines()
    assert any(line.split()[:4] == ["lr", *TOLD.split()] and line.split()[-1] == "0.003" for line in compared), "\n".join(compared)
    found = json.loads(dlplay("compare", "tuned", "steady", "--json", *where).out)
    assert found["settings"]["lr"] == [TOLD, "0.003"]


def test_a_resume_with_another_rate_that_trained_nothing_is_no_change_either(tmp_path: Path, dlplay: Dlplay) -> None:
    found = run(tmp_path, "resumed", 0.003)
    settings = found.spec.settings | {"lr": 0.03}
    facts = {"device": "cpu", "device_name": "cpu", "threads": 1, "parameters": 1, "data": "d", "versions": {}}
    with Journal(found.journal_path) as journal:
        journal.append(Started(step=20, architecture="convnet", name="resumed", origin="", pid=1, settings=settings, **facts))
    assert changes.of(found, 20) == {}
    history = History("test_accuracy", "higher")
    history.add(JournalReader(found.journal_path).read())
    assert history.settings["lr"] == 0.03
    assert history.trained_settings["lr"] == 0.003


async def test_the_list_on_the_screen_says_it_too(runs_dir: Path) -> None:
    card = architectures.card("convnet")
    assert rows.changed_settings(card, {"lr": 0.003}, {"lr": TOLD}) == {"lr": TOLD}
    async with opened(runs_dir) as (app, _):
        app.action_runs()
        await until(lambda: f"lr {TOLD}" in screen_text(app))
