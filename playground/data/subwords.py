"""Subword tokenizers of pretrained models: stored in a checkpoint's assets, and run by the library `tokenizers`."""

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
"""Most characters of a tokenizer.json, which becomes part of a checkpoint's meta."""

CHUNK = 1 << 18
"""Characters of a text that are encoded at once, to limit the memory that the library uses besides the ids."""

BYTES = 256

SHOWN = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}


def library() -> Any:
    """The module `tokenizers`. Raises `DataError` when it is not installed."""
    try:
        import tokenizers  # an extra, which only such models need
    except ImportError:
        raise DataError("this model's tokenizer needs the package tokenizers: pip install 'dlplay[hf]'") from None
    return tokenizers


class SubWords(Tokenizer):
    """A tokenizer as its tokenizer.json describes it, with `size` ids (a model's embedding may have more rows than there are tokens)."""

    noun = "pieces"
    model: ClassVar[str]
    """The name of its model in the library."""

    def __init__(self, source: str, size: int, start: int = -1) -> None:
        """`start`: the token used for an empty prompt, -1 to find one in the vocabulary. Raises `DataError`."""
        if type(size) is not int or not 2 <= size <= MAX_VOCABULARY:
            raise DataError(f"a vocabulary of {size!r:.40} pieces; it must be a whole number from 2 to {MAX_VOCABULARY:,}")
        if not isinstance(source, str) or len(source) > MAX_SOURCE:
            raise DataError(f"tokenizer.json is longer than {MAX_SOURCE:,} characters, the limit for a vocabulary of {MAX_VOCABULARY:,}")
        self.source, self.size = source, size
        needed = checked(source, self.model)
        try:
            self._made = library().Tokenizer.from_str(needed)
            known: dict[str, int] = self._made.get_vocab(with_added_tokens=True)
        except Exception as error:  # the library raises nothing more precise
            raise DataError(f"tokenizer.json is no valid tokenizer: {clean(str(error), 120)}; save it again with save_pretrained") from None
        if (found := type(self._made.model).__name__) != self.model:
            raise DataError(f"tokenizer.json is a {found}; a model of this kind uses {self.model}")
        if known and max(known.values()) >= size:
            raise DataError(
                f"tokenizer.json has a token {max(known.values()):,}, and the model has only {size:,}; they do not belong together"
            )
        self.foreign = self._order(known)
        """The id in tokenizer.json of each token."""
        pieces = {index: piece for piece, index in known.items()}
        self.vocabulary = [pieces.get(index, f"<unused{index}>") for index in self.foreign]
        self._ids = {piece: index for index, piece in enumerate(self.vocabulary)}
        self._own = np.full(size, -1, dtype=np.int64)
        self._own[self.foreign] = np.arange(len(self.foreign))
        self._start = start

    def _order(self, known: dict[str, int]) -> list[int]:
        """The ids of tokenizer.json in the order of the ids here."""
        return list(range(self.size))

    @classmethod
    def from_assets(cls, assets: dict[str, Any]) -> Self:
        start = assets.get("start", -1)
        return cls(assets.get("tokenizer", ""), assets.get("size", 0), start if type(start) is int else -1)

    def assets(self) -> dict[str, Any]:
        return {"tokens": self.kind, "tokenizer": self.source, "size": self.size, "start": self._start}

    @property
    def identity(self) -> Sequence[str]:
        return [self.source, str(self.size)]

    @classmethod
    def is_token(cls, word: str) -> bool:
        return bool(word)

    def split(self, text: str) -> Iterator[str]:  # type: ignore[override]  # needs the vocabulary
        return (piece for piece, _, _ in self.spans(text))

    def spans(self, text: str) -> Iterator[tuple[str, int, int]]:  # type: ignore[override]
        """The pieces of `text` with their positions; an unknown piece as it is written in the text."""
        ids, words = self.read(text)
        places = self._made.encode(_encodable(text), add_special_tokens=False).offsets
        pieces = (word if token == self.unknown else self.vocabulary[token] for token, word in zip(ids, words, strict=True))
        return ((piece, *place) for piece, place in zip(pieces, places, strict=True))

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without special tokens around it."""
        return self.read(text)[0]

    def read(self, text: str) -> tuple[list[int], list[str]]:
        text = _encodable(text)
        found = self._made.encode(text, add_special_tokens=False)
        ids: list[int] = self._own[np.array(found.ids, dtype=np.int64)].tolist() if found.ids else []
        return ids, [text[begin:end] or piece for (begin, end), piece in zip(found.offsets, found.tokens, strict=True)]

    def encode_long(self, text: str) -> NDArray[np.int64]:
        """The ids of a long text (tokens,), encoded in chunks that end at line ends, which no piece spans."""
        parts = [np.array(self._made.encode(chunk, add_special_tokens=False).ids, dtype=np.int64) for chunk in _chunks(_encodable(text))]
        ids: NDArray[np.int64] = self._own[np.concatenate(parts)] if parts else np.zeros(0, dtype=np.int64)
        return ids

    @property
    def start(self) -> int:
        """The model's own token for the start of a text."""
        if 0 <= self._start < len(self.vocabulary):
            return self._start
        known = [piece for piece in ("<|endoftext|>", "[CLS]", "<s>", "\u010a", ".") if piece in self._ids]
        return self._ids[known[0]] if known else 0

    def specials(self) -> dict[str, Any]:
        """The special tokens and rules for tokenizer_config.json."""
        return {}


