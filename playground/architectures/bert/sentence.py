"""A typed sentence as the encoder reads it, and the same sentence with a token of it replaced."""

from __future__ import annotations

import dataclasses
import re
import unicodedata

import torch
from torch import Tensor

from dlplay.architectures.bert.masking import SPECIALS, Specials
from dlplay.architectures.bert.options import MASK, Sentence
from dlplay.data.tokens import Characters, Tokenizer
from dlplay.parts.prompts import unknown_words

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
    tokenizer: Tokenizer
    specials: Specials

    @property
    def mask(self) -> int:
        """The token that stands for a hidden word."""
        return self.specials.mask

    @property
    def masks(self) -> list[int]:
        """Places that are masked."""
        return [place for place, token in enumerate(self.ids) if token == self.mask]

    def place(self, wanted: int) -> int:
        """The place that an option means: -1 is the first mask, or else the first word; what lies beyond the end is the last."""
        if wanted < 0:
            return next(iter(self.masks), 0)
        return min(wanted, len(self.ids) - 1)

    def row(self, *hidden: int, ids: list[int] | None = None) -> list[int]:
        """As the encoder reads it, between [CLS] and [SEP], with the words at the places `hidden` masked."""
        ids = list(self.ids if ids is None else ids)
        for place in hidden:
            ids[place] = self.mask
        return [self.specials.cls, *ids, self.specials.sep]

    def replaced(self, tokens: dict[int, int]) -> str:
        """The text with other tokens at some places, written so that they are read again as these: a piece that goes on with a word is
        joined to it, and words that stand side by side are kept apart."""
        said, end = "", 0
        for place, token in sorted(tokens.items()):
            start, stop = self.spans[place]
            said += self.text[end:start]
            new, end = self._written(place, token), stop
            said = (said.rstrip() if self._goes_on(token) else said + self._gap(said, new)) + new
            if not any(map(self._goes_on, self.ids[place + 1 : place + 2])):
                said += self._gap(said, self.text[end:])
        return said + self.text[end:]

    def _written(self, place: int, token: int) -> str:
        """The token in place of another; of one that begins like a name or a sentence it keeps the capital, where that changes nothing."""
        if token == self.mask:
            return MASK
        new = self.tokenizer.text(token)
        capital = new[:1].upper() + new[1:]
        begins = self.text[slice(*self.spans[place])][:1].isupper() and self.ids[place] != self.mask
        return capital if begins and self.tokenizer.encode(capital) == [token] else new

    def _goes_on(self, token: int) -> bool:
        return token < self.specials.words and len(word := self.tokenizer.vocabulary[token]) > 2 and word.startswith("##")

    def _gap(self, left: str, right: str) -> str:
        return " " if self.tokenizer.kind != Characters.kind and left[-1:].isalnum() and right[:1].isalnum() else ""

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
    if unknown := unknown_words(tokenizer, ids, [word for word, _, _ in kept]):
        notes.append(f"not in the vocabulary, read as <unk>: {unknown}")
    words = [label(tokenizer, token) for token in ids]
    return Read(ids, words, text, [(start, stop) for _, start, stop in kept], notes, tokenizer, specials)


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
