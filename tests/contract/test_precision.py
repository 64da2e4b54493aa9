"""In bfloat16 every architecture trains as it does in float32, and what must not be rounded is not."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlplay import architectures
from dlplay.engine import state
from dlplay.engine.card import Card
from dlplay.engine.device import prepare
from dlplay.engine.settings import field, make
from dlplay.engine.task import Task, looking
from dlplay.runs.check import examine
from tests.conftest import Small
from tests.rooms import has_facts

pytestmark = pytest.mark.usefixtures("as_before")

CARDS = {name: card for name, card in architectures.cards().items() if "bf16" in field(card.settings, "precision").choices}
"""A room whose settings leave bf16 out says so where it is typed."""
PATIENCE = 300

SHORT: dict[str, dict[str, Any]] = {
    "convnet": {"steps": 150},
    "recurrent": {"steps": 100, "width": 64, "block_size": 32, "batch": 16},
    "autoencoder": {"steps": 400},
    "gan": {"steps": 300},
    "dqn": {"steps": 6000},
    "seq2seq": {"steps": 150, "batch": 32, "length": 6},
    "gpt": {"steps": 100, "layers": 2, "width": 64, "block_size": 32, "batch": 16},
    "bert": {"steps": 100, "layers": 2, "width": 64, "block_size": 32, "batch": 16},
    "transformer-xl": {"steps": 150, "layers": 2, "width": 32, "batch": 16},
}
"""The defaults, shortened: most CPUs compute in bfloat16 at a twentieth of their speed."""
METRIC = {"bert": "masked_loss"}
"""Instead of the card's, which does not move in so few steps."""
SEEDS = 5


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest) -> Card:
    return CARDS[request.param]


@pytest.fixture
def build(card: Card, small: Small) -> Callable[..., Task[Any]]:
    def build(**values: Any) -> Task[Any]:
        settings = make(card.settings, small(card.name) | {"device": "cpu", "steps": 100} | values)
        return card.load_task()(settings, prepare(settings), None)

    return build


@contextlib.contextmanager
def computed(task: Task[Any]) -> Iterator[set[torch.dtype]]:
    """What linear layers, convolutions and recurrent layers put out within it: their dtypes."""
    found: set[torch.dtype] = set()

    def note(module: nn.Module, args: Any, output: Any) -> None:
        found.add((output[0] if isinstance(output, tuple) else output).dtype)

    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    handles = [
        module.register_forward_hook(note) for model in task.models.values() for module in model.modules() if isinstance(module, kinds)
    ]
    yield found
    for handle in handles:
        handle.remove()


def train(task: Task[Any], wanted: str) -> dict[str, Tensor]:
    """Steps until this is measured; all that was measured by then."""
    metrics: dict[str, Tensor] = {}
    while wanted not in metrics:
        assert task.step < PATIENCE
        metrics |= task.train_step()
        task.step += 1
    return metrics


def test_only_forward_pass_and_loss_are_in_bfloat16(build: Callable[..., Task[Any]], card: Card) -> None:
    task = build(precision="bf16")
    with computed(task) as in_training:
        metrics = train(task, card.charts[0].train[0])
    assert torch.bfloat16 in in_training
    tensors, _ = state.flatten(task.state_dict())
    kept = {**metrics, **task.weights(), **tensors}
    kept |= {f"gradient of {name}": p.grad for model in task.models.values() for name, p in model.named_parameters() if p.grad is not None}
    assert {name: value.dtype for name, value in kept.items() if value.is_floating_point() and value.dtype != torch.float32} == {}
    with computed(task) as in_evaluation, looking(task):
        task.evaluate()
    assert in_evaluation <= {torch.float32}


def test_a_loss_in_bfloat16_is_close_to_that_in_float32(build: Callable[..., Task[Any]], card: Card) -> None:
    name = card.charts[0].train[0]
    rounded, exact = (train(build(precision=precision), name)[name].item() for precision in ("bf16", "float32"))
    assert rounded == pytest.approx(exact, rel=0.02)


def test_auto_on_a_cpu_is_float32_to_the_bit(build: Callable[..., Task[Any]], card: Card) -> None:
    def trained(precision: str) -> dict[str, Tensor]:
        task = build(precision=precision)
        train(task, card.charts[0].train[0])
        return task.weights()

    exact, auto = trained("float32"), trained("auto")
    assert all(torch.equal(value, auto[name]) for name, value in exact.items())


def test_a_run_in_bfloat16_is_resumed_exactly_and_answers_every_panel(card: Card, small: Small) -> None:
    found = examine(card, "cpu", 0.01, small(card.name) | {"precision": "bf16"})
    assert (found.problems, found.resumed_exactly, found.panels) == ([], True, found.all_panels)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_training_in_bfloat16_ends_within_the_spread_of_seeds_in_float32(card: Card) -> None:
    if not has_facts(card.name):
        pytest.skip("nobody knows how long a room of one's own has to train")

    def reached(precision: str, seed: int) -> float:
        settings = make(card.settings, SHORT[card.name] | {"device": "cpu", "precision": precision, "seed": seed})
        task = card.load_task()(settings, prepare(settings), None)
        while task.step < settings.steps:
            task.train_step()
            task.step += 1
        with looking(task):
            return task.evaluate()[metric]

    metric = METRIC.get(card.name, card.metric)
    exact = [reached("float32", seed) for seed in range(SEEDS)]
    rounded = reached("bf16", 0)
    print(card.name, metric, exact, rounded)
    spread = max(exact) - min(exact)
    assert spread > 0
    assert math.isfinite(rounded)
    assert abs(rounded - exact[0]) <= spread
