"""A text to learn from, or, when a checkpoint brings its vocabulary, to be read with that one."""

from __future__ import annotations

import functools
from typing import Any

from dlplay.data.subwords import BytePairs, WordPieces
from dlplay.data.text import Corpus, Text, encode_corpus, read_corpus, read_text
from dlplay.data.tokens import TOKENIZERS, Tokenizer
from dlplay.engine.dataset import Missing
from dlplay.engine.errors import DataError
from dlplay.parts.transformer_settings import TextSettings

KNOWN: dict[str, type[Tokenizer]] = {**TOKENIZERS, BytePairs.kind: BytePairs, WordPieces.kind: WordPieces}
"""Every kind that a checkpoint may bring; from a text alone only words and characters are made."""


def open_corpus(settings: TextSettings, tokens: str, *, minimum: int, assets: dict[str, Any] | None) -> tuple[Tokenizer, Corpus | Missing]:
    """The tokenizer, and the text of at least `minimum` tokens that it reads.

    Without `assets` the vocabulary is made from the text, and a text that cannot be read raises `DataError`. With a checkpoint's `assets`
    (its tokenizer's) theirs is used, and the model can be asked even where the text is missing.
    """
    if assets is None:
        corpus = _corpus(read_text(settings.text), tokens, settings.vocab_size, settings.min_count, minimum)
        return corpus.tokenizer, corpus
    tokenizer = tokenizer_of(assets)
    try:
        return tokenizer, encode_corpus(read_text(settings.text), tokenizer, minimum=minimum)
    except DataError as error:
        return tokenizer, Missing("text", str(error), tokenizer.assets())


@functools.lru_cache(maxsize=1)
def _corpus(text: Text, tokens: str, vocab_size: int, min_count: int, minimum: int) -> Corpus:
    return read_corpus(text, tokens, vocab_size=vocab_size, min_count=min_count, minimum=minimum)


def tokenizer_of(assets: dict[str, Any]) -> Tokenizer:
    """The tokenizer that a checkpoint's assets tell of. Raises `DataError` when they do not."""
    if not assets:
        raise DataError(
            "the checkpoint has no vocabulary: it was trained on other data than a text, or is damaged; "
            "leave its task as it is, or train on the text without --from"
        )
    kind = KNOWN.get(str(assets.get("tokens")))
    if kind is None:
        raise DataError("the checkpoint's vocabulary is missing or damaged; use another checkpoint")
    return kind.from_assets(assets)
