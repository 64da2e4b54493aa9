"""Panels for the snapshots: what a room's facts put together."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np

from dlplay.engine.panels import Array, Bars, HeatMap, Scatter

WORDS = ["the", "value", "of"]


def digit(seed: int) -> np.ndarray:
    """Something like a digit (8, 8): a stroke whose form depends on the seed."""
    y, x = np.mgrid[:8, :8]
    return np.clip(16 - 9 * np.abs(np.hypot(x - 3.5, (y - 3.5) * (1 + seed % 3 / 3)) - 2.5 + seed % 4 / 4), 0, 16).astype(np.uint8)


def cifar_archive(path: Path, side: int = 32, leave_out: str = "", images: int = 2) -> np.ndarray:
    """An archive of CIFAR-10's form with so many images a file, of noise, the brighter the higher their class; returns all its records."""
    rng = np.random.default_rng(0)
    records = []
    with tarfile.open(path, "w:gz") as archive:
        for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
            record = rng.integers(0, 100, (images, 1 + 3 * side * side), dtype=np.uint8)
            record[:, 0] %= 10
            record[:, 1:] += 15 * record[:, :1]
            records.append(record)
            if name != leave_out:
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = record.nbytes
                archive.addfile(member, io.BytesIO(record.tobytes()))
        link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return np.concatenate(records)


DIGITS = Array.of(np.stack([digit(i) for i in range(10)]))
PROBABILITIES = Bars(
    labels=[str(i) for i in range(10)],
    values=[0.01, 0.02, 0.01, 0.03, 0.01, 0.02, 0.0, 0.86, 0.03, 0.01],
    high=1.0, percent=True, chosen=7, figure="7 86.0 %",
)  # fmt: skip
CANDIDATES = Bars(
    labels=["the", "a", "an", "object", "x", "<unk>", "this", "type", "its", "each"],
    values=[0.38, 0.14, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02, 0.01],
    percent=True, appends=[" the", " a", " an", " object", " x", "", " this", " type", " its", " each"],
    figure="38.0 %", caption="entropy 4.21 bits, ≈ 18.5 equally likely words · top 10 cover 83.0 %",
)  # fmt: skip
ATTENTION = HeatMap(
    values=Array.of([[1.0, 0.0, 0.0], [0.7, 0.3, 0.0], [0.4, 0.4, 0.2]]), rows=WORDS, columns=WORDS,
    row_title="query", column_title="key", low=0.0, high=1.0, figure="layer 0 (0–2), head 0 (0–3)",
)  # fmt: skip
AROUND = np.linspace(0, 2 * np.pi, 8, endpoint=False)
RING = np.stack([1.5 * np.cos(AROUND), 1.5 * np.sin(AROUND)], axis=1).astype(np.float32)
POINTS = Scatter(
    points=Array.of(np.concatenate([RING, 0.8 * RING])), groups=[0] * 8 + [1] * 8, names=["real", "generated"], x_title="x", y_title="y",
    background=Array.of(np.hypot(*np.mgrid[-1:1:12j, -1:1:24j]).astype(np.float32)), bounds=(-2.0, 2.0, -2.0, 2.0),
    figure="8 of 8 modes",
)  # fmt: skip
VALUES = Bars(labels=["push left", "push right"], values=[41.28, 43.74], chosen=1, caption="next: push right (exploit)")
CART = np.zeros((20, 30, 3), np.uint8)
CART[14:17, 12:18], CART[4:14, 14:16] = 255, (202, 152, 101)
SOURCE, SAID = list("hello"), [*"olleh", "<eos>"]
ALTERNATIVES = Bars(labels=["l", "h", "<eos>"], values=[0.94, 0.04, 0.01], percent=True, chosen=0, sets=["ol", "oh", "o"])
BACKWARDS = np.eye(6, 5, dtype=np.float32)[:, ::-1] * 0.9 + 0.02
FILLS = Bars(labels=["value", "type", "name"], values=[0.61, 0.2, 0.05], percent=True, sets=["the value of", "the type of", "the name of"])
