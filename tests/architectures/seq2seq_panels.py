"""What the seq2seq tab shows: the output and its candidates, alignments, beams, ablated heads, held-out pairs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from dlplay.architectures.seq2seq import card
from dlplay.architectures.seq2seq.decoding.output import END, ablate_head, decode_source
from dlplay.architectures.seq2seq.decoding.search import IncrementalDecoder
from dlplay.architectures.seq2seq.model import BOS, EOS, SPECIALS
from dlplay.architectures.seq2seq.panels import exact_match
from dlplay.architectures.seq2seq.settings import Seq2SeqSettings, Source
from dlplay.architectures.seq2seq.task import Seq2SeqTask
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Bars, HeatMap, Table, Tokens
from dlplay.engine.settings import SettingsError, fields, make
from dlplay.engine.task import looking

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def build(**changes: Any) -> Seq2SeqTask:
    torch.manual_seed(0)
    small = {"layers": 2, "heads": 2, "width": 32, "length": 5, "symbols": 5, "batch": 24, "steps": 350, "lr": 0.01, "warmup": 30}
    return Seq2SeqTask(make(Seq2SeqSettings, small | changes), CPU)


@pytest.fixture(scope="module")
def trained() -> Seq2SeqTask:
    """It reverses almost all."""
    torch.set_num_threads(1)
    task = build()
    while task.step < 350:
        task.train_step()
        task.step += 1
    return task


def ask(task: Seq2SeqTask, name: str, **options: Any) -> Any:
    with looking(task):
        return task.panel(name, make(card.panel(name).options, options))


def texts(value: Any) -> Iterator[str]:
    """Every text in an answer."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


STRANGE = ["", " ", "abc", "zebra", "ab" * 30, "\x1b[31m\udc80\u202e", "<eos>", "abcde" * 3, "ab<eos>", "\t"]


@pytest.mark.parametrize("panel", [panel.name for panel in card.panels])
def test_panels_answer_to_strange_words(trained: Seq2SeqTask, panel: str) -> None:
    for item in fields(card.panel(panel).options):
        for value in STRANGE if item.kind == "text" and not item.choices else []:
            try:
                answer = ask(trained, panel, **{item.name: value})
            except SettingsError as error:
                if error.field not in ("corrupt", "answer"):  # which must be as long as the source, or a word
                    raise
                continue
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=type(answer)) == answer
            assert not [text for text in texts(msgspec.to_builtins(answer)) if set(text) & {"\x1b", "\udc80", "\u202e", "\t", "\n"}]


def test_the_output_is_the_greedy_one_with_its_probabilities(trained: Seq2SeqTask) -> None:
    answer = ask(trained, "translation", source="abcd")
    assert isinstance(answer, Tokens)
    assert (answer.text, answer.words, answer.figure, answer.ended) == ("dcba", ["d", "c", "b", "a", END], "correct", True)
    ids = trained.problem.tokenizer.encode("abcd")
    source = torch.tensor([[*(SPECIALS + token for token in ids), EOS]])
    output = torch.tensor([[BOS, *(SPECIALS + token for token in ids[::-1]), EOS]])
    with torch.no_grad(), looking(trained):
        probability = trained.model(source, output[:, :-1])[0].softmax(-1)
    assert answer.values == pytest.approx([float(probability[place, token]) for place, token in enumerate(output[0, 1:])], rel=1e-4)
    assert answer.place == 4
    assert answer.alternatives is not None
    assert answer.alternatives.labels[0] == END
    assert "target dcba" in answer.caption


def test_it_is_generated_token_by_token(trained: Seq2SeqTask) -> None:
    whole = ask(trained, "translation", source="abcd")
    for words in range(1, 6):
        part = ask(trained, "translation", source="abcd", words=words)
        assert part.words == whole.words[:words]
        assert part.values == pytest.approx(whole.values[:words])
        assert part.ended == (words == 5)
        assert part.place == words - 1
        rows = ask(trained, "alignment", source="abcd", words=words)
        assert rows.rows == whole.words[:words]
        assert rows.values.numpy().shape == (words, 5)
    assert "for the whole output" in ask(trained, "translation", source="abcd", words=2).figure


