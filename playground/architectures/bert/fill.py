"""The sentence with its blanks: what may stand at each place, and what the whole becomes when it is put there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dlplay.architectures.bert.model import BERT
from dlplay.architectures.bert.options import MASK, Fill, Sentence
from dlplay.architectures.bert.sentence import Read, label, read_sentence, sayable
from dlplay.data.tokens import Tokenizer
from dlplay.engine.panels import Array, Bars, Table, Tokens

SIDE_BY_SIDE = 3
"""Blanks whose candidates are listed below each other; those of more are listed in a row each."""

AT_ONCE = 64
"""Rows that are read together."""

TURNS = 8
"""In so many turns all blanks are filled, each with a pass through the model: it is done whenever a sentence is read."""


def read(model: BERT, rows: list[list[int]]) -> Tensor:
    """Logits (B, T, V) in double precision of rows of one length."""
    parts = torch.split(torch.tensor(rows, device=model.embeddings.tokens.weight.device), AT_ONCE)
    return torch.cat([model.logits(model(part)).cpu().double() for part in parts])


def read_at(model: BERT, rows: list[list[int]], places: list[int]) -> Tensor:
    """Logits (B, V) in double precision at one place of each row: all of them would take gigabytes with the vocabulary of a large model."""
    device = model.embeddings.tokens.weight.device
    parts = zip(
        torch.split(torch.tensor(rows, device=device), AT_ONCE), torch.split(torch.tensor(places, device=device), AT_ONCE), strict=True
    )
    return torch.cat([model.logits(model(part)[torch.arange(len(part), device=device), at]).cpu().double() for part, at in parts])


def of_sentence(model: BERT, tokenizer: Tokenizer, options: Sentence) -> Read:
    """The sentence, as much of it as fits in a block."""
    return read_sentence(tokenizer, options, model.block_size - 2)


def fill(model: BERT, tokenizer: Tokenizer, options: Fill) -> Tokens:
    """The sentence, how sure the likeliest word of each blank is, and what else may stand at one place."""
    sentence = of_sentence(model, tokenizer, options)
    place, masks = sentence.place(options.place), sentence.masks
    here, plain = read(model, [sentence.row(place), sentence.row()]).softmax(dim=-1)[:, 1:-1]  # (T, V) each, the first with `place` hidden
    values: list[float | None] = [None] * len(sentence.ids)
    own = 100 * float(here[place, sentence.ids[place]])
    notes = [f'"{word}": not masked' for word in sentence.words]
    notes[place] += f"; hidden, it would be thought {own:.1f} % probable"
    best = sayable(plain, len(tokenizer.vocabulary)).max(dim=-1)
    for mask in masks:
        values[mask] = float(plain[mask, best.indices[mask]])
        notes[mask] = f'{MASK}: "{tokenizer.label(int(best.indices[mask]))}" is the likeliest, {100 * float(best.values[mask]):.1f} %'
    fills = filled(model, sentence, tokenizer, plain) if masks else {}
    masked = "" if place in masks else sentence.replaced({place: sentence.mask})
    return Tokens(
        words=sentence.words,
        values=values,
        notes=notes,
        text=sentence.text,
        place=place,
        alternatives=_alternatives(here[place], sentence, place, tokenizer, options.top),
        masked=masked,
        filled=sentence.replaced({at: word for at, (word, _) in fills.items()}) if masks else "",
        filled_values=[fills[at][1] if at in fills else None for at in range(len(sentence.ids))] if masks else [],
        figure=f"{len(masks)} masked" if masks else f"{sentence.words[place]}: {own:.1f} %",
        caption=sentence.caption(),
    )


def _alternatives(probability: Tensor, sentence: Read, place: int, tokenizer: Tokenizer, count: int) -> Bars:
    """The likeliest words at `place` by its softmax (V,), each with the sentence that it makes."""
    top = sayable(probability, len(tokenizer.vocabulary)).topk(min(count, len(tokenizer.vocabulary) - 1))
    ids = top.indices.tolist()
    return Bars(
        labels=[tokenizer.label(token) for token in ids],
        values=top.values.tolist(),
        percent=True,
        high=1.0,
        chosen=ids.index(sentence.ids[place]) if sentence.ids[place] in ids else None,
        sets=[sentence.replaced({place: token}) for token in ids],
        figure=f"at {sentence.words[place]}",
        caption=f"{100 * sum(top.values.tolist()):.1f} % shown",
    )


def filled(model: BERT, sentence: Read, tokenizer: Tokenizer, probability: Tensor) -> dict[int, tuple[int, float]]:
    """Every blank's word and how probable it was then: the surest first, seen by those after it; of more than `TURNS` several at a time.

    `probability` (T, V) is that of the words while all of them are blank.
    """
    ids, left = list(sentence.ids), sentence.masks
    values: dict[int, float] = {}
    for turns in range(TURNS, 0, -1):
        best = sayable(probability, len(tokenizer.vocabulary)).max(dim=-1)
        left.sort(key=lambda place: -float(best.values[place]))
        count = -(-len(left) // turns)
        for place in left[:count]:
            ids[place], values[place] = int(best.indices[place]), float(best.values[place])
        if not (left := sorted(left[count:])):
            break
        probability = read(model, [sentence.row(ids=ids)])[0, 1:-1].softmax(dim=-1)
    return {place: (ids[place], values[place]) for place in sentence.masks}


def masked_words(model: BERT, tokenizer: Tokenizer, options: Fill) -> Table:
    """The likeliest words of every blank, and how sure the net is of them."""
    sentence = of_sentence(model, tokenizer, options)
    count = min(options.top, 6, len(tokenizer.vocabulary) - 1)
    probability = read(model, [sentence.row()])[0, 1:-1].softmax(dim=-1)  # (T, V)
    if not sentence.masks:
        return Table(columns=[], rows=[], figure="none masked", caption=f"no word is masked: write {MASK} in the place of one")
    tops = [sayable(probability[place], len(tokenizer.vocabulary)).topk(count) for place in sentence.masks]
    sure = [[f"{100 * p:.0f} %" for p in top.values.tolist()] for top in tops]
    words = [[tokenizer.label(token) for token in top.indices.tolist()] for top in tops]
    blanks = [around(sentence.words, place) for place in sentence.masks]
    shades = torch.stack([top.values for top in tops]).float()  # (blanks, count)
    few = len(blanks) <= SIDE_BY_SIDE
    if few:  # a column of percentages and one of words for every blank
        columns = [text for blank in blanks for text in ("", blank)]
        rows = [[text for blank in range(len(blanks)) for text in (sure[blank][rank], words[blank][rank])] for rank in range(count)]
        tints = torch.stack([torch.full_like(shades, math.nan), shades], dim=1).flatten(0, 1).T
    else:
        columns = ["blank", *(f"{rank}." for rank in range(1, count + 1))]
        rows = [[blank, *map(" ".join, zip(*pair, strict=True))] for blank, *pair in zip(blanks, sure, words, strict=True)]
        tints = torch.cat([torch.full((len(blanks), 1), math.nan), shades], dim=1)
    return Table(
        columns=columns,
        rows=rows,
        right=list(range(0, len(columns), 2)) if few else [],
        shades=Array.of(tints.numpy()),
        figure=f"{len(blanks)} masked",
        caption=sentence.caption(),
    )


def around(words: list[str], place: int, reach: int = 2) -> str:
    """A blank between its neighbours."""
    before, after = words[max(0, place - reach) : place], words[place + 1 : place + 1 + reach]
    return " ".join([*before, "____", *after])


def pseudo_likelihood(model: BERT, tokenizer: Tokenizer, options: Sentence) -> Tokens:
    """The probability of each word when it alone is masked (Wang and Cho, 2019; Salazar et al., 2020)."""
    sentence = of_sentence(model, tokenizer, options)
    places = [place for place in range(len(sentence.ids)) if place not in sentence.masks]
    values: list[float | None] = [None] * len(sentence.ids)
    notes = [f"{word}: a blank has no probability" for word in sentence.words]
    total = 0.0
    if places:
        logits = read_at(model, [sentence.row(place) for place in places], [place + 1 for place in places])  # (P, V)
        for place, row in zip(places, logits, strict=True):
            log_probability = row.log_softmax(dim=0)
            own = float(log_probability[sentence.ids[place]])
            total += own
            values[place] = float(log_probability[sentence.ids[place]].exp())
            best = label(tokenizer, int(log_probability.argmax()))
            notes[place] = f'"{sentence.words[place]}": {100 * float(values[place] or 0):.2f} % when masked; the likeliest was "{best}"'
    blanks = ["1 blank is left out" if len(sentence.masks) == 1 else f"{len(sentence.masks)} blanks are left out"] if sentence.masks else []
    return Tokens(
        words=sentence.words,
        values=values,
        notes=notes,
        text=sentence.text,
        figure=f"{total:.1f} nats" if places else "",
        caption=sentence.caption(*([f"{total / len(places):.2f} nats a word"] if places else []), *blanks),
    )
