"""The GAN: losses against closed forms, no gradient from one network to the other, exact distances, and edits of the data."""

from __future__ import annotations

import dataclasses
import math
import re
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlplay.architectures.gan import model
from dlplay.architectures.gan.card import card
from dlplay.architectures.gan.data.augmentation import augment, random_changes
from dlplay.architectures.gan.evaluation import metrics
from dlplay.architectures.gan.evaluation.evaluator import REAL
from dlplay.architectures.gan.evaluation.history import MAX_SNAPSHOTS, SampleHistory
from dlplay.architectures.gan.nets.conv import ConvDiscriminator, ConvGenerator, NearestUpsample
from dlplay.architectures.gan.nets.transformer import TransformerDiscriminator, TransformerGenerator, join_patches, split_patches
from dlplay.architectures.gan.panels import GANPanels
from dlplay.architectures.gan.settings import GANSettings, Place
from dlplay.architectures.gan.task import GANTask
from dlplay.engine.errors import DataError
from dlplay.engine.panels import Bars, HeatMap, ImageGrid, Layers, Scatter
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.state import flatten, unflatten
from dlplay.engine.task import looking
from tests.rooms import Gate, RoomFacts
from tests.samples import POINTS

facts = RoomFacts(
    small={"layers": 2, "width": 16, "batch": 16, "critic_steps": 1},
    easy=None,
    idle={"generator": "no other takes points", "discriminator": "no other takes points"},
    gates=[Gate(0.20, seeds=5)],
    pictured={"samples": POINTS, "sample": POINTS},
    waits_for="8 of 8 modes",
)

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
TINY = dict(facts.small)
IMAGES: dict[str, Any] = TINY | {"data": "digits", "latent": 8, "heads": 2}
LOSSES = ["wasserstein-gp", "wasserstein", "non-saturating", "minimax"]


def build(**values: Any) -> GANTask:
    settings = make(GANSettings, values)
    torch.manual_seed(settings.seed)
    return GANTask(settings, CPU)


def train(task: GANTask, steps: int) -> list[dict[str, float]]:
    found = []
    for _ in range(steps):
        found.append({name: value.item() for name, value in task.train_step().items()})
        task.step += 1
    return found


def evaluate(task: GANTask) -> dict[str, float]:
    with looking(task):
        return task.evaluate()


def ask(task: GANTask, name: str, **options: Any) -> Any:
    with looking(task):
        return task.panel(name, make(card.panel(name).options, options))


def act(task: GANTask, name: str, point: str = "") -> None:
    options = {item.name: item for item in card.actions}[name].options
    task.act(name, options(point=point) if issubclass(options, Place) else options())


