"""What a panel shows can be touched: its address names a part of the model."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from dlplay import architectures
from dlplay.engine import hooks
from dlplay.engine.device import prepare
from dlplay.engine.interventions import parse
from dlplay.engine.settings import SettingsError, make
from tests.conftest import Small

CARDS = architectures.cards()
TOUCHING = [(name, panel.name) for name, card in CARDS.items() for panel in card.panels if panel.touches]


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize(("name", "panel"), TOUCHING)
def test_the_address_of_a_panel_names_a_part(name: str, panel: str, small: Small) -> None:
    card = CARDS[name].panel(panel)
    settings = make(CARDS[name].settings, small(name) | {"device": "cpu"})
    task = CARDS[name].load_task()(settings, prepare(settings), None)
    address = card.touches.format(**vars(card.options()))
    [begun] = parse(f"{address}=mean")
    found = hooks.find(task.models, begun.part)
    assert found.is_head == (".head." in address)
    assert str(begun) == f"{address}=mean"


def test_attention_can_be_touched() -> None:
    assert {("gpt", "attention"), ("bert", "attention"), ("transformer-xl", "attention")} <= set(TOUCHING)


def test_a_number_may_count_from_the_end() -> None:
    model: Any = nn.ModuleDict({"blocks": nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(3))})
    assert hooks.find({"net": model}, "blocks.-1").module is model["blocks"][2]
    assert hooks.find({"net": model}, "blocks.-3.-2").module is model["blocks"][0][0]
    with pytest.raises(SettingsError, match=r"there is no part 'blocks\.-4'; there are blocks\.0 to blocks\.2;"):
        hooks.find({"net": model}, "blocks.-4")
    assert str(parse("blocks.-1@-1=0")[0]) == "blocks.-1@-1=0"
