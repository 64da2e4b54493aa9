"""A typed sentence as the encoder reads it, and the same sentence with some of its tokens replaced."""

from __future__ import annotations

import dataclasses
import re
import unicodedata

from dlplay.data.special_tokens import MASK, SPECIAL_TOKENS, SpecialIds
from dlplay.data.tokens import Characters, Tokenizer
from dlplay.parts.prompts import what_is_lost

_MASK = re.compile(r"\[\s*mask\s*\]", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class ReadSentence:
    """A sentence in ids."""

    ids: list[int]
    """Ids of its words, at least one and no more than fit; the mask's where it says [MASK]."""
    words: list[str]
    """The label of each of them."""
    text: str
    """What was typed, in Unicode's composed form (NFC)."""
    spans: list[tuple[int, int]]
    """Where each word starts and ends in `text`."""
    notes: list[str]
    """What the reader should know about how it was read."""
    remark: str
    """Those of them that say what is not read as it was typed."""
    tokenizer: Tokenizer
    special: SpecialIds

    @property
    def masks(self) -> list[int]:
        """Positions of the masked words."""
        return [position for position, token in enumerate(self.ids) if token == self.special.mask]

    def position(self, place: int) -> int:
        """The position that the option `place` means: -1 is the first mask, or the first word if there is none; beyond the end the last."""
        if place < 0:
            return next(iter(self.masks), 0)
        return min(place, len(self.ids) - 1)

    def row(self, *masked: int, ids: list[int] | None = None) -> list[int]:
        """The encoder's input, from [CLS] to [SEP], with the words at the positions `masked` replaced by [MASK]."""
        ids = list(self.ids if ids is None else ids)
        for position in masked:
            ids[position] = self.special.mask
        return [self.special.cls, *ids, self.special.sep]

    def replaced(self, tokens: dict[int, int]) -> str:
        """The text with other tokens at some positions, written so that it is tokenized to exactly these: a piece that continues a word is
        joined to it, and separate words are kept apart."""
        text, end = "", 0
        for position, token in sorted(tokens.items()):
            start, stop = self.spans[position]
            text += self.text[end:start]
            new, end = self._written(position, token), stop
            text = (text.rstrip() if self._continues(token) else text + self._gap(text, new)) + new
            if not any(map(self._continues, self.ids[position + 1 : position + 2])):
                text += self._gap(text, self.text[end:])
        return text + self.text[end:]

    def _written(self, position: int, token: int) -> str:
        """The new token as text, with a capital if the word it replaces has one and the token stays the same."""
        if token == self.special.mask:
            return MASK
        new = self.tokenizer.text(token)
        capital = new[:1].upper() + new[1:]
        was_capital = self.text[slice(*self.spans[position])][:1].isupper() and self.ids[position] != self.special.mask
        return capital if was_capital and self.tokenizer.encode(capital) == [token] else new

    def _continues(self, token: int) -> bool:
        return token < self.special.words and len(word := self.tokenizer.vocabulary[token]) > 2 and word.startswith("##")

    def _gap(self, left: str, right: str) -> str:
        return " " if self.tokenizer.kind != Characters.kind and left[-1:].isalnum() and right[:1].isalnum() else ""

    def caption(self, *more: str) -> str:
        """`more`, then how the sentence was read."""
        return " · ".join([*more, *self.notes])


def read_sentence(tokenizer: Tokenizer, text: str, max_words: int) -> ReadSentence:
    """`text` with at most `max_words` words; an empty one is read as a single mask."""
    special = SpecialIds(len(tokenizer.vocabulary))
    text = unicodedata.normalize("NFC", text)
    found: list[tuple[str, int, int]] = []
    end = 0
    for mask in _MASK.finditer(text):
        found += [(word, start + end, stop + end) for word, start, stop in tokenizer.spans(text[end : mask.start()])]
        found.append((MASK, *mask.span()))
        end = mask.end()
    found += [(word, start + end, stop + end) for word, start, stop in tokenizer.spans(text[end:])]
    notes = []
    if not found:
        notes.append(f"no word to read: {MASK} is read instead")
        text, found = MASK, [(MASK, 0, len(MASK))]
    if len(found) > max_words:
        notes.append(f"only the first {max_words} of {len(found):,} {tokenizer.noun} fit in the block")
    kept = found[:max_words]
    ids = [special.mask if word == MASK else tokenizer.id(word) for word, _, _ in kept]
    lost = what_is_lost(tokenizer, _MASK.sub(" ", text), ids, [word for word, _, _ in kept])
    words, spans = [label(tokenizer, token) for token in ids], [(start, stop) for _, start, stop in kept]
    return ReadSentence(ids, words, text, spans, notes + lost, " · ".join(lost), tokenizer, special)


def label(tokenizer: Tokenizer, token: int) -> str:
    """The label of a word, or the name of a special token."""
    words = len(tokenizer.vocabulary)
    return tokenizer.label(token) if token < words else SPECIAL_TOKENS[token - words]
