"""The autoencoder: losses worked out by hand, the linear one against PCA, honest noise, exact resumption, and the errors it must reach."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence

from dlplay.architectures.autoencoder import card
from dlplay.architectures.autoencoder import task as task_module
from dlplay.architectures.autoencoder.model import Autoencoder, Code, corrupt, kl_sparsity, l1_sparsity, reconstruction_loss
from dlplay.architectures.autoencoder.settings import AutoencoderSettings
from dlplay.architectures.autoencoder.task import AutoencoderTask, nearest_neighbour_accuracy
from dlplay.data.images import ImageData, load_images
from dlplay.engine.errors import DataError
from dlplay.engine.panels import Array, ImageGrid
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.state import flatten, unflatten
from dlplay.engine.task import looking
from dlplay.parts.image_baselines import PrincipalComponents, denoising_errors
from tests.rooms import Gate, RoomFacts
from tests.samples import DIGITS, digit

facts = RoomFacts(
    small={"hidden": (16,), "latent": 3, "batch": 16, "noise": "gaussian", "variational": True},
    easy={"variational": False, "noise": "none", "lr": 0.02, "schedule": "constant", "weight_decay": 0.0},
    cases=[
        {
            "data": "activations",
            "encoder": "linear",
            "code": "topk",
            "latent": 20,
            "active": 3,
            "output": "linear",
            "variational": False,
            "noise": "none",
        }
    ],
    idle={"code": "no other fits a VAE", "sparsity": "no other fits a VAE"},
    gates=[Gate(0.0120, seeds=5), Gate(0.0074, seeds=5, settings={"latent": 16}), Gate(0.06, seeds=3, preset="activations")],
    pictured={
        "reconstructions": ImageGrid(images=DIGITS, labels=[str(i) for i in range(10)], figure="0 to 9 of 360"),
        "decoded": ImageGrid(images=Array.of(np.stack([digit(4), digit(9)])), labels=["decoded", "nearest: 4"], figure="+0.00, +0.00"),
    },
    waits_for="nearest: 4",
)  # fmt: skip


CPU = torch.device("cpu")


def build(preset: str = "deep", **values: Any) -> AutoencoderTask:
    settings = make(AutoencoderSettings, {**card.presets[preset].values, **values})
    torch.manual_seed(settings.seed)
    task = AutoencoderTask(settings, CPU)
    task.model.train()
    return task


def train(task: AutoencoderTask, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(task.train_step()["train_loss"].item())
        task.step += 1
    return losses


def trained(preset: str, **values: Any) -> AutoencoderTask:
    task = build(preset, **values)
    train(task, task.settings.steps)
    return task


def evaluate(task: AutoencoderTask) -> dict[str, float]:
    with looking(task):
        return task.evaluate()


def rows(task: AutoencoderTask) -> tuple[Any, Any]:
    """Training and held-out images as rows of pixels from 0 to 1."""
    return tuple(
        part.reshape(len(part), -1).astype(np.float64) / task.images.full for part in (task.images.train_images, task.images.test_images)
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- the net ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("encoder", ["linear", "mlp", "conv"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 6), (1, 1, 5)])
def test_every_kind_of_net_gives_an_image_of_the_same_shape(shape: tuple[int, int, int], encoder: str, variational: bool) -> None:
    net = Autoencoder(torch.rand(shape), 4, encoder=encoder, hidden=(6, 9, 5), variational=variational)
    code = net.encode(torch.rand(7, *shape))
    assert code.mean.shape == (7, 4)
    assert (code.log_variance is not None) == variational
    output = net(torch.rand(7, *shape))
    assert output.shape == (7, *shape)
    assert 0 < output.min() <= output.max() < 1


@pytest.mark.parametrize("output", ["linear", "sigmoid"])
@pytest.mark.parametrize("encoder", ["linear", "mlp"])
def test_a_code_of_nothing_is_decoded_to_the_mean_image_at_first(encoder: str, output: str) -> None:
    task = build(encoder=encoder, output=output)
    with torch.no_grad():
        for module in task.model.decoder.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.zero_()
        shown = task.model.decode(torch.randn(1, 8))
    assert torch.allclose(shown[0], task.model.mean.clamp(0.01, 0.99) if output == "sigmoid" else task.model.mean, atol=1e-5)


def test_the_mean_image_comes_from_the_training_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_images("digits")
    assert np.allclose(build().model.mean.numpy(), data.train_images.mean(0) / 16, atol=1e-6)
    changed = dataclasses.replace(data, test_images=np.full_like(data.test_images, 16))
    monkeypatch.setattr(task_module, "load_images", lambda *_: changed)
    assert torch.equal(build().model.mean, AutoencoderTask(make(AutoencoderSettings, {}), CPU).model.mean)
    assert "net/mean" in build().weights()


def test_the_decoder_takes_the_encoders_way_back() -> None:
    widths = [tuple(module.weight.shape) for module in build(hidden="32,16").model.modules() if isinstance(module, torch.nn.Linear)]
    assert widths == [(32, 64), (16, 32), (8, 16), (16, 8), (32, 16), (64, 32)]


# --- losses -----------------------------------------------------------------------------------------------------------------------


def test_the_loss_is_summed_over_pixels_and_averaged_over_images() -> None:
    images, logits = torch.rand(5, 1, 4, 3), torch.randn(5, 1, 4, 3)
    output = torch.sigmoid(logits)
    squared, crossed = 0.0, 0.0
    for x, y in zip(images.flatten().tolist(), output.flatten().tolist(), strict=True):
        squared += (x - y) ** 2 / 2
        crossed -= x * math.log(y) + (1 - x) * math.log(1 - y)
    assert reconstruction_loss(logits, output, images, "squared").item() == pytest.approx(squared / 5, rel=1e-5)
    assert reconstruction_loss(logits, output, images, "cross-entropy").item() == pytest.approx(crossed / 5, rel=1e-5)


def test_kl_sparsity_is_that_of_the_mean_activation_over_the_batch() -> None:
    code = torch.tensor([[0.1, 0.0], [0.3, 0.4]])  # means .2 and .2
    by_hand = 2 * (0.05 * math.log(0.05 / 0.2) + 0.95 * math.log(0.95 / 0.8))
    assert kl_sparsity(code, 0.05).item() == pytest.approx(by_hand, rel=1e-5)
    assert kl_sparsity(torch.full((6, 3), 0.05), 0.05).item() == pytest.approx(0, abs=1e-6)
    assert l1_sparsity(torch.tensor([[0.5, -1.0], [2.0, 0.0]])).item() == pytest.approx(1.75)


def test_kl_sparsity_of_units_that_never_or_always_fire_is_finite_and_so_is_its_slope() -> None:
    for value in (0.0, 1.0):
        code = torch.full((4, 2), value, requires_grad=True)
        penalty = kl_sparsity(code, 0.01)
        penalty.backward()
        assert math.isfinite(penalty.item())
        assert code.grad is not None
        assert torch.isfinite(code.grad).all()


def test_the_variational_penalty_is_the_divergence_from_a_standard_normal() -> None:
    code = Code(torch.randn(6, 3), torch.randn(6, 3))
    assert code.log_variance is not None
    expected = kl_divergence(Normal(code.mean, (0.5 * code.log_variance).exp()), Normal(0.0, 1.0))
    assert torch.allclose(code.kl(), expected, atol=1e-5)
    by_hand = 0.5 * (0.7**2 + math.exp(-1.2) - 1 + 1.2)
    assert Code(torch.tensor([[0.7]]), torch.tensor([[-1.2]])).kl().item() == pytest.approx(by_hand, rel=1e-5)


def test_codes_are_sampled_with_their_mean_and_variance_and_gradients_reach_both() -> None:
    mean, log_variance = torch.tensor([[2.0, -1.0]], requires_grad=True), torch.tensor([[-2.0, 1.0]], requires_grad=True)
    code = Code(mean.expand(40_000, 2), log_variance.expand(40_000, 2))
    drawn = code.sample(torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(drawn.mean(0), mean[0], atol=0.03)
    assert torch.allclose(drawn.var(0), log_variance[0].exp(), rtol=0.03)
    drawn.square().mean(0).sum().backward()  # E z^2 = mean^2 + variance
    assert mean.grad is not None
    assert log_variance.grad is not None
    assert torch.allclose(mean.grad[0], 2 * mean[0], rtol=0.03)
    assert torch.allclose(log_variance.grad[0], log_variance[0].exp(), rtol=0.05)


def test_every_loss_has_the_slope_that_autograd_says() -> None:
    torch.manual_seed(0)
    images = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    logits = torch.randn(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    code = torch.rand(4, 3, dtype=torch.float64).mul(0.8).add(0.1).requires_grad_()
    assert gradcheck(lambda x: reconstruction_loss(x, torch.sigmoid(x), images, "squared"), logits)
    assert gradcheck(lambda x: reconstruction_loss(x, torch.sigmoid(x), images, "cross-entropy"), logits)
    assert gradcheck(lambda c: kl_sparsity(c, 0.1), code)
    assert gradcheck(lambda c, v: Code(c, v).kl().sum(), (code, code.detach().clone().requires_grad_()))


def test_the_whole_loss_is_the_error_and_the_weighted_penalty() -> None:
    for values in (
        {"preset": "sparse", "batch": 50},
        {"preset": "variational", "beta": 0.3},
        {"preset": "deep", "sparsity": "l1", "sparsity_weight": 0.1},
    ):
        metrics = {name: value.item() for name, value in build(**values).train_step().items()}
        assert metrics["train_loss"] == pytest.approx(metrics["train_reconstruction"] + metrics["train_penalty"], rel=1e-5)
    one, double = (build("variational", beta=beta).train_step()["train_penalty"].item() for beta in (1.0, 2.0))
    assert double == pytest.approx(2 * one, rel=1e-5)


# --- noise ------------------------------------------------------------------------------------------------------------------------


def test_noise_is_what_its_name_says() -> None:
    images = torch.rand(200, 1, 8, 8) * 0.8 + 0.1
    generator = torch.Generator().manual_seed(0)
    added = corrupt(images, "gaussian", 0.25, generator) - images
    assert added.mean().item() == pytest.approx(0, abs=0.01)
    assert added.std().item() == pytest.approx(0.25, abs=0.005)
    masked = corrupt(images, "masking", 0.25, generator)
    assert (masked == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(masked[masked != 0], images[masked != 0])
    salted = corrupt(images, "salt-and-pepper", 0.4, generator)
    assert (salted == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (salted == 1).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert torch.equal(corrupt(images, "none", 0.5, generator), images)
    for kind in ("masking", "salt-and-pepper"):
        assert torch.equal(corrupt(images, kind, 0.0, generator), images)


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt-and-pepper"])
def test_noise_is_fresh_at_every_look_and_the_goal_is_clean(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build("denoising", noise=kind)
    task.batches.next = lambda: torch.arange(64)  # type: ignore[method-assign]
    inputs, goals = [], []
    encode = task.model.encode
    monkeypatch.setattr(task.model, "encode", lambda x: inputs.append(x) or encode(x))
    monkeypatch.setattr(task_module, "reconstruction_loss", lambda *args: goals.append(args[2]) or reconstruction_loss(*args))
    train(task, 2)
    clean = task.train_images[:64].float() / 16
    assert torch.equal(goals[0], clean)
    assert torch.equal(goals[1], clean)
    assert not torch.equal(inputs[0], clean)
    assert not torch.equal(inputs[0], inputs[1])


def test_a_live_noise_level_changes_training_and_not_the_judging() -> None:
    task = build("denoising", noise="masking")
    judged = task.test_inputs.clone()
    seen: list[torch.Tensor] = []
    encode = task.model.encode
    task.model.encode = lambda x: seen.append(x) or encode(x)  # type: ignore[method-assign,func-returns-value]
    for level in (0.25, 0.75):
        task.change(dataclasses.replace(task.settings, noise_level=level))
        train(task, 1)
    empty = [(x == 0).float().mean().item() for x in seen]
    assert empty[1] > empty[0] + 0.15
    assert torch.equal(task.test_inputs, judged)
    assert build("denoising", noise_level=0.5).baselines_key() == build("denoising").baselines_key()
    assert build("denoising", test_noise=0.5).baselines_key() != build("denoising").baselines_key()


def test_all_runs_are_judged_with_the_same_noise() -> None:
    assert torch.equal(build("denoising", seed=3).test_inputs, build("denoising", seed=4, hidden="5").test_inputs)


# --- judging ----------------------------------------------------------------------------------------------------------------------


def test_the_error_is_that_of_a_pixel_over_every_held_out_image(monkeypatch: pytest.MonkeyPatch) -> None:
    task = build("variational", steps=200)
    train(task, 200)
    first = evaluate(task)
    assert evaluate(task) == first
    with looking(task):
        code = task.model.encode(task.scaled(task.test_images))
        shown = task.model.decode(code.mean)
    assert first["test_mse"] == pytest.approx(np.square(shown.flatten(1).numpy() - rows(task)[1]).mean(), rel=1e-4)
    assert first["mean_activation"] == pytest.approx(code.mean.abs().mean().item(), rel=1e-4)
    assert first["test_kl"] == pytest.approx(code.kl().sum(1).mean().item(), rel=1e-4)
    assert first["test_bound"] == pytest.approx(first["test_reconstruction"] + first["test_kl"])
    monkeypatch.setattr(task_module, "EVAL_BATCH", 77)
    assert evaluate(task) == pytest.approx(first, rel=0.02)


def test_the_baselines_are_those_of_scikit_learn() -> None:
    for latent, error in ((2, 0.0532), (8, 0.0246), (16, 0.0116)):
        task = build(latent=latent)
        x, y = rows(task)
        pca = PCA(latent).fit(x)
        expected = np.square(pca.inverse_transform(pca.transform(y)) - y).mean()
        assert task.baselines()["test_mse"] == pytest.approx({"PCA": expected}, rel=1e-4)
        assert expected == pytest.approx(error, abs=1e-4)
    assert task.baselines()["code_accuracy"]["pixels"] == KNeighborsClassifier(1).fit(x, task.images.train_labels).score(
        y, task.images.test_labels
    )
    assert PrincipalComponents(x).errors(y)[[2, 8, 64]] == pytest.approx([0.0532, 0.0246, 0.0], abs=1e-4)


def test_against_noise_stand_the_input_itself_and_the_best_components_and_ridge() -> None:
    task = build("denoising")
    found = task.baselines()["test_mse"]
    x, y = rows(task)
    noisy = task.test_inputs.flatten(1).double().numpy()
    assert found["identity"] == pytest.approx(0.0625, rel=0.03)
    [name] = [name for name in found if name.startswith("PCA ")]
    pca = PCA(int(name.split()[1])).fit(x)
    assert found[name] == pytest.approx(np.square(pca.inverse_transform(pca.transform(noisy)) - y).mean(), rel=1e-3)
    assert found[name] <= np.square(PCA(8).fit(x).inverse_transform(PCA(8).fit(x).transform(noisy)) - y).mean()
    rng = np.random.default_rng(0)
    clean = np.concatenate([x] * 5)
    ridge = Ridge(alpha=1.0).fit(clean + rng.normal(0, 0.25, clean.shape), clean).predict(noisy).clip(0, 1)
    assert found["ridge"] == pytest.approx(np.square(ridge - y).mean(), rel=0.03)
    few = denoising_errors(x[:50].astype(np.float32), x[:50].astype(np.float32), y.astype(np.float32), y.astype(np.float32))
    assert few["identity"] == 0


def test_the_nearest_neighbour_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    codes, test = rng.normal(size=(300, 4)).astype(np.float32), rng.normal(size=(80, 4)).astype(np.float32)
    labels, test_labels = rng.integers(0, 3, 300), rng.integers(0, 3, 80)
    assert nearest_neighbour_accuracy(codes, labels, test, test_labels) == KNeighborsClassifier(1).fit(codes, labels).score(
        test, test_labels
    )


def test_a_code_with_room_for_all_components_has_no_pca_beside_it() -> None:
    assert build(latent=64).baselines()["test_mse"] == {}
    assert build("sparse").baselines()["mean_activation"] == {"rho": 0.01}


# --- training ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["linear", "denoising", "sparse", "convolutional", "variational"])
def test_a_saved_state_goes_on_to_the_bit(preset: str) -> None:
    small = {"steps": 30, "batch": 20} | ({"hidden": "6,5"} if preset not in ("linear", "sparse") else {})
    through = build(preset, **small)
    expected = train(through, 30)
    interrupted = build(preset, **small)
    losses = train(interrupted, 13)
    for _ in range(2):  # two generations
        tensors, plain = flatten(interrupted.state_dict())
        weights = {name: value.clone() for name, value in interrupted.weights().items()}
        saved = {name: tensors[name].clone() for name in sorted(tensors, reverse=True)}
        plain = msgspec.json.decode(msgspec.json.encode(plain))
        torch.rand(100)
        interrupted = build(preset, **small)
        interrupted.load_weights(weights)
        interrupted.load_state_dict(unflatten(saved, plain))
        losses += train(interrupted, 8 if interrupted.step == 13 else 9)
    assert losses == expected
    final = interrupted.weights()
    assert all(torch.equal(value, final[name]) for name, value in through.weights().items())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_loss_falls_on_one_batch(optimizer: str) -> None:
    task = build(optimizer=optimizer, lr=0.2 if optimizer == "sgd" else 5e-3, schedule="constant", weight_decay=0.0)
    indices = task.batches.next()
    task.batches.next = lambda: indices  # type: ignore[method-assign]
    losses = train(task, 60)
    assert losses[-1] < losses[0] / 2


def test_live_settings_take_effect_at_the_next_step() -> None:
    task = build(schedule="constant")
    train(task, 1)
    task.change(dataclasses.replace(task.settings, lr=0.0123, momentum=0.5, weight_decay=0.7))
    train(task, 1)
    matrices, biases = task.optimizer.param_groups
    assert (matrices["lr"], matrices["betas"], matrices["weight_decay"], biases["weight_decay"]) == (0.0123, (0.5, 0.999), 0.7, 0.0)


def test_a_loss_that_is_not_finite_changes_no_weight() -> None:
    task = build(output="linear")
    before = {name: value.clone() for name, value in task.weights().items()}
    with torch.no_grad():
        task.images = dataclasses.replace(task.images, full=0)
    train(task, 1)
    assert task.not_finite.item() == 1
    assert all(torch.equal(value, before[name]) for name, value in task.weights().items())


# --- what it must reach -----------------------------------------------------------------------------------------------------------


def test_the_linear_one_finds_the_plane_of_the_principal_components() -> None:
    task = trained("linear")
    x, y = rows(task)
    pca = PCA(8).fit(x)
    optimum = np.square(pca.inverse_transform(pca.transform(y)) - y).mean()
    assert evaluate(task)["test_mse"] == pytest.approx(optimum, rel=0.01)
    assert task.baselines()["test_mse"] == pytest.approx({"PCA, the linear optimum": optimum}, rel=1e-4)
    assert set(task.baselines()["test_mse"]) <= set(card.bounds)
    columns = task.model.decoder[0].weight.detach().double().numpy()  # (64, 8)
    assert subspace_angles(columns, pca.components_.T).max() < 0.01


def test_less_than_half_of_the_default_run_keeps_twice_what_as_many_components_do() -> None:
    reached = evaluate(trained("deep", steps=2000))
    assert reached["test_mse"] <= 0.0120
    assert reached["code_accuracy"] >= 0.95


def test_a_short_denoising_run_is_better_than_ridge_regression() -> None:
    task = trained("denoising", hidden="256", steps=1500)
    assert evaluate(task)["test_mse"] < min(task.baselines()["test_mse"].values())


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("preset", "values", "seeds", "target"),
    [
        ("plane", {}, 3, 0.0336),
        ("deep", {}, 5, 0.0120),
        ("deep", {"latent": 16}, 3, 0.0074),
        ("convolutional", {}, 1, 0.0120),
        ("denoising", {}, 3, 0.0158),
    ],
)
def test_every_seed_reaches_the_target(preset: str, values: dict[str, Any], seeds: int, target: float) -> None:
    errors = [evaluate(trained(preset, seed=seed, **values))["test_mse"] for seed in range(seeds)]
    assert max(errors) <= target, errors


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_sparse_units_fire_as_rarely_as_rho_says() -> None:
    task = trained("sparse")
    with looking(task):
        code = task.model.encode(task.scaled(task.train_images)).mean
    assert code.mean().item() == pytest.approx(0.01, rel=0.1)
    assert evaluate(task)["mean_activation"] == pytest.approx(0.01, rel=0.1)


# --- settings and checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sparsity": "kl"}, "--sparsity kl needs activations from 0 to 1, and those of --code linear are not; use --code sigmoid"),
        ({"variational": True, "code": "sigmoid"}, "use --code linear and --sparsity none"),
        ({"variational": True, "sparsity": "l1"}, "use --code linear and --sparsity none"),
        ({"loss": "cross-entropy", "output": "linear"}, "use --output sigmoid, or --loss squared"),
        ({"latent": 0}, "use 1 to 4096"),
        ({"rho": 0}, "rho"),
        ({"noise_level": 1.1}, "use 0 to 1"),
        ({"encoder": "mpl"}, "did you mean mlp"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_in_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make(AutoencoderSettings, values)


def other_images(shape: tuple[int, int, int] = (3, 12, 10)) -> ImageData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (90, *shape)).astype(np.uint8)
    labels = np.arange(90) % 3
    return ImageData("hues", ("red", "green", "blue"), 255, images[:60], labels[:60], images[60:], labels[60:])


@pytest.mark.parametrize("preset", ["deep", "linear", "denoising", "convolutional", "variational"])
def test_own_images_in_colour_can_be_learnt(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "load_images", lambda *_: other_images())
    task = build(preset, data="mine", batch=16)
    train(task, 3)
    found = evaluate(task)
    assert all(math.isfinite(value) for value in found.values())
    assert set(task.baselines()) <= set(found)


def test_a_checkpoint_of_other_images_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    task = build()
    assets = msgspec.json.decode(msgspec.json.encode(task.assets()))
    assert AutoencoderTask(task.settings, CPU, assets).parameters == task.parameters
    monkeypatch.setattr(task_module, "load_images", lambda *_: other_images())
    with pytest.raises(DataError, match=r"takes images of shape \(1, 8, 8\), and hues has \(3, 12, 10\); use --data digits"):
        AutoencoderTask(task.settings, CPU, assets)


def test_a_run_that_resumes_on_other_data_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    state = build().state_dict()
    data = load_images("digits")
    fewer = dataclasses.replace(data, train_images=data.train_images[:-1], train_labels=data.train_labels[:-1])
    monkeypatch.setattr(task_module, "load_images", lambda *_: fewer)
    with pytest.raises(DataError, match="no longer those that this run began with"):
        build().load_state_dict(state)


def test_every_preset_can_be_built_and_trains_a_step() -> None:
    for name, preset in card.presets.items():
        if preset.values.get("data", "digits") in ("digits", "patches"):
            assert math.isfinite(train(build(name), 1)[0]), name


def test_the_training_image_most_like_a_decoding_is_the_nearest_neighbour() -> None:
    task = build()
    train(task, 20)
    with looking(task):
        shown: ImageGrid = task.panel("decoded", make(card.panel("decoded").options, {"place": "0.4,-0.3"}))
    images = shown.images.numpy() / 255
    known, _ = rows(task)
    distances, [[best]] = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(images[0].reshape(1, -1))
    assert np.allclose(images[2].ravel(), known[best], atol=1 / 255)
    assert float(shown.caption.split("MSE ")[1]) == pytest.approx(float(distances[0, 0]) ** 2 / known.shape[1], abs=1e-3)
