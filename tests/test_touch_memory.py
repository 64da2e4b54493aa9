"""A position of Transformer-XL's memory, touched: the same edit of the memory that is handed to the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dlplay import architectures
from dlplay.architectures.transformer_xl.model import Memory, TransformerXL
from dlplay.engine import hooks
from dlplay.engine.device import prepare
from dlplay.engine.hooks import applied
from dlplay.engine.interventions import parse
from dlplay.engine.means import MeanActivations
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Bars, Table
from dlplay.engine.settings import SettingsError, make
from tests.conftest import Small

pytestmark = pytest.mark.usefixtures("as_before")

LAYERS = 3
IDX = torch.arange(8).view(2, 4)


@pytest.fixture
def model() -> TransformerXL:
    torch.manual_seed(0)
    model = TransformerXL(11, layers=LAYERS, heads=2, width=8).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture
def memory() -> Memory:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 6, 8, generator=generator) for _ in range(LAYERS)]


def no_means(sites: list[hooks.Site]) -> list[Tensor]:
    raise AssertionError("no mean is asked for")


@torch.no_grad()
def logits(model: TransformerXL, memory: Memory, do: str = "", means: Any = no_means) -> Tensor:
    with applied({"xl": model}, parse(do), means):
        return model(IDX, memory)[0]


EDITS: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("=0", torch.zeros_like),
    ("=0.7", lambda values: torch.full_like(values, 0.7)),
    ("*3", lambda values: 3 * values),
    ("+1", lambda values: values + 1),
]


@pytest.mark.parametrize("layer", [0, 1, "*"])
@pytest.mark.parametrize("back", [1, 3, 6])
@pytest.mark.parametrize(("done", "edit"), EDITS)
def test_a_position_is_that_of_the_memory_that_is_handed_over(
    model: TransformerXL, memory: Memory, layer: int | str, back: int, done: str, edit: Callable[[Tensor], Tensor]
) -> None:
    edited = [values.clone() for values in memory]
    for number in range(LAYERS):
        if layer in ("*", number):
            edited[number][:, -back] = edit(edited[number][:, -back])
    found = logits(model, memory, f"blocks.{layer}.memory@-{back}{done}")
    torch.testing.assert_close(found, logits(model, edited))
    assert not torch.equal(found, logits(model, memory))


def test_one_unit_and_the_whole_memory(model: TransformerXL, memory: Memory) -> None:
    edited = [values.clone() for values in memory]
    edited[2][:, 2:4, 5] = 0
    torch.testing.assert_close(logits(model, memory, "blocks.2.memory[5]@2:4=0"), logits(model, edited))
    zeros = [torch.zeros_like(values) for values in memory]
    torch.testing.assert_close(logits(model, memory, "blocks.*.memory=0"), logits(model, zeros))
    assert torch.equal(logits(model, memory, ""), model(IDX, memory)[0])


@torch.no_grad()
def test_the_memory_of_the_next_segment_is_as_it_was(model: TransformerXL, memory: Memory) -> None:
    """The position is counted from each segment: nothing that was touched is kept, but what was computed with it is."""
    plain = model(IDX, memory, 6)[1]
    with applied({"xl": model}, parse("blocks.0.memory@-1=0"), no_means):
        kept = model(IDX, memory, 6)[1]
    assert torch.equal(kept[0], plain[0])
    assert torch.equal(kept[1][:, :2], plain[1][:, :2])
    assert not torch.equal(kept[1][:, 2:], plain[1][:, 2:])


def test_a_mean_is_that_of_the_memory_in_held_out_data(model: TransformerXL, memory: Memory) -> None:
    means = MeanActivations({"xl": model}, [lambda: model(IDX, memory)], lambda: 0)
    edited = [values.clone() for values in memory]
    edited[1][:, -2] = memory[1].mean(dim=(0, 1))
    torch.testing.assert_close(logits(model, memory, "blocks.1.memory@-2=mean", means), logits(model, edited))


def test_attention_weights_are_those_of_the_touched_memory(model: TransformerXL, memory: Memory) -> None:
    edited = [values.clone() for values in memory]
    edited[0][:, -1] *= 5
    with torch.no_grad(), applied({"xl": model}, parse("blocks.0.memory@-1*5"), no_means):
        found = model.weights(IDX, memory)
    for one, other in zip(found, model.weights(IDX, edited), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("do", ["blocks.0.memory@-7=0", "blocks.0.memory@6=0"])
def test_a_position_that_the_memory_does_not_have_is_told(model: TransformerXL, memory: Memory, do: str) -> None:
    with pytest.raises(SettingsError, match=r"positions of this input are 0 to 5, or -1 to -6 from its end"):
        logits(model, memory, do)


@torch.no_grad()
def test_without_a_memory_nothing_is_changed_and_that_is_told(model: TransformerXL) -> None:
    for do in ("blocks.0.memory@-1=0", "blocks.*.memory=0"):
        with pytest.raises(SettingsError, match="so it changed nothing"):
            logits(model, model.empty_memory(2), do)


def test_it_has_an_effect_on_held_out_data_and_on_an_answer(small: Small) -> None:
    card = architectures.card("transformer-xl")
    settings = make(card.settings, small("transformer-xl") | {"device": "cpu"})
    task = card.load_task()(settings, prepare(settings), None)
    for _ in range(3):
        task.train_step()
    effect = panel_of(task, card.panel("effect"), {"do": "blocks.*.memory=0; blocks.0.memory@-1*2"})
    assert isinstance(effect, Table)
    assert [row[0] for row in effect.rows] == ["none", "blocks.*.memory=0", "blocks.0.memory@-1*2", "all of them"]
    assert float(effect.rows[1][2]) != 0
    answer = panel_of(task, card.panel("next_token"), {"do": "blocks.*.memory=0"})
    assert isinstance(answer, Bars)
    assert answer.values != answer.second
