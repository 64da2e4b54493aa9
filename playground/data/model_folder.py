"""A folder in which `transformers` saved a model: JSON, safetensors and tokenizer files, read within limits; nothing is unpickled."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dlplay.checkpoints.format import Signature, read_foreign, signature
from dlplay.data import bounded
from dlplay.data.special_tokens import ROLES
from dlplay.data.subwords import MAX_SOURCE, library
from dlplay.engine.errors import DataError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_JSON = 1 << 20
MAX_INDEX = 4 << 20
MAX_WEIGHTS = 8 << 30
"""Bytes of all weights together; the largest GPT-2 takes 6.5 GB."""
MAX_SHARDS = 64

_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.safetensors")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")


class ModelFolder:
    """Such a folder. Its methods raise `DataError` or `CheckpointError`."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise DataError(f"there is no folder {bounded.named(path)}; give one that save_pretrained wrote, with config.json in it")
        self.path = path

    def file(self, name: str) -> Path:
        """The path of a file. Links are followed only in the cache of `huggingface_hub`, whose snapshots link to blobs."""
        path = self.path / name
        if not path.is_symlink():
            return path
        real, blobs = Path(os.path.realpath(path)), Path(os.path.realpath(self.path)).parent.parent / "blobs"
        if real.parent == blobs:
            return real
        raise DataError(f"{name} is a symbolic link to outside of its folder; put the file itself in its place")

    def has(self, name: str) -> bool:
        """Whether the folder has something of that name."""
        return os.path.lexists(self.path / name)

    def read(self, name: str, limit: int) -> bytes:
        if not self.has(name):
            raise DataError(f"there is no {name} in it; save the model again with save_pretrained")
        return bounded.read_bytes(self.file(name), limit, follow=False)

    def text(self, name: str, limit: int) -> str:
        try:
            return self.read(name, limit).decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{name} is not UTF-8: byte {error.start:,} is wrong; save it again with save_pretrained") from None

    def json(self, name: str, limit: int = MAX_JSON) -> dict[str, Any]:
        text = self.text(name, limit)  # outside the try: its errors have their own words
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} is not JSON: {bounded.clean(str(error), 100)}; save it again with save_pretrained") from None
        if not isinstance(values, dict):
            raise DataError(f"{name} is not a JSON object; save it again with save_pretrained")
        return values

    def signature(self) -> Signature:
        """Shape and dtype of every tensor; the tensors are not read."""
        return {name: item for file in self._files() for name, item in signature(file, MAX_WEIGHTS, foreign=True).items()}

    def tensors(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """The tensors of these names, from one file or from the shards that an index lists."""
        return {name: array for file in self._files() for name, array in read_foreign(file, MAX_WEIGHTS, names).items()}

    def _files(self) -> list[Path]:
        """The files with the tensors, whose total size is within the limit."""
        if self.has(WEIGHTS):
            return [self.file(WEIGHTS)]
        if self.has(INDEX):
            return self._shards()
        if pickled := next((name for name in _PICKLED if self.has(name)), None):
            raise DataError(
                f"its weights are only in {pickled}, which is not read, since unpickling could run any program; "
                "open the model with transformers and save it with save_pretrained(FOLDER, safe_serialization=True)"
            )
        raise DataError(f"there is no {WEIGHTS} in it; save the model again with save_pretrained")

    def _places(self) -> dict[str, str]:
        """The file of each tensor."""
        places = self.json(INDEX, MAX_INDEX).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) and _SHARD.fullmatch(name) for name in places.values()):
            raise DataError(f"{INDEX} does not list files of tensors; save the model again with save_pretrained")
        return places

    def _shards(self) -> list[Path]:
        places = self._places()
        names = sorted(set(places.values()))
        if len(names) > MAX_SHARDS:
            raise DataError(f"{INDEX} lists {len(names)} files; the limit is {MAX_SHARDS}, so save it with a larger max_shard_size")
        files = []
        for name in names:
            if not self.has(name):
                raise DataError(f"{name}, which {INDEX} lists, is missing; copy the whole folder again")
            files.append(self.file(name))
            if known := next((tensor for tensor in signature(files[-1], MAX_WEIGHTS, foreign=True) if places.get(tensor) != name), None):
                raise DataError(f"tensor {known} is not where {INDEX} says; copy the whole folder again")
        if (together := sum(file.stat().st_size for file in files)) > MAX_WEIGHTS:
            raise DataError(f"its weights take {together:,} bytes; the limit is {MAX_WEIGHTS:,}, so choose a smaller model")
        return files

    def tokenizer(self, kind: str) -> str:
        """tokenizer.json, or an equivalent made from the older files: vocab.json and merges.txt (bpe), or vocab.txt (wordpiece)."""
        if self.has("tokenizer.json"):
            return self.text("tokenizer.json", 4 * MAX_SOURCE)
        older = ("vocab.json", "merges.txt") if kind == "bpe" else ("vocab.txt",)
        if missing := [name for name in older if not self.has(name)]:
            raise DataError(f"there is no tokenizer.json in it, nor {missing[0]}; save the tokenizer there with save_pretrained")
        try:
            made = self._byte_pairs() if kind == "bpe" else self._word_pieces()
            source: str = made.to_str()
        except DataError:
            raise
        except Exception as error:  # the library raises nothing more precise
            raise DataError(f"{' and '.join(older)} are not a valid tokenizer: {bounded.clean(str(error), 120)}") from None
        return source

    def _byte_pairs(self) -> Any:
        tk = library()
        vocabulary = self.json("vocab.json", MAX_SOURCE)
        lines = self.text("merges.txt", MAX_SOURCE).splitlines()
        merges = [tuple(line.split(" ")) for line in lines if line.strip() and not line.startswith("#version")]
        if not all(type(index) is int and 0 <= index < 1 << 31 for index in vocabulary.values()) or any(len(pair) != 2 for pair in merges):
            raise DataError("vocab.json and merges.txt are damaged; copy them again")
        made = tk.Tokenizer(tk.models.BPE(vocabulary, merges))
        made.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = tk.decoders.ByteLevel()
        if "<|endoftext|>" in vocabulary:
            made.add_special_tokens(["<|endoftext|>"])
        self._add_tokens(made)
        return made

    def _word_pieces(self) -> Any:
        tk = library()
        pieces = [line.rstrip("\r") for line in self.text("vocab.txt", MAX_SOURCE).removesuffix("\n").split("\n")]
        vocabulary = {piece: index for index, piece in enumerate(pieces)}
        if len(vocabulary) != len(pieces):
            raise DataError("vocab.txt has the same piece twice; copy it again")
        config = self.json("tokenizer_config.json") if self.has("tokenizer_config.json") else {}
        made = tk.Tokenizer(tk.models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
        accents = config.get("strip_accents")
        made.normalizer = tk.normalizers.BertNormalizer(
            lowercase=config.get("do_lower_case", True) is not False,
            strip_accents=accents if type(accents) is bool else None,
            handle_chinese_chars=config.get("tokenize_chinese_chars", True) is not False,
        )
        made.pre_tokenizer = tk.pre_tokenizers.BertPreTokenizer()
        made.decoder = tk.decoders.WordPiece()
        made.add_special_tokens([piece for piece in ROLES.values() if piece in vocabulary])
        self._add_tokens(made)
        return made

    def _add_tokens(self, made: Any) -> None:
        """Those of added_tokens.json, with its ids: each is one token wherever it stands in a text."""
        if not self.has("added_tokens.json"):
            return
        ids = self.json("added_tokens.json", MAX_SOURCE)
        if not all(type(index) is int for index in ids.values()):
            raise DataError("added_tokens.json is damaged: an id is no whole number; copy it again")
        tokens = sorted(ids, key=ids.__getitem__)
        made.add_tokens([library().AddedToken(token, normalized=False) for token in tokens])  # which numbers them in this order
        if wrong := next((token for token in tokens if made.token_to_id(token) != ids[token]), None):
            raise DataError(
                f"added_tokens.json gives {bounded.clean(wrong, 40)} the id {ids[wrong]:,}, and the vocabulary leaves it "
                f"{made.token_to_id(wrong):,}; copy the whole folder again"
            )
