"""A typed sentence as the encoder reads it, and the same sentence with a word of it replaced."""

from __future__ import annotations

import dataclasses
import re
import unicodedata

import torch
from torch import Tensor

from playground.architectures.bert.masking import SPECIALS, Specials
from playground.architectures.bert.options import MASK, Sentence
from playground.data.bounded import clean
from playground.data.tokens import UNKNOWN, Tokenizer

_mask = re.compile(r"\[\s*mask\s*\]", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Read:
    """A sentence in ids."""

    ids: list[int]
    """Of its words, `Specials.mask` where it says [MASK]; at least one, and no more than fit."""
    words: list[str]
    """What stands at each of them, as it is shown."""
    text: str
    """What was typed, with composed letters."""
    spans: list[tuple[int, int]]
    """Where in `text` each word stands."""
    notes: list[str]
    """What must be known of how it was read."""
    specials: Specials

    @property
    def masks(self) -> list[int]:
        """Places that are masked."""
        return [place for place, token in enumerate(self.ids) if token == self.specials.mask]

    def place(self, wanted: int) -> int:
        """The place that an option means: -1 is the first mask, or else the first word; what lies beyond the end is the last."""
        if wanted < 0:
            return next(iter(self.masks), 0)
        return min(wanted, len(self.ids) - 1)

    def row(self, *hidden: int, ids: list[int] | None = None) -> list[int]:
        """As the encoder reads it, between [CLS] and [SEP], with the words at the places `hidden` masked."""
        ids = list(self.ids if ids is None else ids)
        for place in hidden:
            ids[place] = self.specials.mask
        return [self.specials.cls, *ids, self.specials.sep]

    def replaced(self, words: dict[int, str]) -> str:
        """The text with other words at some places; one that begins like a name or a sentence keeps its capital."""
        parts, end = [], 0
        for place, (start, stop) in enumerate(self.spans):
            if place in words:
                old, new = self.text[start:stop], words[place]
                begins = old[:1].isupper() and not _mask.fullmatch(old)
                parts += [self.text[end:start], new[:1].upper() + new[1:] if begins else new]
                end = stop
        return "".join(parts) + self.text[end:]

    def caption(self, *more: str) -> str:
        """`more`, then how the sentence was read."""
        return " · ".join([*more, *self.notes])


def read_sentence(tokenizer: Tokenizer, options: Sentence, longest: int, text: str | None = None) -> Read:
    """The sentence of the options (or another `text`), of which at most `longest` words are read; an empty one is a mask alone."""
    options.check()
    specials = Specials(len(tokenizer.vocabulary))
    text = unicodedata.normalize("NFC", options.sentence if text is None else text)
    found: list[tuple[str, int, int]] = []
    end = 0
    for mask in _mask.finditer(text):
        found += [(word, start + end, stop + end) for word, start, stop in tokenizer.spans(text[end : mask.start()])]
        found.append((MASK, *mask.span()))
        end = mask.end()
    found += [(word, start + end, stop + end) for word, start, stop in tokenizer.spans(text[end:])]
    notes = []
    if not found:
        notes.append("nothing that can be read: it is taken for one mask")
        text, found = MASK, [(MASK, 0, len(MASK))]
    if len(found) > longest:
        notes.append(f"only the first {longest} of {len(found):,} {tokenizer.noun} fit in the block")
    kept = found[:longest]
    ids = [specials.mask if word == MASK else tokenizer.id(word) for word, _, _ in kept]
    unknown = list(dict.fromkeys(word for (word, _, _), token in zip(kept, ids, strict=True) if token == 0 and word != UNKNOWN))
    if unknown:
        shown = ", ".join(clean(word, 20) or ascii(word) for word in unknown[:3]) + (" …" if len(unknown) > 3 else "")
        notes.append(f"not in the vocabulary, read as <unk>: {shown}")
    words = [label(tokenizer, token) for token in ids]
    return Read(ids, words, text, [(start, stop) for _, start, stop in kept], notes, specials)


def label(tokenizer: Tokenizer, token: int) -> str:
    """A word as it is shown alone, or the name of a special token."""
    words = len(tokenizer.vocabulary)
    return tokenizer.label(token) if token < words else SPECIALS[token - words]


def sayable(logits: Tensor, words: int) -> Tensor:
    """`logits` (…, V) without what nobody means to say: <unk> and the special tokens."""
    found = logits.clone()
    found[..., 0] = -torch.inf
    found[..., words:] = -torch.inf
    return found
