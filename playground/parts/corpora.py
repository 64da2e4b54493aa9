"""A text to learn from, or, when a checkpoint brings its vocabulary, to be read with that one."""

from __future__ import annotations

from typing import Any

from playground.data.text import Corpus, read_corpus, read_text
from playground.data.tokens import TOKENIZERS, Tokenizer
from playground.engine.errors import DataError


def open_corpus(
    source: str, tokens: str, *, vocab_size: int, min_count: int, minimum: int, assets: dict[str, Any] | None
) -> tuple[Tokenizer, Corpus | None, str]:
    """The tokenizer, the text, and in words why there is none.

    Without `assets` the vocabulary is made from the text, and a text that cannot be read raises `DataError`. With a checkpoint's `assets`
    (`tokens` and `vocabulary`) theirs is used, and the model can be asked even where the text is missing.
    """
    vocabulary = None
    if assets is not None:
        kind = TOKENIZERS.get(str(assets.get("tokens")))
        if kind is None or not isinstance(assets.get("vocabulary"), list):
            raise DataError("the checkpoint's vocabulary is missing or damaged; use another checkpoint")
        vocabulary = kind(assets["vocabulary"]).vocabulary
        tokens = kind.kind
    try:
        corpus = read_corpus(read_text(source), tokens, vocab_size=vocab_size, min_count=min_count, minimum=minimum, vocabulary=vocabulary)
    except DataError as error:
        if vocabulary is None:
            raise
        return TOKENIZERS[tokens](vocabulary), None, str(error)
    return corpus.tokenizer, corpus, ""
