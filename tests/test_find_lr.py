"""The learning-rate range test: known answers on a parabola, fast.ai's definitions, every architecture, and nothing disturbed."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dlplay import architectures, cli
from dlplay.engine.panels import Bars
from dlplay.engine.settings import Options, SettingsError, make, to_dict
from dlplay.engine.task import Task
from dlplay.experiments import learning_rate
from dlplay.experiments.learning_rate import SKIPPED_AT_END, steepest, suggestions, valley
from dlplay.runs import directory
from dlplay.runs.find_lr import HIGHEST, LOWEST, STEPS, RangeTest, measure, range_test
from tests.conftest import Small
from tests.toy import ToySettings

pytestmark = pytest.mark.usefixtures("as_before")


class Parabola(Task[ToySettings]):
    """Gradient descent on k x² / 2, which one step of 1 / k brings to its end, and steps of more than 2 / k lead away from."""

    def __init__(self, curvature: float, times: int = 1, noise: float = 0.0) -> None:
        super().__init__(ToySettings(), torch.device("cpu"))
        self.curvature, self.times, self.noise = curvature, times, noise
        self.generators["noise"] = torch.Generator().manual_seed(0)
        self.models["net"] = net = nn.Linear(1, 1, bias=False)
        nn.init.ones_(net.weight)
        self.x = net.weight
        self.optimizers["net"] = torch.optim.SGD(net.parameters(), lr=123.0)

    def train_step(self) -> dict[str, torch.Tensor]:
        for _ in range(self.times):
            for group in self.optimizers["net"].param_groups:
                group["lr"] = self.settings.lr
            x = self.x + self.noise * torch.randn(16, 1, generator=self.generators["noise"])
            self.minimise((self.curvature * x.square() / 2).mean(), self.optimizers["net"])
        return {}

    def evaluate(self) -> dict[str, float]:
        return {}

    def panels(self) -> object:
        return self

    def bars(self, options: Options) -> Bars:
        return Bars(labels=[], values=[])


@pytest.mark.parametrize("curvature", [1.0, 10.0, 1000.0])
def test_the_best_rate_of_a_parabola_is_found(curvature: float) -> None:
    """Valley too once the loss has noise; without, it falls from the first step on, so that half-way lies low, though never too high."""
    found = suggestions(range_test(Parabola(curvature)))
    assert found["steepest"] is not None
    assert found["valley"] is not None
    assert 0.1 / curvature < found["steepest"] < 2 / curvature
    assert found["valley"] < 2 / curvature
    noisy = suggestions(range_test(Parabola(curvature, noise=0.3)))
    for rate in noisy.values():
        assert rate is not None
        assert 0.02 / curvature < rate < 2 / curvature, noisy


def test_a_parabola_that_is_steeper_needs_as_much_smaller_steps() -> None:
    flat, steep = (suggestions(range_test(Parabola(curvature))) for curvature in (1.0, 100.0))
    for name in ("valley", "steepest"):
        one, other = flat[name], steep[name]
        assert one is not None
        assert other is not None
        assert one / other == pytest.approx(100, rel=1.0)


def test_the_rate_rises_exponentially_until_the_loss_diverges() -> None:
    found = range_test(Parabola(10.0))
    assert found.rates[0] == LOWEST
    assert np.diff(np.log(found.rates)) == pytest.approx(np.log(HIGHEST / LOWEST) / (STEPS - 1))
    assert found.diverged
    assert found.rates[-1] < HIGHEST
    assert found.smoothed[-1] > 4 * min(found.smoothed[:-1])
    calm = range_test(Parabola(0.001))
    assert not calm.diverged
    assert len(calm.rates) == STEPS
    assert calm.rates[-1] == pytest.approx(HIGHEST)
    by_hand, average = [], 0.0
    for number, loss in enumerate(found.losses, start=1):
        average = 0.98 * average + 0.02 * loss
        by_hand.append(average / (1 - 0.98**number))
    assert found.smoothed == pytest.approx(by_hand)


def literal_valley(losses: list[float]) -> int:
    """Step by step as fast.ai's documentation describes it."""
    lengths, end = [1] * len(losses), 0
    for i in range(1, len(losses)):
        for j in range(i):
            if losses[j] > losses[i]:
                lengths[i] = max(lengths[i], lengths[j] + 1)
    for i, length in enumerate(lengths):
        if length > lengths[end]:
            end = i
    third = lengths[end] / 3
    return max(0, end - lengths[end] + int(third) + int(third / 2))


def test_valley_and_steepest_are_fast_ais() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        losses = np.cumsum(random.normal(-0.05, 1, 80))
        assert valley(losses) == literal_valley(losses.tolist())
        rates = 10.0 ** np.linspace(-7, 1, 80)
        slopes = [(b - a) / np.log(q / p) for a, b, p, q in zip(losses, losses[1:], rates, rates[1:], strict=False)]
        assert steepest(losses, rates) == slopes.index(min(slopes))
    falls = np.concatenate([np.ones(20), np.linspace(1, 0, 31)[1:], np.linspace(0, 9, 10)[1:]])
    assert 30 <= valley(falls) <= 36, "in the middle of the fall from 20 to 50"


