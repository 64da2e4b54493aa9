"""The trained models that are shipped: as good as the manifest says, better than the baselines, and of use outside."""

from __future__ import annotations

import math
import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dlplay import architectures
from dlplay.checkpoints import shipped
from dlplay.engine.settings import make
from dlplay.engine.task import looking
from dlplay.exports import graph as onnx_graph
from dlplay.exports.source import Source
from dlplay.runs import origin, process

CARDS = architectures.cards()
SHIPPED = shipped.shipped()
each = pytest.mark.parametrize("name", SHIPPED)


def test_every_shipped_model_has_a_room() -> None:
    assert {item.architecture for item in SHIPPED.values()} <= CARDS.keys()


@each
def test_a_shipped_model_is_as_good_as_its_manifest_says(name: str) -> None:
    item = SHIPPED[name]
    card = CARDS[item.architecture]
    assert item.bytes < shipped.SIZE_LIMIT
    assert item.metric.startswith(card.metrics)
    assert item.command.startswith(f"dlplay {card.name} --headless")
    checkpoint = item.open()
    settings = make(card.settings, origin.settings_of(card, checkpoint) | {"device": "cpu"})
    task = process.load(card, checkpoint, settings)
    with looking(task):
        metrics = task.evaluate()
    assert all(math.isfinite(value) for value in metrics.values())
    minor = platform.python_version().rpartition(".")[0]
    if checkpoint.meta["versions"]["python"].startswith(minor + "."):  # a text that comes with Python differs between its versions
        assert metrics[item.metric] == pytest.approx(item.value, rel=1e-3)
    sign = 1 if card.of(vars(settings)).better == "higher" else -1
    rivals = {name: value for name, value in item.baselines.get(item.metric, {}).items() if name not in card.bounds}
    assert all(sign * item.value > sign * value for value in rivals.values())


@pytest.mark.parametrize("name", [name if name != "convnet-digits" else pytest.param(name, marks=pytest.mark.slow) for name in SHIPPED])
def test_what_a_shipped_model_is_compared_with_is_what_is_measured_today(name: str) -> None:
    """Its baselines; those of the ConvNet take ten seconds."""
    item = SHIPPED[name]
    checkpoint = item.open()
    settings = make(CARDS[item.architecture].settings, origin.settings_of(CARDS[item.architecture], checkpoint) | {"device": "cpu"})
    task = process.load(CARDS[item.architecture], checkpoint, settings)
    with looking(task):
        baselines = task.baselines()
    assert {metric: set(methods) for metric, methods in baselines.items()} == {
        metric: set(known) for metric, known in item.baselines.items()
    }
    if checkpoint.meta["versions"]["python"].startswith(platform.python_version().rpartition(".")[0] + "."):
        for metric, methods in baselines.items():
            assert methods == pytest.approx(dict(item.baselines[metric]), rel=0.02), metric
    assert checkpoint.meta["baselines"] == item.baselines


@pytest.mark.slow
@each
def test_a_shipped_model_becomes_a_graph_with_equal_outputs(name: str, tmp_path: Path) -> None:
    import onnxruntime

    source = Source(name, tmp_path)
    path = tmp_path / "model.onnx"
    words = onnx_graph.write(source, path)
    _, task = source.task()
    main, graph = next(iter(task.graphs().items()))
    assert words.startswith(main)
    inputs = onnx_graph.other_lengths(graph)
    assert any(inputs[key].shape != value.shape for key, value in graph.inputs.items()), "another batch is tried as well"
    with torch.no_grad():
        expected = graph.module(*inputs.values())
    found = onnxruntime.InferenceSession(str(path)).run(None, {key: value.numpy() for key, value in inputs.items()})
    for ours, theirs in zip([expected] if isinstance(expected, Tensor) else expected, found, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-3
    assert [item.name for item in onnxruntime.InferenceSession(str(path)).get_inputs()] == list(graph.inputs)
