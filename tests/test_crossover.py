"""Up to which size of a net a CPU is faster than a card: how that follows from speeds, where it is kept, and what goes by it.

The speeds are made up, and so is the driver's list of cards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from dlplay import architectures
from dlplay.engine import crossover
from dlplay.engine.crossover import UP_TO, Bound, Speeds, bound, crossing, keep, kept
from dlplay.engine.settings import make, to_dict
from dlplay.runs import check, directory, process


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A machine with these cards and a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(crossover, "DRIVER", tmp_path / "gpus")

    def make(*names: str) -> None:
        for number, name in enumerate(names):
            folder = tmp_path / "gpus" / f"0000:{number:02}:00.0"
            folder.mkdir(parents=True)
            (folder / "information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t {number}\n")

    return make


def speeds(*sizes: tuple[int, float, float]) -> list[Speeds]:
    return [Speeds(multiply_adds=size, cpu=cpu, card=card) for size, cpu, card in sizes]


@pytest.mark.parametrize(
    ("measured", "up_to"),
    [
        pytest.param([(100, 8.0, 2.0), (10_000, 2.0, 8.0)], 1000, id="as much slower as then faster: the middle between the sizes"),
        pytest.param([(10_000, 2.0, 8.0), (100, 8.0, 2.0)], 1000, id="in any order"),
        pytest.param([(100, 9.0, 1.0), (10_000, 2.0, 2.0), (1_000_000, 1.0, 9.0)], 10_000, id="as fast at a size"),
        pytest.param([(100, 8.0, 2.0), (10_000, 4.0, 2.0)], 10_000, id="never faster: nothing is known beyond"),
        pytest.param([(100, 2.0, 8.0)], 0, id="always faster"),
    ],
)
def test_the_size_follows_from_the_speeds(measured: list[tuple[int, float, float]], up_to: int) -> None:
    assert crossing(speeds(*measured)) == pytest.approx(up_to, abs=1)


def test_what_was_measured_on_a_card_of_this_machine_holds_instead_of_the_fixed_size(machine: Any) -> None:
    machine("NVIDIA A", "NVIDIA B")
    assert bound() == Bound(UP_TO, "")
    keep("NVIDIA C", 7)
    assert bound() == Bound(UP_TO, ""), "there is no such card here"
    keep("NVIDIA A", 5000)
    keep("NVIDIA B", 3000)
    assert bound() == Bound(3000, "NVIDIA B"), "of two cards the lower one"
    keep("NVIDIA B", 9000)
    assert bound() == Bound(5000, "NVIDIA A")
    keep("NVIDIA C", 8)
    assert [*kept()] == ["NVIDIA A", "NVIDIA B", "NVIDIA C"], "the one measured last stands last"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 60_000,
        b'{"NVIDIA A": {"up_to": -1, "date": ""}}',
        b'{"NVIDIA A": {"up_to": 1e99, "date": ""}}',
        b'{"NVIDIA A": {"up_to": 5, "date": "", "more": 1}}',
        json.dumps({f"NVIDIA {name}": {"up_to": 5, "date": ""} for name in ("A", *range(64))}).encode(),
        json.dumps({"NVIDIA A": {"up_to": 5, "date": ""}}).encode() + b" " * crossover.MOST_BYTES,
    ],
    ids=["empty", "broken", "deep", "negative", "huge", "unknown", "too many cards", "too long"],
)
def test_a_file_that_it_has_not_written_is_as_none_and_is_replaced(machine: Any, content: bytes) -> None:
    machine("NVIDIA A")
    crossover.path().parent.mkdir(parents=True)
    crossover.path().write_bytes(content)
    assert bound() == Bound(UP_TO, "")
    keep("NVIDIA A", 6)
    assert bound() == Bound(6, "NVIDIA A")
    assert [entry.name for entry in crossover.path().parent.iterdir()] == ["crossover.json"]


def test_the_file_keeps_the_cards_measured_last(machine: Any) -> None:
    for number in range(crossover.MOST_CARDS + 2):
        keep(f"NVIDIA {number}", number)
    assert [*kept()] == [f"NVIDIA {number}" for number in range(2, crossover.MOST_CARDS + 2)]


@pytest.mark.parametrize(
    ("values", "up_to", "placed"),
    [
        ({}, 64 * 64 * 64, "cpu"),
        ({}, 64 * 64 * 64 - 1, "auto"),
        ({"batch": 65}, 64 * 64 * 64, "auto"),
        ({"hidden": "0"}, 0, "cpu"),
        ({"hidden": "2048,2048"}, 2048 * 2048 * 64, "cpu"),
        ({"env": "ALE/Pong-v5"}, 10**15, "auto"),
    ],
)
def test_auto_goes_by_it(machine: Any, values: dict[str, Any], up_to: int, placed: str) -> None:
    machine("NVIDIA A")
    keep("NVIDIA A", up_to)
    assert make(architectures.card("dqn").settings, values).placed == placed


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        (True, "300,000 up to which the CPU was measured to be faster than NVIDIA A"),
        (False, "8,388,608 up to which a CPU is taken to be faster, which dlplay check --device cuda measures"),
    ],
)
def test_a_run_says_which_of_both_it_went_by(
    machine: Any, measured: bool, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("NVIDIA A")
    if measured:
        keep("NVIDIA A", 300_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    dqn = architectures.card("dqn")
    run = directory.create(tmp_path / "runs", "dqn", to_dict(make(dqn.settings, {})))
    task, _, _, [warning] = process.prepare(dqn, run, None, {}, {})
    assert (task.device.type, warning.why) == ("cpu", f"its net's 262,144 multiply-adds a batch are within the {why}")


@pytest.mark.parametrize("writable", [True, False])
def test_a_check_of_a_card_keeps_what_it_found(machine: Any, writable: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine("NVIDIA A")
    if not writable:
        (tmp_path / "cache").write_text("")  # in the way of the folder
    report = check.Report(device="cuda:0", device_name="NVIDIA A", system="", versions={"torch": ""}, date="", results=[])
    dqn, out = architectures.card("dqn"), tmp_path / "found.json"
    with mock.patch.multiple(
        check,
        new_report=lambda _: report,
        examine=lambda *_: check.Result(architecture="dqn"),
        speeds_by_size=lambda *_: speeds((100, 8.0, 2.0), (10_000, 2.0, 8.0)),
    ):
        assert check.run([dqn], "cuda:0", 0.01, out, False) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("the CPU is faster up to")]
    assert json.loads(out.read_text())["cpu_up_to"] in (999, 1000)
    assert len(json.loads(out.read_text())["by_size"]) == 2
    assert bound().card == ("NVIDIA A" if writable else "")
    assert len(lines) == 1
    assert ("from now on" in lines[0]) == writable
    assert ("cannot be written" in lines[0]) != writable


def test_sizes_are_measured_on_a_card_alone() -> None:
    assert check.speeds_by_size(architectures.card("dqn"), "cpu", 0.01) == []


def test_every_room_that_tells_its_size_has_nets_to_measure_that_grow() -> None:
    for card in architectures.cards().values():
        settings = [make(card.settings, values) for values in card.by_size]
        assert bool(settings) == (card.settings().multiply_adds() is not None)
        sizes = [each.multiply_adds() or 0 for each in settings]
        assert sizes == sorted(set(sizes))
