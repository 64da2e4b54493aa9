"""`--find-batch`: the largest batch that fits, tried with memory that is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dlplay import architectures
from dlplay.engine import device as devices
from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError, make
from dlplay.runs import find_batch
from dlplay.runs.find_batch import search
from tests.conftest import Dlplay

CARD = architectures.card("convnet")


def settings(**values: Any) -> Any:
    return make(CARD.settings, {"batch": 16, "device": "cpu", **values})


@pytest.fixture
def card_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a card that holds batches up to this one; each example takes a megabyte."""

    def make(holds: int, seconds: float = 1e-6) -> list[int]:
        tried: list[int] = []

        def steps(card: Any, chosen: Any, assets: Any) -> float:
            tried.append(chosen.batch)
            if chosen.batch > holds:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return seconds * chosen.batch

        monkeypatch.setattr(find_batch, "_steps", steps)
        monkeypatch.setattr(find_batch.gc, "collect", lambda: 0)  # of all that other tests have left
        monkeypatch.setattr(find_batch.devices, "peak_bytes", lambda device: tried[-1] << 20)
        monkeypatch.setattr(find_batch.devices, "free_bytes", lambda device: 1 << 50)
        return tried

    return make


@pytest.mark.parametrize("holds", [2, 5, 16, 100, 700])
def test_the_largest_that_fits_is_found_to_an_eighth(card_of: Any, holds: int) -> None:
    card_of(holds)
    found = search(CARD, settings())
    largest = max(each.batch for each in found if each.fits)
    assert largest <= holds < largest + max(largest / 4, 2)
    assert all(each.fits == (each.batch <= holds) for each in found)
    assert {each.why for each in found if not each.fits} == {"out of memory"}
    assert len(found) < 20


def test_where_nothing_fits_it_says_so(card_of: Any) -> None:
    card_of(0)
    assert not any(each.fits for each in search(CARD, settings()))


def test_another_error_is_no_shortage(card_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(card: Any, chosen: Any, assets: Any) -> float:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(find_batch, "_steps", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        search(CARD, settings())


def test_a_cpu_is_never_filled_up(card_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = card_of(10**9)
    monkeypatch.setattr(find_batch.devices, "resident_bytes", lambda: 0)
    monkeypatch.setattr(find_batch.devices, "free_bytes", lambda device: 100 << 20)
    found = search(CARD, settings())
    assert max(tried) <= 80, "four fifths of the memory that is left"
    assert max(each.batch for each in found if each.fits) >= 64
    assert all("of 84 MB that it may have" in each.why for each in found if not each.fits)


def test_where_nobody_tells_what_is_left_it_says_so(card_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card_of(10**9)
    monkeypatch.setattr(find_batch.devices, "free_bytes", lambda device: None)
    with pytest.raises(SettingsError, match="it takes Linux or an NVIDIA GPU"):
        search(CARD, settings())


def test_a_batch_whose_steps_would_take_long_is_not_tried(card_of: Any) -> None:
    tried = card_of(10**9, seconds=find_batch.LONG / 100)
    found = search(CARD, settings())
    assert max(tried) <= 100
    assert all("a step would take about" in each.why for each in found if not each.fits)


def test_an_architecture_without_batches_says_why() -> None:
    card = architectures.card("dqn")
    with pytest.raises(SettingsError, match="DQN is one of its environment"):
        search(card, make(card.settings, {"device": "cpu"}))


def test_on_the_command_line_batches_are_tried_for_real(dlplay: Dlplay, tmp_path: Path) -> None:
    """In as much memory as there is; a net so small is fast with the largest that the setting allows."""
    words = ["convnet", "--headless", "--find-batch", "--data", "digits", "--channels", "2", "--image-size", "8", "--threads", "1"]
    ended = dlplay(*words, "--json", "--device", "cpu", "--runs-dir", str(tmp_path / "runs"))
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)
    assert found["largest"] == max(each["batch"] for each in found["tried"] if each["fits"])
    assert all(each["bytes"] > 10**7 and each["seconds"] > 0 for each in found["tried"] if each["fits"])
    assert not (tmp_path / "runs").exists()
    refused = dlplay("convnet", "--find-batch")
    assert (refused.status, "--find-batch needs --headless" in refused.err) == (2, True)
    refused = dlplay("convnet", "--headless", "--find-batch", "--name", "x")
    assert (refused.status, "leave out --name" in refused.err) == (2, True)


def test_on_a_cpu_two_small_batches_come_first(card_of: Any) -> None:
    """They tell what a large one would take: a batch that does not fit would take the machine down with it."""
    tried = card_of(10**9)
    search(CARD, settings(batch=64))
    assert tried[:3] == [8, 16, 64]


def test_only_a_batch_that_is_refused_does_not_fit(card_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, refused = card_of(10**9), {}

    def steps(card: Any, chosen: Any, assets: Any) -> float:
        if chosen.batch >= refused.get("from", 10**9):
            raise refused["with"]
        tried.append(chosen.batch)
        return 1e-6 * chosen.batch

    monkeypatch.setattr(find_batch, "_steps", steps)
    refused |= {"from": 0, "with": SettingsError("--lora: name a model with --from", "lora")}
    with pytest.raises(SettingsError, match="name a model"):
        search(CARD, settings())
    refused |= {"from": 0, "with": DataError("the text is too short")}
    with pytest.raises(DataError, match="too short"):
        search(CARD, settings())
    refused |= {"from": 40}
    found = search(CARD, settings())
    assert max(each.batch for each in found if each.fits) in range(32, 40)
    assert {each.why for each in found if not each.fits} == {"the text is too short"}


def test_what_control_groups_leave_counts_in_either_version(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "root"
    (root / "slurm/job").mkdir(parents=True)
    (root / "memory/slurm").mkdir(parents=True)
    (root / "slurm/memory.max").write_text("8000\n")
    (root / "slurm/memory.current").write_text("3000\n")
    (root / "slurm/job/memory.max").write_text("max\n")
    (root / "slurm/job/memory.current").write_text("1000\n")
    own.write_text("0::/slurm/job\n")
    assert list(devices._left_in_groups(own, root)) == [5000], "of the group around it"
    (root / "memory/slurm/memory.limit_in_bytes").write_text("700\n")
    (root / "memory/slurm/memory.usage_in_bytes").write_text("100\n")
    own.write_text("5:cpu,cpuacct:/slurm\n4:memory:/slurm\nnothing\n")
    assert list(devices._left_in_groups(own, root)) == [600]
    assert list(devices._left_in_groups(tmp_path / "none", root)) == []
