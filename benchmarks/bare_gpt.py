"""The GPT's training as a researcher would write it in a script: no events, no checkpoints, no screen. Prints how long it took."""

from __future__ import annotations

import dataclasses
import sys

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.timing import Stopwatch
from dlplay.architectures.gpt.model import GPT
from dlplay.architectures.gpt.settings import GPTSettings
from dlplay.data.text import read_corpus, read_text
from dlplay.parts.optimizers import adamw, warmup_cosine

STEPS = 200
"""Steps of one measurement: some ten seconds of a slow machine."""


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings = dataclasses.replace(GPTSettings(), steps=steps)
    block = settings.block_size
    corpus = read_corpus(
        read_text(settings.text), settings.tokens, vocab_size=settings.vocab_size, min_count=settings.min_count, minimum=10 * (block + 1)
    )
    data = torch.from_numpy(corpus.train)
    model = GPT(
        len(corpus.tokenizer.vocabulary),
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        block_size=block,
        dropout=settings.dropout,
    )
    optimizer = adamw(model, lr=settings.lr, weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(0)
    offsets = torch.arange(block + 1)
    stopwatch = Stopwatch()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * warmup_cosine(step, settings.warmup, settings.steps)
        starts = torch.randint(len(data) - block, (settings.batch, 1), generator=generator)
        windows = data[starts + offsets]
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
    stopwatch.report(steps, loss.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
