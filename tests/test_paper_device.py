"""What a card would refuse or be waited for, found on a device of paper (`tests/paper_device`): every architecture, every preset."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlplay import architectures
from dlplay.data.download import SETS
from tests.conftest import ROOT
from tests.drawing_rooms import DRAWING, READ_ON, REPLAYING
from tests.paper_device import runtime

pytestmark = pytest.mark.skipif(bool(runtime.missing()), reason=runtime.missing() or "-")

WAITS = {
    "dqn.player.policy": (1, "the environment needs the action before it can go on"),
}
"""Most waits for the device in a training step, by the module that waits, and why it must. Everything else does without."""
ELSEWHERE = (*(f"downloads {name}" for name in SETS), "needs an extra package")
"""Why a preset cannot be tried on this machine, whatever the device."""
WITHOUT_BF16 = {("gan", "weight-clipping")}
"""Presets whose loss refuses bfloat16: clipped weights tell real from fake by less than it rounds by."""

REFUSED = {
    "OnTheCPU": "expected all tensors to be on the same device, but found cuda:0 and cpu",
    "OtherGenerator": "expected a generator of cuda, found one of cpu",
    "AsNumpy": "the panel noise: TypeError: can't convert cuda:0 device type tensor to numpy",
    "Forgetful": "a resumed run has other weights or another state",
    "OtherNumbers": "a loss differs from the CPU's by",
}
"""Rooms with a fault, and what is said of it."""
WAITING = ["Item", "Mask", "SlowCopy"]


Found = list[Any]


@pytest.fixture(scope="session")
def on_paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Found]]:
    """What `python -m tests.paper_device ARGUMENTS` finds, each time in a process of its own: a fork of one that has imported PyTorch."""
    command, numbers = [sys.executable, "-m", "tests.paper_device"], itertools.count()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        folder = tmp_path_factory.mktemp("paper")

        def on_paper(*arguments: str) -> Found:
            """The answers follow the questions in their order, also after a test that did not wait for its own."""
            number = next(numbers)
            said, errors = folder / f"{number}.out", folder / f"{number}.err"
            print(json.dumps([number, str(said), str(errors), *arguments]), file=process.stdin, flush=True)
            while (line := process.stdout.readline()) and not line.startswith(f"{number} "):
                pass
            assert line == f"{number} 0\n", said.read_text()[-1000:] + errors.read_text()[-3000:]
            return [json.loads(line) for line in said.read_text().splitlines()]

        yield on_paper


@pytest.fixture(scope="session")
def rooms(on_paper: Callable[..., Found]) -> dict[str, dict[str, Any]]:
    """What was found of each room in `tests/paper_device/rooms`."""
    return {found["preset"]: found["result"] for found in on_paper("--rooms", "Sound", *REFUSED, *WAITING, "AnyOrder")}


def check_presets(on_paper: Callable[..., Found], name: str, presets: list[str], text: Path) -> None:
    """Fails unless each of them trains, resumes and shows all panels on the device, and waits for it only with a reason."""
    found = on_paper(name, str(text), *presets)
    assert [item["preset"] for item in found] == presets
    for preset in found:
        if preset["refused"]:
            assert any(words in preset["refused"] for words in ELSEWHERE), preset
            continue
        result = preset["result"]
        assert result["problems"] == [], preset
        assert result["warnings"] == [], preset
        assert result["resumed_exactly"] is True, preset
        roundings = {"tf32"} if (name, preset["preset"]) in WITHOUT_BF16 else {"tf32", "bf16"}
        assert result["rounding"].keys() == roundings, "an Ampere card has both"
        assert result["panels"] == result["all_panels"] == len(architectures.card(name).panels), preset
        for place, count in result["waits"].items():
            module = place.partition(":")[0].removeprefix("dlplay.architectures.")
            most, _ = WAITS.get(module, (0, ""))
            assert count <= most, f"{preset['preset']} waits {count:g} times in a step at {place}"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "convnet" else pytest.mark.slow) for name in architectures.cards()]
)
def test_an_architecture_runs_on_a_card(name: str, own_words: Path, on_paper: Callable[..., Found]) -> None:
    """By its first preset, the defaults."""
    check_presets(on_paper, name, list(architectures.card(name).presets)[:1], own_words)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", architectures.cards())
def test_every_preset_runs_on_a_card(name: str, own_words: Path, on_paper: Callable[..., Found]) -> None:
    check_presets(on_paper, name, list(architectures.card(name).presets)[1:], own_words)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_step_copies_nothing_but_what_was_drawn_and_many_of_these_at_once(own_words: Path, on_paper: Callable[..., Found]) -> None:
    """Five batches here; `engine.ahead` has how many otherwise."""
    for found in on_paper("--copies", str(own_words), *DRAWING, *READ_ON):
        _, values = (DRAWING | READ_ON)[found["case"]]
        drawn = {} if found["case"] in READ_ON else {"dlplay.engine.ahead": values.get("accumulate", 1) / 5}
        assert (found["waits"], found["copies"]) == ({}, drawn), found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_dqn_copies_once_a_step_and_waits_for_its_actions_alone(on_paper: Callable[..., Found]) -> None:
    """What is replayed goes to the card with the observations that the next actions are chosen by, so that choosing copies nothing more; it
    does alone in a step that follows one without an update. Prioritised replay draws an update's batch by the errors of the one before."""
    learning, acting = "dlplay.engine.packed", "dlplay.architectures.dqn.player.policy"
    copies = {case: {learning: 1.0} for case in REPLAYING}
    copies["dqn that learns in every other step"] = {learning: 0.5, acting: 0.5}
    copies["dqn, prioritised"] = {learning: 2.0}
    waits = {case: {acting: 1.0} for case in REPLAYING}
    waits["dqn that explores"] = {}
    waits["dqn, prioritised"] = {acting: 1.0, "dlplay.architectures.dqn.task": 2.0}
    for found in on_paper("--copies", "", *REPLAYING):
        case = found["case"]
        assert found["copies"] == copies[case], found
        assert {place.partition(":")[0]: count for place, count in found["waits"].items()} == waits[case], found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", DRAWING)