def test_the_start_and_the_end_are_left_out() -> None:
    losses = [9.0] * 5 + [1.0] * 50 + [2.0, 1.5, 1.0, 0.5, 0.0]
    found = RangeTest(rates=np.geomspace(LOWEST, HIGHEST, 60).tolist(), losses=losses, smoothed=losses, diverged=False)
    assert SKIPPED_AT_END == 5
    assert suggestions(found) == {"valley": None, "steepest": None}, "it falls in the first tenth and in the last five steps alone"
    with pytest.raises(SettingsError, match="diverged after 12 steps"):
        suggestions(RangeTest(found.rates[:12], losses[:12], losses[:12], True))


def test_a_loss_that_is_no_number_from_the_start_is_told() -> None:
    broken = Parabola(math.nan)
    with pytest.raises(SettingsError, match="not a finite number at the lowest rate"):
        suggestions(range_test(broken))


def test_a_step_of_another_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="minimises one loss once, and this one minimises 2"):
        range_test(Parabola(1.0, times=2))


@pytest.mark.parametrize(("name", "why"), [("gan", "two networks"), ("dqn", "targets move")])
def test_what_has_no_such_test_says_why(name: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--headless", "--find-lr"]) == 2
    complaint = capsys.readouterr().err
    assert why in complaint
    assert complaint.count("\n") == 1


def test_it_is_a_command_that_keeps_nothing(tmp_path: Path, small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    values = small("convnet")
    typed = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", as_typed(value))]
    folder = ["--runs-dir", str(tmp_path)]
    assert cli.run(["convnet", "--headless", "--find-lr", *typed, *folder]) == 0
    text = capsys.readouterr().out
    assert "valley " in text
    assert "steepest " in text
    taken = text.splitlines()[-1].partition("to take valley: ")[2].split()
    assert taken[:2] == ["dlplay", "convnet"]
    assert [*taken, "--lr"].index("--lr") < len(taken)
    assert taken[taken.index("--channels") + 1] == as_typed(values["channels"]), "the rate holds for these settings"
    assert "⠒" in text or "⠤" in text, "its curve"
    assert list(tmp_path.iterdir()) == []
    assert cli.run(["convnet", "--headless", "--find-lr", "--json", *typed, *folder]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) > 50
    assert f"{found['suggestions']['valley']:.2g}" in text
    for wrong in (["--name", "x"], ["--panel", "classes"], ["--paused"], ["--at", "3"], ["--svg", "x.svg"], ["--seeds", "0,1"]):
        assert cli.run(["convnet", "--headless", "--find-lr", *wrong, *folder]) == 2
    assert cli.run(["convnet", "--find-lr", *folder]) == 2
    assert "--find-lr needs --headless" in capsys.readouterr().err


def as_typed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def test_it_starts_from_weights_and_leaves_their_run_alone(tmp_path: Path, small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    card = architectures.card("convnet")
    settings = make(card.settings, {**small("convnet"), "steps": 5, "save_every": 5})
    run = directory.create(tmp_path, "convnet", to_dict(settings), name="trained")
    task = card.load_task()(settings, torch.device("cpu"))
    with torch.no_grad():
        for parameter in task.model.parameters():  # type: ignore[attr-defined]
            parameter.zero_()  # logits of zero: a loss of log 10, to the bit
    weights = {name: value.numpy() for name, value in task.weights().items()}
    meta = {"architecture": "convnet", "settings": to_dict(settings), "assets": task.assets(), "metrics": {}}
    run.store.save(5, weights, {}, meta)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    found = measure(card, settings, "trained", tmp_path)
    assert found.losses[0] == pytest.approx(np.log(10))
    assert learning_rate.run(card, settings, "trained", tmp_path, as_json=False) == 0
    assert "to take valley: dlplay convnet --from trained --" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("convnet", "gpt") else pytest.mark.long)
        for name, card in architectures.cards().items()
        if not card.no_range_test
    ],
)
def test_the_default_rate_is_near_what_is_suggested(name: str, tmp_path: Path) -> None:
    """Valley is the careful one; where it lies low, as for Transformer-XL, steepest does not."""
    card = architectures.card(name)
    settings = card.settings()
    found = suggestions(measure(card, settings, "", tmp_path))
    default = settings.lr  # type: ignore[attr-defined]
    ratios = {suggestion: rate / default for suggestion, rate in found.items() if rate is not None}
    assert any(0.1 <= ratio <= 10 for ratio in ratios.values()), ratios
    assert 0.05 <= ratios["valley"] <= 10, ratios


@pytest.mark.parametrize("flags", [["--at", "3"], ["--svg", "x.svg"], ["--seeds", "0..3"], ["--name", "n"]])
def test_what_a_range_test_does_not_use_is_refused(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["convnet", "--headless", "--find-lr", *flags, "--runs-dir", str(tmp_path)]) == 2
    assert f"leave out {flags[0]}" in capsys.readouterr().err
