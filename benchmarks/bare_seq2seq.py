"""The seq2seq Transformer's training as a researcher would write it in a script: no events, no checkpoints, no screen. Prints how long it
took."""

from __future__ import annotations

import dataclasses
import sys

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.timing import Stopwatch
from dlplay.architectures.seq2seq.model import PAD
from dlplay.architectures.seq2seq.problems.batches import next_batch
from dlplay.architectures.seq2seq.problems.problem import open_problem
from dlplay.architectures.seq2seq.settings import Seq2SeqSettings
from dlplay.architectures.seq2seq.task import BETAS, EPSILON, learning_rate, make_model
from dlplay.parts.optimizers import adamw

STEPS = 300
"""Steps of one measurement: some ten seconds of a slow machine."""


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings = dataclasses.replace(Seq2SeqSettings(), steps=steps)
    problem = open_problem(settings)
    model = make_model(settings, problem)
    optimizer = adamw(model, lr=settings.lr, weight_decay=settings.weight_decay, betas=BETAS, eps=EPSILON)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]  # in this order the norms are equal
    generator = torch.Generator().manual_seed(0)
    device = torch.device("cpu")
    stopwatch = Stopwatch()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        source, output, target = next_batch(problem, settings.batch, generator, device)
        loss = F.cross_entropy(model(source, output).flatten(0, 1), target.flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
    stopwatch.report(steps, loss.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
