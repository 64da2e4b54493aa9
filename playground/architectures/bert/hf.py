"""BERT as `transformers` has it, and this room's: the same model under other names, with other ids for the special tokens. A folder may
hold the encoder alone, as `BertModel` and sentence encoders do, or with a classifier. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np

from dlplay.architectures.bert.settings import BERTSettings
from dlplay.data.bounded import clean
from dlplay.data.labelled import MAX_CLASSES, MAX_NAME
from dlplay.data.special_tokens import SPECIAL_TOKENS
from dlplay.data.subwords import WordPieces
from dlplay.data.tokens import Tokenizer
from dlplay.engine.errors import DataError
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

TOP = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in ON_TOP.items() for kind in ("weight", "bias")}

PAIRS = {ours: theirs for ours, theirs in TOP.items() if not ours.startswith("classifier")}
"""The next-sentence head, with the pooler that it reads from."""

ROWS = {"embeddings.tokens.weight": "bert.embeddings.word_embeddings.weight", "head.bias": "cls.predictions.bias"}
"""Weights with a row for each token."""

HEAD = "cls.predictions."
"""What the masked-word head's tensors begin with."""

CLASSIFIES = "BertForSequenceClassification"


class MaskedLM(Bridge):
    """`BertForMaskedLM`, `BertForPreTraining`, `BertForSequenceClassification` and `BertModel`; of other BERTs the encoder."""

    model_type = "bert"
    network = "bert"
    tokens = "wordpiece"
    usual = 30_522
    ignored: ClassVar[tuple[str, ...]] = (
        "embeddings.position_ids",
        *PAIRS.values(),
        *(f"{part}.{kind}" for part in ("classifier", "qa_outputs", "predictions.decoder") for kind in ("weight", "bias")),
        *(f"{OUTER[part]}.{kind}" for part in ("head.dense", "head.norm") for kind in ("weight", "bias")),
        ROWS["head.bias"],
    )
    tied: ClassVar[Mapping[str, str]] = {
        "cls.predictions.decoder.weight": ROWS["embeddings.tokens.weight"],
        "cls.predictions.decoder.bias": ROWS["head.bias"],
    }

    def config(self, settings: Settings, tokenizer: Tokenizer, assets: Mapping[str, Any]) -> dict[str, Any]:
        """A fine-tuned model is written as `BertForSequenceClassification`, one without the masked-word head as `BertModel`."""
        assert isinstance(settings, BERTSettings)
        words = len(tokenizer.vocabulary)
        pad = tokenizer.outer[0] if isinstance(tokenizer, WordPieces) else words
        classes = assets.get("classes") or []
        labels = {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}
        return {
            "architectures": [CLASSIFIES if classes else "BertModel" if "heads" in assets else "BertForMaskedLM"],
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
        there = {theirs: own[ours] for ours, theirs in (_names(layers) | TOP).items() if ours in own}
        for layer in range(layers):
            for kind in ("weight", "bias"):
                for part, array in zip(_qkv(layer, kind), np.split(own[f"blocks.{layer}.attention.qkv.{kind}"], 3), strict=True):
                    there[part] = array
        order = np.argsort(_order(tokenizer))
        return there | {theirs: own[ours][order] for ours, theirs in ROWS.items() if ours in own}

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
            "next_sentence": set(PAIRS.values()) <= {self.plain(name) for name in tensors} and not self._classes(config, tensors),
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

    def assets(self, config: Config, tensors: Collection[str]) -> dict[str, Any]:
        """`heads` says that the masked-word head is missing, and whether there is a pooler; `classes` are the classifier's."""
        names = {self.plain(name) for name in tensors}
        classes = self._classes(config, tensors)
        if not classes and any(name.startswith(HEAD) for name in names):
            return {}
        heads = {"heads": ["pooler"] if PAIRS["pooler.weight"] in names else []}
        return heads | ({"classes": classes} if classes else {})

    def _classes(self, config: Config, tensors: Collection[str]) -> list[str]:
        """The names of the classes of a classifier of whole texts; none where the model has no such head. Raises `DataError`."""
        names = {self.plain(name) for name in tensors}
        known = config.values.get("architectures")
        is_classifier = isinstance(known, list) and CLASSIFIES in known and {"classifier.weight", PAIRS["pooler.weight"]} <= names
        if not is_classifier or config.values.get("problem_type") not in (None, "single_label_classification"):
            return []
        labels = config.values.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
        if not isinstance(labels, dict) or set(labels) != {str(number) for number in range(len(labels))}:
            raise DataError("config.json gives id2label that does not number its classes from 0; save the model again with save_pretrained")
        if len(labels) > MAX_CLASSES:
            raise DataError(f"config.json gives {len(labels):,} classes; the limit is {MAX_CLASSES}, so choose another model")
        classes = [clean(str(labels[str(number)]), MAX_NAME) for number in range(len(labels))]
        return classes if len(classes) > 1 else []  # a single output is a regression's

    def names(self, settings: Mapping[str, Any], assets: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        width, layers = int(settings["width"]), int(settings["layers"])
        classes = assets.get("classes") or []
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
        if classes or "heads" in assets:
            shapes = {name: shape for name, shape in shapes.items() if not name.startswith(HEAD)}
        next_sentence = settings["next_sentence"] and not classes
        on_top = {"classifier": len(classes), "next_sentence": 2 if next_sentence else 0}
        on_top["pooler"] = width if any(on_top.values()) or "pooler" in assets.get("heads", ()) else 0
        for part, outputs in on_top.items():
            if outputs:
                shapes |= {f"{ON_TOP[part]}.weight": (outputs, width), f"{ON_TOP[part]}.bias": (outputs,)}
        return shapes

    def plain(self, name: str) -> str:
        """An encoder that was saved alone has no `bert.` before its names. In the first BERTs a norm's weight is called gamma and its bias
        beta."""
        if name.startswith(("embeddings.", "encoder.", "pooler.")):
            name = f"bert.{name}"
        return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")

    def inward(self, tensors: Arrays, settings: Mapping[str, Any], tokenizer: Tokenizer) -> Arrays:
        """The special tokens' rows follow those of the words here."""
        layers = int(settings["layers"])
        here = {ours: tensors[theirs] for ours, theirs in (_names(layers) | TOP).items() if theirs in tensors}
        for layer in range(layers):
            for kind in ("weight", "bias"):
                here[f"blocks.{layer}.attention.qkv.{kind}"] = np.concatenate([tensors[part] for part in _qkv(layer, kind)])
        order = _order(tokenizer)
        here |= {ours: tensors[theirs][order] for ours, theirs in ROWS.items() if theirs in tensors}
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
