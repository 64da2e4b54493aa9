"""What every architecture owes, found by discovery: it trains, it can be looked at without harm, it refuses in words, it ships a model."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dlplay import architectures
from dlplay.engine import stages, state
from dlplay.engine.card import Card, PanelCard
from dlplay.engine.device import prepare
from dlplay.engine.events import Shown
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Bars, Frame, Layers, Tokens
from dlplay.engine.settings import Field, Options, SettingsError, fields, make, parse, show, to_dict
from dlplay.engine.task import Task, looking, public_methods
from dlplay.runs.wire import encode
from tests.conftest import Small
from tests.rooms import Gate, facts

pytestmark = pytest.mark.usefixtures("as_before")

CARDS = architectures.cards()

PATIENCE = 300
"""Steps until everything that a card wants to draw has been measured at least once (an episode must have ended, a buffer be filled)."""


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest) -> Card:
    return CARDS[request.param]


@pytest.fixture
def build(card: Card, small: Small) -> Callable[..., Task[Any]]:
    """A fresh task with small settings."""

    def build(**values: Any) -> Task[Any]:
        settings = make(card.settings, small(card.name) | {"device": "cpu", "steps": 100} | values)
        return card.load_task()(settings, prepare(settings), None)

    return build


def step(task: Task[Any]) -> dict[str, Tensor]:
    metrics = task.train_step()
    task.step += 1
    return metrics


def everything(task: Task[Any]) -> dict[str, Any]:
    """Copies of all that a panel must leave alone."""
    tensors, plain = state.flatten(task.state_dict())
    found: dict[str, Any] = {"plain": repr(plain)}
    found |= {f"state/{name}": value.clone() for name, value in tensors.items()}
    found |= {f"weights/{name}": value.clone() for name, value in task.weights().items()}
    for model, net in task.models.items():
        found |= {f"mode/{model}.{name}": module.training for name, module in net.named_modules()}
        for name, parameter in net.named_parameters():
            found[f"grad/{model}.{name}"] = None if parameter.grad is None else parameter.grad.clone()
            found[f"requires_grad/{model}.{name}"] = parameter.requires_grad
        found |= {f"hooks/{model}.{name}": len(module._forward_hooks) for name, module in net.named_modules()}
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    def same(one: Any, other: Any) -> bool:
        return torch.equal(one, other) if isinstance(one, Tensor) and isinstance(other, Tensor) else one == other

    return [name for name in before.keys() | after.keys() if name not in before or not same(before[name], after.get(name))]


def test_a_step_gives_numbers_that_stay_on_the_device(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    before = {name: value.clone() for name, value in task.weights().items()}
    charts = [chart for chart in card.charts if chart.when is None or chart.when(to_dict(task.settings))]
    wanted = {name for chart in charts for name in chart.train}
    seen: set[str] = set()
    while not wanted <= seen:
        assert task.step < PATIENCE, f"{wanted - seen} were never measured"
        metrics = step(task)
        for value in metrics.values():
            assert isinstance(value, Tensor)
            assert (value.shape, value.requires_grad) == ((), False)
            assert math.isfinite(value.item())
        seen |= metrics.keys()
    assert any(not torch.equal(before[name], value) for name, value in task.weights().items())
    with looking(task):
        held_out, again = task.evaluate(), task.evaluate()
    assert held_out == again
    assert all(type(value) is float and math.isfinite(value) for value in held_out.values())
    assert card.metric in held_out
    for chart in card.charts:
        assert chart.train or chart.held_out
        assert set(chart.held_out) <= held_out.keys() if chart in charts else not set(chart.held_out) & held_out.keys()
        assert chart in charts or not set(chart.train) & seen
    assert task.parameters == sum(p.numel() for model in task.models.values() for p in model.parameters() if p.requires_grad)
    assert task.data
    assert set(task.baselines()) <= set(held_out)
    assert set(public_methods(task.panels())) == {panel.name for panel in card.panels if not panel.source}
    assert set(public_methods(task.actions())) == {action.name for action in card.actions}


def test_the_default_settings_train(card: Card) -> None:
    settings = make(card.settings, {"device": "cpu"})
    task = card.load_task()(settings, prepare(settings), None)
    assert all(value.shape == () and math.isfinite(value.item()) for value in step(task).values())


def test_one_batch_is_learnt_by_heart(build: Callable[..., Task[Any]], card: Card) -> None:
    easy = facts(card.name).easy
    if easy is None:
        return
    task = build(**easy)
    start = everything_but_learning(task)
    losses = []
    for _ in range(60):
        task.load_extra_state(state.unflatten(*start[0])["extra"])
        for name, generator in task.generators.items():
            generator.set_state(start[1][name])
        losses.append(step(task)[card.charts[0].train[0]].item())
    assert losses[-1] < losses[0] / 2
    assert min(losses) > -1e-6


def everything_but_learning(task: Task[Any]) -> tuple[tuple[dict[str, Tensor], dict[str, Any]], dict[str, Tensor]]:
    """Where in the data the task stands."""
    tensors, plain = state.flatten({"extra": task.extra_state()})
    return ({name: value.clone() for name, value in tensors.items()}, plain), {n: g.get_state() for n, g in task.generators.items()}


def test_a_loss_that_is_not_finite_changes_nothing_any_more(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    while not step(task).keys() & set(card.charts[0].train):
        assert task.step < PATIENCE
    with torch.no_grad():
        for model in task.models.values():
            next(iter(model.parameters())).fill_(math.nan)
    before = {name: value.clone() for name, value in task.weights().items()}
    for _ in range(PATIENCE):
        step(task)
        if task.not_finite.item():
            break
    assert task.not_finite.item() == 1
    step(task)
    after = task.weights()
    parameters = {f"{name}/{key}" for name, model in task.models.items() for key, _ in model.named_parameters()}
    assert all(torch.equal(before[name], after[name]) or before[name].isnan().any() for name in parameters)


def test_the_same_seed_begins_with_the_same_weights(build: Callable[..., Task[Any]]) -> None:
    begun, trained = [], []
    for seed in (3, 3, 4):
        task = build(seed=seed)
        begun.append({name: value.clone() for name, value in task.weights().items()})
        trained.append([step(task) for _ in range(3)])
    assert differences(begun[0], begun[1]) == []
    assert differences(begun[0], begun[2])
    assert [differences(one, other) for one, other in zip(trained[0], trained[1], strict=True)] == [[], [], []]


def edges(item: Field) -> list[Any]:
    """The outermost values a field takes."""
    if item.choices and not item.path:
        return list(item.choices)
    if item.kind == "bool":
        return [False, True]
    if item.kind == "text":
        return [""]
    smallest = 1 if item.kind == "int" else 1e-9
    low = None if item.low is None else item.low + (smallest if item.open_low else 0)
    high = None if item.high is None else item.high - (smallest if item.open_high else 0)
    return [value for value in (low, high) if value is not None]


def questions(panel: PanelCard) -> list[dict[str, Any]]:
    """The default question, and each option at each of its bounds."""
    return [{}, *({item.name: value} for item in fields(panel.options) for value in edges(item))]


def ask(task: Task[Any], panel: PanelCard, values: dict[str, Any]) -> bytes:
    """The answer as it is sent, or the words of a refusal: where the data ends, only the task knows."""
    try:
        return encode(Shown(view=0, watch=1, panel=panel_of(task, panel, values)))
    except SettingsError as error:
        refused = error
    assert refused.field in values
    assert values[refused.field] == next(item.high for item in fields(panel.options) if item.name == refused.field)
    assert str(refused).startswith(f"--{refused.field.replace('_', '-')} {values[refused.field]}")
    return str(refused).encode()


def test_every_panel_answers_and_leaves_the_training_alone(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    for _ in range(2):
        step(task)
    before = everything(task)
    for panel in card.panels:
        assert panel.title
        assert panel.hint
        assert panel.help
        for values in questions(panel):
            assert ask(task, panel, values) == ask(task, panel, values), (panel.name, values)
            assert differences(before, everything(task)) == [], (panel.name, values)


SHOWN = [name for name, card in CARDS.items() if any(panel.name == "forward" for panel in card.panels)]


@pytest.mark.parametrize("card", SHOWN, indirect=True)
def test_selecting_a_layer_of_a_forward_pass_sets_what_other_panels_take(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build()
    with looking(task):
        shown = task.panel("forward", card.panel("forward").options())
        assert isinstance(shown, Layers)
        for layer in shown.layers:
            taken = [panel for panel in card.panels if layer.selects.keys() <= {field.name for field in fields(panel.options)}]
            assert taken
            for panel in taken if layer.selects else []:
                panel_of(task, panel, dict(layer.selects))


def test_a_panel_that_has_nothing_to_show_is_left_out_on_the_screen() -> None:
    def shown(name: str, **values: Any) -> set[str]:
        return {panel.name for panel in CARDS[name].of(to_dict(CARDS[name].settings()) | values).panels}

    assert "forecast" not in shown("recurrent")
    assert "forecast" in shown("recurrent", task="series")
    assert "neighbours" not in shown("recurrent", task="adding")
    assert "attention" not in shown("gan")
    assert "attention" in shown("gan", discriminator="transformer")
    assert "follows" in shown("bert", next_sentence=True)
    assert CARDS["gan"].of({}) is CARDS["gan"].of({"lr": 1.0}), "it is not made anew at every tick"


@pytest.mark.parametrize("card", SHOWN, indirect=True)
def test_a_forward_pass_ends_in_what_the_model_answers(build: Callable[..., Task[Any]], card: Card) -> None:
    """The last layer of the picture against the stage's own answer, which is computed apart from it."""
    task, stage = build(), card.stage
    for _ in range(2):
        step(task)
    assert stage is not None
    with looking(task):
        shown = task.panel("forward", card.panel("forward").options())
        answer = task.panel(stage.panel, card.panel(stage.panel).options())
    assert isinstance(shown, Layers)
    assert len(shown.layers) >= 3
    last = shown.layers[-1]
    match answer:
        case Bars():
            expected = dict(zip(answer.labels, answer.values, strict=True))
        case Tokens() if answer.alternatives is not None:
            expected = dict(zip(answer.alternatives.labels, answer.alternatives.values, strict=True))
        case Frame() if answer.bars is not None:
            expected = dict(zip(answer.bars.labels, answer.bars.values, strict=True))
        case _ if last.images is not None:  # an autoencoder's reconstruction
            with looking(task):
                pictures = task.panel("reconstruction", card.panel("reconstruction").options())
            reconstruction = pictures.images.numpy()[pictures.labels.index("reconstruction")]
            assert last.images.numpy()[0].tolist() == reconstruction.tolist()
            return
        case _:  # a discriminator's output, to three digits
            assert f"{last.values[0]:.3g}" == answer.figure.split()[-1]
            return
    common = [(value, expected[label]) for label, value in zip(last.labels, last.values, strict=True) if label in expected]
    assert common
    for value, other in common:
        assert value == pytest.approx(other, rel=1e-4, abs=1e-6)