def test_another_token_can_be_put_in_its_place_and_the_model_goes_on(trained: Seq2SeqTask) -> None:
    before = ask(trained, "translation", source="abcd", place=1)
    assert before.alternatives.labels[before.alternatives.chosen] == "c"
    assert before.alternatives.values == sorted(before.alternatives.values, reverse=True)
    other = before.alternatives.labels.index("a")
    assert before.alternatives.sets[other] == "da"
    after = ask(trained, "translation", source="abcd", place=1, output="da")
    assert after.words[:2] == ["d", "a"]
    assert after.values[0] == before.values[0], "the model says it by itself"
    assert after.values[1] is None, "this one was chosen"
    assert all(value is not None for value in after.values[2:])
    assert f'forced; it had {100 * before.alternatives.values[other]:.2f} %, most likely was "c"' in after.notes[1]
    assert after.alternatives == before.alternatives.__class__(
        **{name: getattr(before.alternatives, name) for name in before.alternatives.__struct_fields__ if name != "chosen"}, chosen=other
    )
    ending = before.alternatives.sets[before.alternatives.labels.index(END)]
    assert ending == "d" + END
    ended = ask(trained, "translation", source="abcd", output=ending)
    assert (ended.words, ended.text, ended.figure, ended.ended) == (["d", END], "d", "wrong", True)
    assert ended.values == [before.values[0], None]


def test_every_alternative_brings_itself_about(trained: Seq2SeqTask) -> None:
    before = ask(trained, "translation", source="abcd", place=2)
    for label, text in zip(before.alternatives.labels, before.alternatives.sets, strict=True):
        after = ask(trained, "translation", source="abcd", output=text)
        assert after.words[:3] == [*before.words[:2], label]


def test_a_space_that_is_picked_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{''.join(letters)}\tx y\n" for letters in itertools.product("ab", repeat=5)), encoding="utf-8")
    task = Seq2SeqTask(make(Seq2SeqSettings, {"data": str(path), "layers": 1, "width": 8, "heads": 2}), CPU)
    before = ask(task, "translation", output="x", source="ab", place=1)
    picked = before.alternatives.sets[before.alternatives.labels.index("␣")]
    assert picked == "x "
    assert ask(task, "translation", source="ab", output=picked).words[:2] == ["x", "␣"]
    assert ask(task, "translation", source="ab", output="x " + END).words == ["x", "␣", END]
    assert ask(task, "translation", source="ab", output="x" + END + " ").words == ["x", END]


def test_a_source_that_is_too_long_is_refused_in_plain_words() -> None:
    assert make(Source, {"source": "a" * 8000}).source == "a" * 8000
    with pytest.raises(SettingsError, match="has 8,001 characters; use 8,000 at most"):
        make(Source, {"source": "a" * 8001})


def test_the_alternatives_panel_is_the_strips_own(trained: Seq2SeqTask) -> None:
    bars = ask(trained, "alternatives", source="abcd", place=1)
    assert isinstance(bars, Bars)
    strip = ask(trained, "translation", source="abcd", place=1)
    assert (bars.labels, bars.values, bars.sets) == (strip.alternatives.labels, strip.alternatives.values, strip.alternatives.sets)
    assert "after d" in bars.caption
    with torch.no_grad(), looking(trained):
        output = decode_source(trained.model, trained.problem, Source(source="abcd"))
        decoder = IncrementalDecoder(trained.model, torch.tensor([output.source]))
        decoder.step(torch.tensor(output.ids[:1]))
        top = decoder.log_probs[0].exp().topk(3).values.tolist()
    assert bars.values[:3] == pytest.approx(top, rel=1e-4)


