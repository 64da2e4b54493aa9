"""A recurrent net's training as a researcher would write it in a script: no events, no checkpoints, no screen. Prints how long it took."""

from __future__ import annotations

import dataclasses
import sys

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.timing import Stopwatch
from dlplay.architectures.recurrent.model import Recurrent
from dlplay.architectures.recurrent.settings import RecurrentSettings
from dlplay.architectures.recurrent.task import BETAS, FLOOR
from dlplay.data.text import read_corpus, read_text
from dlplay.parts.optimizers import adamw, warmup_cosine

STEPS = 150
"""Steps of one measurement: some ten seconds of a slow machine."""


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings = dataclasses.replace(RecurrentSettings(), steps=steps)
    block, batch = settings.block_size, settings.batch
    corpus = read_corpus(
        read_text(settings.text), settings.tokens, vocab_size=settings.vocab_size, min_count=settings.min_count, minimum=10 * (block + 1)
    )
    data = torch.from_numpy(corpus.train)
    vocabulary = len(corpus.tokenizer.vocabulary)
    model = Recurrent(
        vocabulary,
        vocabulary=vocabulary,
        cell=settings.cell,
        embedding=settings.embedding,
        width=settings.width,
        layers=settings.layers,
        dropout=settings.dropout,
        forget_bias=settings.forget_bias,
    )
    optimizer = adamw(model, lr=settings.lr, weight_decay=settings.weight_decay, betas=BETAS)
    generator = torch.Generator().manual_seed(0)
    shift, position, state = 0, 0, None
    length = (len(data) - 1) // batch
    stopwatch = Stopwatch()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * warmup_cosine(step, settings.warmup, steps, FLOOR)
        if position + block > length:
            shift, position, state = int(torch.randint(block, (), generator=generator)), 0, None
            length = (len(data) - 1 - shift) // batch
        inputs = data[shift : shift + batch * length].view(batch, length)[:, position : position + block]
        targets = data[shift + 1 : shift + batch * length + 1].view(batch, length)[:, position : position + block]
        position += block
        hidden, after = model(inputs, state)
        state = tuple(part.detach() for part in after)
        loss = F.cross_entropy(model.read_out(hidden).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
    stopwatch.report(steps, loss.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