def copies(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- losses -----------------------------------------------------------------------------------------------------------------------


def test_losses_are_those_of_their_papers() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    p_real, p_fake = torch.sigmoid(real), torch.sigmoid(fake)
    for loss in ("minimax", "non-saturating"):
        of_real, of_fake = model.discriminator_losses(loss, real, fake)
        assert torch.allclose(of_real, -p_real.log().mean())
        assert torch.allclose(of_fake, -(1 - p_fake).log().mean())
    assert torch.allclose(model.generator_loss("minimax", fake), (1 - p_fake).log().mean())
    assert torch.allclose(model.generator_loss("non-saturating", fake), -p_fake.log().mean())
    for loss in ("wasserstein", "wasserstein-gp"):
        of_real, of_fake = model.discriminator_losses(loss, real, fake)
        assert of_real + of_fake == fake.mean() - real.mean()
        assert model.generator_loss(loss, fake) == -fake.mean()


def test_labels_are_smoothed_on_the_real_side_alone() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    of_real, of_fake = model.discriminator_losses("non-saturating", real, fake, 0.1)
    expected = nn.functional.binary_cross_entropy_with_logits(real, torch.full((2,), 0.9))
    assert torch.allclose(of_real, expected)
    assert of_fake == model.discriminator_losses("non-saturating", real, fake)[1]


def test_a_sure_discriminator_leaves_minimax_without_a_gradient() -> None:
    gradients = {}
    for loss in ("minimax", "non-saturating"):
        fake = torch.tensor([-12.0], requires_grad=True)
        model.generator_loss(loss, fake).backward()  # type: ignore[no-untyped-call]
        assert fake.grad is not None
        gradients[loss] = abs(fake.grad.item())
    assert gradients["minimax"] < 1e-5
    assert gradients["non-saturating"] > 0.99


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    direction = torch.tensor([3.0, 4.0])
    real, fake, alpha = torch.randn(6, 2), torch.randn(6, 2), torch.rand(6)
    assert model.gradient_penalty(lambda x: x @ direction, real, fake, alpha).item() == pytest.approx(16.0, rel=1e-5)
    at_half = model.gradient_penalty(lambda x: x.square().sum(1) / 2, real, fake, torch.full((6,), 0.5))
    assert at_half.item() == pytest.approx((((real + fake) / 2).norm(dim=1) - 1).square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_the_penalty_can_be_differentiated_in_the_critics_weights(kind: str) -> None:
    torch.manual_seed(0)
    critic: nn.Module
    if kind == "mlp":
        shape: tuple[int, ...] = (2,)
        critic = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0)).double()
    else:
        shape = (1, 2, 2)
        critic = TransformerDiscriminator(shape, 1, 2, 1, 1, fused=False, dropout=0.0).double()
    names = [name for name, _ in critic.named_parameters()]
    real, fake, alpha = torch.randn(3, *shape).double(), torch.randn(3, *shape).double(), torch.rand(3).double()

    def penalty(*weights: Tensor) -> Tensor:
        own = dict(zip(names, weights, strict=True))
        return model.gradient_penalty(lambda x: torch.func.functional_call(critic, own, (x,)), real, fake, alpha)

    assert torch.autograd.gradcheck(penalty, tuple(p.detach().clone().requires_grad_() for p in critic.parameters()))


def test_clipped_weights_stay_within_the_bound() -> None:
    task = build(**TINY, loss="wasserstein", clip=0.02)
    train(task, 3)
    largest = max(p.abs().max().item() for p in task.discriminator.parameters())
    assert largest == pytest.approx(0.02)
    assert max(p.abs().max().item() for p in task.generator.parameters()) > 0.02
    assert type(task.optimizers["discriminator"]) is torch.optim.RMSprop


# --- two networks -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_each_update_changes_one_network_alone_and_leaves_no_gradient_in_the_other(loss: str) -> None:
    task = build(**TINY, loss=loss)
    task.update_rates()
    generator, discriminator = copies(task.generator), copies(task.discriminator)
    task.update_discriminator()
    assert same(copies(task.generator), generator)
    assert all(p.grad is None for p in task.generator.parameters())
    assert not same(copies(task.discriminator), discriminator)
    discriminator = copies(task.discriminator)
    left = [p.grad.clone() for p in task.discriminator.parameters() if p.grad is not None]
    task.update_generator()
    assert same(copies(task.discriminator), discriminator)
    assert same([p.grad for p in task.discriminator.parameters() if p.grad is not None], left)
    assert not same(copies(task.generator), generator)
    assert all(p.requires_grad for net in (task.generator, task.discriminator) for p in net.parameters())


def test_a_step_updates_the_discriminator_as_often_as_it_was_told() -> None:
    task = build(**TINY | {"critic_steps": 4})
    train(task, 2)
    counts = {name: {int(slots["step"]) for slots in optimizer.state.values()} for name, optimizer in task.optimizers.items()}
    assert counts == {"generator": {2}, "discriminator": {8}}


def test_the_r1_penalty_of_known_discriminators() -> None:
    real, direction = torch.randn(6, 2), torch.tensor([3.0, 4.0])
    assert model.r1_penalty(lambda x: x @ direction, real).item() == pytest.approx(12.5)
    assert model.r1_penalty(lambda x: x.square().sum(1), real).item() == pytest.approx(2 * real.square().sum(1).mean().item(), rel=1e-5)


