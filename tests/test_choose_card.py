"""Which card `--device auto` takes, with the driver's answers made up: no card is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dlplay.architectures import card, cards
from dlplay.engine.device import choose
from dlplay.engine.settings import make, to_dict
from dlplay.runs import directory, process

GB = 10**9


def driver(cards: dict[str, tuple[int, int]]) -> Any:
    """Answers as the NVML module does: `cards` are (bytes in use, per cent of utilisation) by UUID, of 80 GB each."""
    by_handle = {f"GPU-{uuid}".encode(): card for uuid, card in cards.items()}

    def memory(handle: bytes) -> Any:
        used, _ = by_handle[handle]
        return SimpleNamespace(used=used, free=80 * GB - used, total=80 * GB)

    return SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=by_handle[handle][1]),
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a machine of these cards; `visible` are those that CUDA shows, in its order."""

    def make(cards: dict[str, tuple[int, int]], *visible: str) -> None:
        shown = visible or tuple(cards)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(shown))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=shown[device.index]))
        monkeypatch.setitem(sys.modules, "pynvml", driver(cards))

    return make


@pytest.mark.parametrize(
    ("cards", "taken"),
    [
        pytest.param({"a": (70 * GB, 90), "b": (0, 0), "c": (0, 0)}, 1, id="the first of the free ones"),
        pytest.param({"a": (60 * GB, 0), "b": (20 * GB, 95), "c": (50 * GB, 0)}, 1, id="the most free memory"),
        pytest.param({"a": (3 * GB, 60), "b": (1 * GB, 90), "c": (2 * GB, 5)}, 2, id="about as much: the least used"),
        pytest.param({"a": (1 * GB, 100)}, 0, id="the only one"),
    ],
)
def test_auto_takes_the_freest_card(machine: Any, cards: dict[str, tuple[int, int]], taken: int) -> None:
    machine(cards)
    assert choose("auto") == torch.device("cuda", taken)


def test_only_cards_that_cuda_shows_are_taken(machine: Any) -> None:
    """Their numbers are CUDA's, whose order need not be the driver's."""
    machine({"a": (0, 0), "b": (70 * GB, 90), "c": (10 * GB, 0)}, "b", "c")
    assert choose("auto") == torch.device("cuda", 1)


def test_a_card_that_is_named_is_taken_however_busy_it_is(machine: Any) -> None:
    machine({"a": (79 * GB, 100), "b": (0, 0)})
    assert choose("cuda") == choose("cuda:0") == torch.device("cuda", 0)


@pytest.mark.parametrize("missing", ["pynvml", "a card", "an answer"])
def test_without_the_driver_s_answer_it_is_the_first_card(machine: Any, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    machine({"a": (79 * GB, 100), "b": (0, 0)}, *(("a", "gone") if missing == "a card" else ()))
    if missing == "pynvml":
        monkeypatch.setitem(sys.modules, "pynvml", None)
    if missing == "an answer":
        del sys.modules["pynvml"].nvmlDeviceGetUtilizationRates
    assert choose("auto") == torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("values", "placed"),
    [
        pytest.param({}, "cpu", id="CartPole's small net"),
        pytest.param({"hidden": "0"}, "cpu", id="a table"),
        pytest.param({"device": "cuda:1"}, "cuda:1", id="a card that is named"),
        pytest.param({"hidden": "1024,1024"}, "auto", id="a large net"),
        pytest.param({"env": "ALE/Pong-v5"}, "auto", id="pictures"),
    ],
)
def test_nets_that_a_card_would_slow_down_stay_on_the_cpu(values: dict[str, Any], placed: str) -> None:
    settings = make(card("dqn").settings, values)
    assert settings.placed == placed
    assert bool(settings.cpu_is_faster()) == (placed != "auto")


def test_other_nets_go_where_they_are_told(machine: Any) -> None:
    assert {name: each.settings().placed for name, each in cards().items() if name != "dqn"} == dict.fromkeys(
        set(cards()) - {"dqn"}, "auto"
    )


def test_a_run_that_stays_on_the_cpu_says_so(machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dqn = card("dqn")
    run = directory.create(tmp_path, "dqn", to_dict(make(dqn.settings, {})))
    machine({"a": (0, 0)})
    task, _, _, warnings = process.prepare(dqn, run, None, {}, {})
    assert task.device == torch.device("cpu")
    assert [(each.what, each.remedy) for each in warnings] == [("trained on the CPU though there is a GPU", "--device cuda takes the GPU")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert process.prepare(dqn, run, None, {}, {})[3] == []
