"""Activation patching: against layers run by hand, against interventions, and its two ends, 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dlplay import architectures
from dlplay.architectures.gpt.model import GPT
from dlplay.checkpoints import shipped
from dlplay.engine import hooks
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Bars, HeatMap
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import Task, looking
from dlplay.parts import patching
from dlplay.parts.patching import Axis, Cell
from dlplay.runs import origin, process

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")

CARDS = architectures.cards()
MODELS = ["gpt-reference", "bert-reference", "seq2seq-reverse", "transformer-xl-recall", "transformer-xl-reference"]
KINDS = ["residual", "heads", "feed_forward"]
CLEAN, CORRUPT = torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([[3, 1, 7, 1, 5]])


def opened(name: str) -> Task[Any]:
    """A shipped model."""
    item = shipped.find(name)
    card, checkpoint = CARDS[item.architecture], item.open()
    return process.load(card, checkpoint, make(card.settings, origin.settings_of(card, checkpoint) | {"device": "cpu"}))


def ask(task: Task[Any], architecture: str, **options: Any) -> HeatMap:
    card = CARDS[architecture].panel("patching")
    with looking(task):
        shown = task.panel("patching", make(card.options, options))
    assert isinstance(shown, HeatMap)
    return shown


def tiny() -> GPT:
    torch.manual_seed(1)
    model = GPT(23, layers=3, heads=2, width=16, block_size=10)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def last(model: GPT, idx: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.head(model.residuals(idx)[-1][:, -1])


def test_the_patched_residual_stream_is_that_of_layers_run_by_hand() -> None:
    model = tiny()
    with torch.no_grad():
        clean, corrupted = model.residuals(CLEAN), model.residuals(CORRUPT)
    for layer in range(3):
        site = hooks.find({"gpt": model}, f"blocks.{layer}")
        spans = [range(0), *(range(place, place + 1) for place in range(5)), range(1, 4), range(5)]
        cells = [Cell(site, clean[layer + 1], span) for span in spans]
        found = torch.cat(list(patching.patched(cells, lambda rows: last(model, CORRUPT.expand(rows, -1)), 3)))
        for span, logits in zip(spans, found, strict=True):
            with torch.no_grad():
                x = corrupted[layer + 1].clone()
                x[:, span.start : span.stop] = clean[layer + 1][:, span.start : span.stop]
                for block in list(model.blocks)[layer + 1 :]:
                    x = block(x)[0]
                expected = model.head(x[:, -1])[0]
            torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_nothing_patched_is_0_and_everything_is_1() -> None:
    model = tiny()
    clean, corrupted = last(model, CLEAN)[0], last(model, CORRUPT)[0]
    answer = int(clean.argmax())
    other = next(token for token in corrupted.argsort(descending=True).tolist() if token != answer)
    whole, none = (float(logits[answer] - logits[other]) for logits in (clean, corrupted))
    site = hooks.find({"gpt": model}, "blocks.1")
    with torch.no_grad():
        activation = model.residuals(CLEAN)[2]
    cells = [Cell(site, activation, span) for span in (range(0), range(5))]
    [logits] = patching.patched(cells, lambda rows: last(model, CORRUPT.expand(rows, -1)), 2)
    shares = patching.recovered(logits[:, answer] - logits[:, other], whole, none)
    assert shares.tolist() == pytest.approx([0, 1], abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_many_positions_at_a_time_where_each_alone_takes_too_long(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    axes = [Axis(list("abcde"), [f"blocks.{layer}" for layer in range(3)])]

    def shown() -> HeatMap:
        return patching.patch_map(
            {"gpt": model}, axes, kind, clean=lambda: last(model, CLEAN), corrupted=lambda rows: last(model, CORRUPT.expand(rows, -1)),
            answer=int(last(model, CLEAN).argmax()), label=str, notes=[],
        )  # fmt: skip

    each = shown()
    assert each.columns == ["all", *"abcde"]
    monkeypatch.setattr(patching, "TOKENS_AT_ONCE", 5)
    assert each.values.numpy() == pytest.approx(shown().values.numpy(), abs=2e-3), "one row at a time is the same"
    parameters = sum(p.numel() for p in model.parameters())
    monkeypatch.setattr(patching, "COMPUTATION", 2 * parameters * 5 * len(each.rows))
    grouped = shown()
    assert grouped.columns == ["all", "a…c", "d…e"]
    assert "positions are patched 3 at a time" in grouped.caption
    assert grouped.values.numpy()[:, 0] == pytest.approx(each.values.numpy()[:, 0], abs=2e-3)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_shipped_models_are_patched(name: str, kind: str) -> None:
    architecture = shipped.find(name).architecture
    task = opened(name)
    shown = ask(task, architecture, site=kind)
    assert shown == ask(task, architecture, site=kind)
    assert "replaced" in shown.caption
    values = shown.values.numpy()
    assert values.shape == (len(shown.rows), len(shown.columns))
    assert all(hooks.find(task.models, row).is_head == (kind == "heads") for row in shown.rows)
    assert shown.columns[0] == "all"
    assert any("→" in label for label in shown.columns)
    if kind == "residual":
        whole = [row != "decoder.0" for row in shown.rows]  # of that one's sequel the other half reads the corrupted source
        assert values[whole, 0].tolist() == pytest.approx([1.0] * sum(whole), abs=1e-3)
        if architecture in ("gpt", "transformer-xl"):
            before = values[:, 1 : next(place for place, label in enumerate(shown.columns) if "→" in label)]
            assert before == pytest.approx(np.zeros_like(before), abs=2e-3), "before the replaced word nothing differs"


def test_a_map_says_what_the_same_intervention_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are the same patch: `blocks.1@3=from prompt: CLEAN` of the corrupted prompt."""
    task = opened("gpt-reference")
    clean, corrupt = "the value of the string", "the name of the string"
    answer = ask(task, "gpt", prompt=clean, corrupt=corrupt, answer="is", site="feed_forward")
    rows, columns = answer.rows, answer.columns
    assert columns == ["all", "the", "value→name", "of", "the", "string"]

    def probabilities(**options: Any) -> dict[str, float]:
        shown = panel_of(task, CARDS["gpt"].panel("next_word"), {"top_k": 1000} | options)
        assert isinstance(shown, Bars)
        return {label: float(np.log(value)) for label, value in zip(shown.labels, shown.values, strict=True)}

    other = answer.caption.split("minus that of ")[1].split(":")[0]

    def difference(logs: dict[str, float]) -> float:
        return logs["is"] - logs[other]  # of log-probabilities, which is that of the logits

    whole, none = difference(probabilities(prompt=clean)), difference(probabilities(prompt=corrupt))
    for row, part in enumerate(rows):
        touched = probabilities(prompt=corrupt, do=f"{part}@1=from prompt: {clean}")
        assert answer.values.numpy()[row, 2] == pytest.approx((difference(touched) - none) / (whole - none), abs=0.01), part


