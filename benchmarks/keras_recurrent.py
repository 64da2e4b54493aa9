"""The Keras tutorial's word model, in Keras on torch and in the playground's own net: the same sizes, batches, optimiser.

`python -m benchmarks.keras_recurrent keras|own STEPS THREADS` prints how long the steps took, on random words. Brownlee's network:
embedding 50, two LSTMs of 100, dense 100 with relu, softmax; the word after a window of 50 words, 128 windows a step, Adam.
"""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import Stopwatch
from dlplay.architectures.recurrent.model import Recurrent

VOCABULARY, WINDOW, BATCH = 1766, 50, 128
WARM_UP = 3


def windows(steps: int) -> tuple[Tensor, Tensor]:
    """Random words (steps, batch, window) and the word after each window (steps, batch)."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(VOCABULARY, (steps, BATCH, WINDOW + 1), generator=generator)
    return words[..., :-1].contiguous(), words[..., -1].contiguous()


def keras_loop(steps: int) -> None:
    """`train_on_batch` of the compiled model."""
    import keras  # type: ignore[import-untyped]

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Embedding(VOCABULARY, 50),
            keras.layers.LSTM(100, return_sequences=True),
            keras.layers.LSTM(100),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(VOCABULARY, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
    x, y = (part.numpy() for part in windows(WARM_UP + steps))
    for step in range(WARM_UP):
        model.train_on_batch(x[step], y[step])
    stopwatch = Stopwatch()
    loss = 0.0
    for step in range(WARM_UP, WARM_UP + steps):
        loss = float(model.train_on_batch(x[step], y[step]))
    stopwatch.report(steps, loss)


def own_loop(steps: int) -> None:
    """The playground's net and its optimiser."""
    torch.manual_seed(0)
    model = Recurrent(VOCABULARY, vocabulary=VOCABULARY, embedding=50, width=100, layers=2, head=100)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    x, y = windows(WARM_UP + steps)
    stopwatch = Stopwatch()
    loss = torch.zeros(())
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            stopwatch = Stopwatch()
        hidden, _ = model(x[step])
        loss = F.cross_entropy(model.read_out(hidden[:, -1]), y[step])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    stopwatch.report(steps, loss.item())


def main(which: str, steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    keras_loop(steps) if which == "keras" else own_loop(steps)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
