"""Training against what people use otherwise: DQN against stable-baselines3 and a plain loop, a word model against Keras on torch, GPT and
BERT against the Trainer of transformers."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable

from benchmarks.bare_dqn import SHARED
from benchmarks.effort import Effort
from benchmarks.pace import bare, program, script
from benchmarks.rounds import alternate, ratio
from benchmarks.table import Line, spread
from benchmarks.throughput import paces
from benchmarks.timing import Pace

DQN_STEPS, WORD_STEPS = 10_000, 40
TRAINER_STEPS = {"gpt": 150, "bert": 300}
PROMISED, PROMISED_TRAINER = 1.5, 1.3


def measure(effort: Effort) -> list[Line]:
    """Steps per second, and ours over the others' of the same rounds."""
    threads = effort.threads
    steps, words = effort.steps(DQN_STEPS), str(effort.steps(WORD_STEPS))
    dqn: dict[str, Callable[[], Pace]] = {
        "DQN headless": functools.partial(program, "dqn", steps, threads, settings=SHARED),
        "DQN by a plain loop": functools.partial(bare, "dqn", steps, threads),
        "DQN by stable-baselines3": functools.partial(script, "sb3_dqn", str(steps), str(threads), threads=threads),
    }
    model: dict[str, Callable[[], Pace]] = {
        "word model, ours": functools.partial(script, "keras_recurrent", "own", words, str(threads), threads=threads),
        "word model by Keras on torch": functools.partial(script, "keras_recurrent", "keras", words, str(threads), threads=threads),
    }
    against = [(dqn, "stable", PROMISED), (model, "", None)]
    for architecture, usual in TRAINER_STEPS.items():
        steps = effort.steps(usual)
        against.append(
            (
                {
                    f"{architecture} headless": functools.partial(program, architecture, steps, threads),
                    f"{architecture} by the Trainer of transformers": functools.partial(
                        script, "hf_trainer", architecture, str(steps), str(threads), threads=threads
                    ),
                },
                "Trainer",
                PROMISED_TRAINER,
            )
        )
    lines = []
    for candidates, promising, bound in against:
        found = alternate(candidates, effort.rounds)
        for name, measured in found.items():
            lines += paces(name, measured)
        ours, *others = found
        for other in others:
            promised = bound if promising and promising in other else None
            speeds = [a.steps_per_second / b.steps_per_second for a, b in zip(found[ours], found[other], strict=True)]
            costs = [b.cpu_ms / a.cpu_ms for a, b in zip(found[ours], found[other], strict=True)]
            ones = [1.0] * len(speeds)
            lines.append(Line(f"{ours} over {other}, by the wall", ratio(speeds, ones), bound=promised, spread=spread(speeds)))
            lines.append(Line(f"{ours} over {other}, by processor time", statistics.median(costs), bound=promised, spread=spread(costs)))
    return lines
