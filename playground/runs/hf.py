"""`--from hf:DIR`: a model that `transformers` saved, loaded as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlplay import architectures
from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.store import Checkpoint
from dlplay.data.bounded import clean
from dlplay.data.model_folder import ModelFolder
from dlplay.data.special_tokens import SPECIAL_TOKENS
from dlplay.data.subwords import MAX_SOURCE, WordPieces
from dlplay.data.tokenizer_json import own_vocabulary
from dlplay.data.tokens import TOKENIZERS, Tokenizer
from dlplay.engine.card import Card
from dlplay.engine.errors import DataError
from dlplay.engine.paths import expanded
from dlplay.engine.settings import SettingsError, make, to_dict
from dlplay.parts.bridge import OWN_TOKENS, Bridge, Config
from dlplay.parts.corpora import tokenizer_of

PREFIX = "hf:"


def is_hf(text: str) -> bool:
    return text.startswith(PREFIX)


def is_hf_folder(path: Path) -> bool:
    """Whether the folder holds a model that `transformers` saved, rather than a checkpoint."""
    return (path / "config.json").is_file() and not (path / "meta.json").exists()


def absolute(text: str) -> str:
    """The same `hf:DIR` with an absolute path."""
    return PREFIX + str(expanded(text.removeprefix(PREFIX)).absolute())


def load(text: str, *, weights: bool = True) -> Checkpoint:
    """The model in the folder that `text` (`hf:DIR`) names; without `weights` only its settings and tokenizer are read.

    Raises `CheckpointError` when anything in it, from config to tokenizer, cannot be used.
    """
    try:
        folder = ModelFolder(expanded(text.removeprefix(PREFIX)).absolute())
        return _open(folder, weights)
    except (DataError, SettingsError, CheckpointError) as error:
        raise CheckpointError(f"--from {clean(text, 300)}: {error}") from None


def bridges() -> dict[str, tuple[Card, Bridge]]:
    """The architectures that `transformers` has as well, by their `model_type` there."""
    found = [(card, card.load_bridge()) for card in architectures.cards().values() if card.hf]
    return {bridge.model_type: (card, bridge) for card, bridge in found}


def _open(folder: ModelFolder, weights: bool) -> Checkpoint:
    values = folder.json("config.json")
    known = bridges()
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in known:
        raise DataError(f"config.json gives model_type {ascii(model_type)[:40]}; supported are {', '.join(known)}")
    card, bridge = known[model_type]
    config = Config(values)
    for name in ("quantization_config", "pruned_heads"):
        config.only(name, None, (None, {}))
    signature = folder.signature()
    own = bridge.settings(config, signature)
    vocabulary = config.whole("vocab_size", bridge.usual, 2, 65_536)
    assets = _own_words(folder, config, bridge, vocabulary) if OWN_TOKENS in values else _pieces(folder, config, bridge, vocabulary)
    settings = to_dict(make(card.settings, own | {"tokens": assets["tokens"]}))
    tokenizer: Tokenizer = tokenizer_of(assets)
    assets |= bridge.assets(config, signature)
    names = bridge.names(own, assets)
    needed = bridge.check_signature(signature, names, vocabulary)
    found = bridge.inward(bridge.check(folder.tensors(needed), names), own, tokenizer) if weights else {}
    meta = {"architecture": card.name, "settings": settings, "assets": assets, "data": f"{model_type} from {folder.path.name}"}
    return Checkpoint(folder.path, 0, meta, found, {})


def _pieces(folder: ModelFolder, config: Config, bridge: Bridge, size: int) -> dict[str, Any]:
    """The assets of a tokenizer of `transformers`."""
    start = config.values.get("bos_token_id")
    return {
        "tokens": bridge.tokens,
        "tokenizer": folder.tokenizer(bridge.tokens),
        "size": size,
        "start": start if type(start) is int and 0 <= start < size else -1,
    }


def _own_words(folder: ModelFolder, config: Config, bridge: Bridge, size: int) -> dict[str, Any]:
    """The assets of a word or character tokenizer that `dlplay export` wrote."""
    config.only(OWN_TOKENS, None, tuple(TOKENIZERS))
    kind = config.values[OWN_TOKENS]
    specials = SPECIAL_TOKENS if bridge.tokens == WordPieces.kind else ()
    words = own_vocabulary(folder.text("tokenizer.json", 4 * MAX_SOURCE), kind, specials)
    if len(words) + len(specials) != size:
        raise DataError(
            f"tokenizer.json has {len(words) + len(specials):,} tokens, and the model has {size:,}; they do not belong together"
        )
    return {"tokens": kind, "vocabulary": words}
