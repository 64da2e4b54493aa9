"""GPT-2 as `transformers` has it, and this room's: the same model under other names. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from dlplay.architectures.gpt.settings import GPTSettings
from dlplay.data.tokens import Tokenizer
from dlplay.engine.settings import Settings, SettingsError
from dlplay.parts.bridge import Arrays, Bridge, Config
from dlplay.parts.merging import merged

PARTS = {
    "norm_1": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.projection": "attn.c_proj",
    "norm_2": "ln_2",
    "feed_forward.expansion": "mlp.c_fc",
    "feed_forward.projection": "mlp.c_proj",
}
"""The parts of a block, and what `transformers` calls them. Its `c_…` are `Conv1D`, whose weights stand transposed."""

OUTER = {"tokens.weight": "wte.weight", "positions.weight": "wpe.weight", "norm.weight": "ln_f.weight", "norm.bias": "ln_f.bias"}


class GPT2(Bridge):
    """`GPT2LMHeadModel`."""

    model_type = "gpt2"
    network = "gpt"
    tokens = "bpe"
    usual = 50_257
    ignored: ClassVar[tuple[str, ...]] = (".attn.bias", ".attn.masked_bias")
    tied: ClassVar[Mapping[str, str]] = {"lm_head.weight": "wte.weight"}

    def config(self, settings: Settings, tokenizer: Tokenizer, assets: Mapping[str, Any]) -> dict[str, Any]:
        assert isinstance(settings, GPTSettings)
        if not settings.feed_forward:
            raise SettingsError("transformers' GPT-2 has feed-forward layers and this model has none; use --to torch or --to onnx")
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": len(tokenizer.vocabulary),
            "n_positions": settings.block_size,
            "n_ctx": settings.block_size,
            "n_embd": settings.width,
            "n_layer": settings.layers,
            "n_head": settings.heads,
            "n_inner": None,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "embd_pdrop": settings.dropout,
            "resid_pdrop": settings.dropout,
            "attn_pdrop": 0.0,
            "tie_word_embeddings": True,
            "bos_token_id": tokenizer.start,
            "eos_token_id": tokenizer.start if tokenizer.kind == "bpe" else None,
        }

    def outward(self, weights: Arrays, tokenizer: Tokenizer) -> Arrays:
        weights = merged(weights)
        names = _names(len({name.split(".")[1] for name in weights if name.startswith("gpt/blocks.")}))
        return {f"transformer.{theirs}": _turned(theirs, weights[f"gpt/{ours}"]) for ours, theirs in names.items()}

    def settings(self, config: Config, tensors: Collection[str]) -> dict[str, Any]:
        config.only("activation_function", "gelu_new", ("gelu_new", "gelu_pytorch_tanh"))
        config.only("layer_norm_epsilon", 1e-5, (1e-5,))
        config.only("scale_attn_weights", True, (True,))
        config.only("tie_word_embeddings", True, (True,))
        for name in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention", "is_encoder_decoder"):
            config.only(name, False, (False,))
        width = config.whole("n_embd", 768, 4, 4096)
        config.only("n_inner", None, (None, 4 * width))
        return {
            "tokens": self.tokens,
            "layers": config.whole("n_layer", 12, 1, 48),
            "heads": config.whole("n_head", 12, 1, 64),
            "width": width,
            "block_size": config.whole("n_positions", 1024, 2, 1024),
            "vocab_size": config.whole("vocab_size", self.usual, 2, 65_536),
            "dropout": config.share("resid_pdrop", 0.1),
            "lr": 5e-5,
            "weight_decay": 0.01,
            "batch": 4,
        }

    def names(self, settings: Mapping[str, Any], assets: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        width = int(settings["width"])
        shapes: dict[str, tuple[int, ...]] = {"wte.weight": (-1, width), "wpe.weight": (int(settings["block_size"]), width)}
        outputs = {"attn.c_attn": 3 * width, "mlp.c_fc": 4 * width}
        inputs = {"mlp.c_proj": 4 * width}
        for theirs in _names(int(settings["layers"])).values():
            part = ".".join(theirs.split(".")[2:-1])
            if theirs.endswith(".bias") or part.startswith("ln_"):
                shapes.setdefault(theirs, (outputs.get(part, width),))
            else:
                shapes.setdefault(theirs, (inputs.get(part, width), outputs.get(part, width)) if part else (width,))
        return shapes

    def plain(self, name: str) -> str:
        """`transformer.` stands before the names or not, and a head that is the embedding may stand there as well."""
        return name.removeprefix("transformer.")

    def inward(self, tensors: Arrays, settings: Mapping[str, Any], tokenizer: Tokenizer) -> Arrays:
        return {f"gpt/{ours}": _turned(theirs, tensors[theirs]) for ours, theirs in _names(int(settings["layers"])).items()}


def _names(layers: int) -> dict[str, str]:
    """Every weight's name here, and its name there."""
    blocks = {
        f"blocks.{layer}.{ours}.{kind}": f"h.{layer}.{theirs}.{kind}"
        for layer in range(layers)
        for ours, theirs in PARTS.items()
        for kind in ("weight", "bias")
    }
    return OUTER | blocks


def _turned(theirs: str, array: Any) -> Any:
    """A matrix of a `Conv1D` the other way round; anything else as it is."""
    return array.T if ".c_" in theirs and theirs.endswith(".weight") else array