TYPED = [name for name, card in CARDS.items() if isinstance(card.stage, stages.Prompt | stages.TokenLine)]


@pytest.mark.parametrize("card", TYPED, indirect=True)
def test_what_of_a_typed_text_the_model_cannot_read_is_told(build: Callable[..., Task[Any]], card: Card) -> None:
    task, stage = build(), card.stage
    assert isinstance(stage, stages.Prompt | stages.TokenLine)
    for text, told in (("a @ b", True), ("", False)):
        with looking(task):
            panel = task.panel(stage.panel, make(card.panel(stage.panel).options, {stage.option: text}))
        assert ("@" in panel.remark, bool(panel.remark)) == (told, told)


def test_an_option_that_selects_is_known_to_another_panel(card: Card) -> None:
    for panel in card.panels:
        if panel.selects:
            assert any(panel.selects in {item.name for item in fields(other.options)} for other in card.panels)
    if card.stage:
        assert card.stage.option in {item.name for item in fields(card.panel(card.stage.panel).options)}
        asked = {item.name for item in fields(card.panel(card.stage.panel).options)}
        assert card.stage.by_hand <= asked
        assert all(card.stage.option in {item.name for item in fields(card.panel(name).options)} for name in card.stage.panels)


def test_every_option_is_a_flag_of_its_own_and_means_the_same_in_every_panel(card: Card) -> None:
    settings = {item.name for item in fields(card.settings)}
    options: dict[str, tuple[Any, ...]] = {}
    for panel in card.panels:
        for item in fields(panel.options):
            assert item.name not in settings, f"--{item.name} would be the setting, and {panel.name} could not be told it"
            meaning = item.kind, item.default, item.low, item.high, item.choices
            assert options.setdefault(item.name, meaning) == meaning, (panel.name, item.name)