def test_the_r1_penalty_belongs_to_logits_and_is_part_of_their_loss() -> None:
    [found] = train(build(**TINY, loss="non-saturating", r1=3.0), 1)
    assert found["penalty"] > 0
    assert found["discriminator_loss"] == pytest.approx(found["real_loss"] + found["fake_loss"] + 3 * found["penalty"], abs=1e-6)
    [found] = train(build(**TINY, loss="wasserstein", r1=3.0), 1)
    assert "penalty" not in found


def test_the_critic_gap_is_the_difference_of_its_means() -> None:
    [found] = train(build(**TINY), 1)
    assert found["critic_gap"] == pytest.approx(found["real_output"] - found["fake_output"], abs=1e-6)
    assert found["discriminator_loss"] == pytest.approx(found["real_loss"] + found["fake_loss"] + 0.1 * found["penalty"], abs=1e-6)
    [found] = train(build(**TINY, loss="minimax"), 1)
    assert "critic_gap" not in found
    assert 0 <= found["discriminator_accuracy"] <= 1


def test_samples_come_from_the_average_where_there_is_one() -> None:
    task = build(**IMAGES, generator="conv", discriminator="conv", average=0.9)
    first = copies(task.generator)
    train(task, 1)
    keep = min(0.9, 1 / 10)
    expected = [keep * a + (1 - keep) * b for a, b in zip(first, copies(task.generator), strict=True)]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(copies(task.sampler), expected, strict=True))
    assert task.parameters == sum(p.numel() for net in (task.generator, task.discriminator) for p in net.parameters())
    train(task, 20)
    assert not same(copies(task.sampler), copies(task.generator))
    assert torch.equal(task.draw(3), torch.cat([task.sampler(z) for z in _latents(task, 3)]))


def _latents(task: GANTask, count: int) -> list[Tensor]:
    return [torch.randn(count, task.settings.latent, generator=torch.Generator().manual_seed(12345))]


# --- networks ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["mlp", "conv", "transformer"])
@pytest.mark.parametrize("discriminator", ["mlp", "conv", "transformer"])
def test_any_two_networks_train_with_any_loss(generator: str, discriminator: str) -> None:
    for loss in LOSSES:
        task = build(**IMAGES, generator=generator, discriminator=discriminator, loss=loss, augment=True)
        [found] = train(task, 1)
        assert all(math.isfinite(value) for value in found.values())
        assert task.not_finite.item() == 0
        images = task.draw(2)
        assert images.shape == (2, 1, 8, 8)
        assert images.abs().max() <= 1


@pytest.mark.parametrize("side", [8, 9, 28])
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_convolutions_fit_images_of_any_side(side: int, layers: int) -> None:
    shape = (3, side, side)
    images = ConvGenerator(shape, 5, layers, 8)(torch.randn(2, 5))
    assert images.shape == (2, *shape)
    assert ConvDiscriminator(shape, layers, 8, 0.0)(images).shape == (2,)


def test_upsampling_repeats_every_pixel() -> None:
    images = torch.randn(2, 3, 4, 5)
    assert torch.equal(NearestUpsample(2)(images), nn.functional.interpolate(images, scale_factor=2))
    assert torch.equal(NearestUpsample(1)(images), images)


def test_two_transformers_hold_no_convolution_and_no_batch_normalisation() -> None:
    nets = TransformerGenerator((1, 8, 8), 4, 2, 8, 2, 2, True), TransformerDiscriminator((1, 8, 8), 2, 8, 2, 2, True, 0.0)
    kinds = {type(module).__name__ for net in nets for module in net.modules()}
    assert not any("Conv" in kind or "BatchNorm" in kind or "Sigmoid" in kind for kind in kinds), kinds


def test_patches_are_cut_and_joined_without_loss() -> None:
    images = torch.randn(2, 3, 6, 8)
    patches = split_patches(images, 2)
    assert patches.shape == (2, 12, 12)
    assert torch.equal(patches[1, 5].view(3, 2, 2), images[1, :, 2:4, 2:4])
    assert torch.equal(join_patches(patches, (3, 6, 8), 2), images)


