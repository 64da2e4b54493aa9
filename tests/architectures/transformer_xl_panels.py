"""What may be asked of a Transformer-XL, put to the shipped model: what its memory holds, what is used of it, and what it is worth."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dlplay.architectures.transformer_xl import card, panels
from dlplay.architectures.transformer_xl.model import TransformerXL, memory_after
from dlplay.architectures.transformer_xl.panels import Reader
from dlplay.architectures.transformer_xl.problems.problem import Problem
from dlplay.architectures.transformer_xl.problems.recall import WORDS_OF_A_KIND
from dlplay.architectures.transformer_xl.problems.text import TextProblem
from dlplay.architectures.transformer_xl.task import TransformerXLTask
from dlplay.checkpoints import shipped
from dlplay.data.text import Corpus
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking
from dlplay.runs import origin, process
from tests.conftest import Dlplay

pytestmark = pytest.mark.usefixtures("one_thread")


@functools.cache
def trained() -> TransformerXLTask:
    """The shipped one."""
    checkpoint = shipped.find(origin.default(card)).open()
    task = process.load(card, checkpoint, make(card.settings, origin.settings_of(card, checkpoint) | {"device": "cpu"}))
    assert isinstance(task, TransformerXLTask)
    return task


def ask(task: TransformerXLTask, panel: str, **values: Any) -> Any:
    with looking(task):
        return task.panel(panel, make(card.panel(panel).options, values))


def reading_text(own_words: Path, **values: Any) -> TransformerXLTask:
    small = {"task": "text", "text": str(own_words), "min_count": 1, "layers": 2, "heads": 2, "width": 16, "block_size": 8, "memory": 8}
    torch.manual_seed(0)
    return TransformerXLTask(make(card.settings, small | {"eval_memory": 16, "batch": 4} | values), torch.device("cpu"))


def corpus(problem: Problem) -> Corpus:
    assert isinstance(problem, TextProblem)
    return problem.text.corpus


def test_the_default_model_is_the_one_for_recall() -> None:
    assert origin.default(card) == "transformer-xl-recall"
    assert trained().settings.task == "recall"


def test_the_shipped_model_recalls_all_with_its_memory_and_nothing_without() -> None:
    task = trained()
    with looking(task):
        metrics = task.evaluate()
    assert metrics["recall_accuracy"] == 1.0
    assert metrics["recall_without_memory"] == pytest.approx(1 / WORDS_OF_A_KIND, abs=0.03)


def test_emptying_the_memory_changes_what_is_said() -> None:
    full = ask(trained(), "next_token")
    assert (full.labels[0], full.names) == ("paris", ["with memory", "without"])
    assert full.values[0] > 0.99
    assert full.second[0] < 0.5
    for empty in ({"read_before": ""}, {"memory_length": 0}):
        answer = ask(trained(), "next_token", **empty)
        assert answer.values[0] < 0.9
        assert answer.values == pytest.approx(answer.second)
        assert "the memory is empty" in answer.caption
        assert dict(zip(answer.labels, answer.values, strict=True))["paris"] == pytest.approx(full.second[0], abs=1e-6)


@pytest.mark.parametrize(
    ("said", "kind", "word"), [("dog blue", "Animal?", "dog"), ("the oslo line ... tea", "drink", "tea"), ("axe", "tool", "axe")]
)
def test_what_a_person_reads_to_it_is_recalled(said: str, kind: str, word: str) -> None:
    answer = ask(trained(), "next_token", read_before=said + " ." * 20, prompt=kind)
    assert answer.labels[0] == word
    assert ask(trained(), "passage", read_before=said, prompt=kind).words == [word]
    assert ask(trained(), "passage", read_before=said, prompt=kind).ended


def test_the_memory_used_is_the_word_that_is_asked_for() -> None:
    answer = ask(trained(), "memory_used", prompt="metal")
    assert answer.words[:6] == ["cat", "red", "paris", "plum", "gold", "tea"]
    assert answer.words[int(np.argmax(answer.values))] == "gold"
    assert max(answer.values) > 0.5
    assert answer.figure.startswith("gold")
    last = ask(trained(), "memory_used", prompt="metal tool", token=0)
    assert last.words[int(np.argmax(last.values))] == "gold"
    one = ask(trained(), "memory_used", of="one head", layer=0, head=0)
    assert all(single <= strongest + 1e-6 for single, strongest in zip(one.values, ask(trained(), "memory_used").values, strict=True))
    assert ask(trained(), "memory_used", read_before="").words == []


def test_the_forward_pass_begins_with_the_words_in_the_memory_and_counts_the_dots() -> None:
    memory = ask(trained(), "forward").layers[0]
    assert memory.title == "memory"
    assert memory.labels == ["cat", "red", "paris", "plum", "gold", "tea", ". ×32"]


def test_the_attention_map_has_a_border_between_memory_and_segment() -> None:
    answer = ask(trained(), "attention", prompt="city animal", memory_length=20)
    weights = answer.values.numpy()
    assert weights.shape == (2, 20 + 1 + 2)
    assert answer.columns[20] == panels.BORDER
    assert answer.columns[21:] == answer.rows == ["city", "animal"]
    assert np.isnan(weights[:, 20]).all()
    assert np.nansum(weights, axis=1) == pytest.approx(np.ones(2), abs=1e-5)
    assert weights[0, 22] == 0  # the future
    alone = ask(trained(), "attention", prompt="city animal", read_before="")
    assert alone.columns == alone.rows, "no border where there is no memory"


def test_a_prompt_longer_than_a_segment_goes_on_into_the_memory() -> None:
    task = trained()
    long = ask(task, "next_token", prompt="cow " + ". " * 30 + "animal", read_before="")
    assert long.labels[0] == "cow"
    assert "the first 16 of 32 words went into the memory" in long.caption
    assert long.caption.startswith("recall the word of this kind")
    with looking(task):
        options = make(card.panel("next_token").options, {"prompt": "city", "read_before": "cat " + ". " * 9_000})
        assert task.panels()._read(options).memory[0].shape[1] == task.settings.eval_memory
    with pytest.raises(SettingsError, match="the text before the prompt has 200,000 characters; at most 100,000"):
        make(card.panel("next_token").options, {"read_before": "a" * 200_000})


def test_only_what_can_reach_the_prompt_is_left_out(own_words: Path) -> None:
    """Of a long text its end is read; the memory is that of the whole text."""
    task = reading_text(own_words)
    for parameter in task.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    text = " ".join(own_words.read_text().split()[:400])
    with looking(task):
        cut = task.panels()._read(make(card.panel("next_token").options, {"read_before": text, "prompt": "the"}))
        ids = torch.tensor([task.problem.tokenizer.encode(text)])
        memory = memory_after(task.model, ids, task.settings.block_size, task.settings.eval_memory)
    assert all(torch.allclose(mine, whole, atol=1e-6) for mine, whole in zip(cut.memory, memory, strict=True))
    assert cut.memory_ids == ids[0, -16:].tolist()


def test_reading_on_token_by_token_equals_reading_whole_segments(own_words: Path) -> None:
    task = reading_text(own_words)
    words = own_words.read_text().split()
    options = make(card.panel("passage").options, {"read_before": " ".join(words[:40]), "prompt": " ".join(words[40:43])})
    with looking(task):
        reader = Reader(task.model, task.panels()._read(options))
        found = [reader.logits, *(reader.append(token) for token in task.problem.tokenizer.encode(" ".join(words[43:60])))]
        start = task.panels()._read(options)
        ids = torch.tensor([task.problem.tokenizer.encode(" ".join(words[40:60]))])
        expected, memory = [], start.memory
        for segment in torch.split(ids, 8, dim=1):
            logits, memory = task.model(segment, memory, 16)
            expected.append(logits[0])
    assert torch.allclose(torch.stack(found), torch.cat(expected)[2:], atol=1e-5)


def test_the_curve_over_memory_lengths_steps_where_the_memory_reaches_the_words() -> None:
    answer = ask(trained(), "memory_curve")
    recalled = dict(zip(answer.x, answer.series["recalled"], strict=True))
    assert recalled[0] < 0.2
    assert recalled[32] < 0.2
    assert recalled[48] == 1.0
    assert set(answer.series["chance"]) == {1 / WORDS_OF_A_KIND}
    assert answer.percent, "a share of the words"
    assert answer.caption.startswith(f"as of step {trained().step:,}"), "it may be older than the charts beside it"


def test_distances_are_summed_as_a_double_loop_sums_them() -> None:
    weights = torch.rand(2, 3, 7, dtype=torch.float64).tril(4)
    wanted = torch.zeros(2, 7, dtype=torch.float64)
    for i in range(3):
        for j in range(i + 5):
            wanted[:, i + 4 - j] += weights[:, i, j]
    assert torch.allclose(panels.by_distance(weights), wanted)


def test_the_reach_of_a_head_begins_at_one_and_falls() -> None:
    answer = ask(trained(), "effective_context", layer=1, head=0)
    for curve in answer.series.values():
        assert curve[0] == pytest.approx(1.0)
        assert all(a >= b - 1e-12 for a, b in zip(curve, curve[1:], strict=False))
    assert len(answer.x) == trained().settings.eval_memory + trained().settings.block_size


def test_the_reach_is_measured_with_the_longest_memory_that_fills() -> None:
    task = trained()
    usual = task.settings
    short = ask(task, "effective_context")
    try:
        task.settings = dataclasses.replace(usual, eval_memory=128)
        answer = ask(task, "effective_context")
    finally:
        task.settings = usual
    assert short.caption.endswith(f"memory {usual.eval_memory}")
    longest = task.problem.examples(1).shape[1] - usual.block_size
    assert answer.caption.endswith(f"memory {longest}, since the held-out sequences end before they fill 128")
    assert answer.figure != "mean distance 0.0"
    for curve in answer.series.values():
        assert curve[0] == pytest.approx(1.0, abs=1e-4)


def test_speed_is_measured_on_demand_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(trained(), "evaluation_speed").series == {}
    monkeypatch.setattr(panels, "CONTEXTS", (8, 16))
    monkeypatch.setattr(panels, "SECONDS", 0.001)
    answer = ask(trained(), "evaluation_speed", measurement=3)
    assert set(answer.series) == {"with memory", "key-value cache", "window recomputed"}
    assert answer.figure.endswith("times at 16")
    assert all(value > 0 for values in answer.series.values() for value in values)
    assert answer == ask(trained(), "evaluation_speed", measurement=3)


def test_keys_and_values_that_were_cached_predict_what_the_memory_predicts() -> None:
    """To each layer's memory, its inputs, belong the keys and values that a cache holds."""
    torch.manual_seed(0)
    model = TransformerXL(7, layers=3, heads=2, width=8).eval()
    before, idx = torch.randint(7, (2, 5)), torch.randint(7, (2, 4))
    with torch.no_grad():
        _, memory = model(before, keep=5)
        cache = [block.attention.keys_values(block.norm_1(inputs)) for block, inputs in zip(model.blocks, memory, strict=True)]
        torch.testing.assert_close(panels.cached_logits(model, idx, cache), model(idx, memory)[0], atol=1e-6, rtol=1e-5)


