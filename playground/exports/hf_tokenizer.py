"""The word and character tokenizers as tokenizers of `transformers`: the same ids for the same text."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import sys
from typing import Any

from dlplay.data.special_tokens import CLS, ROLES, SEP, SPECIAL_TOKENS, UNK
from dlplay.data.subwords import SubWords, library
from dlplay.data.tokens import UNKNOWN, Tokenizer, marks, words_pattern

FINAL_SIGMA = r"(?<=\p{L}|\p{L}['’]|\p{L}\p{Mn})Σ(?!['’.:\u00b7\p{Mn}\p{Cf}]*\p{L})"
"""A capital sigma at the end of a word, where its lower case is another letter."""


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of a tokenizer."""

    tokenizer: str
    """tokenizer.json"""
    config: dict[str, Any]
    """tokenizer_config.json"""


def build(tokenizer: Tokenizer, model_type: str, longest: int) -> Files:
    """The tokenizer for `transformers`; one that came from there is written unchanged."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
    }
    if isinstance(tokenizer, SubWords):
        return Files(tokenizer.source, config | tokenizer.specials())
    bert = model_type == "bert"
    unknown = UNK if bert else UNKNOWN
    made = _words(tokenizer, unknown) if tokenizer.kind == "word" else _characters(tokenizer, unknown)
    if bert:
        config |= ROLES
        _add_special_tokens(made, len(tokenizer.vocabulary))
    elif tokenizer.kind == "word":
        config["unk_token"] = unknown
    text = json.loads(made.to_str())
    if not bert and tokenizer.kind == "word":
        text["added_tokens"] = [_added(0, unknown)]
    return Files(json.dumps(text, ensure_ascii=False, indent=1), config)


def _words(tokenizer: Tokenizer, unknown: str) -> Any:
    """NFC, straight quotes, lower case; words, numbers and punctuation are kept, everything else is dropped."""
    tk = library()
    made = tk.Tokenizer(tk.models.WordLevel(_numbered(tokenizer, unknown), unk_token=unknown))
    n = tk.normalizers
    made.normalizer = n.Sequence(
        [
            n.NFC(),
            n.Replace(tk.Regex("[’‘]"), "'"),
            n.Replace(tk.Regex("[“”]"), '"'),
            n.Replace(tk.Regex(FINAL_SIGMA), "ς"),
            n.Lowercase(),
        ]
    )
    made.pre_tokenizer = tk.pre_tokenizers.Split(tk.Regex(_pattern()), "removed", invert=True)
    return made


def _pattern() -> str:
    """The pattern of `Words` in the library's syntax, with explicit ranges, since classes differ between versions of Unicode."""
    return words_pattern(_class(r"[^\W\d_]+"), _class(f"{marks()}+"), _class(r"\d+"))


@functools.cache
def _class(pattern: str) -> str:
    """All characters that match `pattern` in Python, as a class of ranges."""
    everything = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    runs = re.findall(pattern, everything)
    return "[" + "".join(rf"\x{{{ord(run[0]):x}}}-\x{{{ord(run[-1]):x}}}" for run in runs) + "]"


def _characters(tokenizer: Tokenizer, unknown: str) -> Any:
    tk = library()
    made = tk.Tokenizer(tk.models.WordLevel(_numbered(tokenizer, unknown), unk_token=unknown))
    made.pre_tokenizer = tk.pre_tokenizers.Split(tk.Regex(r"[\s\S]"), "isolated")
    made.decoder = tk.decoders.Fuse()
    return made


def _numbered(tokenizer: Tokenizer, unknown: str) -> dict[str, int]:
    return {unknown if index == 0 else word: index for index, word in enumerate(tokenizer.vocabulary)}


def _add_special_tokens(made: Any, words: int) -> None:
    """BERT's special tokens after the vocabulary, and [CLS] and [SEP] around a text."""
    tk = library()
    made.add_special_tokens([tk.AddedToken(piece, special=True) for piece in SPECIAL_TOKENS])
    ids = {piece: words + place for place, piece in enumerate(SPECIAL_TOKENS)}
    made.post_processor = tk.processors.BertProcessing((SEP, ids[SEP]), (CLS, ids[CLS]))


def _added(index: int, piece: str) -> dict[str, Any]:
    """An added token that is matched in the normalised text, as words are."""
    return {
        "id": index,
        "content": piece,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": True,
        "special": True,
    }