def test_fused_and_plain_attention_agree() -> None:
    torch.manual_seed(0)
    fused = TransformerDiscriminator((1, 8, 8), 2, 16, 4, 2, True, 0.0)
    plain = TransformerDiscriminator((1, 8, 8), 2, 16, 4, 2, False, 0.0)
    plain.load_state_dict(fused.state_dict())
    images = torch.randn(4, 1, 8, 8)
    assert torch.allclose(fused(images), plain(images), atol=1e-5)


def test_augmentation_lets_gradients_through_and_moves_by_whole_pixels() -> None:
    images = torch.rand(64, 1, 8, 8) * 2 - 1
    images.requires_grad_()
    changes = random_changes(64, torch.Generator().manual_seed(0))
    changed = augment(images, changes)
    assert changed.shape == images.shape
    assert torch.equal(changed, augment(images, changes))
    assert (changed != images).any(dim=(1, 2, 3)).float().mean() > 0.9
    (gradient,) = torch.autograd.grad(changed.sum(), images)
    assert set(gradient.unique().tolist()) <= {0.0, 1.0}
    assert 0.7 < gradient.mean() < 0.97


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"generator": "conv"}, "--generator conv is for images; use --generator mlp for points"),
        ({"data": "moons", "discriminator": "transformer"}, "--discriminator transformer is for images"),
        ({"data": "digits", "generator": "transformer", "heads": 3, "width": 16}, "use 2 heads"),
        ({"data": "digits", "generator": "transformer", "patch": 3}, "use --patch 2"),
        ({"data": "drawn", "drawing": "00/00"}, "--drawing is empty"),
    ],
)
def test_networks_that_cannot_be_built_are_refused_with_a_way_out(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        make(GANSettings, values)
    assert words in str(refused.value)


def test_a_checkpoint_of_other_data_names_them() -> None:
    assets = build(**TINY).assets()
    assert assets == {"data": "8-gaussians", "shape": [2], "modes": [str(mode) for mode in range(8)]}
    with pytest.raises(DataError, match=r"shape \(2,\), and digits has \(1, 8, 8\); use --data 8-gaussians"):
        GANTask(make(GANSettings, IMAGES), CPU, assets)


# --- metrics ----------------------------------------------------------------------------------------------------------------------


def test_a_mode_is_covered_by_a_part_of_its_fair_share() -> None:
    centres = np.array([[0.0, 0], [10, 0], [0, 10]], np.float32)
    samples = np.concatenate([np.zeros((60, 2)), np.full((30, 2), 5.0), np.array([[10.0, 0.39]] * 6), np.array([[0.0, 9.59]] * 4)])
    modes = metrics.assign_modes(samples, centres, 0.1)
    assert (modes == 0).sum() == 60
    assert (modes == 1).sum() == 6  # within four standard deviations
    assert (modes == 2).sum() == 0  # just outside
    assert metrics.count_covered(modes, np.arange(3)) == 1  # 6 of 100 are less than a fifth of a third
    assert metrics.count_covered(np.repeat([0, 1, 2], [85, 7, 8]), np.arange(3)) == 3


def test_the_nearest_training_example_is_found() -> None:
    rng = np.random.default_rng(0)
    samples, training = rng.random((20, 6)), rng.random((50, 6))
    distances, nearest = metrics.nearest_neighbours(samples, training)
    every = np.linalg.norm(samples[:, None] - training[None], axis=2)
    assert np.array_equal(nearest, every.argmin(1))
    assert np.allclose(distances, every.min(1))


def test_baselines_say_what_is_good_and_what_is_not() -> None:
    found = build(**TINY).baselines()
    distance = found["wasserstein_distance"]
    assert distance[REAL] < 0.12
    assert distance["single Gaussian"] == pytest.approx(0.65, abs=0.05)
    assert distance["half of the modes"] == pytest.approx(0.9, abs=0.1)
    assert found["modes_covered"] == {REAL: 8, "single Gaussian": 0, "half of the modes": 4}
    images = build(**IMAGES).baselines()
    assert images["nearest_distance"][REAL] == pytest.approx(1.07, abs=0.01)
    assert images["classes_covered"]["half of the classes"] == 5
    assert images["frechet_distance"][REAL] < 0.2 < images["frechet_distance"]["single Gaussian"]
    assert set(images) == set(evaluate(build(**IMAGES)))


def test_the_panel_counts_modes_as_the_evaluation_does_and_says_at_which_step() -> None:
    task = build(**TINY | {"steps": 1000})
    with torch.no_grad():  # one sample in 300 lies in a mode of its own, which is no mode covered
        task.generator.forward = lambda z: torch.tensor([[2.0, 0.0]]).repeat(len(z), 1) / 1.414  # type: ignore[method-assign]
        samples = task.generator.forward
        task.generator.forward = lambda z: torch.cat([samples(z[:-1]), -samples(z[-1:])])  # type: ignore[method-assign]
    train(task, 0)
    task.step = 740
    assert evaluate(task)["modes_covered"] == 1
    assert ask(task, "samples").figure == "1 of 8 modes at step 740"
    assert ask(task, "coverage").figure == "100 % in a mode at step 740"


@pytest.mark.parametrize(("network", "tokens"), [("generator", 4), ("discriminator", 5)])
def test_the_attention_shown_is_that_of_the_forward_pass(network: Any, tokens: int) -> None:
    kinds = {"generator": "transformer", "discriminator": "transformer"}
    task = build(**IMAGES | kinds | {"patch": 4, "layers": 2, "width": 16, "heads": 2})
    panel = ask(task, "attention", network=network, layer=1, head=1, point="3")
    shown = torch.from_numpy(panel.values.numpy().copy())
    assert shown.shape == (tokens, tokens)
    assert torch.allclose(shown.sum(1), torch.ones(tokens))
    assert panel.rows == ["class", "1,1", "1,2", "2,1", "2,2"][-tokens:]
    net = task.models[network]
    attention = net.blocks[1].attention  # type: ignore[index,union-attr]
    seen: list[torch.Tensor] = []
    attention.register_forward_hook(lambda module, inputs, output: seen.extend((inputs[0], output)))  # type: ignore[operator,union-attr]
    with torch.no_grad():
        latents = task.fixed_latents[3:4]
        net(latents if network == "generator" else task.sampler(latents))
        values = attention.query_key_value(seen[0])[..., -16:].view(1, tokens, 2, 8)  # type: ignore[operator,union-attr]
        other = task.panel("attention", make(card.panel("attention").options, {"network": network, "layer": 1, "head": 0, "point": "3"}))
        heads = [torch.from_numpy(other.values.numpy().copy()), shown]  # type: ignore[union-attr]
        mixed = torch.cat([weights @ values[0, :, head] for head, weights in enumerate(heads)], 1)
        assert torch.allclose(attention.out(mixed), seen[1][0], atol=1e-5)  # type: ignore[operator,union-attr]


def test_networks_without_attention_say_so() -> None:
    assert "is no transformer" in ask(build(**TINY), "attention").caption


# --- edits of the data ------------------------------------------------------------------------------------------------------------


def test_a_removed_mode_is_no_longer_real() -> None:
    task = build(**TINY)
    key = task.data_key()
    act(task, "remove_mode", "1.5,0.1")
    assert task.data_key() == key, "edits are no other data: the run goes on"
    assert task.examples.present.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert not (task.examples.train[:, 0] > 1.2).any()
    assert not (task.examples.test[:, 0] > 1.2).any()
    assert "1 removed" in ask(task, "samples").caption
    assert ask(task, "coverage").labels == ["1", "2", "3", "4", "5", "6", "7", "none"]
    act(task, "remove_mode", "1.5,0.1")  # the nearest that is left
    assert len(task.examples.present) == 6
    act(task, "restore")
    assert len(task.examples.train) == 20_000
    assert task.examples.edits == []


def test_placed_points_are_a_mode_of_their_own() -> None:
    task = build(**TINY)
    before = len(task.examples.train)
    act(task, "place", "0.25,-0.5")
    new = task.examples.train[before:]
    assert len(new) == before // 8
    assert torch.allclose(new.mean(0), torch.tensor([0.25, -0.5]), atol=1e-3)
    assert len(task.examples.centres) == 9
    assert task.evaluator.modes(np.array([[0.25, -0.5]])).tolist() == [8]
    act(task, "remove_mode", "0.2,-0.4")
    assert len(task.examples.train) == before
    moons = build(**TINY, data="moons")
    act(moons, "place", "0,0")
    assert len(moons.examples.centres) == 0
    act(moons, "remove_mode", "0,0")
    assert moons.examples.train.norm(dim=1).min() > 0.3


def test_a_removed_class_is_no_longer_learnt() -> None:
    task = build(**IMAGES)
    with looking(task):
        [number] = task.modes(task.sampler(task.fixed_latents[5:6]))
    act(task, "remove_mode", "5")
    assert number not in task.examples.train_modes
    assert len(task.examples.present) == 9
    assert evaluate(task)["classes_covered"] <= 9


@pytest.mark.parametrize(
    ("data", "action", "point", "words"),
    [
        ("8-gaussians", "place", "", "choose a place first"),
        ("8-gaussians", "place", "1;2", "is not two numbers"),
        ("8-gaussians", "remove_mode", "nan,1", "is not two numbers"),
        ("moons", "remove_mode", "9,9", "farther than"),
        ("digits", "place", "0,0", "cannot be placed among images"),
        ("digits", "remove_mode", "64", "samples 0 to 63"),
    ],
)
def test_an_action_that_makes_no_sense_changes_nothing(data: str, action: str, point: str, words: str) -> None:
    task = build(**IMAGES | {"data": data})
    before = len(task.examples.train)
    with pytest.raises(SettingsError) as refused:
        act(task, action, point)
    assert words in str(refused.value)
    assert (len(task.examples.train), task.examples.edits) == (before, [])


def test_the_last_mode_cannot_be_removed() -> None:
    task = build(**TINY)
    for _ in range(7):
        act(task, "remove_mode", "0,0")
    with pytest.raises(SettingsError, match="restore the data first"):
        act(task, "remove_mode", "0,0")
    assert len(task.examples.present) == 1
    assert all(math.isfinite(value) for value in evaluate(task).values())


@pytest.mark.parametrize("name", ["discriminator_step", "generator_step", "both_step"])
def test_a_single_step_of_one_network(name: str) -> None:
    task = build(**TINY)
    generator, discriminator = copies(task.generator), copies(task.discriminator)
    act(task, name)
    assert same(copies(task.generator), generator) == (name == "discriminator_step")
    assert same(copies(task.discriminator), discriminator) == (name == "generator_step")
    assert task.step == 0


# --- state ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"loss": "wasserstein", "dropout": 0.2},
        {"data": "digits", "generator": "conv", "discriminator": "transformer", "augment": True, "average": 0.95, "latent": 8, "heads": 2},
    ],
    ids=["points", "clipped", "images"],
)
def test_acts_and_a_resume_go_on_to_the_bit(values: dict[str, Any]) -> None:
    settings = TINY | {"steps": 40} | values
    point = "3" if values.get("data") else "0.3,-1.2"

    def disturb(task: GANTask) -> None:
        act(task, "discriminator_step")
        act(task, "generator_step")
        act(task, "remove_mode", point)

    through = build(**settings)
    expected = train(through, 15)
    disturb(through)
    expected += train(through, 25)
    task = build(**settings)
    found = train(task, 15)
    disturb(task)
    for steps in (0, 10, 15):
        found += train(task, steps)
        tensors, plain = flatten(task.state_dict())
        weights = {name: value.clone() for name, value in task.weights().items()}
        saved = {name: tensors[name].clone() for name in sorted(tensors, reverse=True)}
        plain = msgspec.json.decode(msgspec.json.encode(plain))
        torch.rand(10)
        task = build(**settings)
        task.load_weights(weights)
        task.load_state_dict(unflatten(saved, plain))
    assert found == expected
    assert all(torch.equal(value, task.weights()[name]) for name, value in through.weights().items())
    assert evaluate(task) == evaluate(through)
    assert task.history.steps == through.history.steps
    assert all(torch.equal(a, b) for a, b in zip(task.history.samples, through.history.samples, strict=True))