def test_unknown_symbols_and_long_sources_are_named(trained: Seq2SeqTask) -> None:
    assert "not in the vocabulary, read as <unk>: x, y" in ask(trained, "translation", source="axby").caption
    assert "<unk>" in ask(trained, "alignment", source="axb").columns
    assert ask(trained, "translation", source=" ABcd ") == ask(trained, "translation", source="abcd")
    assert "longer than any source it was trained on (5 characters at most)" in ask(trained, "translation", source="abcdeabc").caption
    assert "only the first 255 of 300 characters can be read" in ask(trained, "translation", source="a" * 300).caption
    assert "<unk> for z" in ask(trained, "translation", source="abc", output="z").caption
    long = ask(trained, "translation", source="abc", output="a" * 300)
    assert long.ended
    assert len(long.words) == 2 * trained.problem.target_length


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_there_is_room_for_all_outputs(positions: str) -> None:
    task = build(positions=positions)  # not trained: it does not end by itself
    for panel in card.panels:
        known = {item.name for item in fields(panel.options)}
        for options in ({}, {"source": "a" * 40}, {"output": "ab" * 40}, {"source": "abc", "output": "abcde"}):
            assert ask(task, panel.name, **{name: value for name, value in options.items() if name in known})
    if positions == "learned":
        assert "only the first 6 of 40 characters can be read" in ask(task, "translation", source="a" * 40).caption


def test_an_empty_source_is_a_held_out_pair(trained: Seq2SeqTask) -> None:
    pair = trained.problem.held_out[3]
    answer = ask(trained, "translation", example=3)
    assert answer.caption == f"task: letters in reverse · held-out pair 3: {pair.source} · target {pair.target}"
    assert answer.words == ask(trained, "translation", source=pair.source).words


def test_the_alignment_of_a_reversal_runs_backwards(trained: Seq2SeqTask) -> None:
    mean = ask(trained, "alignment", source="abcde").values.numpy()
    heads = [ask(trained, "alignment", source="abcde", aligned_head=head).values.numpy() for head in (0, 1)]
    assert mean == pytest.approx(sum(heads) / 2, abs=1e-6)
    best = max(np.fliplr(one[:5, :5]).trace() for layer in (0, 1) for head in (0, 1) for one in [
        ask(trained, "alignment", source="abcde", aligned_layer=layer, aligned_head=head).values.numpy()
    ])  # fmt: skip
    assert best > 3


@pytest.mark.parametrize(("kind", "rows", "columns"), [("encoder", "abc$", "abc$"), ("decoder", "^cba", "^cba"), ("cross", "cba$", "abc$")])
def test_attention_maps_have_tokens_on_both_axes(trained: Seq2SeqTask, kind: str, rows: str, columns: str) -> None:
    answer = ask(trained, "attention", source="abc", attention=kind, layer=1, head=1)
    assert isinstance(answer, HeatMap)
    names = {"$": END, "^": "<bos>"}
    assert answer.rows == [names.get(token, token) for token in rows]
    assert answer.columns == [names.get(token, token) for token in columns]
    weights = answer.values.numpy()
    assert weights.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert (np.triu(weights, 1).any()) == (kind != "decoder")
    assert not np.array_equal(weights, ask(trained, "attention", source="abc", attention=kind, layer=0, head=1).values.numpy())


def test_beam_candidates_are_ranked_and_marked(trained: Seq2SeqTask) -> None:
    answer = ask(trained, "beam_candidates", source="abcd", beams=4)
    assert isinstance(answer, Table)
    assert len(answer.rows) == 4
    assert answer.rows[0][0] == "dcba"
    assert answer.rows[0][3] == "greedy, correct"
    scores = [float(row[2]) for row in answer.rows]
    assert scores == sorted(scores, reverse=True)
    strip = ask(trained, "translation", source="abcd")
    assert float(answer.rows[0][1].removesuffix(" %")) == pytest.approx(100 * math.prod(strip.values), abs=0.01)
    forced = ask(trained, "beam_candidates", source="abcd", output="ca")
    assert all(row[0].startswith("ca") for row in forced.rows)
    assert any("so far" in row[3] for row in ask(trained, "beam_candidates", source="abcd", words=2).rows)


