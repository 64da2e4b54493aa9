"""A folder that `transformers` loads: config.json, model.safetensors, and a tokenizer with the same ids. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlplay import architectures
from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.format import write_tensors
from dlplay.checkpoints.store import Checkpoint
from dlplay.data.tokens import TOKENIZERS, Tokenizer
from dlplay.engine.card import Card
from dlplay.engine.settings import SettingsError, to_dict
from dlplay.exports import hf_tokenizer
from dlplay.exports.source import Source
from dlplay.parts.bridge import OWN_TOKENS, Arrays, Bridge
from dlplay.parts.corpora import tokenizer_of


def write(source: Source, target: Path) -> str:
    """Write the newest checkpoint. Raises `SettingsError` for an architecture that `transformers` does not have."""
    checkpoint = source.checkpoint()
    card = source.card(checkpoint)
    bridge = _bridge(card)
    settings = source.settings(card, checkpoint)
    assets = checkpoint.meta.get("assets") or {}
    tokenizer: Tokenizer = tokenizer_of(assets)
    config = bridge.config(settings, tokenizer, assets)
    longest = int(config.get("n_positions") or config["max_position_embeddings"])
    written = hf_tokenizer.build(tokenizer, bridge.model_type, longest)
    tensors = _outward(bridge, checkpoint, bridge.names(to_dict(settings), assets), tokenizer, int(config["vocab_size"]))
    own = {OWN_TOKENS: tokenizer.kind} if tokenizer.kind in TOKENIZERS else {}
    target.mkdir()
    (target / "model.safetensors").write_bytes(write_tensors(tensors, metadata={"format": "pt"}))
    files: dict[str, Any] = {"config.json": config | own | {"dtype": "float32"}, "tokenizer_config.json": written.config}
    if bridge.model_type == "gpt2":
        files["generation_config.json"] = {
            "bos_token_id": config["bos_token_id"],
            "eos_token_id": config["eos_token_id"],
            **({"suppress_tokens": [tokenizer.unknown]} if tokenizer.unknown is not None else {}),
        }
    for name, values in files.items():
        (target / name).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (target / "tokenizer.json").write_text(written.tokenizer, encoding="utf-8")
    parameters = sum(array.size for array in tensors.values())
    loader = config["architectures"][0]
    size = f"{parameters:,} parameters, {len(tokenizer.vocabulary):,} {tokenizer.noun}"
    return f"{loader}, {size}; {loader}.from_pretrained({{target}}) loads it"


def _outward(bridge: Bridge, checkpoint: Checkpoint, names: Mapping[str, tuple[int, ...]], tokenizer: Tokenizer, vocabulary: int) -> Arrays:
    """The checkpoint's weights of `names`, as `transformers` calls them. Raises `CheckpointError` when they do not match its settings."""
    try:
        outward = bridge.outward(checkpoint.weights, tokenizer)
        found = {name: array for name, array in outward.items() if bridge.plain(name) in names}
        bridge.check_signature({name: (array.shape, array.dtype) for name, array in found.items()}, names, vocabulary)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path}: its weights do not match its settings: {error}") from error
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def _bridge(card: Card) -> Bridge:
    if not card.hf:
        known = [other.name for other in architectures.cards().values() if other.hf]
        raise SettingsError(f"transformers has no model like {card.name}; --to hf is for {' and '.join(known)}, --to torch for any")
    bridge: Bridge = card.load_bridge()
    return bridge
