"""Exports: a model for transformers, ONNX or as a PyTorch script; curves as CSV or for TensorBoard. Imports no torch."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path

from dlplay.exports.source import Source


@dataclasses.dataclass(frozen=True)
class Format:
    """One export format."""

    name: str
    """As typed: `--to NAME`."""
    folder: bool
    """It writes a folder, not a file."""
    writer: str
    """`module:function(source, target) -> str`: writes `target`, which does not exist yet, and returns a line about it for the person."""

    def write(self, source: Source, target: Path) -> str:
        """Import the writer and call it."""
        module, _, function = self.writer.partition(":")
        writer: Callable[[Source, Path], str] = getattr(importlib.import_module(module), function)
        return writer(source, target)


FORMATS = {
    item.name: item
    for item in (
        Format("hf", True, "dlplay.exports.hf:write"),
        Format("onnx", False, "dlplay.exports.graph:write"),
        Format("torch", False, "dlplay.exports.standalone:write"),
        Format("csv", False, "dlplay.exports.curves:write_csv"),
        Format("tensorboard", True, "dlplay.exports.curves:write_tensorboard"),
    )
}
