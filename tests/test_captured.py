"""`--graph`: what cannot be captured is refused in words. That captured steps are right is shown on a device of paper
(`tests/test_paper_device.py`)."""

from __future__ import annotations

from typing import Any

import pytest

from dlplay import architectures
from dlplay.engine import captured, torchrun
from dlplay.engine.settings import SettingsError, make
from tests.conftest import Build, Dlplay
from tests.toy import ToySettings

CARDS = architectures.cards()


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("gpt", {"device": "cpu"}, "for NVIDIA GPUs, and --device cpu is none"),
        ("gpt", {"device": "mps"}, "for NVIDIA GPUs, and --device mps is none"),
        ("gpt", {"compile": True}, "use --compile or --graph"),
        ("gpt", {"schedule": "one-cycle"}, "moves the momentum"),
        ("convnet", {}, "moves the momentum"),
        ("dqn", {}, "the environment needs each action"),
        ("recurrent", {"task": "text"}, "reads on where the last one ended"),
        ("recurrent", {"task": "series"}, "reads on where the last one ended"),
        ("transformer-xl", {"task": "text"}, "reads on where the last one ended"),
    ],
)
def test_what_cannot_be_captured_is_refused_where_it_is_typed(name: str, values: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=f"--graph.*{why}"):
        make(CARDS[name].settings, {"graph": True, **values})


def test_several_ranks_are_refused() -> None:
    with pytest.raises(SettingsError, match="--graph .*without torchrun"):
        torchrun.check(ToySettings(graph=True), 2)


def test_a_device_that_is_found_to_be_none_is_refused(build: Build) -> None:
    with pytest.raises(SettingsError, match="--graph is for NVIDIA GPUs, and this run trains on cpu; leave it out"):
        captured.prepare(build("gpt"))


@pytest.mark.slow
def test_a_command_that_finds_no_card_says_so(dlplay: Dlplay) -> None:
    ended = dlplay("gpt", "--headless", "--graph", "--steps", "1", env={"CUDA_VISIBLE_DEVICES": ""})
    assert ended.status != 0
    assert "--graph is for NVIDIA GPUs, and this run trains on" in ended.err
    assert "Traceback" not in ended.err
