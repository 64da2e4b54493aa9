"""A room of one's own, in any folder, is a tab and a command, and the contract's tests take it up, without an edit elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlplay import architectures, template
from dlplay.cli import run
from dlplay.engine.settings import SettingsError
from dlplay.runs.lock import holder
from tests.conftest import ROOT, Dlplay
from tests.screen_pilot import opened, part_text, screen_text, until


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the room that `dlplay new` writes; it is forgotten afterwards."""
    folder = tmp_path / "rooms"
    template.write("my-net", folder)
    monkeypatch.setenv(architectures.VARIABLE, "")
    monkeypatch.setattr(architectures, "__path__", list(architectures.__path__))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("dlplay.architectures.my_net"):
            del sys.modules[name]
    architectures.cards.cache_clear()


def test_a_new_room_trains_resumes_answers_and_is_exported(dlplay: Dlplay, rooms: Path, tmp_path: Path) -> None:
    given = ("--rooms", str(rooms), "--runs-dir", str(tmp_path / "runs"))
    trained = dlplay("my-net", "--headless", "--steps", "300", "--json", *given)
    assert (trained.status, trained.err) == (0, "")
    finished = json.loads(trained.out.splitlines()[-1])
    assert finished["metrics"]["test_accuracy"] > 0.8
    assert finished["metrics"]["test_accuracy"] < finished["baselines"]["test_accuracy"]["nearest centre"] + 0.05
    assert dlplay("resume", "my-net-1", "--headless", "--steps", "320", *given).status == 0
    asked = dlplay("my-net", "--headless", "--from", "my-net-1", "--panel", "plane", "--json", *given)
    assert json.loads(asked.out)["kind"] == "scatter"
    assert dlplay("export", "my-net-1", str(tmp_path / "script.py"), "--to", "torch", *given).status == 0
    script = subprocess.run([sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=False)
    assert script.returncode == 0, script.stderr


def test_without_its_folder_a_run_says_what_is_missing(dlplay: Dlplay, rooms: Path, tmp_path: Path) -> None:
    runs = ("--runs-dir", str(tmp_path / "runs"))
    assert dlplay("my-net", "--headless", "--steps", "2", "--rooms", str(rooms), *runs).status == 0
    refused = dlplay("resume", "my-net-1", "--headless", *runs)
    assert refused.status == 2
    assert "--rooms" in refused.err
    assert refused.err.count("\n") == 1
    assert "my-net-1" in dlplay("runs", *runs).out


async def test_a_room_is_a_tab(rooms: Path, tmp_path: Path) -> None:
    architectures.add_rooms([rooms])
    async with opened(tmp_path / "runs", tab="my-net", settings={"steps": 200}) as (app, pilot):
        await until(lambda: "My net" in screen_text(app))
        assert "try it" not in screen_text(app)  # there is no stage to go to
        await pilot.press("slash", "space")
        await until(lambda: app.tab.link is not None and app.tab.link.history.step >= 200)
        await until(lambda: "nearest" in screen_text(app), 90)
        await until(lambda: "both" in part_text(app, "#right Inspector"))  # the panel answered
        await pilot.press("q")
        await pilot.press("s")
        await until(lambda: app._exit)
    await until(lambda: holder(tmp_path / "runs" / "my-net-1" / "lock") is None)


def misspell_an_extra(folder: Path) -> None:
    path = folder / "my_net" / "settings.py"
    imports = "from typing import Annotated\n\nfrom msgspec import Meta\n\nfrom dlplay.engine.quantities"
    text = path.read_text().replace("from dlplay.engine.quantities", imports)
    path.write_text(text.replace("lr: LearningRate", 'lr: Annotated[float, Meta(extra={"lives": True})]'))


def a_list_of_numbers(folder: Path) -> None:
    path = folder / "my_net" / "settings.py"
    path.write_text(
        path.read_text().replace("    lr: LearningRate", '    rates: list[float] = None\n    """Rates."""\n\n    lr: LearningRate')
    )


@pytest.mark.parametrize(
    ("file", "before", "after", "words"),
    [
        ("task.py", '"train_loss": loss.detach()', '"train_loss": loss.item()', "train_step returned a float as train_loss"),
        ("task.py", '"train_loss": loss.detach()', '"train_loss": loss.detach().repeat(2)', "a tensor of shape (2,) as train_loss"),
        ("task.py", '"test_accuracy": float', '"accuracy": float', "evaluate returned accuracy, without the card's metric test_accuracy"),
    ],
)
def test_what_a_task_returns_wrongly_ends_its_run_in_words(
    file: str, before: str, after: str, words: str, dlplay: Dlplay, rooms: Path, tmp_path: Path
) -> None:
    path = rooms / "my_net" / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    ended = dlplay("my-net", "--headless", "--steps", "20", "--rooms", str(rooms), "--runs-dir", str(tmp_path / "runs"))
    assert ended.status == 1
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_a_panel_with_a_tensor_in_it_is_told(dlplay: Dlplay, rooms: Path, tmp_path: Path) -> None:
    given = ("--rooms", str(rooms), "--runs-dir", str(tmp_path / "runs"))
    assert dlplay("my-net", "--headless", "--steps", "2", *given).status == 0
    path = rooms / "my_net" / "panels.py"
    path.write_text(path.read_text().replace("self.labels.tolist()", "self.labels"))
    asked = dlplay("my-net", "--headless", "--from", "my-net-1", "--panel", "plane", *given)
    assert asked.status == 2
    assert "Scatter.groups holds a Tensor; use .tolist()" in asked.err
    assert asked.err.count("\n") == 1


async def test_a_panel_that_breaks_says_so_in_its_place(rooms: Path, tmp_path: Path) -> None:
    path = rooms / "my_net" / "panels.py"
    path.write_text(path.read_text().replace("self.model(grid)", "self.model(grid[..., :1])"))
    architectures.add_rooms([rooms])
    async with opened(tmp_path / "runs", tab="my-net", settings={"steps": 100}, explore=True) as (app, pilot):
        await until(lambda: "My net" in screen_text(app))
        await pilot.press("space")
        await until(lambda: app.tab.link is not None and app.tab.link.history.step >= 100)  # over before anybody looks, or not
        await until(lambda: "could not be made: RuntimeError" in part_text(app, "#right Inspector"), 90)
        await pilot.press("q")
        await pilot.press("s")
        await until(lambda: app._exit)
    await until(lambda: holder(tmp_path / "runs" / "my-net-1" / "lock") is None)


async def test_a_mistake_in_the_task_is_told_on_the_screen_with_its_file_and_line(rooms: Path, tmp_path: Path) -> None:
    path = rooms / "my_net" / "task.py"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, "def ("]) + "\n")
    architectures.add_rooms([rooms])
    async with opened(tmp_path / "runs", tab="my-net") as (app, pilot):
        await until(lambda: "My net" in screen_text(app))
        await pilot.press("space")
        await until(lambda: "could not start" in screen_text(app), 90)
        said = part_text(app, ".dialog")
        assert "SyntaxError" in said
        assert f"line {len(lines) + 1}" in said
        assert "task.py" in said.replace(" ", "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "my_net" / "card.py").write_text("import nowhere\n"), ["my_net", "No module named 'nowhere'", "line 1"]),
        (lambda folder: (folder / "my_net" / "card.py").write_text("card = 3\n"), ["my_net", "not a Card"]),
        (lambda folder: (folder / "my_net" / "card.py").write_text("def\n"), ["my_net", "SyntaxError"]),
        (lambda folder: (folder / "my_net").rename(folder / "gpt"), ["there is a room called gpt already"]),
        (misspell_an_extra, ["MyNetSettings.lr", "lives", "known are unit"]),
        (a_list_of_numbers, ["the setting rates is of the type list[float]; it must be int, float"]),
    ],
    ids=["import", "no card", "syntax", "taken", "misspelt extra", "list of numbers"],
)  # fmt: skip
def test_what_is_wrong_with_a_room_is_said_in_one_line(
    rooms: Path, change: object, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    change(rooms)  # type: ignore[operator]
    assert run(["my-net", "--headless", "--rooms", str(rooms)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rooms"], "--rooms needs the folder"),
        (["--rooms", "nowhere"], "no such folder"),
        (["--rooms", "rooms/my_net"], "is a room itself"),
        (["--rooms", "."], "dlplay new NAME"),
        (["new", "My Net"], "cannot be a room's name"),
        (["new", "class"], "cannot be a room's name"),
        (["new", "gpt"], "already"),
        (["new", "my-net"], "is there already"),
    ],
)
def test_wrong_folders_and_names_are_refused_in_one_line(
    arguments: list[str], words: str, rooms: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(rooms.parent)
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_an_entry_point_brings_a_room(rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "own-1.dist-info").mkdir(parents=True)
    (site / "own-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    (site / "own-1.dist-info" / "entry_points.txt").write_text("[dlplay.rooms]\nmine = own_rooms.my_net\n")
    rooms.rename(site / "own_rooms")
    monkeypatch.syspath_prepend(str(site))
    architectures.cards.cache_clear()
    assert architectures.card("my-net").load_task().__module__ == "own_rooms.my_net.task"
    architectures.cards.cache_clear()


@pytest.mark.slow
def test_the_whole_contract_takes_a_room_up_without_an_edit(rooms: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/contract",
        "-k",
        "my-net",
        "--rooms",
        str(rooms),
        "-p",
        "no:cacheprovider",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout
    assert int(done.stdout.rpartition(" passed")[0].split()[-1]) >= 20


def test_contributing_shows_this_very_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in ("settings.py", "model.py", "task.py", "panels.py", "card.py"):
        lines = (template.SOURCE / name).read_text(encoding="utf-8").splitlines()
        last = max(number for number, line in enumerate(lines) if line.startswith(("import ", "from ")))
        shown = "\n".join(f"    {line}" if line else "" for line in lines[last + 1 :]).strip("\n")
        assert shown in text, f"{name} of the template and CONTRIBUTING differ"


def test_a_name_that_is_unknown_names_the_way_out() -> None:
    with pytest.raises(SettingsError, match="did you mean gpt"):
        architectures.card("gtp")