def test_both_ways_of_evaluating_predict_the_same() -> None:
    """With one layer a memory of the context is all that a window sees: the last token's logits are the same ones."""
    torch.manual_seed(0)
    model = TransformerXL(7, layers=1, heads=2, width=8).eval()
    with torch.no_grad():
        windows = panels.recomputed(model, 3, 5)
        whole, memory = model(torch.zeros(1, 5, dtype=torch.int64), None, 5)
        one, _ = model(torch.zeros(1, 1, dtype=torch.int64), memory, 5)
    assert windows.shape == (3, 7)
    assert torch.allclose(windows, one[0].expand(3, -1), atol=1e-6)
    assert panels.with_memory(model, 4, 5).shape == (4, 7)
    assert whole.shape == (1, 5, 7)


def test_a_text_model_shows_the_held_out_text_until_something_is_typed(own_words: Path) -> None:
    task = reading_text(own_words)
    strip = ask(task, "prompt_tokens")
    assert "held-out text, until you type a prompt" in strip.caption
    held_out = [task.problem.tokenizer.label(token) for token in corpus(task.problem).held_out[16:28].tolist()]
    assert strip.words == held_out[4:]  # the last eight, a segment
    typed = ask(task, "prompt_tokens", prompt="zebra", read_before="")
    assert typed.words == ["<unk>"]
    assert len(ask(task, "passage", words=20).words) == 20


