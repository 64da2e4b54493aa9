"""`--lora RANK`: beside a pretrained GPT's frozen matrices thin ones are trained, and merged where the model goes elsewhere."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dlplay import architectures
from dlplay.architectures.gpt.model import GPT
from dlplay.architectures.gpt.task import GPTTask
from dlplay.engine.panel_server import panel_of
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking
from dlplay.parts import low_rank
from dlplay.parts.merging import merged
from dlplay.runs import origin, process
from dlplay.runs.directory import RunDirectory
from tests.conftest import Dlplay
from tests.runs import Following, begin, resume, same, weights
from tests.test_hf import gpt2, transformers  # noqa: F401  a fixture

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")

CARD = architectures.card("gpt")
RANK = 3


def opened(folder: Path, **values: Any) -> GPTTask:
    """The model of transformers in a folder, with these settings beside its own."""
    checkpoint = origin.find(f"hf:{folder}", folder, "gpt")
    settings = make(
        CARD.settings, origin.settings_of(CARD, checkpoint) | {"device": "cpu", "dropout": 0.0, "lr": 1e-2, "warmup": 1} | values
    )
    task: Any = process.load(CARD, checkpoint, settings)
    return task


def train(task: GPTTask, steps: int) -> None:
    for _ in range(steps):
        task.advance()
        task.step += 1


def logits(model: GPT) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.arange(20)[None])


def test_at_first_it_is_the_pretrained_model_to_the_bit(gpt2: Path) -> None:  # noqa: F811
    assert torch.equal(logits(opened(gpt2, lora=RANK).model), logits(opened(gpt2).model))


def test_only_the_thin_matrices_are_trained(gpt2: Path) -> None:  # noqa: F811
    task = opened(gpt2, lora=RANK)
    before = copy.deepcopy(task.model.state_dict())
    train(task, 3)
    changed = {name.rpartition(".")[2] for name, value in task.model.state_dict().items() if not value.equal(before[name])}
    assert changed == {"down", "up"}
    layers = [module for module in task.model.modules() if isinstance(module, low_rank.LowRankLinear)]
    assert len(layers) == 4 * 2, "attention and feed-forward of two blocks"
    assert task.parameters == sum(RANK * (layer.in_features + layer.out_features) for layer in layers)
    assert sum(slot.numel() for slots in task.optimizer.state.values() for slot in slots.values()) == 2 * task.parameters + 2 * len(layers)


def test_its_gradient_is_that_of_the_whole_matrix_in_the_thin_ones() -> None:
    """By the chain rule: d up = d weight @ down.T, d down = up.T @ d weight."""
    torch.manual_seed(1)
    plain = nn.Linear(6, 5).double()
    layer = low_rank.LowRankLinear(copy.deepcopy(plain), 2).double()
    nn.init.normal_(layer.up)
    x = torch.randn(4, 7, 6, dtype=torch.float64)
    layer(x).square().sum().backward()
    weight = layer.weight.detach().requires_grad_()
    torch.nn.functional.linear(x, weight, plain.bias.detach()).square().sum().backward()
    whole, up, down = (tensor.grad for tensor in (weight, layer.up, layer.down))
    assert torch.allclose(up, whole @ layer.down.detach().T)  # type: ignore[arg-type,operator]
    assert torch.allclose(down, layer.up.detach().T @ whole)  # type: ignore[arg-type]
    assert layer.base.grad is None


def test_merged_it_is_a_plain_model_with_the_same_logits_and_the_other_way_round(gpt2: Path) -> None:  # noqa: F811
    task, plain = opened(gpt2, lora=RANK), opened(gpt2)
    train(task, 5)
    plain.load_weights(task.weights())
    assert set(plain.weights()) == set(merged(task.weights()))
    assert torch.allclose(logits(plain.model), logits(task.model), atol=1e-5)
    assert not torch.allclose(logits(plain.model), logits(opened(gpt2).model), atol=1e-2)
    again = opened(gpt2, lora=RANK)
    again.load_weights(plain.weights())
    assert torch.equal(logits(again.model), logits(plain.model)), "a fresh product is nothing"
    again.load_weights(task.weights())
    assert torch.equal(logits(again.model), logits(task.model))
    with pytest.raises(SettingsError, match="down"):
        opened(gpt2, lora=RANK + 1).load_weights(task.weights())


def test_a_look_inside_sees_the_merged_matrix(gpt2: Path) -> None:  # noqa: F811
    task, plain = opened(gpt2, lora=RANK), opened(gpt2)
    train(task, 5)
    plain.load_weights(task.weights())
    for name, options in (("heads", {}), ("attribution", {}), ("layer_lens", {}), ("anatomy", {})):
        with looking(task), looking(plain):
            found, wanted = (panel_of(each, CARD.panel(name), options) for each in (task, plain))
        if name != "anatomy":  # which says how many parameters are trained
            assert [row[0] for row in found.rows] == [row[0] for row in wanted.rows]
        else:
            assert len(found.rows) == len(wanted.rows)


def test_without_a_pretrained_model_it_is_refused(dlplay: Dlplay, tmp_path: Path) -> None:
    found = dlplay("gpt", "--headless", "--lora", "4", "--runs-dir", str(tmp_path))
    assert found.status == 2
    assert found.err.strip() == "dlplay: --lora 4 trains beside a pretrained model; name one with --from, or use --lora 0"


def test_it_is_tuned_resumed_to_the_bit_and_exported_merged(gpt2: Path, dlplay: Dlplay, tmp_path: Path, own_words: Path) -> None:  # noqa: F811
    settings = {"lora": RANK, "text": str(own_words), "lr": 1e-2, "warmup": 1, "dropout": 0.1}
    whole, parts = (RunDirectory(tmp_path / "runs" / name) for name in ("whole", "parts"))
    start = ("--from", f"hf:{gpt2}")
    assert begin(dlplay, "gpt", whole, settings | {"steps": 40}, *start).wait().status == 0
    command = begin(dlplay, "gpt", parts, settings | {"steps": 40}, *start)
    Following(parts).wait_for(20, command)
    command.kill()
    assert resume(dlplay, parts).wait().status == 0
    assert weights(parts)[0] == 40
    assert same(weights(whole)[1], weights(parts)[1])
    target = tmp_path / "exported"
    assert dlplay("export", "whole", "--to", "hf", str(target), "--runs-dir", str(whole.path.parent)).status == 0
    model = transformers.GPT2LMHeadModel.from_pretrained(target)
    task: Any = process.load(CARD, origin.find("whole", whole.path.parent), make(CARD.settings, dict(whole.spec.settings)))
    with torch.no_grad():
        theirs = model(torch.arange(20)[None]).logits
    assert np.allclose(theirs.numpy(), logits(task.model).numpy(), atol=1e-4)
