"""An untrusted `tokenizer.json`, checked before it is passed to the library `tokenizers`.

The library trusts its input: a prefix that the pieces do not have, for example, reads beyond their end and crashes the process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlplay.data.special_tokens import UNK
from dlplay.data.tokens import UNKNOWN
from dlplay.engine.errors import DataError

STEPS = frozenset(
    (
        *("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer"),
        *("ByteLevel", "BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits", "WordPiece"),
    )
)
"""Steps that take time in proportion to the text; a regular expression from an untrusted file could take for ever."""

OWN_STEPS = {"word": ("NFC", "Replace", "Replace", "Replace", "Lowercase", "Split"), "char": ("Split",)}
"""Steps of the word and character tokenizers, as `exports.hf_tokenizer` writes them."""

MAX_DEPTH = 4
"""Of nested sequences of steps."""

REQUIRED: dict[str, dict[str, tuple[Any, ...]]] = {
    "BPE": {
        "dropout": (None,),
        "continuing_subword_prefix": (None, ""),
        "end_of_word_suffix": (None, ""),
        "fuse_unk": (None, False),
        "byte_fallback": (None, False),
    },
    "WordPiece": {"unk_token": ("[UNK]",), "continuing_subword_prefix": ("##",)},
}
"""Allowed values of a model's fields; None allows a missing field as well."""


def checked(source: str, model: str) -> str:
    """The same tokenizer without what encoding a text does not need (padding, truncation, special tokens around it).

    Raises `DataError` unless its model is of the kind `model`, every field has the right type, and every step is known.
    """
    described = _described(source)
    if (kind := described["model"].get("type", model)) != model:
        raise DataError(f"tokenizer.json is a {ascii(kind)[:40]}; a model of this kind uses {model}")
    _check_steps(described, model)
    _check_model(described["model"], model)
    _check_added(described.get("added_tokens"))
    needed = {name: described[name] for name in ("normalizer", "pre_tokenizer", "model", "decoder", "added_tokens") if name in described}
    try:
        return json.dumps({"version": "1.0", **needed})
    except RecursionError:
        raise _damaged("is nested too deeply") from None


def own_vocabulary(source: str, kind: str, specials: Sequence[str]) -> list[str]:
    """The vocabulary of an exported tokenizer of kind `word` or `char`, which the tokens `specials` follow.

    Such a file is not passed to the library. Raises `DataError` for anything but what `dlplay export` writes.
    """
    described = _described(source)
    model = described["model"]
    steps = (*_steps(described.get("normalizer"), "normalizers"), *_steps(described.get("pre_tokenizer"), "pretokenizers"))
    if model.get("type") != "WordLevel" or steps != OWN_STEPS[kind]:
        raise DataError(f"tokenizer.json is not what dlplay export writes for tokens {kind}; export the model again")
    numbers = model.get("vocab")
    if not isinstance(numbers, dict) or not all(_is_id(index) for index in numbers.values()):
        raise _damaged("has no vocabulary of pieces and whole numbers")
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise _damaged("does not number its words from 0 without gaps")
    words = sorted(numbers, key=numbers.__getitem__)
    if words[:1] not in ([UNKNOWN], [UNK]) or model.get("unk_token") != words[0]:
        raise _damaged("does not begin with the unknown token")
    if re.search("[\ud800-\udfff]", "".join(words)):
        raise _damaged("has a word that cannot be written as UTF-8")
    _check_added(described.get("added_tokens"))
    added = {token["id"]: token["content"] for token in described.get("added_tokens") or ()}
    wanted = dict(enumerate([*words, *specials]))
    if not added.items() <= wanted.items() or not set(range(len(words), len(wanted))) <= added.keys():
        raise _damaged(f"has other special tokens after its {len(words):,} words than {', '.join(specials) or 'none'}")
    return [UNKNOWN, *words[1:]]


def _described(source: str) -> dict[str, Any]:
    try:
        described = json.loads(source)
    except (ValueError, RecursionError):
        raise DataError("tokenizer.json is not JSON; save it again with save_pretrained") from None
    if not isinstance(described, dict) or not isinstance(described.get("model"), dict):
        raise _damaged("has no model")
    return described


def _check_steps(described: Mapping[str, Any], model: str) -> None:
    steps = [*_steps(described.get("normalizer"), "normalizers"), *_steps(described.get("pre_tokenizer"), "pretokenizers")]
    decoders = [*_steps(described.get("decoder"), "decoders")]
    if strange := next((step for step in [*steps, *decoders] if step not in STEPS), None):
        raise DataError(f"tokenizer.json has a step {ascii(strange)[:40]}; supported are {', '.join(sorted(STEPS))}")
    if model == "BPE" and ("ByteLevel" not in steps or "ByteLevel" not in decoders):
        raise DataError("tokenizer.json is not byte-level (it has no ByteLevel step) as GPT-2's is; choose a model that is")


def _steps(part: Any, several: str, depth: int = 0) -> Iterator[str]:
    """The types of the steps in `part` of a tokenizer.json."""
    if part is None:
        return
    if not isinstance(part, dict) or not isinstance(part.get("type"), str) or depth > MAX_DEPTH:
        raise _damaged("has a step without a type")
    if part["type"] != "Sequence":
        yield part["type"]
        return
    if not isinstance(part.get(several), list):
        raise _damaged(f"has a sequence without {several}")
    for step in part[several]:
        yield from _steps(step, several, depth + 1)


def _check_model(model: Mapping[str, Any], kind: str) -> None:
    for name, known in REQUIRED[kind].items():
        value = model.get(name)
        if not any(value == item and type(value) is type(item) for item in known):
            words = " or ".join(ascii(item) for item in known if item is not None) or "none"
            raise DataError(f"tokenizer.json gives {name} {ascii(value)[:40]}; only {words} is supported, so choose another model")
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict) or not all(_is_id(index) for index in vocabulary.values()):
        raise _damaged("has no vocabulary of pieces and whole numbers")
    if len(set(vocabulary.values())) != len(vocabulary):
        raise _damaged("gives two pieces the same number")
    if kind == "WordPiece":
        longest = model.get("max_input_chars_per_word", 100)
        if not _is_id(longest) or longest > 10_000:
            raise _damaged(f"gives max_input_chars_per_word {ascii(longest)[:40]}")
        if "[UNK]" not in vocabulary:
            raise DataError("the vocabulary has no [UNK]; BERT's tokenizer needs it, so save it again with save_pretrained")
    elif not isinstance(model.get("merges"), list) or not all(_is_pair(pair, vocabulary) for pair in model["merges"]):
        raise _damaged("has merges of pieces that are not in its vocabulary")


def _is_pair(pair: Any, vocabulary: Mapping[str, int]) -> bool:
    """Whether a merge is of two pieces that make a third one, in either of the formats that the library writes."""
    if isinstance(pair, str):
        pair = pair.split(" ")
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(piece, str) and piece in vocabulary for piece in pair):
        return False
    return "".join(pair) in vocabulary


def _check_added(added: Any) -> None:
    if added is None:
        return
    if not isinstance(added, list):
        raise _damaged("has added tokens that are not a list")
    for token in added:
        if not isinstance(token, dict) or not _is_id(token.get("id")) or not isinstance(token.get("content"), str) or not token["content"]:
            raise _damaged("has an added token without a number and a text")
        if not all(type(token.get(name, False)) is bool for name in ("single_word", "lstrip", "rstrip", "normalized", "special")):
            raise _damaged(f"does not say how the added token {ascii(token['content'])[:40]} is found")


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _damaged(what: str) -> DataError:
    return DataError(f"tokenizer.json {what}; save it again with save_pretrained")
