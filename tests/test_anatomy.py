"""The model as it is built and how its layers fare: by hand counts and torch's own counter, and without a trace in the training."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dlplay import architectures
from dlplay.engine.device import prepare
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import HeatMap, ImageGrid, Lines, Table
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import Task, looking
from dlplay.microscope import anatomy
from tests.conftest import Small

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")


def trained(name: str, steps: int = 3, **values: Any) -> Task[Any]:
    card = architectures.card(name)
    settings = make(card.settings, {"device": "cpu"} | values)
    task: Task[Any] = card.load_task()(settings, prepare(settings), None)
    for _ in range(steps):
        task.train_step()
        task.step += 1
    return task


def ask(task: Task[Any], name: str, panel: str, **options: Any) -> Any:
    return panel_of(task, architectures.card(name).panel(panel), options)


def rows(table: Table) -> dict[str, dict[str, str]]:
    """Each row by its module's address."""
    found, path = {}, []
    for row in table.rows:
        own = row[0].strip()
        depth = (len(row[0]) - len(own)) // 2
        path = [*path[:depth], own]
        found[".".join(path[1:]) or own] = dict(zip(table.columns, row, strict=True))
    return found


# --- build ------------------------------------------------------------------------------------------------------------------------


def test_the_tree_has_the_shapes_and_the_work_that_one_counts_by_hand() -> None:
    task = trained("convnet", channels=(4, 8), data="digits", norm="none")  # images of 8x8
    found = rows(ask(task, "convnet", "anatomy"))
    assert list(found)[:3] == ["net", "blocks", "blocks.0"]
    first, last = found["blocks.0.convolution"], found["classifier"]
    assert (first["input"], first["output"]) == ("360x1x8x8", "360x4x8x8")
    assert first["parameters"] == str(4 * 9 + 4)
    assert first["multiply-adds"] == f"{360 * 64 * 4 * 9:,}"
    assert (last["input"], last["output"], last["parameters"]) == ("360x32", "360x10", str(32 * 10 + 10))
    assert last["multiply-adds"] == f"{360 * 32 * 10:,}"
    assert found["blocks.1.convolution"]["multiply-adds"] == f"{360 * 16 * 8 * 4 * 9:,}"
    assert found["net"]["multiply-adds"] == f"{360 * (64 * 4 * 9 + 16 * 8 * 4 * 9 + 32 * 10):,}"
    assert found["net"]["time"] == "100.0 %"
    assert found["net"]["parameters"] == f"{task.parameters:,}"


@pytest.mark.parametrize("name", ["autoencoder", "convnet", "gan"])
def test_the_work_is_what_torchs_counter_says(name: str) -> None:
    task = trained(name)
    with looking(task):
        counter = FlopCounterMode(display=False)
        with counter:
            task.pass_through()
        built = anatomy.build(task)
    assert sum(built[model].multiply_adds for model in task.models) == counter.get_total_flops() // 2


def test_attention_and_a_recurrent_kernel_count_as_well(small: Small) -> None:
    gpt = trained("gpt", **small("gpt"))
    with looking(gpt):
        built = anatomy.build(gpt)
    part = next(address for address in built if address.endswith("0.attention"))
    shape = built[part].outputs
    assert shape is not None
    batch, steps, width = shape
    linear = built[f"{part}.qkv"].multiply_adds + built[f"{part}.projection"].multiply_adds
    assert linear == batch * steps * 4 * width * width
    assert built[part].multiply_adds - linear == 2 * batch * steps * steps * width

    lstm = trained("recurrent", task="adding", length=10, width=16)
    with looking(lstm):
        found = anatomy.build(lstm)
    batch, steps, _ = found["rnn"].outputs or (0, 0, 0)
    assert found["rnn"].multiply_adds == batch * steps * 4 * 16 * (2 + 16)
    assert found["net"].multiply_adds == found["rnn"].multiply_adds + batch * 16  # the read-out is called apart from the net


# --- health -----------------------------------------------------------------------------------------------------------------------


def test_activations_are_those_of_the_held_out_data() -> None:
    task = trained("convnet")
    with looking(task):
        found = anatomy.health(task).activations
        block = task.models["net"].blocks[0]  # type: ignore[index, union-attr]
        net: Any = task.models["net"]
        images = task.test_images[:360].float()  # type: ignore[attr-defined]
        maps = block.activation(block.norm(block.convolution((images - net.mean) / net.std)))  # type: ignore[operator, union-attr]
    assert found["blocks.0.activation"].mean == pytest.approx(float(maps.mean()), rel=1e-4)
    assert found["blocks.0.activation"].deviation == pytest.approx(float(maps.std()), rel=1e-3)
    assert found["blocks.0.activation"].dead == 0
    assert found["blocks.0.convolution"].dead is None