def test_snapshots_are_spread_over_the_whole_training() -> None:
    history = SampleHistory()
    for step in range(5000):
        if history.due(step):
            history.add(step, torch.full((1, 2), float(step)))
    assert MAX_SNAPSHOTS // 2 <= len(history.steps) <= MAX_SNAPSHOTS
    assert {b - a for a, b in pairwise(history.steps)} == {history.interval}
    assert history.steps[0] == 0
    assert [float(samples[0, 0]) for samples in history.samples] == history.steps


def test_live_settings_take_effect_at_the_next_step() -> None:
    task = build(**TINY, schedule="constant", dropout=0.5)
    task.change(dataclasses.replace(task.settings, lr=0.1, critic_lr=0.2, beta1=0.3, weight_decay=0.7, dropout=0.0))
    train(task, 1)
    rates = {name: optimizer.param_groups[0] for name, optimizer in task.optimizers.items()}
    assert (rates["generator"]["lr"], rates["discriminator"]["lr"]) == (0.1, 0.2)
    assert rates["generator"]["betas"] == (0.3, 0.9)
    assert rates["generator"]["weight_decay"] == 0.7
    assert [module.p for module in task.discriminator.modules() if isinstance(module, nn.Dropout)] == [0.0]


# --- panels -----------------------------------------------------------------------------------------------------------------------


