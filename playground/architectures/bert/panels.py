"""Looking inside a BERT: attention, a word in two contexts, neighbours, held-out rows, classes. Each a pure function of the model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.bert.fill import around, of_sentence, read
from dlplay.architectures.bert.model import BERT, Block
from dlplay.architectures.bert.options import AttentionHead, Contexts, Example, Sentence, WordNeighbours
from dlplay.architectures.bert.pretraining import Pretraining
from dlplay.architectures.bert.sentence import Read, read_sentence, sayable
from dlplay.data.tokens import Tokenizer
from dlplay.engine.panels import Array, Bars, HeatMap, Lines, Table
from dlplay.parts import prompts
from dlplay.parts.norms import norms as norms_of
from dlplay.parts.prompt_options import Neighbours

PARTS = {
    "embeddings": "embeddings",
    "head": "masked-word head",
    "pooler": "pooler",
    "next_sentence": "next-sentence head",
    "classifier": "classifier",
    "norm_1": "norms",
    "norm_2": "norms",
    "attention": "attention",
    "feed_forward": "feed-forward",
}
"""What the parts of the model are called."""

MAP = 128
"""Tokens on a side of an attention map."""


def attention(model: BERT, tokenizer: Tokenizer, options: AttentionHead) -> HeatMap:
    """The attention weights of one head over the sentence, its [CLS] and its [SEP]."""
    sentence = of_sentence(model, tokenizer, options)
    layer = min(options.layer, len(model.blocks) - 1)
    block = model.blocks[layer]
    assert isinstance(block, Block)
    head = min(options.head, block.attention.heads - 1)
    weights = block.attention.weights(_streams(model, sentence.row())[layer])[0, head].float().cpu()[:MAP, :MAP]  # (T, T)
    labels = ["[CLS]", *sentence.words, "[SEP]"]
    cut = [f"the first {MAP} of {len(labels)} tokens are shown"] if len(labels) > MAP else []
    return HeatMap(
        values=Array.of(weights.numpy()),
        rows=labels[:MAP],
        columns=labels[:MAP],
        row_title="looks from",
        column_title="looks at",
        low=0.0,
        high=1.0,
        figure=f"layer {layer} of 0–{len(model.blocks) - 1}, head {head} of 0–{block.attention.heads - 1}",
        caption=sentence.caption(*cut),
    )


def contexts(model: BERT, tokenizer: Tokenizer, options: Contexts) -> Lines:
    """How alike the hidden states of one word are in two sentences, layer by layer, and how alike those of two words in one."""
    first = of_sentence(model, tokenizer, options)
    second = read_sentence(tokenizer, options, model.block_size - 2, options.other_sentence)
    found = _shared(first, second, tokenizer, options)
    if found is None:
        return Lines(x=[], series={}, caption="the two sentences share no word: write one that stands in both")
    here, there = found
    one, other = _streams(model, first.row()), _streams(model, second.row())
    word = first.words[here]
    near = here + 1 if here + 1 < len(first.ids) else max(0, here - 1)
    return Lines(
        x=[float(layer) for layer in range(len(one))],
        series={
            f"{word}, in both sentences": [_cosine(a[0, here + 1], b[0, there + 1]) for a, b in zip(one, other, strict=True)],
            f"{word} and its neighbour {first.words[near]}": [_cosine(a[0, here + 1], a[0, near + 1]) for a in one],
        },
        x_title="after the embedding (0) and after each layer",
        figure=f"{word}: {_cosine(one[-1][0, here + 1], other[-1][0, there + 1]):.2f} after the last",
        caption=first.caption(),
    )


def _shared(first: Read, second: Read, tokenizer: Tokenizer, options: Contexts) -> tuple[int, int] | None:
    """Places of one word in both sentences."""
    wanted: list[int] = []
    if options.shared.strip():
        wanted = tokenizer.encode(options.shared)[-1:]
    elif options.place >= 0:
        wanted = [first.ids[first.place(options.place)]]
    common = [token for token in first.ids if token in second.ids and token != first.mask]
    longest = sorted(set(common), key=lambda token: (-len(tokenizer.vocabulary[token]), token))
    token = next((token for token in wanted if token in common), longest[0] if longest else None)
    if token is None:
        return None
    chosen = first.place(options.place)
    at = chosen if options.place >= 0 and first.ids[chosen] == token else first.ids.index(token)
    return at, second.ids.index(token)


def neighbours(model: BERT, tokenizer: Tokenizer, options: WordNeighbours) -> Bars:
    """The words whose embeddings point most nearly the same way."""
    sentence = of_sentence(model, tokenizer, options)
    words = len(tokenizer.vocabulary)
    place = sentence.place(options.place)
    token = sentence.ids[place]
    if token == sentence.mask:
        token = int(sayable(read(model, [sentence.row()])[0, place + 1], words).argmax())
    prompt = prompts.ReadPrompt([token], [token], [token], [tokenizer.label(token)], [])
    asked = Neighbours(word=options.word, token=0)
    return prompts.neighbours(model.embeddings.tokens.weight[:words], prompt, tokenizer, asked)


def held_out(model: BERT, tokenizer: Tokenizer, data: Pretraining, options: Example) -> Table:
    """The blanks of one held-out row: what stood there, and what the net says."""
    rows, chosen = data.held_out, data.chosen[0]
    number = min(options.example, len(rows.idx) - 1)
    words, masks, valid = rows.idx[number], chosen[number], rows.valid[number]
    length = int(valid.sum())
    row = words.masked_fill(masks, data.specials.mask)[:length]
    segments = rows.segments[number : number + 1, :length] if data.settings.next_sentence else None
    probability = model.logits(model(row[None], segments))[0].cpu().double().softmax(dim=-1)  # (T, V)
    labels = [tokenizer.label(token) if token < data.specials.words else "" for token in words[:length].tolist()]
    hidden = ["____" if masked else word for word, masked in zip(labels, masks.tolist(), strict=False)]
    lines, right = [], 0
    for place in torch.nonzero(masks)[:, 0].tolist():
        said, own = int(probability[place].argmax()), int(words[place])
        right += said == own
        guess = tokenizer.label(said) if said < data.specials.words else ""
        lines.append(
            [
                around(hidden, place, 3).strip(),
                labels[place],
                guess + ("" if said == own else " ✗"),
                f"{100 * float(probability[place, own]):.1f} %",
                f"{int((probability[place] > probability[place, own]).sum()) + 1:,}",
            ]
        )
    return Table(
        columns=["blank", "stood there", "guess", "its probability", "rank"],
        rows=lines,
        right=[3, 4],
        figure=f"{right} of {len(lines)} right",
        caption=f"row {number:,} of 0–{len(rows.idx) - 1:,}; the masks are always the same",
    )


def classes(model: BERT, tokenizer: Tokenizer, names: list[str], options: Sentence) -> Bars:
    """The probability of each class for the sentence."""
    if model.classifier is None:
        return Bars(labels=[], values=[], caption="it tells no classes apart yet: fine-tune it with --from bert-reference --data FILE.tsv")
    sentence = of_sentence(model, tokenizer, options)
    idx = torch.tensor([sentence.row()], device=model.embeddings.tokens.weight.device)
    values = model.classifier(model.pool(model(idx)))[0].cpu().double().softmax(dim=0).tolist()
    best = max(range(len(values)), key=values.__getitem__)
    return Bars(
        labels=names,
        values=values,
        percent=True,
        high=1.0,
        chosen=best,
        figure=f"{names[best]} {100 * values[best]:.1f} %",
        caption=sentence.caption(),
    )


def follows(model: BERT, tokenizer: Tokenizer, options: Contexts) -> Bars:
    """Whether the other sentence follows the first, as far as the net can tell."""
    if model.next_sentence is None:
        return Bars(labels=[], values=[], caption="it never learnt that: train one with --next-sentence")
    room = (model.block_size - 3) // 2
    first = read_sentence(tokenizer, options, room)
    second = read_sentence(tokenizer, options, room, options.other_sentence)
    row = [*first.row(), *second.row()[1:]]
    device = model.embeddings.tokens.weight.device
    segments = torch.tensor([[0] * (len(first.ids) + 2) + [1] * (len(second.ids) + 1)], device=device)
    hidden = model(torch.tensor([row], device=device), segments)
    values = model.next_sentence(model.pool(hidden))[0].cpu().double().softmax(dim=0).tolist()
    return Bars(labels=["follows", "is from elsewhere"], values=values, percent=True, high=1.0, caption=first.caption())


def norms(model: BERT) -> Bars:
    """Gradient and weight norm of each part of the model, in the order in which a token passes them."""
    return norms_of(model, _part)


def _part(name: str) -> str:
    parts = name.split(".")
    return f"layer {parts[1]} {PARTS[parts[2]]}" if parts[0] == "blocks" else PARTS[parts[0]]


def _streams(model: BERT, row: list[int]) -> list[Tensor]:
    return model.streams(torch.tensor([row], device=model.embeddings.tokens.weight.device))


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one.double(), other.double(), dim=0))
