"""How much of the attention is saturated: counted over the weights that the models themselves can show, whatever kernel computes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.architectures.gpt.model import GPT, Attention
from dlplay.doctor import rules
from dlplay.doctor.examine import read_layers
from dlplay.engine import hooks
from dlplay.engine.diagnosis import Evidence
from dlplay.engine.task import looking
from dlplay.microscope import anatomy
from dlplay.microscope.attention import AttentionRows
from tests.conftest import Dlplay, Small
from tests.test_anatomy import ask, rows, trained

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")


def shares(model: nn.Module, *inputs: Any) -> dict[str, float]:
    with torch.no_grad(), AttentionRows(hooks.modules({"net": model})) as found:
        model(*inputs)
    return found.shares()


def one_hot(weights: Tensor, rows: Sequence[int]) -> float:
    """Over the weights (B, H, T, S) of some queries."""
    return float((weights[:, :, list(rows)].amax(dim=-1) > 0.99).float().mean())


def test_the_rows_of_the_fused_kernel_are_those_that_the_model_shows() -> None:
    torch.manual_seed(0)
    model = GPT(50, layers=2, heads=4, width=32, block_size=12, init_std=1.0).eval()
    idx = torch.randint(50, (8, 12))
    with torch.no_grad():
        weights = model.weights(idx)
    found = shares(model, idx)
    assert list(found) == ["blocks.0.attention", "blocks.1.attention"]
    for share, of_block in zip(found.values(), weights, strict=True):
        assert share == pytest.approx(one_hot(of_block, range(1, 12)), abs=1e-6)  # the first query sees itself alone
        assert 0.2 < share < 1


def test_even_attention_is_not_saturated_and_hooks_are_gone_afterwards() -> None:
    model = GPT(50, layers=1, heads=2, width=16, block_size=8, init_std=0.02).eval()
    assert shares(model, torch.randint(50, (2, 8))) == {"blocks.0.attention": 0.0}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_masked_keys_are_none_that_a_query_chose() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads, self.out = 1, nn.Linear(4, 4)

        def forward(self, x: Tensor, seen: Tensor) -> Tensor:
            result: Tensor = self.out(F.scaled_dot_product_attention(x, x, x, attn_mask=seen))
            return result

    x = 100 * torch.eye(4).expand(1, 1, 4, 4)
    assert shares(Masked(), x, torch.ones(4, 4, dtype=torch.bool)) == {"net": 1.0}  # each query finds itself
    assert shares(Masked(), x, torch.eye(4, dtype=torch.bool)) == {}  # and has no choice here
    half = torch.eye(4, dtype=torch.bool)
    half[0, :2] = True
    assert shares(Masked(), x / 100, half) == {"net": 0.0}
    assert shares(Masked(), x, torch.zeros(4, 4)) == {"net": 1.0}  # a mask that is added


@pytest.mark.parametrize("name", ["gpt", "bert", "seq2seq", "transformer-xl"])
def test_every_transformer_tells_how_much_of_its_attention_is_saturated(small: Small, name: str) -> None:
    task = trained(name, **small(name))
    with looking(task):
        attentions = [address for address, module in hooks.modules(task.models).items() if hooks.attention_of(module)]
        calm = anatomy.health(task).one_hot
    assert list(calm) == attentions
    assert max(calm.values()) < 0.2
    with torch.no_grad():
        for address in attentions:
            module = hooks.modules(task.models)[address]
            for part in module.children():
                if part is not (hooks.attention_of(module) or (0, None))[1]:
                    part.weight.mul_(200)
    with looking(task):
        steep = anatomy.health(task).one_hot
    assert min(steep.values()) > 0.5
    told = rows(ask(task, name, "anatomy", columns="health"))
    shown = [row["dead or saturated"] for row in told.values() if row["dead or saturated"].endswith("one-hot")]
    assert shown == [f"{100 * share:.1f} % one-hot" for share in steep.values()]


SHIPPED = {
    "gpt-reference": "gpt",
    "gpt-induction": "gpt",
    "bert-reference": "bert",
    "seq2seq-reverse": "seq2seq",
    "transformer-xl-recall": "transformer-xl",
    "transformer-xl-reference": "transformer-xl",
    "gan-transformers": "gan",
}


@pytest.mark.slow
@pytest.mark.parametrize("shipped", SHIPPED)
def test_no_shipped_model_has_saturated_attention(dlplay: Dlplay, shipped: str) -> None:
    question = ("--headless", "--from", shipped, "--panel", "anatomy", "--columns", "health", "--threads", "1", "--json")
    told = dlplay(SHIPPED[shipped], *question)
    assert (told.status, told.err) == (0, "")
    layers = read_layers(json.loads(told.out))
    found = [layer.one_hot for layer in layers if layer.one_hot is not None]
    assert len(found) >= 2
    assert max(found) < 0.3
    evidence = Evidence(settings={}, step=1000, layers=tuple(layers))
    assert rules.saturated_softmax(evidence) is None


def test_a_long_batch_is_measured_on_its_first_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Attention(8, 2, 0.0)
    nn.init.normal_(model.qkv.weight, std=3.0)
    x = torch.randn(6, 5, 8)
    monkeypatch.setattr("dlplay.microscope.attention.MOST_SCORES", 2 * 2 * 5 * 5)
    assert shares(model, x) == shares(model, x[:2])
