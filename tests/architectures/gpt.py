"""The GPT against transformers' GPT-2, its cache, its training and its panels."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dlplay.architectures.gpt import card
from dlplay.architectures.gpt.model import GPT
from dlplay.architectures.gpt.panels import CachedReader
from dlplay.architectures.gpt.settings import GPTSettings
from dlplay.architectures.gpt.task import GPTTask
from dlplay.data.tokens import UNKNOWN, Words
from dlplay.engine import state
from dlplay.engine.errors import DataError
from dlplay.engine.panels import Bars, HeatMap, Layer, Layers, Table, Tokens
from dlplay.engine.settings import SettingsError, fields, make
from dlplay.engine.task import looking
from dlplay.parts import heads
from dlplay.parts.optimizers import warmup_cosine
from dlplay.parts.prompt_options import NextWord, Prompt
from dlplay.parts.sampling import candidates, distribution, draw, write
from tests.rooms import Gate, RoomFacts
from tests.samples import ATTENTION, CANDIDATES, WORDS

facts = RoomFacts(
    small={"text": "{text}", "layers": 2, "heads": 2, "width": 16, "block_size": 8, "batch": 8, "min_count": 1},
    easy={"dropout": 0.0, "warmup": 0, "weight_decay": 0.0},
    idle={"lora": "from scratch it is refused", "min_count": "each of its words is frequent"},
    gates=[Gate(65.0)],
    pictured={
        "next_word": CANDIDATES,
        "passage": Tokens(words=[], values=[], text=""),
        "prompt_tokens": Tokens(words=WORDS, values=[None, 0.02, 0.61], text="the value of", figure="perplexity 9.05"),
        "attention": ATTENTION,
        "forward": Layers(
            layers=[
                Layer(title="read", labels=WORDS),
                Layer(title="embedding", labels=["of", "for", "the"], values=[0.9, 0.05, 0.01], percent=True),
                Layer(title="layer 0 → next", labels=CANDIDATES.labels[:4], values=CANDIDATES.values[:4], percent=True, chosen=0),
            ]
        ),
        "layer_lens": Table(columns=["layer", "1", "2"], rows=[["0", "the 12 %", "a 9 %"], ["1", "the 38 %", "a 14 %"]]),
    },
    waits_for="18.5 equally likely",
    pictured_small=True,
    inspects="layer 0 → next",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def own_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small language: subject, verb, object, with a number that copies an earlier one."""
    rng = np.random.default_rng(0)
    nouns, verbs = ["cat", "dog", "bird", "fish"], ["sees", "likes", "fears"]
    lines = []
    for _ in range(400):
        number = rng.integers(10)
        lines.append(f"The {rng.choice(nouns)} {rng.choice(verbs)} the {rng.choice(nouns)}, {number} and {number}.")
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def settings(text: str, **changes: Any) -> GPTSettings:
    small = {
        "text": text,
        "layers": 2,
        "heads": 2,
        "width": 16,
        "block_size": 12,
        "batch": 4,
        "dropout": 0.2,
        "warmup": 5,
        "steps": 60,
        "lr": 0.01,
    }
    return make(GPTSettings, small | changes)


def build(text: str, assets: dict[str, Any] | None = None, **changes: Any) -> GPTTask:
    torch.manual_seed(0)
    return GPTTask(settings(text, **changes), CPU, assets)