def test_dead_and_saturated_units_are_told() -> None:
    task = trained("convnet")
    with torch.no_grad():
        block: Any = task.models["net"].blocks[1]  # type: ignore[index, union-attr]
        block.norm.weight[:8] = 0
        block.norm.bias[:8] = -1
    with looking(task):
        assert anatomy.health(task).activations["blocks.1.activation"].dead == pytest.approx(8 / 32)
    table = ask(task, "convnet", "anatomy", columns="health")
    assert rows(table)["blocks.1.activation"]["dead or saturated"] == "25.0 % dead"

    task = trained("autoencoder", activation="tanh")
    with torch.no_grad():
        encoder: Any = task.models["net"].encoder
        encoder[1].weight.mul_(1000)
    with looking(task):
        saturated = anatomy.health(task).activations["encoder.2"].saturated
    assert saturated is not None
    assert saturated > 0.9


def test_a_container_without_parts_has_no_dead_units() -> None:
    """A table of values, a network without hidden layers, reads states as rows of a 1 and many 0."""
    task = trained("dqn", env="FrozenLake-v1", hidden=(0,), learning_starts=1, double=False, n_step=1)
    with looking(task):
        assert anatomy.health(task).activations["body"].dead is None


def test_gradients_are_those_of_the_mean_held_out_loss() -> None:
    task = trained("convnet")
    with looking(task):
        found = anatomy.health(task)
    model = copy.deepcopy(task.models["net"]).eval()
    images, labels = task.test_images[:360].float(), task.test_labels[:360]  # type: ignore[attr-defined]
    F.cross_entropy(model(images), labels).backward()
    expected = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None))
    assert found.learning["net"].gradients == pytest.approx(expected, rel=1e-4)
    assert found.gradients_of == "of the held-out loss (nats), 360 examples"


@pytest.mark.parametrize(
    ("make_optimizer", "rate"),
    [
        (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True), 0.01),
        (lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9), 0.02),
        (lambda p: torch.optim.RMSprop(p, lr=0.003), 0.003),
    ],
    ids=["adamw", "sgd", "rmsprop"],
)
def test_the_next_update_is_what_the_optimiser_then_does(make_optimizer: Any, rate: float) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    optimizer = make_optimizer(layer.parameters())

    def give_gradients() -> None:
        for parameter in layer.parameters():
            parameter.grad = torch.randn_like(parameter)

    for _ in range(4):
        give_gradients()
        optimizer.step()
    give_gradients()
    group = optimizer.param_groups[0]
    gradients: dict[Tensor, Tensor] = {p: p.grad.clone() for p in layer.parameters() if p.grad is not None}
    kept = copy.deepcopy(optimizer.state_dict())
    expected = {p: anatomy.next_update(optimizer, group, p, gradients[p]) for p in gradients}
    assert repr(kept) == repr(optimizer.state_dict()), "the state stays as it is"
    before_step = {p: p.detach().clone() for p in gradients}
    optimizer.step()
    for parameter, update in expected.items():
        assert torch.allclose(parameter.detach() - before_step[parameter], update, atol=1e-7)
        assert 0 < float(update.abs().max()) < 60 * rate


def test_the_ratio_of_update_to_weight_follows_the_rate() -> None:
    """Adam's update is about the rate for every weight, whatever the gradient (Kingma and Ba, 2015)."""
    ratios = []
    for lr in (1e-4, 1e-2):
        task = trained("autoencoder", steps=30, lr=lr, schedule="constant", optimizer="adam", weight_decay=0.0)
        with looking(task):
            ratio = anatomy.health(task).learning["net"].ratio
        assert ratio is not None
        ratios.append(ratio)
    assert ratios[1] / ratios[0] == pytest.approx(100, rel=0.9)
    assert ratios[1] > 20 * ratios[0]


def test_a_gan_shows_what_its_optimisers_remember() -> None:
    task = trained("gan", beta1=0.0)
    with looking(task):
        found = anatomy.health(task)
    assert found.gradients_of == "that the optimiser remembers"
    expected = math.sqrt(sum(float(p.grad.square().sum()) for p in task.models["generator"].parameters() if p.grad is not None))
    assert found.learning["generator"].gradients == pytest.approx(expected, rel=1e-4), "without momentum it is the last one"


def test_before_the_first_update_nothing_is_made_up() -> None:
    task = trained("dqn", steps=0)
    table = ask(task, "dqn", "anatomy", columns="health")
    assert "not known before the first update" in table.caption
    assert {row["update/weight"] for row in rows(table).values()} == {""}


