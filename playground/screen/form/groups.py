"""The headings of the settings form. A setting stands under one by its name, so that the same word has the same place on every tab."""

from __future__ import annotations

from collections.abc import Iterable

from dlplay.engine.settings import COMMON

DATA = {
    *("data", "text", "task", "drawing", "image_size", "whiten", "vocab_size", "min_count", "tokens", "block_size", "length", "symbols"),
    *("digits", "sum_order", "column", "horizon", "predict", "facts", "gap", "env", "env_module", "time_limit", "envs", "vector", "scale"),
    *("augment", "next_sentence", "mask_share", "mask_random", "mask_kept", "short_share", "noise", "noise_level", "test_noise"),
}
MODEL = {
    *("channels", "kernel", "pooling", "norm", "activation", "cell", "layers", "width", "embedding", "head", "heads", "bidirectional"),
    *("forget_bias", "latent", "encoder", "hidden", "code", "output", "variational", "generator", "discriminator", "patch", "positions"),
    *("memory", "eval_memory", "dueling", "dropout", "feed_forward", "init_std"),
}
ORDER = ("data", "model", "training", "run")


def group(name: str) -> str:
    """Data, model, run, or for all others training."""
    return "run" if name in COMMON else "data" if name in DATA else "model" if name in MODEL else "training"


def grouped(names: Iterable[str]) -> list[str]:
    """The names in the order of their groups, each group in the order given."""
    return sorted(names, key=lambda name: ORDER.index(group(name)))
