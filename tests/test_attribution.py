"""Direct logit attribution: the parts sum to the logit, and each is what its edit of the weights takes away."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dlplay import architectures
from dlplay.architectures.gpt.model import GPT
from dlplay.architectures.seq2seq.decoding.parts_of_logit import parts_of_logits
from dlplay.architectures.seq2seq.model import BOS, EOS, Seq2Seq
from dlplay.checkpoints import shipped
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Table
from dlplay.engine.settings import make
from dlplay.engine.task import Task, looking
from dlplay.parts import attribution
from dlplay.runs import origin, process

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")

CARDS = architectures.cards()


def opened(name: str) -> Task[Any]:
    """A shipped model."""
    item = shipped.find(name)
    card, checkpoint = CARDS[item.architecture], item.open()
    return process.load(card, checkpoint, make(card.settings, origin.settings_of(card, checkpoint) | {"device": "cpu"}))


def tiny() -> GPT:
    torch.manual_seed(1)
    model = GPT(23, layers=2, heads=2, width=16, block_size=10)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def attributed(model: GPT, idx: torch.Tensor, token: int) -> tuple[dict[str, float], float]:
    with torch.no_grad():
        residual, parts = attribution.added({"gpt": model}, lambda: model.residuals(idx)[-1], -1)
        logit = float(model.head(residual)[0, -1, token])
        embeddings = {"token": model.tokens(idx)[0, -1], "position": model.positions.weight[idx.shape[1] - 1]}
        return attribution.to_logit(embeddings | parts, residual[0, -1], model.norm, model.tokens.weight[token], logit), logit


def test_the_parts_sum_to_the_logit_and_are_all_there() -> None:
    model, idx = tiny(), torch.tensor([[3, 1, 4, 1, 5]])
    for token in range(23):
        found, logit = attributed(model, idx, token)
        assert sum(found.values()) == pytest.approx(logit, abs=1e-4)
        assert set(found) == {
            *("token", "position", "attention biases", "final norm's bias"),
            *(f"blocks.{layer}.head.{head}" for layer in range(2) for head in range(2)),
            *(f"blocks.{layer}.feed_forward" for layer in range(2)),
        }


def test_a_part_of_the_last_layer_is_what_its_absence_takes_from_the_logit() -> None:
    """Nothing comes after the last feed-forward layer, so that with the norm's scale kept its part is the whole effect of it."""
    model, idx, token = tiny(), torch.tensor([[3, 1, 4, 1, 5]]), 7
    found, logit = attributed(model, idx, token)
    with torch.no_grad():
        residual = model.residuals(idx)[-1][0, -1]
        block: Any = model.blocks[1]
        added = block.feed_forward(block.norm_2(residual_between(model, idx)))[0, -1]
        scale = (residual.var(unbiased=False) + 1e-5).sqrt()
        without = residual - added
        normalised = (without - without.mean()) / scale * model.norm.weight + model.norm.bias
        left = float(F.linear(normalised, model.tokens.weight)[token])
    assert found["blocks.1.feed_forward"] == pytest.approx(logit - left, abs=1e-4)


def residual_between(model: GPT, idx: torch.Tensor) -> torch.Tensor:
    """The residual stream between attention and feed-forward of the last block."""
    block: Any = model.blocks[1]
    before = model.residuals(idx)[1]
    middle: torch.Tensor = before + block.attention(block.norm_1(before))[0]
    return middle


@pytest.mark.parametrize("name", ["gpt-reference", "transformer-xl-recall", "transformer-xl-reference", "seq2seq-reverse"])
def test_shipped_models_are_attributed(name: str) -> None:
    task = opened(name)
    card = CARDS[shipped.find(name).architecture].panel("attribution")
    with looking(task):
        shown = task.panel("attribution", make(card.options, {}))
        again = task.panel("attribution", make(card.options, {"answer": shown.figure.split()[0]}))
    assert isinstance(shown, Table)
    assert isinstance(again, Table)
    assert shown.rows == again.rows
    values = [float(row[1]) for row in shown.rows]
    assert values == sorted(values, key=abs, reverse=True)
    assert sum(values) == pytest.approx(float(shown.figure.split()[1]), abs=0.01)
    assert "interventions" not in {row[0] for row in shown.rows}
    layer = "decoder.0" if name == "seq2seq-reverse" else "blocks.0"
    touched = panel_of(task, card, {"do": f"{layer}.feed_forward=0"})
    assert isinstance(touched, Table)
    assert next(row for row in touched.rows if row[0] == f"{layer}.feed_forward")[1] == "+0.0000"
    skipped = panel_of(task, card, {"do": f"{layer}=0"})
    assert isinstance(skipped, Table)
    assert "interventions" in {row[0] for row in skipped.rows}
    assert sum(float(row[1]) for row in skipped.rows) == pytest.approx(float(skipped.figure.split()[-1]), abs=0.01)


