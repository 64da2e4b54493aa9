"""Tokenizers of pieces of words that came with a model from elsewhere, kept whole in its assets and run by the library `tokenizers`."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dlplay.data.bounded import clean
from dlplay.data.special_tokens import ROLES, SPECIAL_TOKENS, UNK
from dlplay.data.tokenizer_json import checked
from dlplay.data.tokens import MAX_VOCABULARY, Tokenizer, printable
from dlplay.engine.errors import DataError

MAX_SOURCE = 6 << 20
"""Characters of the longest tokenizer.json that is taken: it travels in a checkpoint's meta."""

CHUNK = 1 << 18
"""Characters of a text that are encoded at once, so that what the library keeps beside the ids stays small."""

SHOWN = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}


def library() -> Any:
    """The module `tokenizers`. Raises `DataError` when it is not installed."""
    try:
        import tokenizers  # an extra, and loaded for such models alone
    except ImportError:
        raise DataError("this model's tokenizer needs the package tokenizers: pip install 'dlplay[hf]'") from None
    return tokenizers


class SubWords(Tokenizer):
    """A tokenizer as its tokenizer.json describes it, over a vocabulary of `size` (a model's embedding may have more rows than tokens)."""

    noun = "pieces"
    model: ClassVar[str]
    """What the library calls it."""

    def __init__(self, source: str, size: int, start: int = -1) -> None:
        """`start` is the token that stands in for an empty prompt, -1 to look for one. Raises `DataError`."""
        if type(size) is not int or not 2 <= size <= MAX_VOCABULARY:
            raise DataError(f"a vocabulary of {size!r:.40} pieces; it must be a whole number from 2 to {MAX_VOCABULARY:,}")
        if not isinstance(source, str) or len(source) > MAX_SOURCE:
            raise DataError(f"tokenizer.json is longer than {MAX_SOURCE:,} characters; that is no tokenizer of {MAX_VOCABULARY:,} pieces")
        self.source, self.size = source, size
        needed = checked(source, self.model)
        try:
            self._made = library().Tokenizer.from_str(needed)
            known: dict[str, int] = self._made.get_vocab(with_added_tokens=True)
        except Exception as error:  # the library raises nothing more precise
            raise DataError(f"tokenizer.json is no tokenizer: {clean(str(error), 120)}; save it again with save_pretrained") from None
        if (found := type(self._made.model).__name__) != self.model:
            raise DataError(f"tokenizer.json is a {found}; a model of this kind reads with {self.model}")
        if known and max(known.values()) >= size:
            raise DataError(
                f"tokenizer.json knows a token {max(known.values()):,}, and the model has {size:,} of them; they do not belong together"
            )
        self.foreign = self._order(known)
        """The id in the source of each token here."""
        pieces = {index: piece for piece, index in known.items()}
        self.vocabulary = [pieces.get(index, f"<unused{index}>") for index in self.foreign]
        self._ids = {piece: index for index, piece in enumerate(self.vocabulary)}
        self._own = np.full(size, -1, dtype=np.int64)
        self._own[self.foreign] = np.arange(len(self.foreign))
        self._start = start

    def _order(self, known: dict[str, int]) -> list[int]:
        """The ids of the source in the order that they have here."""
        return list(range(self.size))

    @classmethod
    def from_assets(cls, assets: dict[str, Any]) -> Self:
        """See `Tokenizer.from_assets`."""
        start = assets.get("start", -1)
        return cls(assets.get("tokenizer", ""), assets.get("size", 0), start if type(start) is int else -1)

    def assets(self) -> dict[str, Any]:
        """See `Tokenizer.assets`; the source travels whole."""
        return {"tokens": self.kind, "tokenizer": self.source, "size": self.size, "start": self._start}

    @property
    def identity(self) -> Sequence[str]:
        """The source."""
        return [self.source, str(self.size)]

    @classmethod
    def is_token(cls, word: str) -> bool:
        """Any piece may be one."""
        return bool(word)

    def split(self, text: str) -> Iterator[str]:  # type: ignore[override]  # what is a piece only a vocabulary knows
        """The pieces of `text`."""
        return (piece for piece, _, _ in self.spans(text))

    def spans(self, text: str) -> Iterator[tuple[str, int, int]]:  # type: ignore[override]
        """The pieces of `text`, each with its place; of an unknown one what stands there."""
        ids, words = self.read(text)
        places = self._made.encode(_sound(text), add_special_tokens=False).offsets
        pieces = (word if token == self.unknown else self.vocabulary[token] for token, word in zip(ids, words, strict=True))
        return ((piece, *place) for piece, place in zip(pieces, places, strict=True))

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without the tokens that a model wants around it."""
        return self.read(text)[0]

    def read(self, text: str) -> tuple[list[int], list[str]]:
        """The ids of `text`, and what stood there for each."""
        text = _sound(text)
        found = self._made.encode(text, add_special_tokens=False)
        ids: list[int] = self._own[np.array(found.ids, dtype=np.int64)].tolist() if found.ids else []
        return ids, [text[begin:end] or piece for (begin, end), piece in zip(found.offsets, found.tokens, strict=True)]

    def encode_long(self, text: str) -> NDArray[np.int64]:
        """The ids of a long text (tokens,), cut where a line ends, which no piece reaches over."""
        parts = [np.array(self._made.encode(chunk, add_special_tokens=False).ids, dtype=np.int64) for chunk in _chunks(_sound(text))]
        ids: NDArray[np.int64] = self._own[np.concatenate(parts)] if parts else np.zeros(0, dtype=np.int64)
        return ids

    @property
    def start(self) -> int:
        """The token that begins a text: the model's own one."""
        if 0 <= self._start < len(self.vocabulary):
            return self._start
        known = [piece for piece in ("<|endoftext|>", "[CLS]", "<s>", "\u010a", ".") if piece in self._ids]
        return self._ids[known[0]] if known else 0

    def specials(self) -> dict[str, Any]:
        """What tokenizer_config.json says of it besides."""
        return {}


