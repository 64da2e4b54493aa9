"""What a panel shows can be touched: its address names a part of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

from dlplay import architectures
from dlplay.engine import hooks
from dlplay.engine.device import prepare
from dlplay.engine.interventions import parse
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import AnyPanel, Array, Bars, HeatMap, Table, Tokens
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import Task
from dlplay.screen.panels.panel_widgets import part_at
from tests.conftest import Small

CARDS = architectures.cards()


@pytest.fixture
def ask(small: Small) -> Callable[..., AnyPanel]:
    """The answer of a fresh small model."""
    tasks: dict[str, Task[Any]] = {}

    def ask(name: str, panel: str, **options: Any) -> AnyPanel:
        if name not in tasks:
            settings = make(CARDS[name].settings, small(name) | {"device": "cpu"})
            tasks[name] = CARDS[name].load_task()(settings, prepare(settings), None)
        return panel_of(tasks[name], CARDS[name].panel(panel), options)

    return ask


def pointed(panel: AnyPanel, *cursors: object) -> list[str]:
    return [part_at(panel, cursor) for cursor in cursors]


@pytest.mark.usefixtures("as_before")
def test_the_cursor_is_on_the_part_that_its_row_or_cell_is_about(ask: Callable[..., AnyPanel]) -> None:
    anatomy, attention = ask("gpt", "anatomy"), ask("gpt", "attention", layer=9, head=1, prompt="a b c")
    assert isinstance(anatomy, Table)
    at = [row[0].strip() for row in anatomy.rows].index("attention")
    assert pointed(anatomy, 0, at, len(anatomy.rows), None) == ["gpt", "blocks.0.attention", "", ""]
    assert pointed(attention, None, (0, 0))[0].endswith(".head.1")
    assert "blocks.9" not in part_at(attention, None), "the layer that is shown"
    heads = ask("gpt", "heads")
    assert isinstance(heads, Table)
    assert pointed(heads, 1, len(heads.rows) - 1) == [heads.rows[1][0], ""]
    ablations = ask("gpt", "ablations")
    assert pointed(ablations, (0, 1), None) == ["blocks.0.head.1", ""]
    patching = ask("gpt", "patching", site="feed_forward")
    assert pointed(patching, (0, 0), (0, 3)) == ["blocks.0.feed_forward", "blocks.0.feed_forward@2"]
    attribution = ask("gpt", "attribution", prompt="a b c")
    assert isinstance(attribution, Table)
    for row, (name, _) in enumerate(attribution.rows):
        assert part_at(attribution, row) == (name if "." in name else "")


def test_a_cell_without_a_value_is_no_part_and_one_row_may_have_parts_by_column() -> None:
    values = np.array([[0.5, 1.0, np.nan]], np.float32)
    panel = HeatMap(values=Array.of(values), parts=["blocks.0"], column_parts=["", "@0", "@1"])
    assert pointed(panel, (0, 0), (0, 1), (0, 2), None) == ["blocks.0", "blocks.0@0", "", ""]
    assert pointed(Bars(labels=["a"], values=[1.0], parts=["blocks.1"]), None, 0) == ["blocks.1", "blocks.1"]


@pytest.mark.slow
@pytest.mark.usefixtures("as_before")
def test_units_channels_and_the_memory_are_pointed_at(ask: Callable[..., AnyPanel]) -> None:
    assert part_at(ask("gpt", "layer", module="blocks.0.feed_forward", details="units"), 3) == "blocks.0.feed_forward[3]"
    assert part_at(ask("gpt", "layer", module="blocks.0.feed_forward.expansion", details="matrix"), (2, 0)).startswith(
        "blocks.0.feed_forward.expansion["
    )
    assert part_at(ask("gpt", "layer", module="blocks.0.feed_forward.expansion"), None) == "blocks.0.feed_forward.expansion"
    assert part_at(ask("convnet", "maps", after="pooling"), 2) == "blocks.0.pooling[2]"
    assert part_at(ask("convnet", "kernels"), 1) == "blocks.0.convolution[1]"
    assert part_at(ask("convnet", "cell", output=1), 2) == "blocks.0.convolution[1]"
    assert part_at(ask("recurrent", "activations", part="forget gate"), (4, 0)) == "rnn.layers.0.forget_gate[4]"
    assert part_at(ask("seq2seq", "attention", attention="cross", head=1), None) == "decoder.0.cross.head.1"
    assert part_at(ask("seq2seq", "heads_off"), (1, 0)) in ("encoder.1.head.0", "decoder.0.attention.head.0")
    assert part_at(ask("autoencoder", "activity"), 1) == "encoder[1]", "of a VAE the mean"
    memory = ask("transformer-xl", "memory_used", read_before="a b c", prompt="a")
    assert isinstance(memory, Tokens)
    assert part_at(memory, len(memory.words) - 1) == "blocks.*.memory@-1"


def test_a_number_may_count_from_the_end() -> None:
    model: Any = nn.ModuleDict({"blocks": nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(3))})
    assert hooks.find({"net": model}, "blocks.-1").module is model["blocks"][2]
    assert hooks.find({"net": model}, "blocks.-3.-2").module is model["blocks"][0][0]
    with pytest.raises(SettingsError, match=r"there is no part 'blocks\.-4'; there are blocks\.0 to blocks\.2;"):
        hooks.find({"net": model}, "blocks.-4")
    assert str(parse("blocks.-1@-1=0")[0]) == "blocks.-1@-1=0"