def test_each_text_that_nobody_has_set_is_replaced_alone_and_told_to_the_line(own_words: Path) -> None:
    task = reading_text(own_words)
    decode, held_out = task.problem.tokenizer.decode, corpus(task.problem).held_out.tolist()
    before, prompt = decode(held_out[:16]), decode(held_out[16:28])
    assert ask(task, "next_token").read == {"prompt": prompt, "read_before": before}
    typed = ask(task, "next_token", prompt=prompt + " zebra")
    assert typed.read == {"read_before": before}
    assert "held-out text was read before" in typed.caption
    remembered = ask(task, "memory_used", prompt="zebra")
    assert remembered.words == [task.problem.tokenizer.label(token) for token in held_out[:16]]
    assert ask(task, "next_token", prompt="zebra", read_before="").read == {}
    assert ask(task, "next_token", read_before="").read == {"prompt": prompt}
    gone = TransformerXLTask(
        make(card.settings, {**dataclasses.asdict(task.settings), "text": "/no/such/file"}), torch.device("cpu"), task.assets()
    )
    answer = ask(gone, "next_token")
    assert answer.read == {"prompt": "", "read_before": ""}
    assert "the memory is empty" in answer.caption
    assert "held-out" not in answer.caption
    assert ask(trained(), "next_token").read == {}


