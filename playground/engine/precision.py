"""How finely training rounds: float32, TF32 or bfloat16, as `--precision` says and the device can."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from dlplay.engine.settings import SettingsError

AMPERE = (8, 0)
"""Compute capability of the first NVIDIA GPUs with TF32 and bfloat16."""
MACOS = (14, 0)
"""The first macOS whose GPUs compute in bfloat16."""


def resolve(precision: str, device: torch.device) -> str:
    """`auto`, `float32`, `tf32` or `bf16` as float32, tf32 or bf16 on this device. Raises `SettingsError` when it cannot do that."""
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    if precision == "auto":
        return "tf32" if capability >= AMPERE else "float32"
    found = (
        f"{torch.cuda.get_device_name(device)} has {capability[0]}.{capability[1]}" if device.type == "cuda" else f"this is {device.type}"
    )
    needs = f"an NVIDIA GPU of compute capability {AMPERE[0]}.{AMPERE[1]} (Ampere) or newer, and {found}"
    if precision == "tf32" and capability < AMPERE:
        raise SettingsError(f"--precision tf32 needs {needs}; use --precision auto or float32", "precision")
    if precision == "bf16" and device.type == "cuda" and capability < AMPERE:
        raise SettingsError(f"--precision bf16 needs {needs}; use --precision auto or float32, or --device cpu", "precision")
    if precision == "bf16" and device.type == "mps" and not torch.backends.mps.is_macos_or_newer(*MACOS):
        raise SettingsError(
            f"--precision bf16 on an Apple GPU needs macOS {MACOS[0]} or newer; use --precision auto or float32, or --device cpu",
            "precision",
        )
    return precision


def prepare(precision: str, device: torch.device) -> None:
    """Let a CUDA device round its matrix products and convolutions to TF32, or not: PyTorch by itself does it for convolutions alone.
    Raises `SettingsError`."""
    tf32 = resolve(precision, device) == "tf32"
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32


@contextlib.contextmanager
def bfloat16(device: torch.device) -> Iterator[None]:
    """Within it PyTorch computes matrix products and convolutions in bfloat16, and what would suffer from it in float32 (autocast)."""
    with torch.autocast(device.type, torch.bfloat16):
        if device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
            yield
            return
        onednn = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)  # on a CPU without bfloat16 its LSTM refuses, and PyTorch's own kernels do not
        try:
            yield
        finally:
            torch._C._set_mkldnn_enabled(onednn)
