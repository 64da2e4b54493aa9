"""BERT as `transformers` has it, and this room's: the same model under other names, with other ids for the special tokens. Imports no
torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np

from dlplay.architectures.bert.settings import BERTSettings
from dlplay.data.special_tokens import SPECIAL_TOKENS
from dlplay.data.subwords import WordPieces
from dlplay.data.tokens import Tokenizer
from dlplay.engine.settings import Settings
from dlplay.parts.bridge import Arrays, Bridge, Config

OUTER = {
    "embeddings.positions.weight": "bert.embeddings.position_embeddings.weight",
    "embeddings.segments.weight": "bert.embeddings.token_type_embeddings.weight",
    "embeddings.norm": "bert.embeddings.LayerNorm",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
}

PARTS = {
    "attention.projection": "attention.output.dense",
    "norm_1": "attention.output.LayerNorm",
    "feed_forward.expansion": "intermediate.dense",
    "feed_forward.projection": "output.dense",
    "norm_2": "output.LayerNorm",
}
"""The parts of a block, and what `transformers` calls them; queries, keys and values are separate there."""

ON_TOP = {"pooler": "bert.pooler.dense", "next_sentence": "cls.seq_relationship", "classifier": "classifier"}
"""Heads that not every model has."""

PAIRS = {f"{ours}.{kind}": f"{ON_TOP[ours]}.{kind}" for ours in ("pooler", "next_sentence") for kind in ("weight", "bias")}
"""The next-sentence head, with the pooler that it reads from."""

ROWS = {"embeddings.tokens.weight": "bert.embeddings.word_embeddings.weight", "head.bias": "cls.predictions.bias"}
"""Weights with a row for each token."""


class MaskedLM(Bridge):
    """`BertForMaskedLM`."""

    model_type = "bert"
    network = "bert"
    tokens = "wordpiece"
    usual = 30_522
    ignored: ClassVar[tuple[str, ...]] = ("embeddings.position_ids", *PAIRS.values())
    tied: ClassVar[Mapping[str, str]] = {
        "cls.predictions.decoder.weight": ROWS["embeddings.tokens.weight"],
        "cls.predictions.decoder.bias": ROWS["head.bias"],
    }

    def config(self, settings: Settings, tokenizer: Tokenizer, assets: Mapping[str, Any]) -> dict[str, Any]:
        """A fine-tuned model is written as `BertForSequenceClassification`."""
        assert isinstance(settings, BERTSettings)
        words = len(tokenizer.vocabulary)
        pad = tokenizer.outer[0] if isinstance(tokenizer, WordPieces) else words
        classes = assets.get("classes") or []
        labels = {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}
        return {
            "architectures": ["BertForSequenceClassification" if classes else "BertForMaskedLM"],
            "model_type": "bert",
            "vocab_size": words + len(SPECIAL_TOKENS),
            "max_position_embeddings": settings.block_size,
            "hidden_size": settings.width,
            "num_hidden_layers": settings.layers,
            "num_attention_heads": settings.heads,
            "intermediate_size": 4 * settings.width,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "hidden_dropout_prob": settings.dropout,
            "attention_probs_dropout_prob": 0.0,
            "tie_word_embeddings": True,
            "pad_token_id": pad,
            **(labels if classes else {}),
        }

    def outward(self, weights: Arrays, tokenizer: Tokenizer) -> Arrays:
        own = {name.removeprefix("bert/"): array for name, array in weights.items()}
        layers = len({name.split(".")[1] for name in own if name.startswith("blocks.")})
        top = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in ON_TOP.items() for kind in ("weight", "bias")}
        there = {theirs: own[ours] for ours, theirs in (_names(layers) | top).items() if ours in own}
        for layer in range(layers):
            for kind in ("weight", "bias"):
                for part, array in zip(_qkv(layer, kind), np.split(own[f"blocks.{layer}.attention.qkv.{kind}"], 3), strict=True):
                    there[part] = array
        order = np.argsort(_order(tokenizer))
        return there | {theirs: own[ours][order] for ours, theirs in ROWS.items()}

    def settings(self, config: Config, tensors: Collection[str]) -> dict[str, Any]:
        """The optimiser's settings are those that BERT is usually fine-tuned with."""
        config.only("hidden_act", "gelu", ("gelu",))
        config.only("layer_norm_eps", 1e-12, (1e-12,))
        config.only("type_vocab_size", 2, (2,))
        config.only("tie_word_embeddings", True, (True,))
        config.only("position_embedding_type", "absolute", ("absolute", None))
        for name in ("is_decoder", "add_cross_attention", "is_encoder_decoder"):
            config.only(name, False, (False,))
        width = config.whole("hidden_size", 768, 4, 4096)
        config.only("intermediate_size", 3072, (4 * width,))
        return {
            "tokens": self.tokens,
            "next_sentence": set(PAIRS.values()) <= {self.plain(name) for name in tensors},
            "layers": config.whole("num_hidden_layers", 12, 1, 48),
            "heads": config.whole("num_attention_heads", 12, 1, 64),
            "width": width,
            "block_size": config.whole("max_position_embeddings", 512, 8, 1024),
            "vocab_size": config.whole("vocab_size", self.usual, 6, 65_536) - len(SPECIAL_TOKENS),
            "dropout": config.share("hidden_dropout_prob", 0.1),
            "lr": 5e-5,
            "weight_decay": 0.01,
            "batch": 8,
        }

    def names(self, settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        width, layers = int(settings["width"]), int(settings["layers"])
        shapes: dict[str, tuple[int, ...]] = {ROWS["embeddings.tokens.weight"]: (-1, width), ROWS["head.bias"]: (-1,)}
        shapes |= {part: (width, width) for layer in range(layers) for part in _qkv(layer, "weight")}
        shapes |= {part: (width,) for layer in range(layers) for part in _qkv(layer, "bias")}
        for ours, theirs in _names(layers).items():
            inside = 4 * width if "expansion" in ours else width
            if ours.endswith("bias") or "norm" in ours:
                shapes[theirs] = (inside,)
            else:
                shapes[theirs] = (inside, 4 * width if "feed_forward.projection" in ours else width)
        shapes[OUTER["embeddings.positions.weight"]] = (int(settings["block_size"]), width)
        shapes[OUTER["embeddings.segments.weight"]] = (2, width)
        if settings["next_sentence"]:
            for part, outputs in (("pooler", width), ("next_sentence", 2)):
                shapes |= {f"{ON_TOP[part]}.weight": (outputs, width), f"{ON_TOP[part]}.bias": (outputs,)}
        return shapes

    def plain(self, name: str) -> str:
        """In the first BERTs a norm's weight is called gamma and its bias beta."""
        return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")

    def inward(self, tensors: Arrays, settings: Mapping[str, Any], tokenizer: Tokenizer) -> Arrays:
        """The special tokens' rows follow those of the words here."""
        layers = int(settings["layers"])
        here = {ours: tensors[theirs] for ours, theirs in _names(layers).items()}
        for layer in range(layers):
            for kind in ("weight", "bias"):
                here[f"blocks.{layer}.attention.qkv.{kind}"] = np.concatenate([tensors[part] for part in _qkv(layer, kind)])
        here |= {ours: tensors[theirs] for ours, theirs in PAIRS.items() if settings["next_sentence"]}
        order = _order(tokenizer)
        here |= {ours: tensors[theirs][order] for ours, theirs in ROWS.items()}
        return {f"bert/{name}": array for name, array in here.items()}


def _names(layers: int) -> dict[str, str]:
    """Every weight's name here, and its name there; without the queries, keys and values and the weights with a row for each token."""
    blocks = {f"blocks.{layer}.{ours}": f"bert.encoder.layer.{layer}.{theirs}" for layer in range(layers) for ours, theirs in PARTS.items()}
    found: dict[str, str] = {}
    for ours, theirs in (OUTER | blocks).items():
        found |= {ours: theirs} if ours.endswith(".weight") else {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    return found


def _qkv(layer: int, kind: str) -> list[str]:
    return [f"bert.encoder.layer.{layer}.attention.self.{part}.{kind}" for part in ("query", "key", "value")]


def _order(tokenizer: Tokenizer) -> list[int]:
    """The id in `transformers` of each token here: the words, then the special tokens."""
    if isinstance(tokenizer, WordPieces):
        return [*tokenizer.foreign, *tokenizer.outer]
    return list(range(len(tokenizer.vocabulary) + len(SPECIAL_TOKENS)))