def test_arrows_point_down_the_generators_loss() -> None:
    task = build(**TINY)
    samples = task.draw(5).detach()
    direction = GANPanels(task)._descent(samples)
    nearer = samples + 1e-3 * direction / direction.norm(dim=1, keepdim=True)
    before, after = (task.discriminator(at) for at in (samples, nearer))
    assert (after > before).all()  # a step along the arrow is taken for more real


def test_points_and_images_have_the_same_panels() -> None:
    points, images = build(**TINY), build(**IMAGES)
    train(points, 12)
    train(images, 12)
    for panel in card.panels:
        assert isinstance(ask(points, panel.name), (Scatter, Bars, HeatMap, Layers))
        assert isinstance(ask(images, panel.name), (ImageGrid, Bars, HeatMap, Layers))
    shown = ask(points, "samples", point="0.5,0.5")
    assert shown.arrows.shape == shown.points.shape
    assert shown.names[-1] == "chosen place"
    assert [panel.name for panel in card.panels if panel.selects == "point"] == ["sample", "samples"]
    assert ask(images, "samples", point="7").selected == 7


def test_samples_that_have_left_the_view_are_counted() -> None:
    task = build(**TINY)
    assert "outside" not in ask(task, "samples").caption
    with torch.no_grad():
        task.generator.out.bias.fill_(50.0)  # type: ignore[union-attr, operator]
    assert "300 of 300 samples lie outside the view" in ask(task, "samples").caption


