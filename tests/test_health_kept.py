"""The panel `anatomy` with columns health is measured once for a model as it is, and shows another one at once."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dlplay.engine import hooks
from dlplay.engine.means import beforehand, half_of_the_work
from dlplay.engine.task import Probe, looking
from dlplay.microscope import anatomy
from dlplay.microscope.attention import AttentionRows
from dlplay.parts.held_out import probe_shape
from tests.conftest import Small
from tests.test_anatomy import ask, rows, trained

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")


def counting_probes(task: object, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    passes: list[int] = []
    own = task.probe  # type: ignore[attr-defined]

    def probe() -> Probe | None:
        passes.append(1)
        found: Probe | None = own()
        return found

    monkeypatch.setattr(task, "probe", probe)
    return passes


def test_health_is_measured_once_until_the_model_is_another(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    task = trained("gpt", **small("gpt"))
    passes = counting_probes(task, monkeypatch)
    first = ask(task, "gpt", "anatomy", columns="health")
    assert ask(task, "gpt", "anatomy", columns="health") == first
    assert len(passes) == 1
    task.train_step()
    task.step += 1
    assert ask(task, "gpt", "anatomy", columns="health") != first
    with torch.no_grad():
        task.models["gpt"].blocks[0].norm_1.weight.mul_(3)  # type: ignore[union-attr, index, operator]
    assert (
        rows(ask(task, "gpt", "anatomy", columns="health"))["blocks.0.norm_1"]["weight norm"]
        != rows(first)["blocks.0.norm_1"]["weight norm"]
    )
    assert len(passes) == 3
    task.settings = dataclasses.replace(task.settings, lr=task.settings.lr / 2)
    ask(task, "gpt", "anatomy", columns="health")
    assert len(passes) == 4


def test_an_intervention_is_measured_alone_and_leaves_what_is_kept(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    task = trained("gpt", **small("gpt"))
    passes = counting_probes(task, monkeypatch)
    before = ask(task, "gpt", "anatomy", columns="health")
    both = ask(task, "gpt", "anatomy", columns="health", do="blocks.0.feed_forward=0")
    assert len(passes) == 2
    assert both != before
    assert ask(task, "gpt", "anatomy", columns="health") == before
    assert len(passes) == 2
    assert task.interventions == ()


def test_episodes_are_played_once_to_learn_that_returns_have_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    task = trained("dqn", buffer=1000)
    passes = counting_probes(task, monkeypatch)
    first = ask(task, "dqn", "anatomy", columns="health")
    assert ask(task, "dqn", "anatomy", columns="health") == first
    assert len(passes) == 1
    with torch.no_grad():
        for parameter in task.models["net"].parameters():
            parameter.mul_(2)
    assert ask(task, "dqn", "anatomy", columns="health") != first
    assert len(passes) == 1


def test_what_is_read_beforehand_has_no_gradient_and_the_others_keep_theirs(small: Small) -> None:
    task = trained("transformer-xl", **small("transformer-xl"))
    weight = next(iter(task.models.values())).tokens.weight  # type: ignore[union-attr]
    with looking(task), torch.enable_grad():
        with beforehand():
            assert not (weight * 2).requires_grad
        assert (weight * 2).requires_grad


# --- attention that counts ---------------------------------------------------------------------------------------------------------


def test_queries_of_padding_are_no_rows_of_attention(small: Small) -> None:
    task = trained("seq2seq", **small("seq2seq"))
    vocabulary, named = task.vocabulary(), hooks.modules(task.models)
    assert vocabulary is not None
    read: list[torch.Tensor] = []
    handle = vocabulary.embedding.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    with looking(task), AttentionRows(named) as every:
        task.measure()
    handle.remove()
    with looking(task), AttentionRows(named, vocabulary) as real:
        task.measure()
    source = read[0]
    several = (source != vocabulary.padding).sum(dim=1) > 1  # of one token alone nothing is chosen
    assert int((source == vocabulary.padding).sum()) > 0, "the held-out examples have padding"
    encoder = next(address for address in real._counts if "encoder" in address)
    heads = named[encoder].heads
    assert real._counts[encoder][0] == heads * int((source != vocabulary.padding)[several].sum())
    assert all(0 < count < every._counts[address][0] for address, (count, _) in real._counts.items())


def test_what_fills_a_memory_is_no_row_of_attention(small: Small) -> None:
    task = trained("transformer-xl", **small("transformer-xl") | {"eval_memory": 32})
    named = hooks.modules(task.models)
    with looking(task), AttentionRows(named, task.vocabulary()) as read:
        task.measure()
    with looking(task), AttentionRows(named, task.vocabulary()) as none, beforehand():
        task.measure()
    assert none.shares() == {}
    assert set(anatomy.health(task).one_hot) == set(read.shares())


def test_a_large_models_health_is_that_of_half_of_the_examples(small: Small) -> None:
    assert probe_shape(500_000, 64) == (32, 64)
    with half_of_the_work():
        assert probe_shape(500_000, 64) == (16, 64)
        assert probe_shape(50_000, 64) == (32, 64)
    task = trained("recurrent", 1, task="adding", length=20)
    with looking(task):
        whole = task.probe()
        with half_of_the_work():
            half = task.probe()
    assert whole is not None
    assert half is not None
    assert len(half.values) == len(whole.values) // 2
    assert torch.allclose(half.values, whole.values[: len(half.values)], atol=1e-5)
    assert f", {len(half.values)} examples" in ask(task, "recurrent", "anatomy", columns="health").caption