class BytePairs(SubWords):
    """GPT-2's byte-level byte-pair encoding: any text can be written with it, a leading space is part of a piece."""

    kind = "bpe"
    model = "BPE"
    unknown = None

    def decode(self, ids: Iterable[int], after: Sequence[int] = (), *, spaced: bool = False) -> str:
        """Running text of `ids`; a character that is not complete, and what would steer a terminal, as the replacement character."""
        text: str = self._made.decode(list(ids), skip_special_tokens=False)
        return printable(text)

    def space(self, before: Sequence[int], token: int) -> bool:
        """Never: spaces are in the pieces."""
        return False

    def text(self, token: int) -> str:
        """The piece as it stands in running text."""
        return self.decode([token])

    def label(self, token: int) -> str:
        """The piece with signs for spaces and line ends; the bytes of one that is no whole character."""
        text: str = self._made.decode([token], skip_special_tokens=False)
        if not text:  # a row of the embedding that no piece has
            return clean_label(self.vocabulary[token])
        if "\ufffd" in text:
            piece = self.vocabulary[token]
            codes = [_bytes().get(char) for char in piece]
            return "".join(f"<{code:02X}>" for code in codes if code is not None) if None not in codes else clean_label(piece)
        return clean_label(text)

    def specials(self) -> dict[str, Any]:
        """The token that begins and ends texts."""
        piece = self.vocabulary[self.start]
        return {"tokenizer_class": "GPT2Tokenizer", "bos_token": piece, "eos_token": piece, "unk_token": piece}


class WordPieces(SubWords):
    """BERT's WordPiece: a word is cut into the longest pieces known; all but the first begin with ##.

    Here the unknown token is the first of the vocabulary, and the special tokens follow behind it; `foreign` and `outer` have the ids
    that the source gives them.
    """

    kind = "wordpiece"
    model = "WordPiece"

    def _order(self, known: dict[str, int]) -> list[int]:
        if missing := [piece for piece in (UNK, *SPECIAL_TOKENS) if piece not in known]:
            raise DataError(f"the vocabulary has no {missing[0]}; BERT's tokenizer needs it, so save it again with save_pretrained")
        self.outer = [known[piece] for piece in SPECIAL_TOKENS]
        """Ids of the special tokens in the source."""
        first = known[UNK]
        return [first, *(index for index in range(self.size) if index != first and index not in self.outer)]

    def read(self, text: str) -> tuple[list[int], list[str]]:
        """The ids and the words; a special token that is spelt out in a text is not in the vocabulary, so it is read as unknown."""
        ids, words = super().read(text)
        return [max(token, 0) for token in ids], words

    def encode_long(self, text: str) -> NDArray[np.int64]:
        return np.maximum(super().encode_long(text), 0)

    def specials(self) -> dict[str, Any]:
        """How BERT's tokenizer is to treat letters, and its special tokens."""
        normalizer = json.loads(self.source).get("normalizer") or {}
        if normalizer.get("type") != "BertNormalizer":
            return dict(ROLES)
        rules = {name: normalizer.get(key) for name, key in (("do_lower_case", "lowercase"), ("strip_accents", "strip_accents"))}
        chinese = normalizer.get("handle_chinese_chars", True)
        return {"tokenizer_class": "BertTokenizer", **rules, "tokenize_chinese_chars": chinese, **ROLES}

    def space(self, before: Sequence[int], token: int) -> bool:
        """A piece that goes on with a word, and a closing mark, cling to what stands before; an opening bracket to what follows."""
        if not before:
            return False
        last, piece = self.vocabulary[before[-1]], self.vocabulary[token]
        return not (piece.startswith("##") or last in "([" or piece in ".,;:!?)]'")

    def text(self, token: int) -> str:
        """The piece without the sign that it goes on with a word."""
        return printable(self.vocabulary[token].removeprefix("##"))

    def label(self, token: int) -> str:
        """The piece with its sign."""
        return clean_label(self.vocabulary[token])


def clean_label(text: str) -> str:
    """Text with signs for blanks, and no control characters; never empty."""
    return "".join(SHOWN.get(char) or printable(char) for char in text) or "\ufffd"


@functools.cache
def _bytes() -> dict[str, int]:
    """The byte that each character of a byte-level piece stands for: printable ones for themselves, the rest from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(rest)}


def _sound(text: str) -> str:
    """Text that can be encoded: a surrogate becomes the replacement character."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _chunks(text: str) -> Iterator[str]:
    """The text in pieces of about `CHUNK` characters, cut between a line end behind a sign and a sign, so that blanks stay together."""
    begin = 0
    while begin < len(text):
        end = begin + CHUNK
        while 0 <= (end := text.find("\n", end)) < len(text) - 1 and (text[end - 1].isspace() or text[end + 1].isspace()):
            end += 1
        end = len(text) if end < 0 else end + 1
        yield text[begin:end]
        begin = end
