"""A model's forward pass as ONNX, whose outputs in onnxruntime are compared with PyTorch's before it is kept."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlplay.engine.graph import Graph
from dlplay.engine.settings import SettingsError
from dlplay.exports.source import Source

Array = NDArray[Any]

TOLERANCE = 1e-4
"""Largest difference allowed between the outputs, relative to the largest output where that exceeds 1."""


def write(source: Source, target: Path) -> str:
    """Write one graph of the model: its first, or the one called `source.part`.

    Raises `SettingsError` when a package is missing, when the model has no such graph, or when the outputs differ.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SettingsError(f"--to onnx needs the package {error.name}: pip install 'dlplay[onnx]'") from None
    card, task = source.task()
    graphs = task.graphs()
    if not graphs:
        raise SettingsError(f"the forward pass of {card.title} with these settings cannot be exported as a graph; use --to torch")
    name = source.part or next(iter(graphs))
    if name not in graphs:
        raise SettingsError(f"--part {name[:60]}: {source.text[:200]} has the parts {', '.join(graphs)}")
    graph = graphs[name]
    examples = [dict(graph.inputs), other_lengths(graph)]
    expected = [_outputs(graph, inputs) for inputs in examples]
    try:
        _export(graph, target)
    except Exception as error:  # the exporter may raise anything
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"PyTorch cannot export {name} as a graph ({reason}); use --to torch") from error
    _finish(target, graph, expected, task.assets())
    difference = max(_difference(ours, _by_onnxruntime(target, inputs)) for ours, inputs in zip(expected, examples, strict=True))
    if not difference <= TOLERANCE:
        raise SettingsError(
            f"onnxruntime's outputs differ by {difference:.2g}, more than {TOLERANCE:g}, so nothing was written; use --to torch"
        )
    others = [other for other in graphs if other != name]
    more = f"; --part {' or '.join(others)} writes the rest" if others else ""
    return f"{name} ({', '.join(graph.inputs)} to {', '.join(graph.outputs)}), onnxruntime within {difference:.1e} of PyTorch{more}"


def _export(graph: Graph, target: Path) -> None:
    """Without the exporter's messages, which are for its developers."""
    shapes = {name: dict.fromkeys(graph.free.get(name, {}), torch.export.Dim.DYNAMIC) or None for name in graph.inputs}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple(shapes.values()),
            dynamo=True,
            verbose=False,
            external_data=False,
        )
        assert program is not None
        program.save(str(target), external_data=False)


def other_lengths(graph: Graph) -> dict[str, Tensor]:
    """The example one longer along every dynamic axis, so that axes of the same name keep the same length."""
    inputs = {}
    for name, value in graph.inputs.items():
        for axis in graph.free.get(name, {}):
            value = torch.cat([value.narrow(axis, value.shape[axis] - 1, 1), value], axis)
        inputs[name] = value
    return inputs


def _outputs(graph: Graph, inputs: Mapping[str, Tensor]) -> list[Array]:
    with torch.no_grad():
        found = graph.module(*inputs.values())
    return [value.numpy() for value in ([found] if isinstance(found, Tensor) else found)]


def _by_onnxruntime(path: Path, inputs: Mapping[str, Tensor]) -> list[Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {name: value.numpy() for name, value in inputs.items()}))


def _finish(path: Path, graph: Graph, expected: list[list[Array]], assets: Mapping[str, Any]) -> None:
    """Name the dynamic axes, and add the meaning of ids (`vocabulary`, `classes`) as JSON to the metadata.

    Output axes whose length changed with the inputs are made dynamic: PyTorch exports recurrent layers with the example's length.
    """
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in assets.items() if isinstance(value, (list, str))})
    names = {
        given.type.tensor_type.shape.dim[axis].dim_param: name
        for given in model.graph.input
        for axis, name in graph.free.get(given.name, {}).items()
    }
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:  # a name, or a sum of names
                dim.dim_param = re.sub(r"\w+", lambda match: names.get(match[0], match[0]), dim.dim_param)
    for output, one, two in zip(model.graph.output, *expected, strict=True):
        for axis, dim in enumerate(output.type.tensor_type.shape.dim):
            if one.shape[axis] != two.shape[axis] and not dim.dim_param:
                dim.dim_param = f"{output.name}_{axis}"
                del model.graph.value_info[:]  # the shapes of the tensors in between are only those of the example
    onnx.save(model, str(path))


def _difference(ours: list[Array], theirs: list[Array]) -> float:
    """Largest difference of all outputs, relative to the largest output where that exceeds 1."""
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        if one.shape != other.shape:
            return float("inf")
        worst = max(worst, float(np.abs(one - other).max(initial=0.0)) / max(1.0, float(np.abs(one).max(initial=0.0))))
    return worst
