"""A tokenizer.json from elsewhere is refused in words, or reads: it never ends the process, and its ids are those of the model."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
import tokenizers
from hypothesis import given, settings
from tokenizers import decoders, models, pre_tokenizers, trainers

from dlplay.data.subwords import BytePairs, SubWords, WordPieces
from dlplay.data.text import reference
from dlplay.data.tokenizer_json import checked
from dlplay.engine.errors import DataError

KINDS: dict[str, type[SubWords]] = {"BPE": BytePairs, "WordPiece": WordPieces}
TEXTS = ("The value [MASK] of <|endoftext|> x\n\n 日\0 ", "a" * 300, "", " ")
ODD = (
    *(None, True, -1, 0, 1, 2**31, 1e308, "", "a", "##", "\0", "\ud800", [], {}, [[]], "Sequence", {"type": "Sequence"}),
    {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
    {"type": "BertProcessing", "sep": ["x", 99_999_999], "cls": ["y", -1]},
    {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 5},
    {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"},
)


@functools.cache
def described(kind: str) -> dict[str, Any]:
    """A sound one."""
    if kind == "WordPiece":
        words = tokenizers.BertWordPieceTokenizer(lowercase=True)
        words.train_from_iterator([reference().content[:20_000]], vocab_size=200, show_progress=False)
        return _read(words)
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([reference().content[:20_000]], trainer)
    return _read(made)


def _read(made: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.to_str())
    return found


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in it; of a long list or table the first and the last."""
    if path:
        yield path
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    for key in keys if len(keys) <= 12 else [*keys[:3], keys[-1]]:
        yield from places(node[key], (*path, key))


def changed(kind: str, path: tuple[Any, ...], value: Any) -> str:
    """With another value at one place."""
    whole = copy.deepcopy(described(kind))
    node = whole
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return json.dumps(whole)


CASES = [(kind, path) for kind in KINDS for path in places(described(kind))]


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(CASES), st.sampled_from(ODD), st.sampled_from([310, 600]))
def test_any_change_is_refused_in_words_or_reads(case: tuple[str, tuple[Any, ...]], value: Any, size: int) -> None:
    kind, path = case
    try:
        made = KINDS[kind](changed(kind, path, value), size)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for text in TEXTS:
        ids, words = made.read(text)
        assert len(ids) == len(words)
        assert all(0 <= token < len(made.vocabulary) for token in [*ids, *made.encode_long(text).tolist(), made.start])
        made.decode(ids)
    assert all(made.label(token) for token in (0, 1, len(made.vocabulary) - 1))


@pytest.mark.parametrize(
    ("kind", "path", "value", "words"),
    [
        ("BPE", ("model", "continuing_subword_prefix"), "<|endoftext|>", "continuing_subword_prefix '<|endoftext|>'.*only '' is supported"),
        ("BPE", ("model", "end_of_word_suffix"), "</w>", "end_of_word_suffix '</w>'"),
        ("BPE", ("model", "byte_fallback"), True, "byte_fallback True; only False is supported"),
        ("BPE", ("model", "dropout"), 0.5, "dropout 0.5; only none is supported"),
        ("BPE", ("model", "merges"), [["zz", "yy"]], "merges of pieces that are not in its vocabulary"),
        ("BPE", ("model", "merges"), ["Ġ t x"], "merges of pieces that are not in its vocabulary"),
        ("BPE", ("model", "vocab"), {"a": 0, "b": 0}, "two pieces the same number"),
        ("BPE", ("model", "vocab"), {"a": -1}, "no vocabulary"),
        ("BPE", ("model", "type"), "Unigram", "is a 'Unigram'; .* uses BPE"),
        ("BPE", ("model",), None, "has no model"),
        ("BPE", ("normalizer",), {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}, "a step 'Replace'"),
        ("BPE", ("pre_tokenizer",), {"type": "Sequence"}, "a sequence without pretokenizers"),
        ("BPE", ("pre_tokenizer",), {"use_regex": True}, "a step without a type"),
        ("BPE", ("added_tokens", 0, "content"), "", "an added token without"),
        ("BPE", ("added_tokens", 0, "lstrip"), "yes", "does not say how .* is found"),
        ("WordPiece", ("model", "unk_token"), "<unk>", "unk_token '<unk>'"),
        ("WordPiece", ("model", "max_input_chars_per_word"), 10**9, "max_input_chars_per_word 1000000000"),
    ],
)
def test_what_the_library_would_trust_is_refused(kind: str, path: tuple[Any, ...], value: Any, words: str) -> None:
    with pytest.raises(DataError, match=rf"^tokenizer\.json .*{words}"):
        KINDS[kind](changed(kind, path, value), 600)


def test_steps_within_steps_have_an_end() -> None:
    nested = changed("BPE", ("model", "more"), "HERE").replace('"HERE"', "[" * 800 + "]" * 800)
    try:
        checked(nested, "BPE")
    except DataError as error:
        words = str(error)
        assert re.search("nested too deeply|is not JSON", words)  # it depends on how deep the caller stands
    deep: dict[str, Any] = {"type": "NFC"}
    for _ in range(20):
        deep = {"type": "Sequence", "normalizers": [deep]}
    with pytest.raises(DataError, match="a step without a type"):
        checked(changed("BPE", ("normalizer",), deep), "BPE")


def test_both_forms_of_merges_and_a_model_without_a_type_read_alike() -> None:
    pairs = described("BPE")["model"]["merges"]
    older = json.loads(changed("BPE", ("model", "merges"), [" ".join(pair) for pair in pairs]))
    del older["model"]["type"]
    text = reference().content[:2000]
    assert BytePairs(json.dumps(older), 310).encode(text) == BytePairs(json.dumps(described("BPE")), 310).encode(text)


def test_padding_truncation_and_tokens_around_a_text_do_not_count() -> None:
    plain = KINDS["WordPiece"](json.dumps(described("WordPiece")), 300).encode(TEXTS[0])
    for path, value in (
        (("truncation",), {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}),
        (("post_processor",), {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}),
    ):
        assert KINDS["WordPiece"](changed("WordPiece", path, value), 300).encode(TEXTS[0]) == plain
    assert len(plain) > 3
    assert re.search(r"\[MASK\]", TEXTS[0])