def test_the_effective_rank_is_that_of_the_paper() -> None:
    assert anatomy.effective_rank(torch.eye(7)) == pytest.approx(7)
    assert anatomy.effective_rank(torch.outer(torch.arange(1.0, 5), torch.ones(9))) == pytest.approx(1, abs=1e-3)
    matrix = torch.randn(30, 12, generator=torch.Generator().manual_seed(0))
    shares = torch.linalg.svdvals(matrix.double())
    shares = shares / shares.sum()
    assert anatomy.effective_rank(matrix) == pytest.approx(float((-shares * shares.log()).sum().exp()), rel=1e-9)
    assert anatomy.effective_rank(matrix.T) == pytest.approx(anatomy.effective_rank(matrix))


def test_each_row_of_a_matrix_is_an_output_channel_of_any_convolution() -> None:
    """A transposed convolution has its inputs first."""
    for module, own in ((nn.Conv2d(3, 5, 2, bias=False), (3,)), (nn.ConvTranspose2d(3, 5, 2, bias=False), (slice(None), 3))):
        with torch.no_grad():
            module.weight[own] = 0
            silent = module(torch.randn(2, 3, 4, 4)).abs().sum(dim=(0, 2, 3)) == 0
        [matrix] = anatomy.matrices(module)
        assert matrix.shape == (5, 12)
        assert (matrix == 0).all(dim=1).tolist() == silent.tolist() == [channel == 3 for channel in range(5)]


# --- one layer --------------------------------------------------------------------------------------------------------------------


def test_a_histogram_holds_every_value_once() -> None:
    task = trained("convnet")
    for details in ("weights", "activations", "gradients"):
        lines = ask(task, "convnet", "layer", module="blocks.1.convolution", details=details)
        assert isinstance(lines, Lines)
        for shares in lines.series.values():
            assert sum(share or 0 for share in shares) == pytest.approx(1, abs=1e-5), details


def test_a_large_matrix_is_shown_as_means_and_says_so() -> None:
    task = trained("convnet")
    shown = ask(task, "convnet", "layer", module="classifier", details="matrix")
    assert isinstance(shown, HeatMap)
    weight = task.models["net"].classifier.weight.detach()  # type: ignore[union-attr]
    assert shown.values.shape == (10, 64)
    assert "as 10 x 64 means" in shown.caption
    assert torch.allclose(torch.from_numpy(shown.values.numpy().copy()), weight.view(10, 64, 4).mean(2), atol=1e-6)  # type: ignore[operator]


def test_the_example_that_excites_a_unit_most_is_shown() -> None:
    task = trained("convnet")
    shown = ask(task, "convnet", "layer", module="classifier", details="units")
    assert isinstance(shown, ImageGrid)
    assert len(shown.labels) == 10
    with looking(task):
        logits = task.models["net"](task.test_images[:360].float())  # type: ignore[attr-defined]
    best = logits.argmax(dim=0)
    assert shown.labels[3] == f"3: {float(logits[best[3], 3]):.3g}"
    expected = task.probed([int(best[3])])
    assert expected is not None
    assert shown.images.numpy()[3].tolist() == expected.numpy()[0].tolist()  # type: ignore[union-attr]


def test_the_word_that_excites_a_unit_most_stands_in_brackets(small: Small) -> None:
    task = trained("gpt", **small("gpt"))
    shown = ask(task, "gpt", "layer", module="blocks.0.feed_forward", details="units")
    assert isinstance(shown, Table)
    place, words = int(shown.rows[0][4]), shown.rows[0][5]
    known = task.probed([int(shown.rows[0][3])])
    assert known is not None
    assert f"[{known[0][place]}]" in words  # type: ignore[index]
    head = ask(task, "gpt", "layer", module="blocks.0.head.0", details="units")
    assert isinstance(head, Table)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"module": "blocks.7"}, "--module: there is no part 'blocks.7'; there are blocks.0 to blocks.2"),
        ({"module": "blocks.0.activation"}, "ReLU has no weights; choose another, or --details activations"),
        ({"module": "blocks.0.activation", "details": "matrix"}, "has no weight matrix of its own"),
        ({"module": "blocks", "details": "activations"}, "the held-out data do not pass it"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(options: dict[str, Any], words: str) -> None:
    task = trained("convnet", steps=1)
    with pytest.raises(SettingsError) as refused:
        ask(task, "convnet", "layer", **options)
    assert words in str(refused.value)
    assert refused.value.field in options