class BytePairs(SubWords):
    """GPT-2's byte-level byte-pair encoding: it encodes any text, and a leading space is part of a piece."""

    kind = "bpe"
    model = "BPE"
    unknown = None

    @classmethod
    def trained(cls, text: str, *, size: int, min_count: int) -> Self:
        """At most `size` pieces: the 256 bytes, and the pairs that are merged because they are the most frequent ones in `text`, each
        `min_count` times or more (Sennrich, Haddow and Birch, 2016). Raises `DataError`."""
        if not BYTES < size <= MAX_VOCABULARY:
            raise DataError(f"a vocabulary of {size:,} pieces; the bytes alone are {BYTES}, so use a --vocab-size above that, such as 1000")
        made = library().Tokenizer(library().models.BPE())
        made.pre_tokenizer = library().pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = library().decoders.ByteLevel()
        alphabet = sorted(library().pre_tokenizers.ByteLevel.alphabet())
        trainer = library().trainers.BpeTrainer(
            vocab_size=size, min_frequency=min_count, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
        )
        made.train_from_iterator(_chunks(_encodable(text)), trainer)
        return cls(made.to_str(), made.get_vocab_size())

    def decode(self, ids: Iterable[int], after: Sequence[int] = (), *, spaced: bool = False) -> str:
        """The text of `ids`; incomplete characters and control characters become the replacement character."""
        text: str = self._made.decode(list(ids), skip_special_tokens=False)
        return printable(text)

    def space(self, before: Sequence[int], token: int) -> bool:
        return False

    def text(self, token: int) -> str:
        return self.decode([token])

    def label(self, token: int) -> str:
        """The piece with visible spaces and line ends; as bytes when it is not a whole character."""
        text: str = self._made.decode([token], skip_special_tokens=False)
        if not text:  # an id without a piece
            return clean_label(self.vocabulary[token])
        if "\ufffd" in text:
            piece = self.vocabulary[token]
            codes = [_bytes().get(char) for char in piece]
            return "".join(f"<{code:02X}>" for code in codes if code is not None) if None not in codes else clean_label(piece)
        return clean_label(text)

    def specials(self) -> dict[str, Any]:
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
        """Also how BERT's tokenizer treats upper case, accents and Chinese characters."""
        normalizer = json.loads(self.source).get("normalizer") or {}
        if normalizer.get("type") != "BertNormalizer":
            return dict(ROLES)
        rules = {name: normalizer.get(key) for name, key in (("do_lower_case", "lowercase"), ("strip_accents", "strip_accents"))}
        chinese = normalizer.get("handle_chinese_chars", True)
        return {"tokenizer_class": "BertTokenizer", **rules, "tokenize_chinese_chars": chinese, **ROLES}

    def space(self, before: Sequence[int], token: int) -> bool:
        """No space before a piece that continues a word or a closing mark, nor after an opening bracket."""
        if not before:
            return False
        last, piece = self.vocabulary[before[-1]], self.vocabulary[token]
        return not (piece.startswith("##") or last in "([" or piece in ".,;:!?)]'")

    def text(self, token: int) -> str:
        """The piece without ##."""
        return printable(self.vocabulary[token].removeprefix("##"))

    def label(self, token: int) -> str:
        return clean_label(self.vocabulary[token])


def clean_label(text: str) -> str:
    """Text with visible white space and without control characters; never empty."""
    return "".join(SHOWN.get(char) or printable(char) for char in text) or "\ufffd"


@functools.cache
def _bytes() -> dict[str, int]:
    """The byte of each character in a byte-level piece: printable bytes are themselves, the others follow from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(rest)}


def _encodable(text: str) -> str:
    """Text that can be encoded: surrogates become the replacement character."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _chunks(text: str) -> Iterator[str]:
    """Chunks of about `CHUNK` characters, which end at a line end between two characters that are not white space."""
    begin = 0
    while begin < len(text):
        end = begin + CHUNK
        while 0 <= (end := text.find("\n", end)) < len(text) - 1 and (text[end - 1].isspace() or text[end + 1].isspace()):
            end += 1
        end = len(text) if end < 0 else end + 1
        yield text[begin:end]
        begin = end