def train(task: GPTTask, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(float(task.train_step()["train_loss"]))
        task.step += 1
    return losses


def tiny(**changes: int) -> GPT:
    torch.manual_seed(1)
    model = GPT(23, **{"layers": 3, "heads": 2, "width": 16, "block_size": 10} | changes)
    for parameter in model.parameters():  # biases and norms at other values than their first ones
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


# --- the model ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_logits_equal_those_of_gpt2_in_transformers() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    ours = tiny()
    config = GPT2Config(
        vocab_size=23,
        n_positions=10,
        n_embd=16,
        n_layer=3,
        n_head=2,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
        bos_token_id=0,
        eos_token_id=0,
    )
    theirs = GPT2LMHeadModel(config).eval()
    names = {
        "tokens": "wte", "positions": "wpe", "norm": "ln_f", "blocks": "h", "norm_1": "ln_1", "norm_2": "ln_2", "attention": "attn",
        "feed_forward": "mlp", "qkv": "c_attn", "projection": "c_proj", "expansion": "c_fc",
    }  # fmt: skip
    weights = {}
    for name, value in ours.state_dict().items():
        path = ".".join(names.get(part, part) for part in name.split("."))
        linear = any(part in name for part in ("qkv", "projection", "expansion")) and name.endswith("weight")
        weights["transformer." + path] = value.T if linear else value  # Conv1D keeps its weights transposed
    weights["lm_head.weight"] = ours.tokens.weight.detach()
    theirs.load_state_dict(weights, strict=True)
    idx = torch.randint(0, 23, (4, 10), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(idx), theirs(idx).logits, rtol=1e-4, atol=1e-5)


def test_no_token_sees_the_future() -> None:
    model = tiny()
    idx = torch.randint(0, 23, (2, 10), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(idx)
        for place in range(10):
            changed = idx.clone()
            changed[:, place] = (changed[:, place] + 1) % 23
            after = model(changed)
            assert torch.equal(after[:, :place], before[:, :place])
            assert not torch.allclose(after[:, place], before[:, place])


@pytest.mark.parametrize("parts", [[10], [1] * 10, [4, 1, 1, 3, 1], [3, 7]])
def test_cached_reading_equals_reading_all_at_once(parts: list[int]) -> None:
    model = tiny()
    idx = torch.randint(0, 23, (2, 10), generator=torch.Generator().manual_seed(2))
    cache: list[Any] = []
    with torch.no_grad():
        logits = torch.cat([model(part, cache) for part in idx.split(parts, dim=1)], dim=1)
        torch.testing.assert_close(logits, model(idx), rtol=1e-5, atol=1e-5)
    assert len(cache) == 3


def test_more_than_a_block_is_refused() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="11 tokens do not fit in a block of 10"):
        model(torch.zeros(1, 11, dtype=torch.int64))


def test_written_words_are_those_of_full_forward_passes_also_beyond_the_block() -> None:
    model = tiny()
    ids = [3, 1, 4]
    with torch.no_grad():
        reader = CachedReader(model, ids)
        for token in range(20):
            expected = model(torch.tensor([reader.ids[-10:]]))[0, -1]
            torch.testing.assert_close(reader.logits, expected, rtol=1e-5, atol=1e-5)
            reader.append(token)
        written = write(CachedReader(model, ids), 20, temperature=0, top_k=0, top_p=1.0, seed=0)
        for token, _ in written:
            logits = model(torch.tensor([ids[-10:]]))[0, -1]
            assert token == int(logits.argmax())
            ids = [*ids, token]


def test_residual_projections_start_smaller_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    model = GPT(500, layers=4, heads=4, width=64, block_size=32)
    for name, parameter in model.state_dict().items():
        if name.endswith("projection.weight"):
            assert float(parameter.std()) == pytest.approx(0.02 / math.sqrt(8), rel=0.1)
        elif parameter.dim() == 2:
            assert float(parameter.std()) == pytest.approx(0.02, rel=0.1)
        elif name.endswith("bias"):
            assert not parameter.any()


def test_the_head_is_the_embedding_and_counts_once() -> None:
    model = tiny()
    assert sum(p.numel() for p in model.parameters()) == 23 * 16 + 10 * 16 + 3 * (12 * 16**2 + 13 * 16) + 2 * 16


def test_attention_weights_are_those_of_the_forward_pass() -> None:
    model = tiny()
    block: Any = model.blocks[1]
    x = torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weights = block.attention.weights(x)  # (1, 2, 7, 7)
        _, _, v = block.attention.split(x)
        by_hand = block.attention.projection((weights @ v).transpose(1, 2).reshape(1, 7, 16))
        torch.testing.assert_close(by_hand, block.attention(x)[0], rtol=1e-5, atol=1e-5)
    assert torch.allclose(weights.sum(-1), torch.ones(1, 2, 7))
    assert not weights.triu(1).any()


# --- training -----------------------------------------------------------------------------------------------------------------------


def test_the_target_of_each_token_is_the_one_after_it(own_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build(own_text)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    embed, loss = task.model.embed, F.cross_entropy

    def watch(idx: torch.Tensor, start: int = 0) -> torch.Tensor:
        seen.append((idx, torch.empty(0)))
        return embed(idx, start)

    def watch_loss(logits: torch.Tensor, targets: torch.Tensor, **more: Any) -> torch.Tensor:
        seen[-1] = (seen[-1][0], targets.view(len(seen[-1][0]), -1))
        return loss(logits, targets, **more)

    monkeypatch.setattr(task.model, "embed", watch)
    monkeypatch.setattr(F, "cross_entropy", watch_loss)
    task.train_step()
    with looking(task):
        task.evaluate()
    stream = task.corpus.train.tolist()
    idx, targets = seen[0]
    assert torch.equal(idx[:, 1:], targets[:, :-1])
    for row, following in zip(idx.tolist(), targets.tolist(), strict=True):
        assert any(stream[i : i + 13] == [*row, following[-1]] for i in range(len(stream) - 12))
    predicted = torch.cat([targets.flatten() for _, targets in seen[1:]])
    assert predicted.tolist() == task.corpus.held_out.tolist()  # every held-out token once, in order
    everything, end = [*stream, *predicted.tolist()], len(stream)
    for idx, targets in seen[1:]:
        for row, following in zip(idx.tolist(), targets.tolist(), strict=True):
            end += len(following)
            assert row == everything[end - 1 - len(row) : end - 1]  # a whole block before the last one, so half of one before the first
            assert len(row) == 12
            assert len(following) <= 6


def test_it_learns_and_beats_the_unigram(own_text: str) -> None:
    task = build(own_text, steps=120)
    losses = train(task, 120)
    with looking(task):
        metrics = task.evaluate()
        assert metrics == task.evaluate()
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 1
    assert metrics["val_perplexity"] == pytest.approx(math.exp(metrics["val_loss"]))
    assert metrics["val_perplexity"] < task.baselines()["val_perplexity"]["unigram"] / 2
    assert 0.3 < metrics["val_top1"] <= 1


def test_characters_can_be_learned_too(own_text: str) -> None:
    task = build(own_text, tokens="char")
    assert "characters" in task.data
    losses = train(task, 60)
    assert losses[-1] < losses[0] - 0.5


def test_weight_decay_acts_on_matrices_alone(own_text: str) -> None:
    task = build(own_text, weight_decay=0.5)
    task.train_step()
    decayed = {id(p) for group in task.optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    spared = {id(p) for group in task.optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    for _name, parameter in task.model.named_parameters():
        assert (id(parameter) in decayed) == (parameter.dim() == 2)
        assert (id(parameter) in spared) == (parameter.dim() == 1)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    given = make(GPTSettings, {"lr": 1.0, "warmup": 10, "steps": 110})
    rates = [given.lr * warmup_cosine(step, given.warmup, given.steps) for step in range(112)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == rates[111] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert warmup_cosine(0, warmup=0, steps=2500) == 1
    assert warmup_cosine(60, warmup=50, steps=10) > 0


def test_a_run_that_is_resumed_goes_on_to_the_bit(own_text: str) -> None:
    whole = build(own_text)
    train(whole, 6)
    expected = train(whole, 6)

    task = build(own_text)
    train(task, 6)
    for _generation in range(2):
        tensors, plain = state.flatten(task.state_dict())
        tensors = {name: tensors[name].clone() for name in sorted(tensors, reverse=True)}  # a file keeps no order
        plain = msgspec.json.decode(msgspec.json.encode(plain))
        weights = {name: value.clone() for name, value in task.weights().items()}
        torch.manual_seed(999)
        resumed = GPTTask(settings(own_text), CPU, msgspec.json.decode(msgspec.json.encode(task.assets())))
        resumed.load_weights(weights)
        resumed.load_state_dict(state.unflatten(tensors, plain))
        task = resumed
        assert train(task, 3) == expected[3 * _generation : 3 * _generation + 3]
    assert all(torch.equal(value, task.weights()[name]) for name, value in whole.weights().items())


def test_live_settings_are_read_from_the_next_step_on(own_text: str) -> None:
    task = build(own_text)
    train(task, 1)
    task.change(dataclasses.replace(task.settings, lr=0.5, dropout=0.25, batch=7, weight_decay=0.3, clip=0.0, warmup=0))
    assert "grad_norm" not in task.train_step()
    assert task.optimizer.param_groups[0]["lr"] == pytest.approx(0.5, rel=0.01)
    assert task.optimizer.param_groups[0]["weight_decay"] == 0.3
    assert {module.dropout for module in task.model.modules() if hasattr(module, "dropout")} == {0.25}


# --- settings and text --------------------------------------------------------------------------------------------------------------


def test_settings_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(SettingsError, match="--width 30 does not divide by --heads 4; use 3 heads"):
        make(GPTSettings, {"width": 30, "heads": 4})


def test_every_preset_is_valid() -> None:
    for preset in card.presets.values():
        make(GPTSettings, preset.values)
        assert preset.why


def test_a_short_text_is_refused_with_the_minimum(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("a few words only")
    with pytest.raises(DataError, match=r"short\.txt holds 4 words; at least 130 are needed"):
        build(str(path))


def test_a_checkpoint_can_be_asked_when_its_text_is_gone(own_text: str) -> None:
    assets = build(own_text).assets()
    task = build("/no/such/text", assets)
    with looking(task):
        assert isinstance(task.panel("next_word", NextWord(prompt="the cat")), Bars)
    assert "cannot read" in task.data
    with pytest.raises(DataError, match="cannot read /no/such/text"):
        task.train_step()


@pytest.mark.parametrize(
    "assets", [{}, {"tokens": "word"}, {"tokens": "x", "vocabulary": [UNKNOWN, "a"]}, {"tokens": "word", "vocabulary": "ab"}]
)
def test_damaged_assets_are_refused(own_text: str, assets: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="damaged"):
        build(own_text, assets)


# --- sampling -----------------------------------------------------------------------------------------------------------------------


def test_top_k_and_top_p_keep_the_fewest_of_the_likeliest() -> None:
    probability = torch.tensor([0.1, 0.4, 0.2, 0.3, 0.0], dtype=torch.float64)
    assert candidates(probability, 0, 1.0).tolist() == [1, 3, 2, 0]
    assert candidates(probability, 2, 1.0).tolist() == [1, 3]
    assert candidates(probability, 0, 0.69).tolist() == [1, 3]
    assert candidates(probability, 0, 0.71).tolist() == [1, 3, 2]
    assert candidates(probability, 1, 0.9).tolist() == [1]
    assert candidates(probability, 0, 1e-9).tolist() == [1]


def test_temperature_sharpens_flattens_and_picks_the_likeliest_at_zero() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0])
    assert distribution(logits, 0).tolist() == [0, 1, 0]
    assert distribution(logits, 1e-300).tolist() == [0, 1, 0]
    assert distribution(logits, 0.5)[1] > distribution(logits, 1.0)[1] > distribution(logits, 10.0)[1]
    assert torch.allclose(distribution(logits, 1.0), logits.double().softmax(0))


def test_draws_follow_the_probabilities_and_never_leave_the_candidates() -> None:
    probability = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    drawn = np.bincount([draw(probability, 3, 1.0, seed) for seed in range(4000)], minlength=4) / 4000
    assert drawn[3] == 0
    assert drawn[:3] == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95], abs=0.03)


def test_a_passage_asked_for_word_by_word_is_the_same_passage() -> None:
    model = tiny()
    with torch.no_grad():
        whole = [token for token, _ in write(CachedReader(model, [1, 2]), 15, temperature=1.0, top_k=0, top_p=0.9, seed=7, ban=0)]
        ids = [1, 2]
        for _ in range(15):
            ids.append(write(CachedReader(model, ids), 1, temperature=1.0, top_k=0, top_p=0.9, seed=7, ban=0)[0][0])
        other = [token for token, _ in write(CachedReader(model, [1, 2]), 15, temperature=1.0, top_k=0, top_p=0.9, seed=8, ban=0)]
    assert ids[2:] == whole
    assert other != whole
    assert 0 not in whole


# --- panels -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(own_text: str) -> GPTTask:
    torch.set_num_threads(1)
    task = build(own_text, steps=150)
    train(task, 150)
    return task


def ask(task: GPTTask, name: str, **options: Any) -> Any:
    with looking(task):
        return task.panel(name, make(card.panel(name).options, options))


def fingerprint(task: GPTTask) -> tuple[Any, ...]:
    tensors, plain = state.flatten(task.state_dict())
    return (
        {name: value.clone() for name, value in (tensors | task.weights()).items()},
        plain,
        [module.training for module in task.model.modules()],
        [None if p.grad is None else p.grad.clone() for p in task.model.parameters()],
    )


@pytest.mark.parametrize("panel", [panel.name for panel in card.panels])
def test_panels_answer_at_every_bound_and_disturb_nothing(trained: GPTTask, panel: str) -> None:
    before = fingerprint(trained)
    options_type = card.panel(panel).options
    asked: list[dict[str, Any]] = [{}]
    for item in fields(options_type):
        asked += [{item.name: value} for value in (item.low, item.high) if value is not None and not (item.open_low and value == item.low)]
        if item.kind == "text" and not item.choices:
            asked += [{item.name: value} for value in ("", " ", "zebra", "the cat " * 24, "\x1b[31m\udc80\u202e", "?!")]
    for options in asked:
        try:
            answer = ask(trained, panel, **({"words": 3} | options if panel == "passage" and "words" not in options else options))
        except SettingsError as error:
            if error.field != "corrupt":  # which must have as many words as the prompt
                raise
            continue
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=type(answer)) == answer
        assert msgspec.json.encode(answer)
    for old, new in zip(before, fingerprint(trained), strict=True):
        if isinstance(old, dict) and all(isinstance(value, torch.Tensor) for value in old.values()):
            assert all(torch.equal(value, new[name]) for name, value in old.items())
        elif isinstance(old, list) and isinstance(old[0], torch.Tensor):
            assert all(torch.equal(a, b) for a, b in zip(old, new, strict=True))
        else:
            assert old == new


def test_next_word_lists_the_softmax(trained: GPTTask) -> None:
    prompt = "the dog, 7 and 7. The cat"
    answer = ask(trained, "next_word", prompt=prompt, top_k=5)
    assert isinstance(answer, Bars)
    ids = torch.tensor([trained.tokenizer.encode(prompt)])
    with torch.no_grad(), looking(trained):
        top = trained.model(ids)[0, -1].softmax(-1).topk(5)
    assert answer.values == pytest.approx(top.values.tolist(), rel=1e-5)
    assert answer.labels[0] in ("sees", "likes", "fears")
    assert answer.appends[0] == " " + answer.labels[0]
    assert ask(trained, "next_word", prompt=prompt + " ", top_k=5).appends[0] == answer.labels[0]
    assert sum(ask(trained, "next_word", prompt="The cat", top_k=0, temperature=0).values) == 1


def test_punctuation_is_appended_without_a_space(trained: GPTTask) -> None:
    answer = ask(trained, "next_word", prompt="the cat sees the dog", top_k=3)
    assert answer.labels[0] == ","
    assert answer.appends[0] == ","


def test_an_unknown_word_is_named_in_the_caption(trained: GPTTask) -> None:
    assert "read as <unk>: zebra" in ask(trained, "next_word", prompt="the zebra").caption
    strip = ask(trained, "prompt_tokens", prompt="the zebra sees")
    assert strip.words[1] == UNKNOWN
    assert "zebra" in strip.notes[1]


def test_a_prompt_longer_than_a_block_keeps_its_end_and_says_so(trained: GPTTask) -> None:
    answer = ask(trained, "prompt_tokens", prompt="the cat sees the dog, 1 and 1. " * 5)
    assert len(answer.words) == 12
    assert "only the last 12 of 50 words fit" in answer.caption


def test_a_pasted_megabyte_is_refused_in_words() -> None:
    with pytest.raises(SettingsError, match="the prompt has 1,000,000 characters; at most 100,000"):
        make(Prompt, {"prompt": "a" * 1_000_000})


def test_the_strip_gives_each_word_its_probability(trained: GPTTask) -> None:
    answer = ask(trained, "prompt_tokens", prompt="the cat sees the dog, 7 and 7.")
    assert isinstance(answer, Tokens)
    assert answer.values[0] is None
    ids = torch.tensor([trained.tokenizer.encode("the cat sees the dog, 7 and 7.")])
    with torch.no_grad(), looking(trained):
        probability = trained.model(ids)[0].softmax(-1)
    expected = [float(probability[i, ids[0, i + 1]]) for i in range(ids.shape[1] - 1)]
    assert answer.values[1:] == pytest.approx(expected, rel=1e-5)


def test_a_passage_reads_as_text_and_repeats_with_its_seed(trained: GPTTask) -> None:
    first = ask(trained, "passage", prompt="the cat", words=12, sampling_seed=1)
    assert isinstance(first, Tokens)
    assert len(first.words) == len(first.values) == 12
    assert list(Words.split(first.text)) == first.words
    assert first == ask(trained, "passage", prompt="the cat", words=12, sampling_seed=1)
    assert first.text != ask(trained, "passage", prompt="the cat", words=12, sampling_seed=2, temperature=2).text
    greedy = ask(trained, "passage", prompt="the cat", words=6, temperature=0)
    assert greedy == ask(trained, "passage", prompt="the cat", words=6, temperature=0, sampling_seed=5)


def test_the_pattern_of_a_head_is_told() -> None:
    ids = [5, 6, 7, 5, 6, 7]
    previous = torch.eye(6).roll(1, 0)
    assert heads.pattern(previous, ids) == heads.Pattern(1.0, 0.0, 0.0)
    first = torch.zeros(6, 6)
    first[:, 0] = 1
    assert heads.pattern(first, ids) == heads.Pattern(0.0, 1.0, 0.0)
    induction = torch.zeros(6, 6)
    induction[:3, 0] = 1
    induction[range(3, 6), range(1, 4)] = 1  # 5 is followed by 6, 6 by 7, 7 by 5
    assert heads.pattern(induction, ids) == heads.Pattern(0.0, pytest.approx(0.25), 1.0)
    assert heads.pattern(previous, [1, 2, 3, 4, 5, 6]).induction is None
    assert heads.words(heads.pattern(torch.eye(2), [3, 4])) == "", "two tokens have no pattern"
    assert "earlier copy" in heads.words(heads.pattern(previous, ids))


def test_heads_are_scored_in_every_evaluation_of_a_text_that_repeats() -> None:
    task = build("repeats", block_size=20)
    ids = heads.repeated_tokens(8, 20, len(task.tokenizer.vocabulary))
    with looking(task):
        metrics, weights = task.evaluate(), task.model.weights(ids)
        table = ask(task, "heads")
        baselines = task.baselines()
    best = max(float(heads.score(each, heads.after_a_copy(ids)).max()) for each in weights)
    assert metrics["induction_score"] == pytest.approx(best)
    listed = [row[table.columns.index("induction")] for row in table.rows if ".head." in row[0]]
    assert f"{100 * metrics['induction_score']:.0f} %" in listed
    even = baselines["induction_score"]["even attention"]
    after = [
        [sum(row[key - 1] == row[query] for key in range(1, query)) / (query + 1) for query in range(20)] for row in ids.tolist()
    ]  # keys that followed a copy, among all that a query sees
    assert even == pytest.approx(float(np.mean([share for row in after for share in row if share])))
    assert abs(metrics["induction_score"] - even) < 0.02, "an untrained head attends evenly"
    assert 0 < metrics["previous_token_score"] < 0.3


def test_an_in_context_score_is_how_much_a_second_reading_helps() -> None:
    task = build("repeats", block_size=49)
    tokens = torch.tensor([token for token in range(1, len(task.tokenizer.vocabulary)) if task.tokenizer.label(token) != "."])
    ids = heads.read_again(64, 50, 32, tokens)
    assert all(len(set(row[:32])) == 32 and row[:18] == row[32:] for row in ids.tolist())
    with looking(task):
        found = task.evaluate()["in_context_score"]
        each = [torch.nn.functional.cross_entropy(task.model(ids[:, : place - 1])[:, -1], ids[:, place - 1]) for place in (5, 50)]
    assert found == pytest.approx(float(each[1] - each[0]), abs=1e-4)
    assert abs(found) < 0.1, "an untrained model has no use for context"
    assert task.baselines()["in_context_score"] == {"without context": 0.0}
    short = build("repeats", block_size=48)
    with looking(short):
        assert "in_context_score" not in short.evaluate(), "the 50th token has no place"
    assert "in_context_score" not in short.baselines()


def test_no_other_text_has_its_heads_scored(trained: GPTTask) -> None:
    with looking(trained):
        assert "induction_score" not in trained.evaluate()
    assert "induction_score" not in trained.baselines()


def test_a_default_prompt_that_the_model_cannot_read_gives_way_to_the_text() -> None:
    task = build("repeats")
    answer = ask(task, "prompt_tokens")
    assert "held-out text, until you type a prompt" in answer.caption
    assert UNKNOWN not in answer.words
    assert "held-out text" not in ask(task, "prompt_tokens", prompt="the cat").caption
    read = ask(task, "next_word").read["prompt"]  # what stands in the line of the stage
    assert task.tokenizer.encode(read) == task.text.held_out[: len(task.tokenizer.encode(read))].tolist()
    assert ask(task, "next_word", prompt=read).values == ask(task, "next_word").values
    assert ask(task, "next_word", prompt="the cat").read == {}


def test_attention_map_is_causal_and_sums_to_one(trained: GPTTask) -> None:
    answer = ask(trained, "attention", prompt="the cat sees the dog", layer=1, head=1)
    assert isinstance(answer, HeatMap)
    assert answer.rows == answer.columns == ["the", "cat", "sees", "the", "dog"]
    weights = answer.values.numpy()
    assert weights.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert not np.triu(weights, 1).any()
    assert not np.array_equal(weights, ask(trained, "attention", prompt="the cat sees the dog", layer=0, head=1).values.numpy())


def test_the_last_layer_of_the_lens_is_the_model_itself(trained: GPTTask) -> None:
    lens = ask(trained, "layer_lens", prompt="the cat")
    assert isinstance(lens, Table)
    assert len(lens.rows) == 3
    likeliest = ask(trained, "next_word", prompt="the cat")
    assert lens.rows[-1][1] == f"{likeliest.labels[0]} {100 * likeliest.values[0]:.0f} %"
    assert ask(trained, "layer_lens", prompt="the cat", token=0).figure == 'after "the"'


def test_words_used_alike_become_neighbours(trained: GPTTask) -> None:
    nouns = {"cat", "dog", "bird", "fish"}
    answer = ask(trained, "neighbours", word="cat")
    assert set(answer.labels[:3]) & nouns
    assert "cat" not in answer.labels
    assert all(-1 <= value <= 1 for value in answer.values)
    assert ask(trained, "neighbours", prompt="the cat", token=1) == answer
    assert "not in the vocabulary" in ask(trained, "neighbours", word="zebra").caption


def test_norms_show_gradients_once_there_are_some(own_text: str) -> None:
    task = build(own_text)
    assert ask(task, "norms").names == ["weights"]
    train(task, 1)
    answer = ask(task, "norms")
    assert answer.names == ["gradient", "weights"]
    assert answer.labels[0].startswith("token embedding (")
    assert answer.labels[-1].startswith("final norm (")
    assert math.sqrt(sum(value**2 for value in answer.values)) == pytest.approx(min(1.0, task.settings.clip), rel=0.01)