def beyond(item: Field) -> list[Any]:
    """Values that a field must refuse."""
    if item.kind == "text":
        return [3] if not item.choices or item.path else ["no-such-choice"]
    if item.kind == "bool":
        return ["maybe", 2]
    out: list[Any] = ["x", "", None, float("nan")]
    step_ = 1 if item.kind in ("int", "ints") else max(1e-9, abs(item.high or 0) * 1e-6)
    if item.low is not None:
        out.append(item.low if item.open_low else item.low - step_)
    if item.high is not None:
        out.append(item.high if item.open_high else item.high + step_)
    return [f"{value}" if item.kind == "ints" else value for value in out]


@pytest.mark.parametrize("options", [False, True], ids=["settings", "options"])
def test_values_out_of_bounds_are_refused_in_words(card: Card, options: bool) -> None:
    kinds: set[type[Options]] = {panel.options for panel in card.panels} if options else {card.settings}
    for kind in kinds:
        for item in fields(kind):
            assert item.doc
            for value in beyond(item):
                with pytest.raises(SettingsError) as refused:
                    make(kind, {item.name: value})
                words = str(refused.value)
                assert refused.value.field == item.name
                assert item.flag in words
                assert "\n" not in words
                assert show(value) in words
                if item.bounds and value in (item.low, item.high):
                    assert item.bounds in words
            for value in () if item.kind == "text" else edges(item):
                assert parse(item, (int(value),) if item.kind == "ints" else value) is not None