def test_the_last_evaluation_has_the_loss_at_several_lengths_of_memory(own_words: Path) -> None:
    task = reading_text(own_words)
    task.finishing = True
    with looking(task):
        metrics = task.evaluate()
    lengths = [int(name.rpartition("_")[2]) for name in metrics if name.startswith("val_loss_memory_")]
    assert lengths == [0, 2, 4, 8, 16]
    assert metrics["val_loss_memory_16"] == metrics["val_loss"]
    assert metrics["val_loss_memory_0"] == metrics["val_loss_without_memory"]
    assert metrics["val_perplexity"] == pytest.approx(math.exp(metrics["val_loss"]))


def test_the_command_knows_the_name_with_a_hyphen(dlplay: Dlplay, tmp_path: Path) -> None:
    ran = dlplay("transformer-xl", "--headless", "--steps", "2", "--runs-dir", str(tmp_path), "--device", "cpu")
    assert ran.status == 0, ran.err
    assert "recall_accuracy" in ran.out + ran.err
    [folder] = tmp_path.glob("transformer-xl*")
    asked = dlplay("transformer-xl", "--headless", "--from", folder.name, "--runs-dir", str(tmp_path), "--panel", "next_token")
    assert asked.status == 0, asked.err
    again = dlplay("transformer-xl", "--headless", "--panel", "next_token", "--read-before", "cow")
    assert again.status == 0


def test_the_strip_of_a_recall_model_rates_only_what_is_asked_for() -> None:
    strip = ask(trained(), "prompt_tokens")
    assert strip.words == ["animal", "cat", "city"]
    assert [value is None for value in strip.values] == [True, False, True]
    assert strip.values[1] > 0.99
    assert strip.figure == "recalled with 100 %"
    assert ask(trained(), "prompt_tokens", prompt="animal dog").values[1] < 0.01
    assert ask(trained(), "prompt_tokens", prompt="animal").figure == ""