def test_a_saturated_discriminator_is_told_by_the_length_of_the_longest_arrow() -> None:
    """Arrows are drawn to fit the view, so that only the number tells a push from next to none."""
    task = build(**{**TINY, "loss": "minimax"})

    def gradient() -> float:
        return float(re.search(r"longest (\S+)", ask(task, "samples").caption)[1])  # type: ignore[index]

    free = gradient()
    with torch.no_grad():
        task.discriminator.out.bias.fill_(-30.0)  # type: ignore[union-attr, operator]
    assert gradient() < 1e-9 * free


def test_the_cursor_in_latent_space_shows_that_latents_sample() -> None:
    task = build(**TINY | {"latent": 3})
    shown = ask(task, "sample", latent_place="0.5,-1", across=2, along=0)
    with torch.no_grad():
        expected = task.sampler(torch.tensor([[-1.0, 0.0, 0.5]]))
    assert np.allclose(shown.points.numpy()[-1], expected[0].numpy())
    with pytest.raises(SettingsError, match="--along 3 is not there; the latent has 3 dimensions"):
        ask(task, "sample", along=3)


def test_the_cursors_sample_is_marked_among_all_that_the_plane_holds() -> None:
    task = build(**TINY)
    shown, samples = ask(task, "sample", latent_place="0.5,-1", point="0.1,0.2"), ask(task, "samples")
    assert shown.marked == len(shown.points.numpy()) - 1
    assert shown.names == ["real", "generated", "chosen place", "cursor"]
    assert shown.background == samples.background
    assert np.abs(shown.arrows.numpy()).sum() == pytest.approx(np.abs(samples.arrows.numpy()).sum())
    assert "modes at step 0" in shown.caption


