"""The Transformer-XL's training on recall as a researcher would write it in a script. Prints how long it took."""

from __future__ import annotations

import dataclasses
import sys

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.timing import Stopwatch
from dlplay.architectures.transformer_xl.model import TransformerXL
from dlplay.architectures.transformer_xl.problems.recall import VOCABULARY, recall_batch
from dlplay.architectures.transformer_xl.settings import TransformerXLSettings
from dlplay.parts.optimizers import adamw, warmup_cosine

STEPS = 200
"""Steps of one measurement: some ten seconds of a slow machine."""


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings = dataclasses.replace(TransformerXLSettings(), steps=steps)
    model = TransformerXL(len(VOCABULARY), layers=settings.layers, heads=settings.heads, width=settings.width, dropout=settings.dropout)
    optimizer = adamw(model, lr=settings.lr, weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(0)
    questions = 2 * settings.facts
    stopwatch = Stopwatch()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * warmup_cosine(step, settings.warmup, settings.steps)
        sequences = recall_batch(settings.batch, settings.facts, settings.gap, generator)
        memory = model.empty_memory(len(sequences))
        for segment in torch.split(sequences, settings.block_size, dim=1):  # 64 tokens are four whole ones
            logits, memory = model(segment, memory, settings.memory)
        loss = F.cross_entropy(logits[:, -questions::2].flatten(0, 1), sequences[:, 1 - questions :: 2].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
    stopwatch.report(steps, loss.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