def test_presets_are_settings_with_a_reason(card: Card) -> None:
    assert card.presets
    for name, preset in card.presets.items():
        settings = make(card.settings, preset.values)
        assert make(card.settings, to_dict(settings)) == settings
        assert len(preset.why) > 20, name
        assert "\n" not in preset.why


LONGEST = ("bert", "dqn", "gpt")
"""Those whose default training takes the most minutes."""
GATES = [
    pytest.param(
        name,
        gate,
        id=f"{name}-{gate.preset or 'default'}-{gate.bound:g}",
        marks=pytest.mark.long if gate.preset or name in LONGEST else pytest.mark.slow,
    )
    for name in CARDS
    for gate in facts(name).gates
]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "gate"), GATES)
def test_training_reaches_its_target(name: str, gate: Gate) -> None:
    card = CARDS[name]
    values = dict(card.presets[gate.preset].values) if gate.preset else dict(gate.settings)
    reached = []
    for seed in range(gate.seeds):
        settings = make(card.settings, values | {"seed": seed, "device": "cpu"})
        task = card.load_task()(settings, prepare(settings), None)
        while task.step < settings.steps:
            step(task)
        with looking(task):
            reached.append(task.evaluate()[card.metric])
    mean = math.fsum(reached) / len(reached)
    print(name, values, reached, mean)
    sign = 1 if card.better == "higher" else -1
    assert sign * mean >= sign * gate.bound
    if card.better == "lower":  # an accuracy or a return may tie with the best method there is
        rivals = {name: value for name, value in task.baselines().get(card.metric, {}).items() if name not in card.bounds}
        assert {name for name, value in rivals.items() if mean >= value} == set(gate.beaten_by)