def test_of_images_the_cursors_sample_comes_first_and_the_plane_is_painted_with_them() -> None:
    task = build(**IMAGES)
    shown = ask(task, "sample", latent_place="1,1")
    assert shown.selected == 0
    assert shown.images.numpy()[1:].tolist() == ask(task, "samples").images.numpy().tolist()
    assert shown.images.numpy()[0].tolist() != ask(task, "sample", latent_place="-1,1").images.numpy()[0].tolist()
    assert len(ask(task, "latent_plane").images.numpy()) == 16
    assert ask(build(**TINY), "latent_plane").values.shape == (24, 24)


def test_a_path_begins_and_ends_at_its_latents() -> None:
    task = build(**IMAGES)
    with torch.no_grad():
        sheet = ask(task, "samples").images.numpy()
    for path in ("line", "sphere"):
        strip = ask(task, "interpolation", start=4, end=9, path=path).images.numpy().astype(int)
        assert abs(strip[0] - sheet[4]).max() <= 1
        assert abs(strip[-1] - sheet[9]).max() <= 1


# --- what it must reach -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_few_hundred_steps_find_most_of_the_modes() -> None:
    task = build(steps=400)
    found = evaluate(task)
    train(task, 400)
    after = evaluate(task)
    assert after["modes_covered"] >= 6
    assert after["wasserstein_distance"] < found["wasserstein_distance"] / 2
    assert after["high_quality_share"] > 0.3


def trained(preset: str, **values: Any) -> dict[str, float]:
    """What a task of the preset reaches when it has done all its steps."""
    task = build(**card.presets[preset].values | {"device": "cpu"} | values)
    while task.step < task.settings.steps:
        task.train_step()
        task.step += 1
    return evaluate(task)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_cross_entropy_finds_all_modes_unless_it_saturates() -> None:
    assert trained("minimax")["modes_covered"] <= 4
    for seed in range(3):
        found = trained("non-saturating", seed=seed)
        assert found["modes_covered"] == 8
        assert found["wasserstein_distance"] < 0.15  # a single Gaussian: 0.63


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_transformers_make_digits() -> None:
    settings = make(GANSettings, dict(card.presets["digits-transformers"].values) | {"device": "cpu"})
    torch.manual_seed(settings.seed)
    task = GANTask(settings, torch.device("cpu"))
    while task.step < settings.steps:
        task.train_step()
        task.step += 1
    with looking(task):
        found = task.evaluate()
    real = task.baselines()
    # three seeds reached .192 to .204 on an AMD EPYC, .220 to .243 on an Intel Xeon: the last bits of a sum make another net
    assert found["frechet_distance"] < 0.25
    assert found["classes_covered"] == 10
    assert found["nearest_distance"] > 0.85 * real["nearest_distance"]["real vs real"]
    assert found["wasserstein_distance"] < real["wasserstein_distance"]["half of the classes"]
