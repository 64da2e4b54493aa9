"""`--precision`: what a device can, what `auto` is there, what stays in float32, and how a run tells of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

from dlplay import architectures
from dlplay.architectures.gan import task as gan
from dlplay.engine import precision
from dlplay.engine.device import prepare
from dlplay.engine.errors import DataError
from dlplay.engine.events import Started, Warned
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.state import flatten
from dlplay.engine.task import Task
from dlplay.runs.directory import RunDirectory
from tests.conftest import Dlplay, Small
from tests.runs import Following, begin, resume
from tests.toy import ToySettings, ToyTask

pytestmark = pytest.mark.usefixtures("as_before")

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")


@contextmanager
def a_card(major: int, minor: int) -> Iterator[None]:
    """Within it there is an NVIDIA GPU of this compute capability, as far as words go."""
    found = {"get_device_capability": lambda *_: (major, minor), "get_device_name": lambda *_: "a card"}
    with mock.patch.multiple(torch.cuda, **found):
        yield


def a_task(name: str, small: Small, **values: Any) -> Task[Any]:
    card = architectures.card(name)
    settings = make(card.settings, small(name) | {"device": "cpu", "precision": "bf16"} | values)
    return card.load_task()(settings, prepare(settings), None)


def test_auto_is_tf32_from_ampere_on_and_float32_elsewhere() -> None:
    for capability, found in {(7, 5): "float32", (8, 0): "tf32", (8, 9): "tf32", (12, 0): "tf32"}.items():
        with a_card(*capability):
            assert precision.resolve("auto", CUDA) == found
    assert precision.resolve("auto", CPU) == precision.resolve("auto", MPS) == "float32"
    assert precision.resolve("bf16", CPU) == "bf16"


def test_what_a_device_cannot_do_is_refused_with_the_bound_and_a_way_out() -> None:
    for name in ("tf32", "bf16"):
        with a_card(7, 5), pytest.raises(SettingsError) as refused:
            precision.resolve(name, CUDA)
        assert refused.value.field == "precision"
        assert f"--precision {name} needs an NVIDIA GPU of compute capability 8.0 (Ampere) or newer, and a card has 7.5" in str(
            refused.value
        )
        assert "use --precision auto or float32" in str(refused.value)
    with pytest.raises(SettingsError, match=r"--precision tf32 needs .* and this is cpu; use --precision auto or float32"):
        precision.resolve("tf32", CPU)
    with mock.patch.object(torch.backends.mps, "is_macos_or_newer", return_value=False), pytest.raises(SettingsError, match="macOS 14"):
        precision.resolve("bf16", MPS)


def test_a_cpu_that_was_named_is_refused_before_any_run() -> None:
    with pytest.raises(SettingsError, match="--precision tf32 is for NVIDIA GPUs, and --device cpu is none") as refused:
        make(ToySettings, {"device": "cpu", "precision": "tf32"})
    assert refused.value.field == "precision"


def test_a_machine_without_a_card_refuses_tf32_in_one_line(dlplay: Dlplay, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    ended = dlplay("convnet", "--headless", "--precision", "tf32", "--runs-dir", str(tmp_path))
    assert ended.status != 0
    assert "--precision tf32 needs an NVIDIA GPU" in ended.err
    assert ended.err.count("\n") == 1


def test_a_card_rounds_to_tf32_only_when_told_to() -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        for name, rounds in {"auto": True, "tf32": True, "float32": False, "bf16": False}.items():
            with a_card(8, 0):
                precision.prepare(name, CUDA)
            assert (matmul.allow_tf32, cudnn.allow_tf32) == (rounds, rounds)
        matmul.allow_tf32, cudnn.allow_tf32 = before
        precision.prepare("auto", CPU)
        assert (matmul.allow_tf32, cudnn.allow_tf32) == before
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def test_a_cpu_without_bfloat16_has_its_kernels_back_afterwards() -> None:
    with mock.patch.object(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", return_value=False):
        before = torch._C._get_mkldnn_enabled()
        with precision.bfloat16(CPU):
            assert not torch._C._get_mkldnn_enabled()
            hidden, _ = nn.LSTM(4, 4)(torch.ones(3, 2, 4))
        assert hidden.isfinite().all()
        assert torch._C._get_mkldnn_enabled() == before


def test_a_room_that_does_not_say_where_its_forward_pass_is_refuses_in_words() -> None:
    task = ToyTask(make(ToySettings, {"precision": "bf16"}), CPU)
    with pytest.raises(DataError, match=r"has its loss outside `with self\.autocast\(\):`; use --precision float32"):
        task.train_step()


# --- what stays in float32 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "name"), [("wasserstein-gp", "gradient_penalty"), ("non-saturating", "r1_penalty")])
def test_a_gradient_penalty_is_computed_in_float32(loss: str, name: str, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    task = a_task("gan", small, loss=loss, **({"r1": 1.0} if name == "r1_penalty" else {}))
    outputs: list[torch.dtype] = []
    penalty = getattr(gan, name)

    def watched(discriminator: Any, *examples: torch.Tensor) -> torch.Tensor:
        assert not torch.is_autocast_enabled("cpu")

        def noted(x: torch.Tensor) -> torch.Tensor:
            outputs.append((found := discriminator(x)).dtype)
            return found

        found: torch.Tensor = penalty(noted, *examples)
        outputs.append(found.dtype)
        return found

    monkeypatch.setattr(gan, name, watched)
    task.train_step()
    assert outputs == [torch.float32] * len(outputs)
    assert len(outputs) >= 2


def test_the_statistics_of_a_batch_are_taken_in_float32(small: Small) -> None:
    """The running mean after one step is a tenth of the mean of what the convolution put out; added up in bfloat16 it would be off by
    a percent."""
    task = a_task("convnet", small, norm="batch")
    seen: list[torch.Tensor] = []
    norms = [module for module in task.models["net"].modules() if isinstance(module, nn.BatchNorm2d)]
    norms[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    task.train_step()
    assert seen[0].dtype == torch.bfloat16
    assert norms[0].running_mean is not None
    assert norms[0].running_mean.dtype == torch.float32
    torch.testing.assert_close(norms[0].running_mean, 0.1 * seen[0].double().mean((0, 2, 3)).float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("double", [False, True])
def test_q_targets_are_computed_in_float32(double: bool, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    task: Any = a_task("dqn", small, double=double)
    found: list[bool] = []
    targets = task._td_targets

    def watched(batch: Any) -> torch.Tensor:
        values: torch.Tensor = targets(batch)
        found.append(not torch.is_autocast_enabled("cpu") and values.dtype == torch.float32 and torch.equal(values, targets(batch)))
        return values

    monkeypatch.setattr(task, "_td_targets", watched)
    while not found:
        task.train_step()
        task.step += 1
    assert all(found)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn-tanh"])
def test_a_recurrent_net_carries_its_state_in_float32(cell: str, small: Small) -> None:
    """A checkpoint holds it, and takes no bfloat16."""
    task = a_task("recurrent", small, cell=cell)
    for _ in range(3):
        task.train_step()
    tensors, _ = flatten(task.extra_state())
    assert {value.dtype for value in tensors.values()} == {torch.float32}


def test_interventions_of_a_training_work_in_bfloat16(small: Small) -> None:
    task = a_task("gpt", small, train_with="blocks.0.head.1=0; blocks.1.feed_forward*0.5")
    task.train_with()
    assert task.train_step()["train_loss"].isfinite()


# --- runs ---------------------------------------------------------------------------------------------------------------------------------


def test_a_run_says_its_precision_and_goes_on_with_another_only_with_a_warning(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "rounded")
    ended = begin(dlplay, "autoencoder", run, small("autoencoder") | {"steps": 20, "precision": "bf16"}).wait()
    assert ended.status == 0
    assert ", bf16, 1 thread, seed 0" in ended.out
    checkpoint, _ = run.store.newest()
    assert checkpoint is not None
    assert (checkpoint.meta["precision"], checkpoint.meta["settings"]["precision"]) == ("bf16", "bf16")
    assert resume(dlplay, run, "--steps", "25").wait().status == 0
    following = Following(run)
    assert following.of(Warned) == []
    assert resume(dlplay, run, "--steps", "30", "--precision", "auto").wait().status == 0
    assert [event.what for event in following.of(Warned)] == ["resumed with precision float32 instead of bf16"]
    assert [event.precision for event in following.of(Started)] == ["bf16", "bf16", "float32"]


def test_what_a_clipped_critic_tells_apart_is_not_rounded_away() -> None:
    settings = architectures.card("gan").settings
    make(settings, {"loss": "wasserstein-gp", "precision": "bf16"})
    with pytest.raises(SettingsError, match="clipped weights") as refused:
        make(settings, {"loss": "wasserstein", "precision": "bf16"})
    assert refused.value.field == "precision"