def test_a_head_that_recalls_a_word_is_found() -> None:
    """City: paris was read before. The heads of the second layer write it."""
    task = opened("transformer-xl-recall")
    options: Any = CARDS["transformer-xl"].panel("attribution").options
    with looking(task):
        shown = task.panel("attribution", make(options, {"answer": "paris"}))
        other = task.panel("attribution", make(options, {"answer": "rome"}))
    assert isinstance(shown, Table)
    assert isinstance(other, Table)
    assert shown.rows[0][0].startswith("blocks.1.head.")
    adds = [sum(float(row[1]) for row in panel.rows if row[0].startswith("blocks.1.head.")) for panel in (shown, other)]
    assert adds[0] > 2 * adds[1]


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_a_decoders_parts_sum_to_every_logit_and_are_what_their_edit_takes_away(norm: Any, positions: Any) -> None:
    """The weights of a part are set to 0 in a copy whose norms keep their scales: the logits then lack what the part adds."""
    torch.manual_seed(2)
    model = Seq2Seq(20, layers=2, heads=2, width=16, longest=12, norm=norm, positions=positions).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    source, written = torch.tensor([[7, 8, 9, EOS]]), torch.tensor([[BOS, 9, 8]])
    with torch.no_grad():
        parts, logits = parts_of_logits(model, source, written)
        assert torch.stack(list(parts.values())).sum(0) == pytest.approx(logits, abs=1e-4)
        assert set(parts) == {
            *("token embedding", "position embedding", "attention biases", "norm biases"),
            *(f"decoder.{layer}.{kind}.head.{head}" for layer in range(2) for kind in ("attention", "cross") for head in range(2)),
            *(f"decoder.{layer}.feed_forward" for layer in range(2)),
        }
        layer: Any = model.decoder[1]
        norms: list[Any] = [layer.around_cross.norm, layer.around_feed_forward.norm] if norm == "post" else [model.decoder_norm]
        streams: dict[Any, torch.Tensor] = {}
        handles = [each.register_forward_pre_hook(lambda module, given: streams.__setitem__(module, given[0])) for each in norms]
        model(source, written)
        for handle in handles:
            handle.remove()
        if norm == "post":  # the last head before two norms, and a feed-forward network that answers as it did
            kept = layer.feed_forward(layer.around_cross.norm(streams[norms[0]]))
            layer.feed_forward = Always(kept)
        for each in norms:
            each.forward = lambda x, scaled=streams[each], own=each: (
                (x - x.mean(-1, keepdim=True)) / (scaled.var(-1, unbiased=False, keepdim=True) + own.eps).sqrt() * own.weight + own.bias
            )
        name = "decoder.1.cross.head.1" if norm == "post" else "decoder.1.feed_forward"
        if norm == "post":
            layer.cross.projection.weight[:, 8:] = 0
        else:
            layer.feed_forward.projection.weight.zero_()
            layer.feed_forward.projection.bias.zero_()
        without = model(source, written)[0, -1]
    assert parts[name] == pytest.approx(logits - without, abs=1e-4)


class Always(torch.nn.Module):
    """Returns the same, whatever it is given."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer


def test_a_word_that_cannot_be_read_is_told() -> None:
    task = opened("gpt-reference")
    options: Any = CARDS["gpt"].panel("attribution").options
    with looking(task):
        assert task.panel("attribution", make(options, {"answer": "zebra"})).remark == "not in the vocabulary, read as <unk>: zebra"
        assert "only the is read" in task.panel("attribution", make(options, {"answer": "the value"})).remark
