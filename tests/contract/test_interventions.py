"""What is done to a part of any architecture's model while somebody looks leaves its training alone, and every part can be named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dlplay import architectures
from dlplay.engine import hooks
from dlplay.engine.card import Card
from dlplay.engine.device import prepare
from dlplay.engine.interventions import parse
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Bars, HeatMap, Table
from dlplay.engine.settings import SettingsError, fields, make
from dlplay.engine.task import Task, looking
from tests.conftest import Small
from tests.contract.test_task import differences, everything, step

pytestmark = pytest.mark.usefixtures("as_before")

CARDS = architectures.cards()


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest) -> Card:
    return CARDS[request.param]


@pytest.fixture
def build(card: Card, small: Small) -> Callable[..., Task[Any]]:
    """A fresh task with small settings."""

    def build(**values: Any) -> Task[Any]:
        settings = make(card.settings, small(card.name) | {"device": "cpu", "steps": 100} | values)
        task = card.load_task()(settings, prepare(settings), None)
        task.train_with()
        return task

    return build


def trained(task: Task[Any]) -> Task[Any]:
    for _ in range(2):
        step(task)
    return task


def parts(task: Task[Any]) -> list[str]:
    """Every module that the held-out data pass and that returns numbers, every head of them and every recurrent layer."""
    named = hooks.sites(task.models)
    with looking(task), hooks.recorded(list(named.values())) as passes:
        task.measure()
    return [name for name, seen in zip(named, passes, strict=True) if any(each.numel() for each in seen) and seen[0].is_floating_point()]


def test_every_part_has_one_address(build: Callable[..., Task[Any]], card: Card) -> None:
    """A module that is called in several places would be one part, of which the last place alone is looked at."""
    values = {"layers": 3} if any(item.name == "layers" for item in fields(card.settings)) else {}
    for model in build(**values).models.values():
        assert len(list(model.named_modules(remove_duplicate=False))) == len(list(model.modules()))


def test_every_part_can_be_touched_and_nothing_of_the_training_is(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    for _ in range(2):
        step(task)
    before = everything(task)
    found = parts(task)
    assert found
    for number, part in enumerate(found):
        for done in ("=0", "=mean", "[0]*2") if number < 3 else ("=0",):
            shown = panel_of(task, card.panel("effect"), {"do": part + done})
            assert isinstance(shown, Table)
            assert [row[0] for row in shown.rows] == ["none", part + done]
    assert differences(before, everything(task)) == []
    assert not any(module._forward_hooks or module._forward_pre_hooks for model in task.models.values() for module in model.modules())


def test_what_is_asked_with_interventions_leaves_the_training_alone(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    step(task)
    before, first = everything(task), parts(task)[-1]
    for panel in card.panels:
        if "do" not in {field.name for field in fields(panel.options)}:
            plain, touched = panel_of(task, panel, {}), panel_of(task, panel, {"do": f"{first}=0"})
            addresses = [part + more for part in plain.parts if part for more in getattr(plain, "column_parts", []) or [""]]
            for [begun] in (parse(f"{address}=mean") for address in addresses):
                assert hooks.find_all(task.models, begun.part), "what the cursor is on can be touched"
            assert type(plain) is type(touched)
            assert touched.caption.startswith(("with 1 intervention", "interventions do not act here"))
    assert differences(before, everything(task)) == []


@pytest.mark.parametrize("card", [name for name, card in CARDS.items() if card.stage is not None], indirect=True)
def test_the_answer_of_the_stage_stands_beside_the_one_before(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    assert card.stage is not None
    panel = card.panel(card.stage.panel)
    shown = [repr(panel_of(task, panel, {"do": f"{part}=3"})) for part in parts(task)]
    assert any("before" in words or "'without'" in words for words in shown if "with 1 intervention" in words)


def test_the_weights_are_the_same_whether_or_not_somebody_touches(build: Callable[..., Task[Any]], card: Card) -> None:
    one = build()
    for _ in range(3):
        step(one)
    other = build()
    part = parts(other)[0]
    for _ in range(3):
        step(other)
        panel_of(other, card.panel("effect"), {"do": f"{part}=mean; {part}~0.3"})
        panel_of(other, card.panel("ablations"), {"module": part} if ".head." not in part else {})
    assert differences(everything(one), everything(other)) == []


def test_what_each_part_carries_is_what_its_ablation_costs(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    step(task)
    shown = panel_of(task, card.panel("ablations"), {"by": "zero"})
    if isinstance(shown, HeatMap):
        address, cost = f"{shown.rows[0]}.head.0", float(shown.values.numpy()[0, 0])
    else:
        assert isinstance(shown, Bars)
        address = shown.figure.rpartition("[")[0] + "[0]"
        cost = shown.values[0]
    with looking(task):
        without = task.measure().values
        with task.touched(parse(f"{address}=0")):
            touched = task.measure().values
    assert cost == pytest.approx(float((touched - without).mean()), abs=1e-6)


def test_training_with_an_intervention_is_another_training(build: Callable[..., Task[Any]], card: Card) -> None:
    """And an exact one: `=skip` and numbers need neither data nor random numbers."""
    begun = build()
    part = next(name for name in parts(begun) if ".head." not in name and name not in begun.models)
    plain, same, with_it = (trained(build(train_with=do)) for do in ("", f"{part}*1", f"{part}*0.5"))
    assert differences(plain.weights(), same.weights()) == []
    gradients = [parameter.grad for model in plain.models.values() for parameter in model.parameters() if parameter.grad is not None]
    if any(gradient.abs().sum() > 0 for gradient in gradients):  # a DQN's first steps fill its buffer
        assert differences(plain.weights(), with_it.weights())


def test_a_probe_is_of_examples_that_do_not_change(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    with looking(task):
        probe, again = task.probe(), task.probe()
        if probe is None or again is None:
            assert len(task.measure().values) == 1
            return
        assert probe.values.ndim == 1
        assert len(probe.values) > 1
        assert torch.isfinite(probe.values).all()
        assert torch.equal(probe.values, again.values)
        assert probe.name


def test_ablations_of_one_class_are_measured_on_its_examples_alone(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    with looking(task):
        probe = task.measure()
    panel = card.panel("ablations")
    with pytest.raises(SettingsError, match="is no class of the held-out examples") as refused:
        panel_of(task, panel, {"group": "no such class"})
    assert refused.value.field == "group"
    if not probe.groups:
        return
    assert len(probe.groups) == len(probe.values)
    shown = panel_of(task, panel, {"group": probe.groups[0], "by": "zero"})
    at = [place for place, name in enumerate(probe.groups) if name == probe.groups[0]]
    assert isinstance(shown, Bars)
    assert f"on {len(at)} examples of {probe.groups[0]}" in shown.caption
    with looking(task), task.touched(parse(shown.figure.partition("[")[0] + "[0]=0")):
        touched = task.measure().values
    assert shown.values[0] == pytest.approx(float((touched - probe.values)[at].mean()), abs=1e-6)


def test_a_mean_is_that_of_the_weights_of_now(build: Callable[..., Task[Any]], card: Card) -> None:
    """Fused optimisers write weights without leaving a trace in PyTorch's own count."""
    task = build()
    panel = card.panel("effect")
    part = parts(task)[-1]
    asked = {"do": f"{part}=mean"}
    panel_of(task, panel, asked)
    before = task.weights()
    before = {name: value.clone() for name, value in before.items()}
    for _ in range(60):
        step(task)
    if not differences(before, task.weights()):
        return  # a DQN whose buffer is not full yet
    kept = panel_of(task, panel, asked)
    task._means = None
    assert panel_of(task, panel, asked) == kept
