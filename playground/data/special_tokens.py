"""BERT's special tokens. Their ids follow those of the vocabulary's words, in this order. Imports no torch."""

from __future__ import annotations

import dataclasses

SPECIAL_TOKENS = ("[PAD]", "[MASK]", "[CLS]", "[SEP]")
PAD, MASK, CLS, SEP = SPECIAL_TOKENS
UNK = "[UNK]"
"""What `transformers` calls the unknown token; in a vocabulary of the playground it is the first word."""

ROLES = {f"{token[1:-1].lower()}_token": token for token in (*SPECIAL_TOKENS, UNK)}
"""The same as tokenizer_config.json has them: `{"pad_token": "[PAD]", …}`."""


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens behind a vocabulary of `words`."""

    words: int

    @property
    def pad(self) -> int:
        """Fills up a short row; it is masked out of the attention."""
        return self.words

    @property
    def mask(self) -> int:
        """Replaces a word that is to be predicted."""
        return self.words + 1

    @property
    def cls(self) -> int:
        """Begins every row; its last hidden state represents the whole row."""
        return self.words + 2

    @property
    def sep(self) -> int:
        """Ends every segment."""
        return self.words + 3

    @property
    def size(self) -> int:
        """Words and special tokens together: rows of the embedding."""
        return self.words + len(SPECIAL_TOKENS)