def test_captured_steps_are_those_taken_kernel_by_kernel(case: str, own_words: Path, on_paper: Callable[..., Found]) -> None:
    """To the bit: weights, optimisers, generators, gradients and every metric. Without `--graph` learning rates have more digits."""
    [found] = on_paper("--graphs", str(own_words), case)
    assert (found["why"], found["differ"], found["keys"]) == ("", [], True)
    first, timed, changed = 3, 1, 1
    keeps_samples = case.startswith("gan")
    assert found["replayed"] == 10 - first - timed - changed - keeps_samples
    assert found["drift"] < 1e-3, found["where"]


@pytest.mark.slow
def test_steps_that_cannot_be_captured_go_on_without_and_say_why(on_paper: Callable[..., Found]) -> None:
    kinds = {
        "Drawing": "",
        "AlsoOnTheCPU": "train_step computes on the CPU",
        "LooksAtIt": "train_step waits for a number",
        "Chooses": "operation not permitted when stream is capturing",
        "RateInTheStep": "train_step sets a rate that update_rates has not set",
        "MovingMomentum": "change from step to step",
    }
    [found] = on_paper("--giving-up", *kinds, "MoreAndMore")
    for (kind, words), result in zip((kinds | {"MoreAndMore": ""}).items(), found, strict=True):
        assert len(result["why"]) == bool(words), kind
        assert words in "".join(result["why"]), kind
        assert result["drift"] < 1e-5, kind
    assert [result["replayed"] for result in found] == [5, 0, 0, 0, 0, 0, 2]


@pytest.mark.slow
def test_a_run_whose_steps_are_captured_resumes_exactly(on_paper: Callable[..., Found]) -> None:
    [found] = on_paper("--captured-run", "Drawing")
    result = found["result"]
    assert (result["problems"], result["warnings"], result["waits"], result["resumed_exactly"]) == ([], [], {}, True)
    assert result["captured_difference"] == 0


@pytest.mark.slow
def test_a_room_without_a_fault_passes(rooms: dict[str, dict[str, Any]]) -> None:
    sound = rooms["Sound"]
    assert (sound["problems"], sound["warnings"], sound["waits"]) == ([], [], {})
    assert sound["resumed_exactly"] is True
    assert sound["loss_difference"] < 1e-6


def test_an_update_by_several_batches_waits_for_nothing(on_paper: Callable[..., Found]) -> None:
    [found] = on_paper("--accumulating", "Sound")
    result = found["result"]
    assert (result["problems"], result["warnings"], result["waits"], result["resumed_exactly"]) == ([], [], {}, True)
    assert result["loss_difference"] < 1e-6


def test_a_step_of_several_ranks_waits_for_nothing(on_paper: Callable[..., Found]) -> None:
    [found] = on_paper("--ranks")
    assert (found["waits"], found["sent"]) == ({}, True)
    assert found["difference"] < 1e-6


@pytest.mark.slow
def test_nets_are_measured_from_small_to_large_on_the_card_and_on_the_cpu(on_paper: Callable[..., Found]) -> None:
    """On paper a card is no faster than the CPU that computes for it, and has more to do."""
    [speeds] = on_paper("--by-size", "dqn")
    assert [each["multiply_adds"] for each in speeds] == [64 * 64 * 64, 128 * 128 * 64]
    assert all(each["cpu"] > 0 and each["card"] > 0 for each in speeds)


@pytest.mark.slow
def test_a_fault_that_a_card_refuses_is_a_problem(rooms: dict[str, dict[str, Any]]) -> None:
    for kind, words in REFUSED.items():
        assert any(words in problem for problem in rooms[kind]["problems"]), rooms[kind]


@pytest.mark.slow
def test_a_wait_is_counted_where_it_happens(rooms: dict[str, dict[str, Any]]) -> None:
    for kind in WAITING:
        [(place, count)] = rooms[kind]["waits"].items()
        assert place.startswith("tests.paper_device.rooms.task:")
        assert count == 1
        assert rooms[kind]["problems"] == []


@pytest.mark.slow
def test_a_kernel_that_adds_in_any_order_is_told(rooms: dict[str, dict[str, Any]]) -> None:
    assert rooms["AnyOrder"]["warnings"] == ["aten.cumsum.default does not have a deterministic implementation"]


def test_a_loss_that_is_not_finite_changes_no_weight_and_nobody_waits(on_paper: Callable[..., Found]) -> None:
    [found] = on_paper("--poisoned", "AdamW", "SGD", "RMSprop")
    assert found == [{"learns": True, "changed": [], "not_finite": 1.0, "waits": []}] * 3