def test_an_ablated_head_is_ablated_everywhere(trained: Seq2SeqTask) -> None:
    plain = ask(trained, "translation", source="abcd")
    off = ask(trained, "translation", source="abcd", ablate="cross", layer=1, head=1)
    assert off.values != plain.values
    assert "cross-attention head 1 of layer 1 is ablated" in off.caption
    for panel in ("alternatives", "alignment", "attention", "beam_candidates", "held_out"):
        assert "head 1 of layer 0 is ablated" in ask(trained, panel, ablate="encoder", layer=0, head=1).caption
    assert "head 1 of layer 1" in ask(trained, "translation", ablate="decoder", layer=23, head=63).caption


def test_heads_off_is_exact_match_without_each_head(trained: Seq2SeqTask) -> None:
    answer = ask(trained, "heads_off", tested=50)
    assert answer.rows == ["encoder 0", "encoder 1", "decoder 0", "decoder 1", "cross 0", "cross 1"]
    assert answer.columns == ["head 0", "head 1"]
    values = answer.values.numpy()
    for row, (kind, layer) in enumerate((kind, layer) for kind in ("encoder", "decoder", "cross") for layer in (0, 1)):
        for head in (0, 1):
            shown = ask(trained, "held_out", pairs=50, ablate=kind, layer=layer, head=head)
            assert f"{values[row, head] * 50:.0f} of 50 correct" == shown.figure
    with looking(trained):
        assert exact_match(trained.model, trained.problem, 50) > values.min()
        assert exact_match(ablate_head(trained.model, "cross", 1, 0), trained.problem, 50) == pytest.approx(values[5, 0])


def test_held_out_pairs_come_with_the_wrong_ones_first() -> None:
    task = build(layers=1, task="copy", steps=100)
    while task.step < 90:
        task.train_step()
        task.step += 1
    answer = ask(task, "held_out", pairs=60)
    verdicts = [row[3] for row in answer.rows]
    assert verdicts == sorted(verdicts, reverse=True)
    assert {"correct", "wrong"} == set(verdicts)
    assert answer.figure == f"{verdicts.count('correct')} of {len(answer.rows)} correct"
    sources = {pair.source: pair.target for pair in task.problem.held_out}
    for source, output, target, verdict in answer.rows:
        assert sources[source] == target
        assert (output == target) == (verdict == "correct")
        assert ask(task, "translation", source=source).text == output.removesuffix(" …")


def test_norms_show_gradients_once_there_are_some() -> None:
    task = build()
    assert ask(task, "norms").names == ["weights"]
    task.train_step()
    answer = ask(task, "norms")
    assert answer.names == ["gradient", "weights"]
    parts = [label.partition(" (")[0] for label in answer.labels]
    assert parts[0] == "embedding and head"
    assert {"encoder 0 self-attention", "decoder 1 cross-attention", "decoder norm"} <= set(parts)
    assert math.sqrt(sum(value**2 for value in answer.values)) <= task.settings.clip * 1.01


def test_interventions_act_where_a_head_is_ablated_as_well(trained: Seq2SeqTask) -> None:
    """The panels ask a copy of the model, in which the head is gone."""
    panel, options = card.panel("alternatives"), {"source": "abcd", "place": 1}
    both = panel_of(trained, panel, options | {"do": "encoder.0.head.0=0; decoder.1.cross.head.1=0"})
    copied = panel_of(trained, panel, options | {"ablate": "cross", "layer": 1, "head": 1, "do": "encoder.0.head.0=0"})
    assert isinstance(both, Bars)
    assert isinstance(copied, Bars)
    assert copied.caption.startswith("with 1 intervention")
    assert (copied.labels, copied.values) == (both.labels, both.values)
    noisy = [panel_of(trained, panel, options | {"ablate": "cross", "do": "encoder.0~0.5"}) for _ in range(2)]
    assert noisy[0] == noisy[1], "the same noise for the same question"
    patched = panel_of(trained, panel, options | {"ablate": "cross", "do": "tokens=from source: dcba"})
    assert isinstance(patched, Bars)
    other = panel_of(trained, panel, options | {"source": "dcba", "ablate": "cross"})
    assert isinstance(other, Bars)
    assert patched.values == other.values