def test_recall_goes_from_the_word_to_the_question() -> None:
    """Blank out paris: the first layer has it at its own place, the second where it is asked for."""
    task = opened("transformer-xl-recall")
    dots = ". " * 32
    shown = ask(
        task, "transformer-xl", read_before=f"cat red paris plum gold tea {dots}", prompt="animal cat city",
        corrupt=f"cat red rome plum gold tea {dots} animal cat city", answer="paris",
    )  # fmt: skip
    values, at = shown.values.numpy(), shown.columns.index("paris→rome")
    assert "logit of paris minus that of rome" in shown.caption
    assert values[0, at] > 0.3
    assert values[1, at] == pytest.approx(0, abs=0.01)
    assert values[1, -1] == pytest.approx(1, abs=0.01)


def test_a_corrupted_input_of_another_length_is_refused_with_both_counts() -> None:
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "gpt-reference": ("gpt", {"prompt": "the value of", "corrupt": "the value"}),
        "bert-reference": ("bert", {"sentence": "the [MASK] of", "corrupt": "the [MASK]"}),
        "transformer-xl-recall": ("transformer-xl", {"read_before": "cat", "prompt": "red animal", "corrupt": "cat red"}),
        "seq2seq-reverse": ("seq2seq", {"source": "abc", "corrupt": "ab"}),
    }
    for name, (architecture, options) in cases.items():
        task = opened(name)
        with pytest.raises(SettingsError, match=r"--corrupt has \d \w+ and the clean input \d; patching needs as many in both") as refused:
            ask(task, architecture, **options)
        assert refused.value.field == "corrupt"
    with pytest.raises(SettingsError, match="read as the same tokens as the clean input; replace a word"):
        ask(task, "seq2seq", source="abc", corrupt="abc")


def test_a_mask_is_found_from_both_sides_and_an_output_token_from_its_source() -> None:
    masked = ask(opened("bert-reference"), "bert", sentence="the [MASK] of the list", corrupt="the [MASK] in the list")
    assert masked.columns == ["all", "[CLS]", "the", "[MASK]", "of→in", "the", "list", "[SEP]"]
    values = masked.values.numpy()
    assert values[-1, 3] == pytest.approx(1, abs=1e-3)
    assert values[-1, [1, 2, 4, 5, 6, 7]] == pytest.approx(np.zeros(6), abs=1e-3)
    task = opened("seq2seq-reverse")
    reversed_ = ask(task, "seq2seq", source="abcde", corrupt="abxde", place=2)
    assert "output token 2" in reversed_.caption
    assert "logit of c minus that of x" in reversed_.caption
    assert reversed_.columns == ["all", "a", "b", "c→x", "d", "e", "<eos>", "<bos>", "e", "d"]
    assert reversed_.values.numpy()[1, 3] > 0.9
    assert np.isnan(reversed_.values.numpy()[0, 7:]).all()
    assert np.isnan(reversed_.values.numpy()[-1, 1:7]).all()
    assert "output token 2" in ask(task, "seq2seq", source="abcde", corrupt="abxde").caption, "the token that changes is chosen"


def test_interventions_hold_while_it_is_patched() -> None:
    """With the layer's output set to 0 in both runs, no activation that is put in before it can bring anything back."""
    task = opened("gpt-reference")
    card = CARDS["gpt"].panel("patching")
    options = {"prompt": "the value of the string", "corrupt": "the name of the string"}
    shown = panel_of(task, card, options | {"do": "blocks.2=0"})
    assert isinstance(shown, HeatMap)
    assert "both inputs give the same logits" in shown.caption
    assert np.isnan(shown.values.numpy()).all()
