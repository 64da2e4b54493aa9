"""The Transformer-XL against the paper's equations, a double loop and transformers' XLNet; its memory and its two problems."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.transformer_xl import card
from dlplay.architectures.transformer_xl.model import (
    Memory,
    RelativeAttention,
    TransformerXL,
    causal_mask,
    memory_after,
    relative_shift,
    segments,
    sinusoids,
)
from dlplay.architectures.transformer_xl.problems.recall import (
    DOT,
    FIRST_KIND,
    FIRST_WORD,
    KINDS,
    VOCABULARY,
    WORDS_OF_A_KIND,
    WordsAndDots,
    recall_batch,
)
from dlplay.architectures.transformer_xl.problems.text import TextProblem
from dlplay.architectures.transformer_xl.task import TransformerXLTask
from dlplay.engine import state
from dlplay.engine.errors import DataError
from dlplay.engine.panels import Bars, Tokens
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking
from tests.rooms import Gate, RoomFacts

facts = RoomFacts(
    small={"width": 16, "block_size": 8, "memory": 8, "eval_memory": 16, "facts": 3, "gap": 9, "batch": 8},
    easy={"warmup": 0, "weight_decay": 0.0, "lr": 0.01},
    gates=[Gate(0.01), Gate(4.15, preset="reference")],
    pictured={
        "next_token": Bars(
            labels=["paris", "rome"], values=[0.98, 0.01], second=[0.1, 0.11], names=["with memory", "without"], percent=True, high=1.0,
            figure="98.0 %", caption="memory of 38 words",
        ),
        "memory_used": Tokens(words=["cat", "red", "paris", "."], values=[0.01, 0.0, 0.98, 0.0], place=2, figure="paris 98 %"),
    },
    waits_for="memory of 38 words",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def tiny(layers: int = 2, vocabulary: int = 11, seed: int = 0) -> TransformerXL:
    """With weights far from zero, u and v too, so that every term counts."""
    torch.manual_seed(seed)
    model = TransformerXL(vocabulary, layers=layers, heads=2, width=8).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def build(**values: Any) -> TransformerXLTask:
    small = {"layers": 2, "heads": 2, "width": 16, "block_size": 8, "memory": 8, "eval_memory": 8, "batch": 4, "facts": 3, "gap": 9}
    settings = make(card.settings, small | {"device": "cpu", "min_count": 1} | values)
    torch.manual_seed(settings.seed)
    return TransformerXLTask(settings, CPU)


def train(task: TransformerXLTask, steps: int) -> None:
    for _ in range(steps):
        task.train_step()
        task.step += 1


# --- relative attention ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("T", "M"), [(1, 0), (1, 5), (4, 0), (3, 2), (4, 7)])
def test_the_shift_puts_every_distance_where_a_double_loop_does(T: int, M: int) -> None:  # noqa: N803
    S = T + M  # noqa: N806
    x = torch.randn(2, 3, T, S)
    shifted = relative_shift(x)
    assert shifted.shape == x.shape
    for i in range(T):
        for j in range(i + M + 1):  # what lies beyond is the future
            distance = i + M - j
            assert torch.equal(shifted[..., i, j], x[..., i, S - 1 - distance])


def test_encodings_are_sines_and_cosines_of_the_distance() -> None:
    R = sinusoids(5, 6, CPU)  # noqa: N806
    for row, distance in enumerate([4, 3, 2, 1, 0]):
        angles = [distance / 10_000 ** (2 * k / 6) for k in range(3)]
        assert R[row].tolist() == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], abs=1e-6)


def four_terms(layer: RelativeAttention, x: Tensor, seen: Tensor) -> Tensor:
    """Attention weights (H, T, S) by the four terms of the paper's section 3.3, one pair of places after the other."""
    T, S, C = len(x), len(seen), x.shape[-1]  # noqa: N806
    D = C // layer.heads  # noqa: N806
    wanted = torch.zeros(layer.heads, T, S, dtype=x.dtype)
    for h in range(layer.heads):
        own = slice(h * D, (h + 1) * D)
        W_q, W_ke, W_kr = layer.query.weight[own], layer.key_value.weight[:C][own], layer.key_distance.weight[own]  # noqa: N806
        u, v = layer.u[own], layer.v[own]
        for i in range(T):
            scores = torch.full((S,), -math.inf, dtype=x.dtype)
            for j in range(S - T + i + 1):
                distance = S - T + i - j
                frequency = [10_000 ** (-2 * k / C) for k in range(C // 2)]
                R = torch.tensor([math.sin(distance * f) for f in frequency] + [math.cos(distance * f) for f in frequency])  # noqa: N806
                R = R.to(x.dtype)  # noqa: N806
                q, k = W_q @ x[i], W_ke @ seen[j]
                scores[j] = (q @ k + q @ (W_kr @ R) + u @ k + v @ (W_kr @ R)) / math.sqrt(D)
            wanted[h, i] = scores.softmax(0)
    return wanted


def test_the_weights_are_the_softmax_of_the_papers_four_terms() -> None:
    layer = tiny().blocks[0].attention
    seen = torch.randn(1, 9, 8, dtype=torch.float64)
    x = seen[:, 5:]
    with torch.no_grad():
        found = layer.weights(x, seen, sinusoids(9, 8, CPU).double(), causal_mask(4, 5, CPU).double())
        assert torch.allclose(found[0], four_terms(layer, x[0], seen[0]), atol=1e-6)
        lost = layer.u.clone()
        layer.u.zero_()
        assert not torch.allclose(found[0], four_terms(layer, x[0], seen[0]), atol=1e-3)
        layer.u.copy_(lost)
        layer.v.zero_()
        assert not torch.allclose(found[0], four_terms(layer, x[0], seen[0]), atol=1e-3)


def test_the_output_is_that_of_transformers_xlnet_with_the_same_weights() -> None:
    from transformers import XLNetConfig
    from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

    T, M, C, H = 4, 5, 8, 2  # noqa: N806
    ours = tiny().blocks[0].attention
    theirs = XLNetRelativeAttention(XLNetConfig(d_model=C, n_head=H, d_inner=8, n_layer=1, dropout=0.0)).double().eval()
    seen = torch.randn(1, M + T, C, dtype=torch.float64)
    R = sinusoids(M + T + 1, C, CPU).double()  # noqa: N806  # theirs begins one farther off
    with torch.no_grad():
        theirs.r_w_bias.copy_(ours.u.view(H, -1))
        theirs.r_r_bias.copy_(ours.v.view(H, -1))
        ours.projection.weight.copy_(torch.eye(C))
        ours.projection.bias.zero_()

        def heads(weight: Tensor, x: Tensor) -> Tensor:
            return (x @ weight.T).view(len(x), 1, H, C // H)

        masked = torch.ones(T, M + T, dtype=torch.float64).triu(M + 1)[:, :, None, None]
        vectors = theirs.rel_attn_core(
            heads(ours.query.weight, seen[0, M:]),
            heads(ours.key_value.weight[:C], seen[0]),
            heads(ours.key_value.weight[C:], seen[0]),
            heads(ours.key_distance.weight, R),
            attn_mask=masked,
        )
        found = ours(seen[:, M:], seen, R[1:], causal_mask(T, M, CPU).double())
    assert torch.allclose(found[0], vectors.reshape(T, C), atol=1e-9)


# --- memory ---------------------------------------------------------------------------------------------------------------------------


def read_segments(model: TransformerXL, idx: Tensor, block: int, keep: int) -> tuple[list[Tensor], Memory]:
    """Logits (B, T, V) of each of the `segments` of `idx` (B, N), starting with an empty memory, and the memory after the last one."""
    memory, found = model.empty_memory(len(idx)), []
    for segment in segments(idx, block):
        logits, memory = model(segment, memory, keep)
        found.append(logits)
    return found, memory


@pytest.mark.parametrize("layers", [1, 3])
def test_segments_with_a_memory_of_all_equal_one_long_pass(layers: int) -> None:
    model, idx = tiny(layers), torch.randint(11, (2, 22))
    with torch.no_grad():
        whole, _ = model(idx)
        parts, memory = read_segments(model, idx, 4, 100)
    assert [part.shape[1] for part in parts] == [2, 4, 4, 4, 4, 4]
    assert (torch.cat(parts, dim=1) - whole).abs().max() < 1e-5
    assert [m.shape for m in memory] == [(2, 22, 8)] * layers


def test_without_a_memory_a_segment_is_read_as_if_it_stood_alone() -> None:
    model, idx = tiny(), torch.randint(11, (1, 12))
    with torch.no_grad():
        parts, _ = read_segments(model, idx, 4, 0)
        alone, _ = model(idx[:, 8:])
    assert torch.equal(parts[-1], alone)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_each_layer_reaches_one_segment_further_back(layers: int) -> None:
    """With a memory of one segment the paper's longest dependency is as many segments as there are layers (section 3.2)."""
    model, idx = tiny(layers), torch.randint(1, 11, (1, 24))
    with torch.no_grad():
        before = read_segments(model, idx, 4, 4)[0][-1]
        for segment in range(5):
            other = idx.clone()
            other[:, 4 * segment : 4 * segment + 4] = 0
            changed = not torch.equal(read_segments(model, other, 4, 4)[0][-1], before)
            assert changed == (5 - segment <= layers)


def test_a_later_token_never_changes_earlier_logits() -> None:
    model, idx = tiny(), torch.randint(1, 11, (1, 6))
    memory: Memory = [torch.randn(1, 5, 8, dtype=torch.float64) for _ in range(2)]
    with torch.no_grad():
        before, _ = model(idx, memory)
        for place in range(6):
            other = idx.clone()
            other[:, place] = 0
            after, _ = model(other, memory)
            assert torch.equal(after[:, :place], before[:, :place])
            assert not torch.equal(after[:, place:], before[:, place:])


def test_the_memory_holds_layer_inputs_and_no_gradient_flows_into_it() -> None:
    model = tiny().train()
    first, second = torch.randint(11, (1, 4)), torch.randint(11, (1, 4))
    logits, memory = model(first, None, 6)
    assert logits.requires_grad
    assert not any(inputs.requires_grad for inputs in memory)
    residuals = model.residuals(first, model.empty_memory(1))
    assert all(torch.equal(inputs, residual) for inputs, residual in zip(memory, residuals, strict=False))
    _, longer = model(second, memory, 6)
    assert all(torch.equal(new[:, :2], old[:, 2:]) for new, old in zip(longer, memory, strict=True))
    parameters = list(model.parameters())
    through = torch.autograd.grad(model(second, memory)[0].square().sum(), parameters)
    of_constants = torch.autograd.grad(model(second, [inputs.clone() for inputs in memory])[0].square().sum(), parameters)
    assert all(torch.equal(a, b) for a, b in zip(through, of_constants, strict=True))
    words = set(second.flatten().tolist())
    tied = torch.autograd.grad(model.residuals(second, memory)[-1].square().sum(), model.tokens.weight)[0]
    assert {row for row in range(11) if tied[row].any()} == words  # no row of a word that is in the memory alone


def test_the_longer_memory_is_the_same_one_and_more() -> None:
    model, idx = tiny(), torch.randint(11, (1, 12))
    with torch.no_grad():
        (_, _, _), memory = read_segments(model, idx, 4, 6)
    assert [inputs.shape[1] for inputs in memory] == [6, 6]
    assert all(map(torch.equal, memory, memory_after(model, idx, 4, 6)))
    assert segments(idx[:, :0], 4) == []


# --- text -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [0, 3, 16])
def test_every_held_out_token_is_predicted_once_and_with_a_full_memory(own_words: Path, memory: int) -> None:
    """Of a text that counts, by a model that can count."""
    problem = build(task="text", text=str(own_words)).problem
    assert isinstance(problem, TextProblem)
    problem.dataset = dataclasses.replace(problem.text, train=torch.arange(500), held_out=torch.arange(500, 800))
    lengths = []

    def model(idx: Tensor, carried: Memory | None, keep: int) -> tuple[Tensor, Memory]:
        before = torch.zeros(len(idx), 0, 1) if carried is None else carried[0]
        if (idx[0] >= 499).any():  # the first row's next tokens are held out
            lengths.append(before.shape[1])
        return 100 * F.one_hot(idx + 1, 900).double(), [torch.cat([before, idx[..., None]], dim=1)[:, max(0, before.shape[1] + 8 - keep) :]]

    score = problem.score(cast(TransformerXL, model), memory)
    assert score.loss == pytest.approx(0, abs=1e-9)
    assert score.accuracy == 1
    assert set(lengths) == {memory}


def test_a_resumed_run_goes_on_with_the_memory_it_had(own_words: Path) -> None:
    task = build(task="text", text=str(own_words), dropout=0.1)
    train(task, 5)
    saved = task.state_dict()
    memory = saved["extra"]["streams"]["memory"]
    assert [memory[layer].shape for layer in ("0", "1")] == [(4, 8, 16)] * 2
    tensors, plain = state.flatten(saved)
    weights = {name: value.clone() for name, value in task.weights().items()}
    kept = state.unflatten({name: value.clone() for name, value in tensors.items()}, plain)
    train(task, 4)
    other = build(task="text", text=str(own_words), dropout=0.1, seed=1)
    other.load_weights(weights)
    other.load_state_dict(kept)
    train(other, 4)
    assert all(torch.equal(value, other.weights()[name]) for name, value in task.weights().items())
    forgetful = build(task="text", text=str(own_words), dropout=0.1, seed=1)
    forgetful.load_weights(weights)
    kept["extra"]["streams"]["memory"] = {}
    forgetful.load_state_dict(kept)
    train(forgetful, 4)
    assert not all(torch.equal(value, forgetful.weights()[name]) for name, value in task.weights().items())


def test_a_run_does_not_go_on_with_another_text(own_words: Path, tmp_path: Path) -> None:
    task = build(task="text", text=str(own_words))
    saved = task.state_dict()
    longer = tmp_path / "longer.txt"
    longer.write_text(own_words.read_text() + " and more of it")
    settings = make(card.settings, {**vars(task.settings), "text": str(longer)})
    with pytest.raises(DataError, match="no longer those that this run began with"):
        TransformerXLTask(settings, CPU, task.assets()).load_state_dict(saved)
    with pytest.raises(DataError, match="they are now recall"):
        build().load_state_dict({**build().state_dict(), "data": saved["data"]})


# --- recall ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [True, False])
def test_what_is_asked_for_stands_once_in_an_earlier_place(full: bool) -> None:
    facts, gap = 4, 20
    for row in recall_batch(200, facts, gap, torch.Generator().manual_seed(1), full=full).tolist():
        before, questions = row[: facts + gap], row[facts + gap :]
        words = [token for token in before if token != DOT]
        assert len(words) == facts
        assert all(token >= FIRST_WORD for token in words)
        kinds = questions[::2]
        assert len(set(kinds)) == facts
        for kind, word in zip(kinds, questions[1::2], strict=True):
            assert word in words
            assert (word - FIRST_WORD) // WORDS_OF_A_KIND == kind - FIRST_KIND
            assert VOCABULARY[word] in KINDS[VOCABULARY[kind]].split()
        assert not full or before[:facts] == words


def test_no_word_can_be_seen_from_the_segment_of_the_questions() -> None:
    task = build()
    whole = recall_batch(50, 3, 9, torch.Generator(), full=True)
    last = segments(whole, 8)[-1]
    assert torch.equal(last[:, :2], torch.full((50, 2), DOT))
    assert (last[:, 2::2] < FIRST_WORD).all()
    with looking(task):
        assert task.evaluate()["recall_without_memory"] < 0.2


@pytest.mark.parametrize(
    ("values", "words", "field"),
    [
        ({"facts": 5, "block_size": 8}, "--block-size 8 does not hold the questions for --facts 5", "block_size"),
        ({"facts": 3, "block_size": 8, "gap": 1}, "--gap 1 leaves words in the segment of 8 tokens", "gap"),
        ({"width": 10, "heads": 4}, "--width 10 does not divide by --heads 4; use 2 heads", "heads"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(values: dict[str, Any], words: str, field: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        make(card.settings, values)
    assert refused.value.field == field
    make(card.settings, {"task": "text", "gap": 0, "block_size": 4})


def test_kinds_have_ten_words_and_no_word_two_kinds() -> None:
    assert all(len(words.split()) == WORDS_OF_A_KIND for words in KINDS.values())
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    assert WordsAndDots(VOCABULARY).encode("Cat, red ... CITY?")[:2] == [VOCABULARY.index("cat"), VOCABULARY.index("red")]
    assert [*WordsAndDots.split("city?")] == ["city"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recall_is_perfect_with_the_memory_and_chance_without_it() -> None:
    for seed in range(3):
        task = TransformerXLTask(make(card.settings, {"device": "cpu", "seed": seed, "steps": 300}), CPU)
        train(task, 300)
        with looking(task):
            metrics = task.evaluate()
        assert metrics["recall_accuracy"] == 1.0
        assert metrics["recall_without_memory"] < 0.13  # 3,000 guesses between ten words: .1 ± .005


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whoever_trains_without_a_memory_never_recalls() -> None:
    values = dict(card.presets["recall-no-memory"].values) | {"device": "cpu", "steps": 300}
    task = TransformerXLTask(make(card.settings, values), CPU)
    train(task, 300)
    with looking(task):
        metrics = task.evaluate()
    assert metrics["recall_accuracy"] < 0.13
    assert metrics["val_loss"] > 0.99 * math.log(WORDS_OF_A_KIND)


def test_the_training_loss_of_recall_is_that_of_the_words_asked_for() -> None:
    task = build()
    generator = torch.Generator()
    generator.set_state(task.generators["data"].get_state())
    batch = recall_batch(4, 3, 9, generator)
    with torch.no_grad():
        loss = task.problem.loss(task.model, task.drawn(), task.share)
        logits = torch.cat(read_segments(task.model, batch, 8, 8)[0], dim=1).log_softmax(-1)
    nats = [-float(logits[row, place, batch[row, place + 1]]) for row in range(4) for place in (12, 14, 16)]
    assert float(loss) == pytest.approx(sum(nats) / 12, rel=1e-5)
    assert F.cross_entropy(logits[:, 12], batch[:, 13]).isfinite()
