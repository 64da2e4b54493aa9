"""Norms of a model's parts: how far the last update went."""

from __future__ import annotations

from typing import Any

import pytest

from tests.architectures.convnet import ask, build, train


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "sgd", "schedule": "cosine"},
        {"optimizer": "adam"},
        {"optimizer": "adamw", "schedule": "one-cycle"},
    ],
    ids=["sgd", "momentum", "adam", "adamw"],
)
def test_in_brackets_stands_how_far_the_last_update_went(values: dict[str, Any]) -> None:
    task = build(lr=0.01, **values)
    assert ask(task, "norms").labels == ["layer 0", "layer 1", "classifier"]
    train(task, 4)
    kernels = [parameter for parameter in task.model.parameters() if parameter.ndim >= 2]
    before = [kernel.detach().clone() for kernel in kernels]
    train(task, 1)
    panel = ask(task, "norms")
    ratios = [((kernel.detach() - old).norm() / kernel.detach().norm()).item() for kernel, old in zip(kernels, before, strict=True)]
    assert [float(label.partition(" (")[2].rstrip(")")) for label in panel.labels] == pytest.approx(ratios, rel=0.06)
    assert "about 1e-3 is usual" in panel.caption
