"""The BERT's training as a researcher would write it in a script: no events, no checkpoints, no screen. Prints how long it took."""

from __future__ import annotations

import dataclasses
import sys

import torch
from torch import nn

from benchmarks.timing import Stopwatch
from dlplay.architectures.bert.model import BERT
from dlplay.architectures.bert.pretraining.objective import Pretraining
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.architectures.bert.task import learning_rate
from dlplay.data.text import read_corpus, read_text
from dlplay.parts.optimizers import adamw

STEPS = 400
"""Steps of one measurement: some ten seconds of a slow machine."""


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings = dataclasses.replace(BERTSettings(), steps=steps)
    corpus = read_corpus(
        read_text(settings.text),
        settings.tokens,
        vocab_size=settings.vocab_size,
        min_count=settings.min_count,
        minimum=10 * settings.block_size,
    )
    data = Pretraining(settings, torch.device("cpu"), corpus, torch.Generator().manual_seed(0))
    model = BERT(
        data.special.size,
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        block_size=settings.block_size,
        dropout=settings.dropout,
    )
    optimizer = adamw(model, lr=settings.lr, weight_decay=settings.weight_decay, betas=(0.9, 0.98))
    stopwatch = Stopwatch()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        loss, *_ = data.loss(model, data.draw(lambda batch: batch))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
    stopwatch.report(steps, loss.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
